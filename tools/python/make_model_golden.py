"""Expected outputs of a model that `flgc-train` made, by ONNX Runtime on the same weights.

    python tools/python/make_model_golden.py models/NAME.flgc tests/golden/NAME

Rebuilds the network as ONNX, learned groups as dense convolutions whose other weights are zero, weights as they are stored (f16 brought to f32), and writes input-0.npy
`[4, 3, 32, 32]` (the first pictures of models/samples as the model prepares them: RGB, scaled, mean and deviation) and output-0.npy. The test runs the model on them.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
PICTURES = 4


def dense(file, conv, channels):
    """The weights of a convolution as `[filters, channels / groups, k, k]`."""
    weight = file.get_tensor(conv["weight"]).astype(np.float32)
    if "learned" not in conv:
        return weight
    in_group, out_group = (file.get_tensor(conv["learned"][side]) for side in ("in_group", "out_group"))
    full = np.zeros((len(out_group), channels, *conv["kernel"]), np.float32)
    at = 0
    for group in range(conv["learned"]["groups"]):
        filters, members = np.flatnonzero(out_group == group), np.flatnonzero(in_group == group)
        shape = len(filters), len(members), *conv["kernel"]
        full[np.ix_(filters, members)] = weight[at:at + np.prod(shape, dtype=int)].reshape(shape)
        at += np.prod(shape, dtype=int)
    assert at == len(weight)
    return full


def to_onnx(file, graph):
    """The graph of a model with the operators that `flgc-train` writes."""
    nodes, constants, channels = [], [], {graph["inputs"][0]["name"]: graph["inputs"][0]["shape"][1]}

    def constant(name, array):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    for node in graph["nodes"]:
        kind, op = (node["op"], {}) if isinstance(node["op"], str) else next(iter(node["op"].items()))
        inputs, attributes = list(node["inputs"]), {}
        count = channels[inputs[0]]
        if kind == "conv":
            inputs += [constant(op["weight"], dense(file, op, count)), constant(op["bias"], file.get_tensor(op["bias"]))]
            attributes = dict(kernel_shape=op["kernel"], strides=op["stride"], pads=op["pad"], dilations=op["dilation"], group=op["groups"])
            count = op["filters"]
        elif kind == "linear":
            inputs += [constant(op["weight"], file.get_tensor(op["weight"])), constant(op["bias"], file.get_tensor(op["bias"]))]
            attributes, count = dict(transB=1), op["features"]
        elif kind == "flatten":
            attributes = op
        types = {"conv": "Conv", "relu": "Relu", "add": "Add", "global_average_pool": "GlobalAveragePool", "flatten": "Flatten", "linear": "Gemm"}
        channels[node["outputs"][0]] = count
        nodes.append(helper.make_node(types[kind], inputs, node["outputs"], name=node["name"], **attributes))
    inputs = [helper.make_tensor_value_info(port["name"], TensorProto.FLOAT, port["shape"]) for port in graph["inputs"]]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, len(graph["labels"])]) for name in graph["outputs"]]
    model = helper.make_model(helper.make_graph(nodes, "model", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main(path, folder):
    with safe_open(path, "np") as file:
        graph = json.loads(file.metadata()["graph"])
        model = to_onnx(file, graph)
    image = graph["inputs"][0]["image"]
    pictures = sorted((ROOT / "models/samples").glob("*/*.jpg"))[::37][:PICTURES]
    pixels = np.stack([np.asarray(Image.open(picture).convert("RGB"), np.float64) for picture in pictures])
    inputs = ((pixels * image["scale"] - image["mean"]) / image["std"]).transpose(0, 3, 1, 2).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores = np.concatenate([session.run(None, {graph["inputs"][0]["name"]: picture[None]})[0] for picture in inputs])
    Path(folder).mkdir(parents=True, exist_ok=True)
    np.save(Path(folder) / "input-0.npy", np.ascontiguousarray(inputs))
    np.save(Path(folder) / "output-0.npy", scores)
    for picture, row in zip(pictures, scores):
        print(f"{picture.parent.name}: {graph['labels'][row.argmax()]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
