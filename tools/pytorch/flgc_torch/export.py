"""A trained network as ONNX."""

import copy
import warnings

import torch
from torch import nn

from .swap import flgc_layers


def deployed(net):
    """A copy of `net` in evaluation mode whose learned layers are plain convolutions, their weights masked."""
    net = copy.deepcopy(net).eval()
    for name, layer in flgc_layers(net).items():
        conv = nn.Conv2d(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
            bias=layer.bias is not None, padding_mode=layer.padding_mode, device=layer.weight.device, dtype=layer.weight.dtype,
        )
        with torch.no_grad():
            conv.weight.copy_(layer.masked_weight())
        conv.bias = layer.bias
        parent, _, last = name.rpartition(".")
        setattr(net.get_submodule(parent), last, conv.eval())
    return net


def export(net, path, example, input_name="input", output_name="scores"):
    """Writes `net` as an ONNX file whose masked weights are zero outside of the groups, for an input like `example`."""
    with warnings.catch_warnings():
        # The exporter's notes on its own deprecations.
        warnings.simplefilter("ignore")
        torch.onnx.export(deployed(net), (example,), str(path), input_names=[input_name], output_names=[output_name], external_data=False, verbose=False)
