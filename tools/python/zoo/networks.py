"""Networks of the family as PyTorch modules with random weights: those of torchvision, and two that it lacks.

Batch norm statistics are made non-trivial: a few batches of noise in training mode give every layer the statistics of what it really
sees, so that activations neither vanish nor explode, and then each is shaken.
"""

import torch
import torchvision
from torch import nn

TORCHVISION = ["resnet18", "resnet50", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2_x0_5",
               "shufflenet_v2_x1_0", "efficientnet_b0", "mnasnet1_0", "squeezenet1_1", "densenet121", "regnet_x_400mf", "regnet_y_400mf", "googlenet"]


def prepare(net, size=64):
    """Random statistics for every batch norm of `net`, which is then in evaluation mode."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 0.5
            nn.init.uniform_(norm.weight, 0.6, 1.4)
            nn.init.normal_(norm.bias, std=0.2)
        net.train()
        for _ in range(3):
            net(torch.randn(4, 3, size, size))
        for norm in norms:
            norm.running_mean += norm.running_var.sqrt() * torch.randn_like(norm.running_mean) * 0.2
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.4)
    return net.eval()


def shuffle(x, groups):
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleUnit(nn.Module):
    """A unit of ShuffleNet v1 (Zhang et al., CVPR 2018): grouped 1x1, shuffle, depthwise, grouped 1x1."""

    def __init__(self, c_in, c_out, groups, stride, first_groups):
        super().__init__()
        self.groups, self.stride = first_groups, stride
        middle = c_out // 4
        c_branch = c_out - c_in if stride == 2 else c_out
        self.reduce = nn.Sequential(nn.Conv2d(c_in, middle, 1, groups=first_groups, bias=False), nn.BatchNorm2d(middle), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False), nn.BatchNorm2d(middle))
        self.expand = nn.Sequential(nn.Conv2d(middle, c_branch, 1, groups=groups, bias=False), nn.BatchNorm2d(c_branch))
        self.pool = nn.AvgPool2d(3, 2, 1)

    def forward(self, x):
        y = self.expand(self.depthwise(shuffle(self.reduce(x), self.groups)))
        return torch.relu(torch.cat([self.pool(x), y], 1) if self.stride == 2 else x + y)


class ShuffleNetV1(nn.Module):
    def __init__(self, groups=3, widths=(240, 480, 960), depths=(4, 8, 4), classes=1000):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        units, c = [], 24
        for stage, (width, depth) in enumerate(zip(widths, depths)):
            for unit in range(depth):
                first_groups = 1 if stage == 0 and unit == 0 else groups
                units.append(ShuffleUnit(c, width, groups, 2 if unit == 0 else 1, first_groups))
                c = width
        self.units, self.fc = nn.Sequential(*units), nn.Linear(c, classes)

    def forward(self, x):
        return self.fc(self.units(self.stem(x)).mean((2, 3)))


class Learned(nn.Module):
    """A learned group convolution of CondenseNet as it is deployed (Huang et al., CVPR 2018): an index layer, which may name channels several times
    or not at all, before batch norm and an even grouped convolution."""

    def __init__(self, c_in, c_out, groups, condense):
        super().__init__()
        self.register_buffer("index", torch.cat([torch.randperm(c_in)[: c_in // condense].sort().values for _ in range(groups)]))
        self.norm = nn.BatchNorm2d(len(self.index))
        self.conv = nn.Conv2d(len(self.index), c_out, 1, groups=groups, bias=False)

    def forward(self, x):
        return self.conv(torch.relu(self.norm(torch.index_select(x, 1, self.index))))


class CondenseLayer(nn.Module):
    def __init__(self, c_in, growth, groups, condense):
        super().__init__()
        self.groups, bottleneck = groups, 4 * growth
        self.learned = Learned(c_in, bottleneck, groups, condense)
        self.norm = nn.BatchNorm2d(bottleneck)
        self.conv = nn.Conv2d(bottleneck, growth, 3, padding=1, groups=groups, bias=False)

    def forward(self, x):
        y = self.conv(shuffle(torch.relu(self.norm(self.learned(x))), self.groups))
        return torch.cat([x, y], 1)


class CondenseNet(nn.Module):
    def __init__(self, depths=(4, 6, 8), growths=(8, 16, 32), groups=4, condense=4, classes=1000):
        super().__init__()
        c = 2 * growths[0]
        layers = [nn.Conv2d(3, c, 3, 2, 1, bias=False)]
        for stage, (depth, growth) in enumerate(zip(depths, growths)):
            for _ in range(depth):
                layers.append(CondenseLayer(c, growth, groups, condense))
                c += growth
            layers.append(nn.AvgPool2d(2) if stage + 1 < len(depths) else nn.Identity())
        self.layers, self.norm, self.fc = nn.Sequential(*layers), nn.BatchNorm2d(c), nn.Linear(c, classes)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.layers(x))).mean((2, 3)))


def build(name):
    """The network of that name, ready to be exported."""
    torch.manual_seed(sum(map(ord, name)))
    if name == "shufflenet_v1":
        return prepare(ShuffleNetV1())
    if name == "condensenet":
        return prepare(CondenseNet())
    options = {"weights": None}
    if name == "googlenet":
        # Its auxiliary classifiers belong to training only.
        options.update(init_weights=True, aux_logits=False)
    return prepare(getattr(torchvision.models, name)(**options), 224 if name == "googlenet" else 64)


NAMES = TORCHVISION + ["shufflenet_v1", "condensenet"]
