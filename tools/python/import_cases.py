"""Write the importer's test cases: small ONNX files with the outputs that ONNX Runtime gives.

    python tools/python/import_cases.py tools/import/tests/cases

Each function below describes one network; its name is the folder's, which holds `model.onnx`, `input-<k>.npy` and `output-<k>.npy`, in the order of the
graph's inputs and outputs. Names that differ only behind the last `__` are encodings of one network and have to come out with the same groups.
"""

import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

CASES = {}


def case(opset=17):
    def register(describe):
        CASES[describe.__name__] = (describe, opset)
        return describe
    return register


class Net:
    """An ONNX graph under construction."""

    def __init__(self, name, opset):
        self.rng = np.random.default_rng(zlib.crc32(name.partition("__")[0].encode()))
        self.opset, self.nodes, self.initializers, self.inputs, self.outputs, self.feeds = opset, [], [], [], [], {}

    def input(self, *shape, declared=None, low=None):
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, declared or shape))
        self.feeds[name] = self.rng.standard_normal(shape).astype(np.float32) if low is None else self.rng.uniform(low, 1, shape).astype(np.float32)
        return name

    def constant(self, array, dtype=np.float32):
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(array, dtype), name))
        return name

    def ints(self, *values):
        return self.constant(values, np.int64)

    def random(self, *shape, scale=1.0):
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def __call__(self, op, *inputs, outputs=1, **attributes):
        names = [f"{op.lower()}{len(self.nodes)}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"node{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, c_in, filters, k=1, groups=1, act=None, weight=None, bias=True, **attributes):
        weight = self.random(filters, c_in // groups, k, k, scale=(c_in // groups * k * k) ** -0.5) if weight is None else weight
        inputs = [self.constant(weight)] + ([self.constant(self.random(filters, scale=0.3))] if bias else [])
        attributes.setdefault("pads", [k // 2] * 4)
        if "auto_pad" in attributes:
            del attributes["pads"]
        y = self("Conv", x, *inputs, kernel_shape=[k, k], group=groups, **attributes)
        return self(act, y) if act else y

    def depthwise(self, x, c, k=3, act="Relu", **attributes):
        return self.conv(x, c, c, k, groups=c, act=act, **attributes)

    def output(self, *names):
        self.outputs += names

    def save(self, folder):
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "case", self.inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = session.run(self.outputs, self.feeds)
        assert all(np.isfinite(result).all() and np.abs(result).max() > 1e-3 for result in results)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        onnx.save(model, folder / "model.onnx")
        for kind, arrays in ("input", self.feeds.values()), ("output", results):
            for index, array in enumerate(arrays):
                np.save(folder / f"{kind}-{index}.npy", array)


# One network of learned groups in all its encodings. Group 2 of the first layer has no channels, group 3 no filters; the second layer has stride 2.

SIZES = [(([3, 5, 0, 4], [6, 2, 3, 0]), 1), (([2, 5, 4], [4, 3, 8]), 2), (([7, 6, 2], [1, 9, 2]), 1)]


def assignments(net):
    """The groups, weights and biases of each layer, the same for every encoding."""
    layers = []
    for (channels, filters), stride in SIZES:
        in_group = net.rng.permutation(np.repeat(np.arange(len(channels)), channels))
        out_group = net.rng.permutation(np.repeat(np.arange(len(filters)), filters))
        weight = net.random(len(out_group), len(in_group), scale=0.5) * (out_group[:, None] == in_group)
        layers.append((in_group, out_group, weight.astype(np.float32), net.random(len(out_group), scale=0.3), stride))
    kernel = net.random(11, 1, 3, 3, scale=0.3)
    return layers, kernel


def flgc(net, encoding):
    x = net.input(1, 12, 9, 8)
    order = np.arange(12)
    layers, kernel = assignments(net)
    for index, (in_group, out_group, weight, bias, stride) in enumerate(layers):
        if index == 1:
            live = order >= 0
            x = net("Conv", x, net.constant(kernel[np.maximum(order, 0)] * live[:, None, None, None]), kernel_shape=[3, 3], pads=[1] * 4, group=len(order))
        x, order = encoding(net, x, order, in_group, out_group, weight, bias, stride)
    x = net("GlobalAveragePool", x)
    fc = net.random(5, len(layers[-1][1]))
    x = net("Gemm", net("Flatten", x), net.constant(fc[:, np.maximum(order, 0)] * (order >= 0)), transB=1)
    net.output(x)


def place(order, want):
    """Where the logical channels `want` lie."""
    where = {c: i for i, c in enumerate(order) if c >= 0}
    return [where[c] for c in want]


def masked(net, x, order, in_group, out_group, weight, bias, stride):
    x = net("Conv", x, net.constant(weight[:, :, None, None]), net.constant(bias), strides=[stride] * 2)
    return net("Relu", x), np.arange(len(out_group))


def by_group(in_group, out_group):
    for g in range(max(in_group.max(), out_group.max()) + 1):
        channels, filters = np.flatnonzero(in_group == g), np.flatnonzero(out_group == g)
        if len(filters):
            # Filters without channels read channel 0 with zero weights.
            yield (channels if len(channels) else np.array([0])), filters


def split(net, x, order, in_group, out_group, weight, bias, stride, at_once=False):
    if stride > 1:
        x = net("MaxPool", x, kernel_shape=[1, 1], strides=[stride] * 2)
    groups = list(by_group(in_group, out_group))
    if at_once:
        picked = net("Gather", x, net.ints(*np.concatenate([place(order, c) for c, _ in groups])), axis=1)
        parts = net("Split", picked, net.ints(*(len(c) for c, _ in groups)), axis=1, outputs=len(groups))
    else:
        parts = [net("Gather", x, net.ints(*place(order, c)), axis=1) for c, _ in groups]
    outs = [net("Relu", net("Conv", part, net.constant(weight[np.ix_(f, c)][:, :, None, None]), net.constant(bias[f])))
            for part, (c, f) in zip(parts, groups)]
    return net("Concat", *outs, axis=1), np.concatenate([f for _, f in groups])


def split1(*arguments):
    return split(*arguments, at_once=True)


def padded(net, x, order, in_group, out_group, weight, bias, stride):
    if stride > 1:
        x = net("MaxPool", x, kernel_shape=[1, 1], strides=[stride] * 2)
    groups = list(by_group(in_group, out_group))
    wide, tall = (max(len(part[side]) for part in groups) for side in (0, 1))
    want, out, w, b = [], [], [], []
    for channels, filters in groups:
        want += place(order, channels) + [0] * (wide - len(channels))
        out += list(filters) + [-1] * (tall - len(filters))
        block = np.zeros((tall, wide), np.float32)
        block[:len(filters), :len(channels)] = weight[np.ix_(filters, channels)]
        w.append(block)
        b += list(bias[filters]) + [0] * (tall - len(filters))
    x = net("Gather", x, net.ints(*want), axis=1)
    x = net("Conv", x, net.constant(np.concatenate(w)[:, :, None, None]), net.constant(b), group=len(groups))
    return net("Relu", x), np.array(out)


for encode in masked, split, split1, padded:
    CASES[f"flgc__{encode.__name__}"] = (lambda net, encode=encode: flgc(net, encode), 17)


def computed(net, x, order, in_group, out_group, weight, bias, stride, how="one_hot"):
    """The mask as exporters leave it: computed from the logits of channels and filters."""
    def member(groups_of, count):
        logits = net.random(len(groups_of), count)
        logits[np.arange(len(groups_of)), groups_of] += 6
        rows = net("Softmax", net.constant(logits), axis=-1)
        if how == "one_hot":
            best = net("ArgMax", rows, axis=1, keepdims=0)
            return net("OneHot", best, net.constant([count], np.int64), net.constant([0, 1]), axis=-1)
        if how == "scatter":
            best = net("ArgMax", rows, axis=1, keepdims=1)
            zeros = net("ConstantOfShape", net("Shape", rows))
            ones = net("Expand", net.constant(1.0), net("Shape", best))
            return net("ScatterElements", zeros, best, ones, axis=1)
        top = net("ReduceMax", rows, axes=[1], keepdims=1)
        return net("Cast", net("Equal", rows, top), to=TensorProto.FLOAT)
    count = int(max(in_group.max(), out_group.max())) + 1
    dense = net.constant(np.where(weight != 0, weight, net.random(*weight.shape))[:, :, None, None])
    mask = net("MatMul", member(out_group, count), net("Transpose", member(in_group, count), perm=[1, 0]))
    if how == "where":
        mask = net("Unsqueeze", net("Unsqueeze", mask, net.ints(2)), net.ints(3))
        kept = net("Where", net("Cast", mask, to=TensorProto.BOOL), dense, net.constant([0.0]))
    else:
        kept = net("Mul", dense, net("Unsqueeze", mask, net.ints(2, 3)))
    x = net("Conv", x, kept, net.constant(bias), strides=[stride] * 2)
    return net("Relu", x), np.arange(len(out_group))


@case()
def flgc__one_hot(net):
    flgc(net, computed)


@case()
def flgc__equal(net):
    flgc(net, lambda *a: computed(*a, how="equal"))


@case()
def flgc__scatter(net):
    flgc(net, lambda *a: computed(*a, how="scatter"))


@case()
def flgc__where(net):
    flgc(net, lambda *a: computed(*a, how="where"))


# Operators


@case()
def convolutions(net):
    """Kernels, strides, dilations, groups, asymmetric and automatic padding."""
    x = net.input(1, 6, 13, 11)
    for options in (dict(k=3, strides=[2, 1]), dict(k=3, dilations=[2, 2], pads=[2, 2, 2, 2]), dict(k=5, groups=3, pads=[1, 0, 3, 2]),
                    dict(k=3, auto_pad="SAME_UPPER", strides=[2, 2]), dict(k=4, auto_pad="SAME_LOWER"), dict(k=2, auto_pad="VALID", bias=False),
                    dict(k=3, groups=6, strides=[2, 2])):
        net.output(net.conv(x, 6, 12, act="Relu", **options))


@case(opset=9)
def old_operators(net):
    """Forms that later versions gave up: attributes for what are inputs now, Upsample, batch norm that lists its statistics."""
    x = net.conv(net.input(1, 4, 6, 6), 4, 8)
    statistics = [net.constant(v) for v in (net.rng.uniform(0.5, 1.5, 8), net.random(8), net.random(8), net.rng.uniform(0.5, 1.5, 8))]
    x = net("BatchNormalization", x, *statistics, epsilon=1e-3)
    x = net("Clip", x, min=0.0, max=6.0)
    y = net("Upsample", x, net.constant([1, 1, 2, 2]), mode="nearest")
    z = net("Slice", x, axes=[1], starts=[2], ends=[-1])
    w = net("Pad", z, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.0)
    a, b = net("Split", x, axis=1, split=[3, 5], outputs=2)
    v = net("Squeeze", net("ReduceMean", a, axes=[2, 3], keepdims=1), axes=[2, 3])
    net.output(y, net.conv(w, 5, 3, 3), v, net("Softmax", net("Unsqueeze", net("Flatten", net("GlobalAveragePool", b)), axes=[2]), axis=1))


@case()
def activations(net):
    x = net.input(1, 5, 4, 6)
    y = net.conv(x, 5, 6)
    for z, c in (x, 5), (y, 6):
        for op, attributes in ("Relu", {}), ("LeakyRelu", dict(alpha=0.2)), ("Sigmoid", {}), ("HardSigmoid", {}), ("HardSigmoid", dict(alpha=0.3, beta=0.4)), \
                ("HardSwish", {}):
            net.output(net(op, z, **attributes))
        net.output(net("PRelu", z, net.constant(net.random(c, 1, 1))), net("PRelu", z, net.constant([0.25])))
        for low, high in (0, 6), (-1, 1), (0, None), (None, 0.5):
            net.output(net("Clip", z, *(net.constant(b) if b is not None else "" for b in (low, high))))
        net.output(net("Max", z, net.constant(0.25)), net("Min", net.constant([0.5]), z))


@case()
def spelled_activations(net):
    """Swish and its hard kin as exporters spell them."""
    x = net.conv(net.input(1, 4, 5, 5), 4, 6)
    three, six, zero = net.constant(3.0), net.constant(6.0), net.constant(0.0)
    net.output(net("Mul", x, net("Sigmoid", x)), net("Mul", net("HardSigmoid", x, alpha=1 / 6, beta=0.5), x))
    ramp = net("Clip", net("Add", x, three), zero, six)
    net.output(net("Div", net("Mul", x, ramp), six), net("Mul", x, net("Div", ramp, six)), net("Mul", ramp, net.constant(1 / 6)))


@case()
def arithmetic(net):
    """Constants and activations, broadcast along channels, along pixels, and in front."""
    x, y = net.input(1, 6, 5, 4), net.input(1, 6, 5, 4)
    c, s = net.constant(net.random(6, 1, 1)), net.constant(net.random(1))
    net.output(net("Add", x, c), net("Mul", c, x), net("Sub", x, s), net("Sub", s, x), net("Div", x, net.constant(net.rng.uniform(0.5, 2, (1, 6, 1, 1)))), net("Neg", x))
    gate, one = net("Sigmoid", net("GlobalAveragePool", x)), net.conv(x, 6, 1)
    net.output(net("Add", x, y), net("Sub", x, y), net("Mul", gate, y), net("Mul", y, one), net("Sum", x, y, x))


@case()
def pools(net):
    x = net.input(1, 3, 11, 10)
    for op in "MaxPool", "AveragePool":
        for attributes in (dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), dict(kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
                           dict(kernel_shape=[3, 2], auto_pad="SAME_UPPER"), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])):
            net.output(net(op, x, **attributes))
    net.output(net("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1), net("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 2]))
    net.output(net("GlobalAveragePool", x), net("GlobalMaxPool", x), net("ReduceMean", x, axes=[-2, -1], keepdims=0), net("ReduceMax", x, axes=[2, 3]))


@case()
def padding(net):
    """Padding before convolutions and pools becomes theirs; alone it stays."""
    x = net.input(1, 4, 6, 7)
    pad = lambda x, *p: net("Pad", x, net.ints(0, 0, *p[:2], 0, 0, *p[2:]))
    net.output(net.conv(pad(x, 1, 0, 2, 1), 4, 5, 3, pads=[0] * 4), net("AveragePool", pad(x, 1, 1, 1, 1), kernel_shape=[3, 3], strides=[2, 2]),
               net("MaxPool", pad(net("Relu", x), 0, 0, 1, 1), kernel_shape=[3, 3], strides=[2, 2]), net("MaxPool", pad(x, 1, 1, 1, 1), kernel_shape=[3, 3]),
               pad(x, 2, 0, 0, 3))


@case(opset=19)
def resizes(net):
    x = net.input(1, 3, 5, 6)
    for mode, attributes in ("nearest", dict(coordinate_transformation_mode="asymmetric", nearest_mode="floor")), ("nearest", {}), ("linear", {}), \
            ("linear", dict(coordinate_transformation_mode="align_corners")), ("linear", dict(coordinate_transformation_mode="pytorch_half_pixel")):
        net.output(net("Resize", x, "", net.constant([1, 1, 2, 2]), mode=mode, **attributes))
        net.output(net("Resize", x, "", "", net.ints(1, 3, 8, 7), mode=mode, **attributes))
    net.output(net("Resize", x, "", "", net.ints(10, 9), mode="linear", axes=[2, 3]))


@case()
def shuffle(net):
    """ShuffleNet v2's unit: split, branch, concat, and a shuffle spelled as reshape, transpose, reshape."""
    x = net.conv(net.input(1, 3, 8, 8), 3, 12, act="Relu")
    for _ in range(2):
        left, right = net("Split", x, net.ints(6, 6), axis=1, outputs=2)
        right = net.conv(net.depthwise(net.conv(right, 6, 6, act="Relu"), 6, act=None), 6, 6, act="Relu")
        x = net("Concat", left, right, axis=1)
        x = net("Reshape", x, net.ints(1, 2, 6, 8, 8))
        x = net("Reshape", net("Transpose", x, perm=[0, 2, 1, 3, 4]), net.ints(1, -1, 8, 8))
    net.output(net.conv(x, 12, 7))


@case()
def shape_arithmetic(net):
    """A shuffle whose shapes are computed from the activation's own."""
    x = net.conv(net.input(1, 3, 6, 5, declared=["n", 3, 6, 5]), 3, 8, act="Relu")
    shape = net("Shape", x)
    n, c, h, w = (net("Gather", shape, net.constant(i, np.int64), axis=0) for i in range(4))
    wide = lambda scalar: net("Unsqueeze", scalar, net.ints(0))
    per_group = net("Div", c, net.constant(4, np.int64))
    x = net("Reshape", x, net("Concat", wide(n), net.ints(4), wide(per_group), wide(h), wide(w), axis=0))
    x = net("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = net("Reshape", x, net("Concat", wide(n), net.ints(-1), net("Slice", shape, net.ints(2), net.ints(4)), axis=0))
    net.output(net.conv(x, 8, 6, groups=2))


@case()
def index_layers(net):
    """CondenseNet: an index layer that repeats channels and leaves some out, before batch norm and a grouped convolution; dense blocks around it."""
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    for i in range(2):
        index = net("Gather", x, net.ints(*net.rng.integers(0, 8 + 4 * i, 8)), axis=1)
        statistics = [net.constant(v) for v in (net.rng.uniform(0.5, 1.5, 8), net.random(8), net.random(8), net.rng.uniform(0.5, 1.5, 8))]
        y = net.conv(net("Relu", net("BatchNormalization", index, *statistics)), 8, 12, groups=4, act="Relu")
        x = net("Concat", x, net.conv(y, 12, 4, 3, groups=2), axis=1)
    net.output(net.conv(net("Relu", x), 16, 5))


@case()
def permutations(net):
    """Gathers that only permute, between layers and on both sides of a sum."""
    x = net.conv(net.input(1, 4, 5, 6), 4, 8, act="Relu")
    p = lambda x, c: net("Gather", x, net.ints(*net.rng.permutation(c)), axis=1)
    y = p(net.depthwise(p(x, 8), 8), 8)
    y = net.conv(y, 8, 8, groups=2)
    x = net("Relu", net("Add", p(x, 8), p(y, 8)))
    x = net("Clip", p(net.conv(x, 8, 10), 10), net.constant(0.0), net.constant(6.0))
    net.output(net("Gemm", net("Flatten", net("GlobalAveragePool", p(x, 10))), net.constant(net.random(10, 4))))


@case()
def branches(net):
    """Branches of one geometry over one input: with batch norm and slopes, dense ones, and two that are not alike."""
    x = net.input(1, 6, 5, 5)
    statistics = lambda c: [net.constant(v) for v in (net.rng.uniform(0.5, 1.5, c), net.random(c), net.random(c), net.rng.uniform(0.5, 1.5, c))]
    parts = []
    for channels, filters in ([0, 3], 4), ([1, 2, 5], 2), ([4], 3):
        y = net.conv(net("Gather", x, net.ints(*channels), axis=1), len(channels), filters, bias=False)
        y = net("BatchNormalization", y, *statistics(filters))
        parts.append(net("PRelu", y, net.constant(net.random(filters, 1, 1))))
    net.output(net("Concat", *parts, axis=1))
    net.output(net("Concat", net.conv(x, 6, 3), net.conv(x, 6, 4), axis=1))
    net.output(net("Concat", net.conv(x, 6, 3, act="Relu"), net.conv(x, 6, 4), net.conv(x, 6, 2), x, axis=1))


@case()
def detector(net):
    """Heads of a detector: channels last, reshaped, joined over scales, softmax over the classes."""
    x = net.conv(net.input(1, 3, 8, 8), 3, 8, 3, act="Relu")
    y = net.conv(x, 8, 8, 3, act="Relu", strides=[2, 2])
    scores, boxes = [], []
    for z, last in (x, False), (y, True):
        for into, width in (scores, 2), (boxes, 4):
            head = net("Transpose", net.conv(z, 8, 3 * width, 3), perm=[0, 2, 3, 1])
            into.append(net("Reshape", head, net.ints(1, -1, width)))
    net.output(net("Softmax", net("Concat", *scores, axis=1), axis=2), net("Concat", *boxes, axis=1))


@case()
def several(net):
    """Several inputs and outputs: an output that is read on, one that is a view, one twice in other shapes."""
    x, y = net.input(1, 4, 6, 6), net.input(1, 2, 6, 6)
    z = net.conv(net("Concat", y, x, axis=1), 6, 8, act="Relu")
    a, b = net("Split", z, net.ints(3, 5), axis=1, outputs=2)
    net.output(z, b, net("Flatten", net("GlobalAveragePool", net("Add", x, net.conv(b, 5, 4)))), net("Identity", a), net("Dropout", net("Reshape", z, net.ints(1, 8, 36))))


@case()
def zeros(net):
    """Convolutions of zeros, filters of zeros, channels that nobody reads."""
    x = net.input(1, 6, 5, 5)
    weight = net.random(7, 6, 1, 1)
    weight[[1, 4]] = 0
    weight[:, [0, 3]] = -0.0
    y = net.conv(x, 6, 7, weight=weight, act="Relu")
    net.output(net.conv(y, 7, 3, 3, weight=np.zeros((3, 7, 3, 3), np.float32)), net.conv(net("Gather", y, net.ints(1, 4, 0), axis=1), 3, 2))
    net.output(net.depthwise(y, 7, weight=net.random(7, 1, 3, 3) * np.array([1, 1, 0, 1, 1, 0, 1])[:, None, None, None]))


@case()
def squeeze_and_excite(net):
    x = net.conv(net.input(1, 3, 7, 6), 3, 8, act="Relu")
    gate = net.conv(net.conv(net("ReduceMean", x, axes=[2, 3]), 8, 4, act="Relu"), 4, 8, act="HardSigmoid")
    x = net("Mul", x, gate)
    flat = net("ReduceMean", x, axes=[2, 3], keepdims=0)
    gate = net("Sigmoid", net("MatMul", net("Relu", net("Gemm", flat, net.constant(net.random(8, 3)), net.constant(net.random(3)))), net.constant(net.random(3, 8))))
    gate = net("Unsqueeze", net("Unsqueeze", gate, net.ints(2)), net.ints(3))
    net.output(net.conv(net("Mul", gate, x), 8, 5))


@case()
def batch(net):
    x = net.input(3, 4, 5, 5)
    x = net.conv(x, 4, 6, act="Relu")
    left, right = net("Split", x, axis=1, outputs=2)
    net.output(net("Concat", right, net.depthwise(left, 3), axis=1), net("Gemm", net("Flatten", net("GlobalMaxPool", x)), net.constant(net.random(6, 2))))


@case()
def strided_slices(net):
    """Every other pixel, as in the first layer of some detectors."""
    x = net.input(1, 3, 8, 6)
    every_other = lambda x, axis, start: net("Slice", x, net.ints(start), net.ints(1 << 31), net.ints(axis), net.ints(2))
    parts = [every_other(every_other(x, 2, row), 3, column) for row in (0, 1) for column in (0, 1)]
    net.output(net.conv(net("Concat", *parts, axis=1), 12, 5, 3, act="Relu"), net("Slice", x, net.ints(1, 2), net.ints(7, 5), net.ints(2, 3)))


@case()
def rows_and_columns(net):
    """Means over one side at a time, differences that broadcast over pixels, one pixel spread over all, flatten from the end."""
    x = net.conv(net.input(1, 4, 5, 6), 4, 8, act="Relu")
    mean = net("ReduceMean", net("ReduceMean", x, axes=[3], keepdims=0), axes=[2], keepdims=0)
    net.output(net("Gemm", mean, net.constant(net.random(8, 3))), net("ReduceMax", x, axes=[2]))
    pooled = net("GlobalAveragePool", x)
    net.output(net("Sub", x, pooled), net("Sub", pooled, x), net("Expand", pooled, net.ints(1, 8, 5, 6)))
    net.output(net("Flatten", x, axis=-1), net("Flatten", net("Reshape", x, net.ints(1, 8, 30)), axis=-2))


@case()
def channel_padding(net):
    """The shortcut of a residual network that pads channels with zeros, and pixels at once."""
    x = net.conv(net.input(1, 3, 8, 8), 3, 6, act="Relu")
    even = net("Slice", x, net.ints(0, 0), net.ints(8, 8), net.ints(2, 3), net.ints(2, 2))
    shortcut = net("Pad", even, net.ints(0, 2, 0, 0, 0, 4, 0, 0))
    y = net.conv(net.conv(x, 6, 12, 3, act="Relu", strides=[2, 2]), 12, 12, 3)
    net.output(net("Relu", net("Add", y, shortcut)), net("Pad", x, net.ints(0, 1, 1, 0, 0, 1, 0, 2)))


@case()
def traps(net):
    """Padding, strides and branches that look as if they could be taken in or merged, but for what stands between."""
    x = net.input(1, 2, 4, 4)
    pad = lambda x: net("Pad", x, net.ints(0, 0, 1, 1, 0, 0, 1, 1))
    every = lambda x: net("MaxPool", x, kernel_shape=[1, 1], strides=[2, 2])
    net.output(net.conv(net("Reshape", pad(x), net.ints(1, 2, 4, 9)), 2, 3, 3, pads=[0] * 4), net.conv(pad(net("Reshape", x, net.ints(1, 2, 2, 8))), 2, 3, 3, pads=[0] * 4))
    net.output(net.conv(net("Reshape", every(x), net.ints(1, 2, 1, 4)), 2, 3))
    a, b = net.input(1, 2, 7, 8), net.input(1, 2, 8, 7)
    net.output(net.conv(net("Concat", every(a), every(b), axis=1), 4, 3))
    far = lambda x: net.conv(x, 2, 3, 2, strides=[8, 8], pads=[0] * 4)
    net.output(net("Concat", far(x), far(net("Reshape", x, net.ints(1, 2, 2, 8))), axis=1))
    one = net("Relu", net("GlobalMaxPool", x))
    net.output(net("Add", net("MaxPool", pad(one), kernel_shape=[2, 2], dilations=[2, 2]), net.constant(1.0)))
    y = net.conv(x, 2, 3)
    net.output(net("Concat", net("Relu", y), net("Relu", y), axis=1), net("Concat", net("LeakyRelu", y, alpha=0.1), net("LeakyRelu", y, alpha=0.2), axis=1))


def main(out):
    for name, (describe, opset) in CASES.items():
        net = Net(name, opset)
        describe(net)
        net.save(Path(out) / name)
        size = sum(file.stat().st_size for file in (Path(out) / name).iterdir())
        print(f"{name}: {len(net.nodes)} nodes, {size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
