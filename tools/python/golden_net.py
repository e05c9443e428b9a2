"""One network description, two files: `Net` has a method per operator that appends to an ONNX graph and to a `.flgc` graph.

    net = Net("example")
    x = net.input([1, 8, 9, 9])
    x = net.conv(x, 12, 3, learned=([5, 0, 3], [4, 2, 6]), act="relu")
    net.output(x)
    net.save(folder)  # model.flgc, input-0.npy, output-0.npy; outputs are those of ONNX Runtime

Weights and inputs are random, seeded by the network's name, and scaled so that values stay around 1.
"""

import zlib
from pathlib import Path

import ml_dtypes  # noqa: F401  registers the numpy type bfloat16
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from flgc_format import group_tensor, pack_learned, save_flgc

OPSET, IR_VERSION = 17, 8
DEFAULTS = {"stride": [1, 1], "pad": [0, 0, 0, 0], "dilation": [1, 1], "groups": 1, "ceil": False, "count_pad": False}


def pair(value):
    return [value, value] if isinstance(value, int) else list(value)


# Operators whose attributes may all be left out: still written as objects.
HAS_ATTRIBUTES = {"clamp", "leaky_relu", "hard_sigmoid", "softmax", "flatten"}


class Net:
    def __init__(self, name, weights="float32"):
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.weights = np.dtype(weights)
        self.labels = None
        self.feeds, self.outputs = {}, []
        self.flgc_inputs, self.flgc_nodes, self.tensors = [], [], {}
        self.onnx_nodes, self.constants = [], []

    # Inputs, outputs, weights

    def input(self, shape, default=None, range=None, image=None, scale=1.0):
        """A graph input, fed with random numbers of this shape; the file's `default` shape may be another within `range`."""
        name = f"input{len(self.feeds)}"
        self.feeds[name] = self.random(shape, scale)
        more = {"range": range, "image": image}
        self.flgc_inputs.append({"name": name, "shape": default or shape} | {k: v for k, v in more.items() if v})
        return name

    def output(self, *names):
        self.outputs += names

    def random(self, shape, scale=1.0, offset=0.0):
        return (self.rng.normal(size=shape) * scale + offset).astype(np.float32)

    def shape(self, x):
        """The shape of an activation, from ONNX's own shape inference."""
        graph = onnx.shape_inference.infer_shapes(self.onnx_model({}), strict_mode=True, data_prop=True).graph
        found = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*graph.input, *graph.value_info]}
        return found[x]

    def constant(self, array):
        """An initializer of the ONNX graph only."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def tensor(self, role, stored, onnx_array=None):
        """A tensor of the `.flgc` file for the next node; `onnx_array` is its form in the ONNX graph. Returns both names."""
        name = f"{len(self.flgc_nodes)}.{role}"
        self.tensors[name] = stored
        return name, self.constant(stored if onnx_array is None else onnx_array)

    def node(self, kind, inputs, steps, outputs=1, **attributes):
        """Append one `.flgc` node and the chain of ONNX nodes `(type, further inputs, attributes)` that computes the same."""
        name = f"{kind}{len(self.flgc_nodes)}"
        out_names = [name] if outputs == 1 else [f"{name}.{k}" for k in range(outputs)]
        attributes = {k: v for k, v in attributes.items() if v is not None and v != DEFAULTS.get(k)}
        op = {kind: attributes} if attributes or kind in HAS_ATTRIBUTES else kind
        self.flgc_nodes.append({"name": name, "op": op, "inputs": list(inputs), "outputs": out_names})
        current = list(inputs)
        for i, (onnx_type, further, onnx_attributes) in enumerate(steps):
            produced = out_names if i == len(steps) - 1 else [f"{name}/{i}"]
            self.onnx_nodes.append(helper.make_node(onnx_type, current + further, produced, **onnx_attributes))
            current = produced
        return out_names[0] if outputs == 1 else out_names

    # Operators

    def conv(self, x, filters, kernel=1, stride=1, pad=None, dilation=1, groups=1, learned=None, bias=True, act=None):
        """`pad`: none keeps the size at stride 1. `learned`: the sizes of the groups, (channels, filters), dealt at random."""
        kernel, stride, dilation = pair(kernel), pair(stride), pair(dilation)
        if pad is None:
            pad = [d * (k - 1) // 2 for k, d in zip(kernel, dilation)] * 2
        channels = self.shape(x)[1]
        weight = self.random([filters, channels // groups, *kernel])
        fan_in = np.full(filters, weight[0].size, float)
        op_learned = None
        if learned:
            in_group, out_group = (self.rng.permutation(np.repeat(np.arange(len(sizes)), sizes)) for sizes in learned)
            inside = out_group[:, None] == in_group
            weight *= inside[:, :, None, None]
            fan_in = np.maximum(inside.sum(1) * np.prod(kernel), 1)
        weight = (weight * np.sqrt(1.5 / fan_in)[:, None, None, None]).astype(self.weights)
        stored = weight
        if learned:
            stored = pack_learned(weight, in_group, out_group)
            op_learned = {"groups": len(learned[0])}
            for role, groups_of in ("in_group", in_group), ("out_group", out_group):
                op_learned[role] = f"{len(self.flgc_nodes)}.{role}"
                self.tensors[op_learned[role]] = group_tensor(groups_of, len(learned[0]))
        weight_name, onnx_weight = self.tensor("weight", stored, weight.astype(np.float32))
        bias_name, onnx_bias = self.tensor("bias", self.random(filters, 0.3)) if bias else (None, None)
        y = self.node(
            "conv", [x],
            [("Conv", [onnx_weight, onnx_bias] if bias else [onnx_weight],
              dict(kernel_shape=kernel, strides=stride, pads=pad, dilations=dilation, group=groups))],
            filters=filters, kernel=None if kernel == [1, 1] else kernel, stride=stride, pad=pad, dilation=dilation, groups=groups,
            learned=op_learned, weight=weight_name, bias=bias_name)
        return self.act(y, act) if act else y

    def depthwise(self, x, kernel=3, multiplier=1, **more):
        channels = self.shape(x)[1]
        return self.conv(x, channels * multiplier, kernel, groups=channels, **more)

    def linear(self, x, features, bias=True):
        channels = self.shape(x)[1]
        weight = self.random([features, channels], np.sqrt(1.5 / channels)).astype(self.weights)
        weight_name, onnx_weight = self.tensor("weight", weight, weight.astype(np.float32))
        bias_name, onnx_bias = self.tensor("bias", self.random(features, 0.3)) if bias else (None, None)
        return self.node("linear", [x], [("Gemm", [onnx_weight, onnx_bias] if bias else [onnx_weight], dict(transB=1))],
                         features=features, weight=weight_name, bias=bias_name)

    def batch_norm(self, x, epsilon=None, act=None):
        channels = self.shape(x)[1]
        values = {"scale": self.rng.uniform(0.6, 1.4, channels), "shift": self.rng.normal(size=channels) * 0.3,
                  "mean": self.rng.normal(size=channels) * 0.3, "variance": self.rng.uniform(0.5, 1.5, channels)}
        names = {role: self.tensor(role, value.astype(np.float32)) for role, value in values.items()}
        y = self.node("batch_norm", [x], [("BatchNormalization", [n[1] for n in names.values()], dict(epsilon=epsilon or 1e-5))],
                      epsilon=epsilon, **{role: n[0] for role, n in names.items()})
        return self.act(y, act) if act else y

    def act(self, x, kind, **attributes):
        """An activation without tensors; attributes that are not given take the format's default."""
        limits = [self.constant(np.float32(v)) for v in (0, 6)] if kind == "relu6" else []
        steps = {
            "relu": [("Relu", [], {})],
            "relu6": [("Clip", limits, {})],
            "clamp": [("Clip", [self.constant(np.float32(attributes[k])) if k in attributes else "" for k in ("min", "max")], {})],
            "leaky_relu": [("LeakyRelu", [], dict(alpha=attributes.get("slope", 0.01)))],
            "hard_swish": [("HardSwish", [], {})],
            "hard_sigmoid": [("HardSigmoid", [], dict(alpha=attributes.get("alpha", 1 / 6), beta=attributes.get("beta", 0.5)))],
            "sigmoid": [("Sigmoid", [], {})],
            "silu": [("Sigmoid", [], {}), ("Mul", [x], {})],
        }[kind]
        return self.node(kind, [x], steps, **attributes)

    def prelu(self, x, shared=False):
        shape = self.shape(x)
        slope = self.random(1 if shared else shape[1], 0.2, 0.2)
        name, onnx_name = self.tensor("slope", slope, slope.reshape([-1] + [1] * (len(shape) - 2)))
        return self.node("prelu", [x], [("PRelu", [onnx_name], {})], slope=name)

    def softmax(self, x, axis=None):
        return self.node("softmax", [x], [("Softmax", [], dict(axis=-1 if axis is None else axis))], axis=axis)

    def add(self, a, b, act=None):
        y = self.node("add", [a, b], [("Add", [], {})])
        return self.act(y, act) if act else y

    def multiply(self, a, b):
        return self.node("multiply", [a, b], [("Mul", [], {})])

    def concat(self, *parts, axis=1):
        return self.node("concat", parts, [("Concat", [], dict(axis=axis))], axis=axis)

    def split(self, x, *sizes, axis=1):
        steps = [("Split", [self.constant(np.array(sizes))], dict(axis=axis))]
        return self.node("split", [x], steps, len(sizes), axis=axis, sizes=list(sizes))

    def slice(self, x, begin, end, axis=1):
        bounds = [self.constant(np.array([v])) for v in (begin, end, axis)]
        return self.node("slice", [x], [("Slice", bounds, {})], axis=axis, begin=begin, end=end)

    def gather(self, x, order):
        order = [int(i) for i in order]
        return self.node("gather_channels", [x], [("Gather", [self.constant(np.array(order))], dict(axis=1))], order=order)

    def shuffle(self, x, groups):
        n, c, *space = self.shape(x)
        apart, back = (self.constant(np.array(s)) for s in ([n, groups, c // groups, *space], [n, c, *space]))
        swap = [0, 2, 1, *range(3, 3 + len(space))]
        return self.node("shuffle_channels", [x], [("Reshape", [apart], {}), ("Transpose", [], dict(perm=swap)), ("Reshape", [back], {})],
                         groups=groups)

    def pool(self, x, kind, kernel, stride=1, pad=None, dilation=1, ceil=False, count_pad=False):
        """`kind` is "max" or "average"."""
        kernel, stride, dilation, pad = pair(kernel), pair(stride), pair(dilation), pad or [0, 0, 0, 0]
        attributes = dict(kernel_shape=kernel, strides=stride, pads=pad, ceil_mode=int(ceil))
        attributes |= dict(dilations=dilation) if kind == "max" else dict(count_include_pad=int(count_pad))
        return self.node(f"{kind}_pool", [x], [("MaxPool" if kind == "max" else "AveragePool", [], attributes)],
                         kernel=kernel, stride=stride, pad=pad, dilation=dilation, ceil=ceil, count_pad=count_pad)

    def global_pool(self, x, kind="average"):
        return self.node(f"global_{kind}_pool", [x], [("GlobalMaxPool" if kind == "max" else "GlobalAveragePool", [], {})])

    def flatten(self, x, axis=None):
        return self.node("flatten", [x], [("Flatten", [], dict(axis=1 if axis is None else axis))], axis=axis)

    def reshape(self, x, *shape):
        return self.node("reshape", [x], [("Reshape", [self.constant(np.array(shape))], {})], shape=list(shape))

    def transpose(self, x, *axes):
        return self.node("transpose", [x], [("Transpose", [], dict(perm=list(axes)))], axes=list(axes))

    def resize(self, x, mode, size=None, scale=None, coordinates=None, rounding=None):
        attributes = dict(mode="linear" if mode == "bilinear" else mode, nearest_mode=rounding or "round_prefer_floor",
                          coordinate_transformation_mode=coordinates or "half_pixel")
        if size:
            further = ["", "", self.constant(np.array(self.shape(x)[:2] + size))]
        else:
            further = ["", self.constant(np.array([1, 1, *scale], np.float32))]
        return self.node("resize", [x], [("Resize", further, attributes)], mode=mode, size=size, scale=scale, coordinates=coordinates,
                         rounding=rounding)

    # Files

    def onnx_model(self, outputs):
        """The ONNX model; `outputs` maps names to shapes, or to none where they are not known yet."""
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in self.feeds.items()]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.onnx_nodes, "golden", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def save(self, folder, onnx_path=None):
        """Write the files of this network; `onnx_path`: the ONNX model too. Returns the outputs."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # it warns of its own shape inference, which counts a pool window that it then drops
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        model = self.onnx_model(dict.fromkeys(self.outputs))
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = session.run(self.outputs, self.feeds)

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        graph = {"inputs": self.flgc_inputs, "nodes": self.flgc_nodes, "outputs": self.outputs}
        save_flgc(folder / "model.flgc", graph | ({"labels": self.labels} if self.labels else {}), self.tensors)
        for prefix, arrays in ("input", self.feeds.values()), ("output", results):
            for k, array in enumerate(arrays):
                np.save(folder / f"{prefix}-{k}.npy", array)
        if onnx_path:
            model = self.onnx_model({name: y.shape for name, y in zip(self.outputs, results)})
            onnx.checker.check_model(model)
            onnx.save(model, onnx_path)
        return results
