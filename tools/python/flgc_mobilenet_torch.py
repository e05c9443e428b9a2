"""The network of `flgc-train` in PyTorch: MobileNetV2 for small pictures, FLGC on every 1x1 convolution. For train_step_reference.py
and train_speed.py.

    network = MobileNet(width=0.25, classes=5, groups=3)
    loss = torch.nn.functional.cross_entropy(network(pictures), labels, label_smoothing=0.1)

FLGC as it is done in training frameworks: the dense weight times a mask, `conv(x, W * M)` with `M = t s^T` (Wang et al., CVPR 2019,
arXiv:1904.00346). Parameters and buffers carry the names that `flgc-train` uses; all start empty or at torch's defaults, so that
whoever builds a network fills them.
"""

import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pytorch"))
from flgc_torch import learned_mask

# Expansion, channels, repeats, stride of the first.
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
STEM, LAST = 32, 1280
EPSILON, MOMENTUM = 1e-5, 0.1


class Unit(nn.Module):
    """A convolution without bias and the batch norm behind it. `depthwise`: each channel on its own; `groups`: learned groups."""

    def __init__(self, c, n, kernel=1, stride=1, depthwise=False, groups=None, chosen=False):
        super().__init__()
        self.options = {"stride": stride, "padding": kernel // 2, "groups": c if depthwise else 1}
        self.chosen = chosen
        self.weight = nn.Parameter(torch.empty(n, 1 if depthwise else c, kernel, kernel))
        if groups:
            self.channel_logits = nn.Parameter(torch.empty(c, groups))
            self.filter_logits = nn.Parameter(torch.empty(n, groups))
        self.learned = groups is not None
        self.gamma = nn.Parameter(torch.ones(n))
        self.beta = nn.Parameter(torch.zeros(n))
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("variance", torch.ones(n))

    def groups(self):
        """The group of each channel and of each filter."""
        return self.channel_logits.argmax(1), self.filter_logits.argmax(1)

    def forward(self, x):
        weight = self.weight
        if self.learned:
            weight = weight * learned_mask(self.channel_logits, self.filter_logits, self.chosen)[:, :, None, None]
        x = functional.conv2d(x, weight, **self.options)
        return functional.batch_norm(x, self.mean, self.variance, self.gamma, self.beta, self.training, MOMENTUM, EPSILON)


class Block(nn.Module):
    """Expand, depthwise, project; around them with stride 1 the input itself, or a 1x1 convolution of it where the channels differ."""

    def __init__(self, c, n, expansion, stride, **learned):
        super().__init__()
        wide = expansion * c
        self.expand = Unit(c, wide, **learned)
        self.depthwise = Unit(wide, wide, 3, stride, depthwise=True)
        self.project = Unit(wide, n, **learned)
        self.shortcut = Unit(c, n, **learned) if stride == 1 and c != n else None
        self.residual = stride == 1

    def forward(self, x):
        y = functional.relu(self.expand(x))
        y = functional.relu(self.depthwise(y))
        y = self.project(y)
        if not self.residual:
            return y
        return y + (x if self.shortcut is None else self.shortcut(x))


class MobileNet(nn.Module):
    def __init__(self, width, classes, groups, chosen=False):
        super().__init__()

        def channels(base):
            return 8 * max(1, math.floor(base * width / 8 + 0.5))

        learned = {"groups": groups, "chosen": chosen}
        c = channels(STEM)
        self.stem = Unit(3, c, 3)
        self.blocks = 0
        for expansion, base, repeats, first_stride in BLOCKS:
            for repeat in range(repeats):
                self.blocks += 1
                block = Block(c, channels(base), expansion, first_stride if repeat == 0 else 1, **learned)
                self.add_module(f"block{self.blocks}", block)
                c = channels(base)
        self.last = Unit(c, channels(LAST), **learned)
        self.classifier = nn.Linear(channels(LAST), classes)

    def forward(self, x):
        x = functional.relu(self.stem(x))
        for block in range(self.blocks):
            x = self.get_submodule(f"block{block + 1}")(x)
        x = functional.relu(self.last(x))
        return self.classifier(x.mean((2, 3)))

    def learned_units(self):
        """The units with learned groups, by name."""
        return {name: unit for name, unit in self.named_modules() if isinstance(unit, Unit) and unit.learned}


def is_logits(name):
    return name.endswith("_logits")


def optimiser(network, rate, momentum, decay, logit_rate, logit_decay):
    """SGD as `flgc-train` does it: weights decay, scales, shifts and biases do not, logits have rules of their own."""
    rules = {"weights": [], "offsets": [], "logits": []}
    for name, parameter in network.named_parameters():
        rules["logits" if is_logits(name) else "weights" if name.endswith(".weight") else "offsets"].append(parameter)
    return torch.optim.SGD([
        {"params": rules["weights"], "lr": rate, "weight_decay": decay},
        {"params": rules["offsets"], "lr": rate, "weight_decay": 0.0},
        {"params": rules["logits"], "lr": logit_rate, "weight_decay": logit_decay},
    ], momentum=momentum)
