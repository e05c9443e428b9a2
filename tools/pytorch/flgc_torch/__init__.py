"""Fully learnable group convolution (FLGC, Wang et al., CVPR 2019, arXiv:1904.00346) for PyTorch.

    import flgc_torch

    flgc_torch.swap(net, groups=8)                              # 1x1 convolutions learn their groups from now on
    optimiser = torch.optim.SGD(flgc_torch.parameter_groups(net, lr=0.1, logit_lr=1.0), momentum=0.9)
    ...                                                         # train as ever
    flgc_torch.export(net, "net.onnx", torch.randn(1, 3, 224, 224))

`flgc-import net.onnx -o net.flgc` then finds the groups in the file.
"""

from .export import deployed, export
from .layer import ESTIMATORS, STARTS, FlgcConv2d, OneHot, learned_mask
from .swap import fix_groups, flgc_layers, parameter_groups, swap

__all__ = ["ESTIMATORS", "STARTS", "FlgcConv2d", "OneHot", "deployed", "export", "fix_groups", "flgc_layers", "learned_mask", "parameter_groups", "swap"]
