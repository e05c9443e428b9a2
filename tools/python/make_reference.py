"""Turn the reference network, an ONNX file with masked weights and the groups of its layers, into a `.flgc` file.

    python tools/python/make_reference.py CIFAR_ONNX GROUPS_JSON models/cifar10-reference.flgc

CIFAR_ONNX and GROUPS_JSON are `flgc-cifar10.onnx` and `flgc-cifar10-groups.json`. The weights stay f32, so that outputs agree with
ONNX Runtime on the source. Prints the figures for the model card.
"""

import json
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors import safe_open

from flgc_format import group_tensor, pack_learned, save_flgc

GROUPS = 8
LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
INPUT = {
    "name": "input",
    "shape": [1, 3, 32, 32],
    "range": [[1, 64], [3, 3], [32, 64], [32, 64]],
    "image": {"channels": "rgb", "scale": 1 / 255, "mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616], "fit": "stretch"},
}
DEFAULTS = {"stride": [1, 1], "pad": [0, 0, 0, 0], "dilation": [1, 1], "groups": 1}


def convert(onnx_model, learned):
    """The graph and the tensors of a network of Conv, Relu, Add, GlobalAveragePool, Flatten and Gemm."""
    source = {i.name: numpy_helper.to_array(i) for i in onnx_model.graph.initializer}
    nodes, tensors = [], {}
    for node in onnx_model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        inputs = [name for name in node.input if name not in source]
        constants = [name for name in node.input if name in source]
        for name in constants:
            tensors[name] = source[name]
        if node.op_type == "Conv":
            op = {"conv": conv(node.name, attributes, constants, tensors, learned)}
        elif node.op_type == "Gemm":
            assert attributes == {"transB": 1}, attributes
            weight, bias = constants
            op = {"linear": {"features": len(source[bias]), "weight": weight, "bias": bias}}
        else:
            assert attributes in ({}, {"axis": 1}), attributes
            op = {"Relu": "relu", "Add": "add", "GlobalAveragePool": "global_average_pool", "Flatten": {"flatten": {}}}[node.op_type]
        nodes.append({"name": node.name or node.output[0], "op": op, "inputs": inputs, "outputs": list(node.output)})
    outputs = [output.name for output in onnx_model.graph.output]
    return {"inputs": [INPUT], "nodes": nodes, "outputs": outputs, "labels": LABELS}, tensors


def conv(name, attributes, constants, tensors, learned):
    """The attributes of a convolution; packs its weight and adds its groups to `tensors` where it has learned ones."""
    weight, bias = constants
    op = {
        "filters": len(tensors[bias]),
        "kernel": attributes["kernel_shape"],
        "stride": attributes["strides"],
        "pad": attributes["pads"],
        "groups": attributes["group"],
        "weight": weight,
        "bias": bias,
    }
    if name in learned:
        assert op["groups"] == 1, name
        in_group, out_group = learned[name]
        tensors[weight] = pack_learned(tensors[weight], in_group, out_group)
        op["learned"] = {"groups": GROUPS, "in_group": f"{name}.in_group", "out_group": f"{name}.out_group"}
        tensors[f"{name}.in_group"] = group_tensor(in_group, GROUPS)
        tensors[f"{name}.out_group"] = group_tensor(out_group, GROUPS)
    return {key: value for key, value in op.items() if value != DEFAULTS.get(key)}


def multiply_adds(onnx_model, tensors):
    """Multiply-adds of one picture: weights inside groups times the pixels they are used for."""
    shapes = onnx.shape_inference.infer_shapes(onnx_model).graph.value_info
    pixels = {v.name: v.type.tensor_type.shape.dim[2].dim_value * v.type.tensor_type.shape.dim[3].dim_value
              for v in shapes if len(v.type.tensor_type.shape.dim) == 4}
    return sum(tensors[node.input[1]].size * pixels.get(node.output[0], 1)
               for node in onnx_model.graph.node if node.op_type in ("Conv", "Gemm"))


def main(onnx_path, groups_path, out_path):
    onnx_model = onnx.load(onnx_path)
    learned = {layer["name"]: (layer["in_group"], layer["out_group"]) for layer in json.load(open(groups_path))}
    graph, tensors = convert(onnx_model, learned)
    save_flgc(out_path, graph, tensors)

    sizes = {name: [np.bincount(side, minlength=GROUPS) for side in sides] for name, sides in learned.items()}
    with safe_open(out_path, "numpy") as file:
        print(f"{out_path}: {os.path.getsize(out_path)} bytes, checksum {file.metadata()['checksum']}")
    print(f"multiply-adds {multiply_adds(onnx_model, tensors)}, parameters "
          f"{sum(t.size for t in tensors.values() if t.dtype == np.float32)}")
    print(f"{len(sizes)} layers with learned groups, {sum(0 in np.concatenate(s) for s in sizes.values())} with an empty side")
    for name, (channels, filters) in sizes.items():
        print(f"  {name}: channels {channels.tolist()}, filters {filters.tolist()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
