"""Learned groups for a network that has none, and what its training needs."""

from torch import nn

from .layer import FlgcConv2d


def wants_groups(groups):
    """Dense 1x1 convolutions with at least `groups` channels and filters."""
    return lambda name, conv: conv.kernel_size == (1, 1) and conv.groups == 1 and min(conv.in_channels, conv.out_channels) >= groups


def swap(net, groups, only=None, **options):
    """Puts a `FlgcConv2d` with `groups` groups in the place of each convolution of `net` for which `only(name, conv)` holds: by default the dense 1x1
    ones that have at least as many channels and filters as groups. Weights and biases are kept. Returns the names.

    `options` are those of `FlgcConv2d`: `estimator`, `start`, `logit_scale`.
    """
    only = only or wants_groups(groups)
    found = [(name, conv) for name, conv in net.named_modules() if type(conv) is nn.Conv2d and only(name, conv)]
    for name, conv in found:
        learned = FlgcConv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, learned_groups=groups, stride=conv.stride, padding=conv.padding, dilation=conv.dilation,
            bias=conv.bias is not None, padding_mode=conv.padding_mode, **options,
        ).to(conv.weight.device, conv.weight.dtype)
        learned.weight, learned.bias = conv.weight, conv.bias
        parent, _, last = name.rpartition(".")
        setattr(net.get_submodule(parent), last, learned)
    return [name for name, _ in found]


def flgc_layers(net):
    """The layers with learned groups, by name."""
    return {name: module for name, module in net.named_modules() if isinstance(module, FlgcConv2d)}


def parameter_groups(net, lr, logit_lr, weight_decay=0.0, logit_decay=0.0):
    """Parameters for an optimiser: weights decay; scales, shifts and biases do not; logits have a learning rate and a decay of their own."""
    logits = [p for layer in flgc_layers(net).values() for p in (layer.channel_logits, layer.filter_logits) if p.requires_grad]
    own = {id(p) for p in logits}
    rest = [p for p in net.parameters() if id(p) not in own and p.requires_grad]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
        {"params": logits, "lr": logit_lr, "weight_decay": logit_decay},
    ]
    return [group for group in groups if group["params"]]


def fix_groups(net):
    """The groups stay as they are from now on. Gradients of the logits are dropped: without one an optimiser leaves them alone."""
    for layer in flgc_layers(net).values():
        for logits in (layer.channel_logits, layer.filter_logits):
            logits.requires_grad_(False)
            logits.grad = None
