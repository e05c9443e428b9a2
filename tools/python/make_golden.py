"""Write the golden tests: small networks with the outputs that ONNX Runtime gives.

    python tools/python/make_golden.py tests/golden [ONNX_DIR]

Each function below describes one network; its name is the folder's. A folder holds `model.flgc`, `input-<k>.npy` and
`output-<k>.npy`, f32, in the order of the graph's inputs and outputs. With ONNX_DIR, the ONNX models are written there too.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

from golden_net import Net

NETWORKS = {}


def network(weights="float32"):
    def register(describe):
        NETWORKS[describe.__name__.replace("_", "-")] = (describe, weights)
        return describe
    return register


# Learned groups


@network()
def learned_figure1(net):
    """The example of the paper's figure 1."""
    x = net.input([1, 9, 7, 9])
    net.output(net.conv(x, 6, learned=([4, 2, 3], [2, 3, 1])))


@network()
def learned_uneven(net):
    x = net.input([1, 24, 9, 11])
    x = net.conv(x, 31, learned=([9, 1, 6, 5, 3], [4, 10, 2, 7, 8]), act="relu")
    x = net.conv(x, 29, learned=([3, 7, 2, 8, 1, 4, 6], [6, 1, 5, 3, 7, 5, 2]), act="relu6")
    net.output(net.conv(x, 17, learned=([11, 13, 5], [2, 9, 6]), bias=False))


@network()
def learned_wide(net):
    """Many filters in one group and few in the others, and the other way round."""
    x = net.input([1, 48, 5, 7])
    x = net.conv(x, 48, learned=([20, 2, 25, 1], [3, 41, 1, 3]), act="relu")
    net.output(net.conv(x, 40, learned=([1, 46, 1], [13, 5, 22])))


@network()
def learned_empty(net):
    """Groups without channels (constants, which the depthwise layer pads with zeros) and without filters (dead channels)."""
    x = net.input([1, 12, 8, 7])
    x = net.conv(x, 20, learned=([0, 5, 3, 4], [6, 0, 9, 5]), act="relu")
    x = net.depthwise(x, act="relu")
    x = net.conv(x, 14, learned=([7, 0, 13], [0, 5, 9]))
    x = net.conv(x, 10, learned=([6, 2, 6], [4, 6, 0]), bias=False)
    net.output(x)


@network()
def learned_nothing_inside(net):
    """No weight at all: channels and filters share no group."""
    x = net.input([1, 5, 4, 6])
    y = net.conv(x, 7, learned=([5, 0], [0, 7]))
    net.output(net.concat(y, x))


@network()
def learned_single(net):
    """Groups of one channel or one filter."""
    x = net.input([1, 12, 6, 5])
    x = net.conv(x, 12, learned=([1] * 12, [1] * 12), act="relu")
    x = net.conv(x, 16, learned=([1, 1, 9, 1], [13, 1, 1, 1]), act="relu")
    net.output(net.conv(x, 9, learned=([16], [9])))


@network()
def learned_300_groups(net):
    """Group indices beyond a byte."""
    x = net.input([1, 8, 5, 5])
    channels, filters = [0] * 300, [0] * 300
    channels[0], channels[255], channels[256], channels[299] = 2, 1, 3, 2
    filters[0], filters[128], filters[256], filters[299] = 3, 2, 4, 1
    net.output(net.conv(x, 10, learned=(channels, filters)))


@network()
def learned_3x3(net):
    x = net.input([1, 10, 13, 11])
    x = net.conv(x, 14, 3, learned=([5, 2, 3], [3, 7, 4]), act="relu")
    x = net.conv(x, 12, 3, stride=2, learned=([2, 0, 8, 1, 3], [4, 1, 2, 0, 5]), act="relu")
    net.output(net.conv(x, 8, 3, pad=[0, 1, 1, 0], dilation=2, learned=([9, 3], [2, 6])))


@network()
def learned_1x1_stride2(net):
    """A block with a strided shortcut, both branches learned."""
    x = net.input([1, 16, 11, 9])
    y = net.conv(x, 24, learned=([3, 8, 5], [10, 6, 8]), act="relu")
    y = net.depthwise(y, 3, stride=2, act="relu")
    y = net.conv(y, 20, learned=([12, 1, 9, 2], [7, 3, 4, 6]))
    shortcut = net.conv(x, 20, stride=2, learned=([6, 0, 10], [5, 4, 11]))
    net.output(net.add(y, shortcut))


@network()
def learned_two_readers(net):
    """Readers that want different channel orders of one tensor, and a sum that wants them equal."""
    x = net.input([1, 8, 7, 7])
    x = net.conv(x, 18, learned=([3, 5], [11, 7]), act="relu")
    a = net.conv(x, 18, learned=([4, 9, 5], [6, 2, 10]))
    b = net.conv(x, 18, learned=([10, 2, 6], [8, 7, 3]), act="relu")
    y = net.add(net.add(a, b), x)
    net.output(net.conv(y, 6, learned=([1, 17], [3, 3])))


@network()
def mobilenetv2_flgc(net):
    """The whole shape of the networks that this runtime is for, with labels and an image input."""
    image = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616]}
    net.labels = ["ant", "bee", "cow", "dog", "eel", "fox", "gnu"]
    x = net.input([1, 3, 33, 29], image=image)
    x = net.conv(x, 12, 3, stride=2, act="relu")
    x = inverted_residual(net, x, 10, 1, 1, ([5, 3, 4], [4, 2, 6]), ([2, 5, 5], [3, 4, 3]), shortcut=([6, 0, 6], [5, 2, 3]))
    x = inverted_residual(net, x, 16, 3, 2, ([2, 5, 3], [11, 9, 10]), ([12, 7, 11], [6, 7, 3]))
    for _ in range(2):
        x = inverted_residual(net, x, 16, 2, 1, ([4, 7, 5], [12, 9, 11]), ([13, 8, 11], [7, 3, 6]), shortcut=True)
    x = net.conv(x, 40, learned=([6, 4, 6], [15, 9, 16]), act="relu")
    net.output(net.linear(net.flatten(net.global_pool(x)), 7))


def inverted_residual(net, x, filters, expand, stride, widen, narrow, shortcut=None):
    y = net.conv(x, net.shape(x)[1] * expand, learned=widen, act="relu")
    y = net.depthwise(y, stride=stride, act="relu")
    y = net.conv(y, filters, learned=narrow)
    if shortcut is True:
        return net.add(y, x)
    return net.add(y, net.conv(x, filters, learned=shortcut)) if shortcut else y


# Dense and evenly grouped convolutions


@network()
def conv_1x1(net):
    x = net.input([1, 17, 9, 13])
    x = net.conv(x, 23, act="relu")
    x = net.conv(x, 16, stride=2, act="relu")
    x = net.conv(x, 11, stride=3)
    net.output(x)


@network()
def conv_stem(net):
    x = net.input([1, 3, 37, 31])
    x = net.conv(x, 10, 7, stride=2, act="relu")
    x = net.conv(x, 12, 5, stride=3, pad=[1, 1, 1, 1], act="relu")
    net.output(net.conv(x, 9, 2, stride=2))


@network()
def conv_3x3(net):
    x = net.input([1, 7, 12, 15])
    x = net.conv(x, 13, 3, act="relu")
    x = net.conv(x, 11, 3, stride=2, act="relu")
    x = net.conv(x, 8, 3, pad=[0, 0, 0, 0], act="relu")
    net.output(net.conv(x, 5, 5))


@network()
def conv_oblong(net):
    """Kernels, strides, pads and planes that are not square."""
    x = net.input([1, 6, 6, 19])
    x = net.conv(x, 8, [1, 7], act="relu")
    x = net.conv(x, 9, [7, 1], act="relu")
    x = net.conv(x, 10, [3, 5], stride=[1, 2], act="relu")
    net.output(net.conv(x, 7, [2, 1], stride=[2, 1], pad=[0, 0, 0, 0]))


@network()
def conv_dilated(net):
    x = net.input([1, 6, 17, 14])
    x = net.conv(x, 8, 3, dilation=2, act="relu")
    x = net.conv(x, 10, 3, dilation=[1, 3], act="relu")
    net.output(net.conv(x, 6, 3, stride=2, dilation=2, pad=[2, 1, 0, 3]))


@network()
def conv_padded(net):
    """Asymmetric pads; a 1x1 with pads, whose border is the bias; pads as wide as the kernel."""
    x = net.input([1, 5, 9, 8])
    x = net.conv(x, 8, 3, pad=[2, 0, 1, 3], act="relu")
    x = net.conv(x, 6, 3, stride=2, pad=[0, 0, 1, 1], act="relu")
    x = net.conv(x, 7, 1, pad=[1, 0, 2, 1], act="relu")
    net.output(net.conv(x, 4, 2, pad=[3, 2, 0, 1]))


@network("float16")
def conv_3x3_wide(net):
    """Wide enough for Winograd's method: odd sizes, asymmetric pads, batch, groups, learned ones, a residual, outputs that nobody reads."""
    x = net.input([2, 48, 14, 17])
    y = net.conv(x, 48, 3, act="relu6")
    y = net.add(net.conv(y, 48, 3, bias=False), x, act="relu")
    y = net.conv(y, 40, 3, pad=[2, 0, 1, 2], act="hard_swish")
    y = net.conv(y, 80, 3, groups=2, act="relu")
    y = net.conv(y, 80, 3, learned=([50, 1, 29], [30, 10, 40]))
    net.output(net.slice(y, 9, 73))


@network()
def conv_groups(net):
    """Even groups, a ResNeXt block."""
    x = net.input([1, 12, 9, 10])
    y = net.conv(x, 24, groups=3, act="relu")
    y = net.conv(y, 24, 3, groups=8, act="relu")
    y = net.conv(y, 12, groups=4)
    y = net.add(y, x, act="relu")
    net.output(net.conv(y, 18, 3, stride=2, groups=6))


@network()
def depthwise(net):
    x = net.input([1, 9, 19, 17])
    x = net.depthwise(x, 3, act="relu")
    x = net.depthwise(x, 5, act="relu")
    y = net.depthwise(x, 3, stride=2, act="relu6")
    z = net.depthwise(x, 5, stride=2, bias=False)
    net.output(net.add(y, z))


@network()
def depthwise_odd(net):
    """Dilation, asymmetric pads, kernels and strides that are not square."""
    x = net.input([1, 7, 15, 18])
    x = net.depthwise(x, 3, dilation=2, act="relu")
    x = net.depthwise(x, 3, stride=2, pad=[0, 0, 1, 1], act="relu")
    x = net.depthwise(x, [3, 5], stride=[1, 2], pad=[0, 3, 2, 1], act="relu")
    x = net.depthwise(x, 3, pad=[2, 2, 2, 2])
    net.output(net.depthwise(x, 7, stride=3))


@network()
def depthwise_multiplier(net):
    x = net.input([1, 6, 9, 7])
    x = net.depthwise(x, 3, multiplier=2, act="relu")
    x = net.conv(x, 10, learned=([5, 7], [6, 4]), act="relu")
    net.output(net.depthwise(x, 5, multiplier=3, stride=2))


def tiny_planes(net, size):
    x = net.input([1, 10, size, size])
    y = net.depthwise(x, 3, act="relu")
    y = net.conv(y, 14, learned=([6, 4], [5, 9]), act="relu")
    y = net.depthwise(y, 5)
    net.output(net.conv(y, 10, 3, act="relu"), net.depthwise(y, 3, stride=2))


@network()
def tiny_1x1(net):
    tiny_planes(net, 1)


@network()
def tiny_2x2(net):
    tiny_planes(net, 2)


@network()
def tiny_3x3(net):
    tiny_planes(net, 3)


# Networks from the literature, cut down


@network()
def resnet(net):
    """Activation after the sum; shortcuts plain and by convolution; batch norm to fold."""
    def conv(x, filters, *args, act=None, **more):
        return net.batch_norm(net.conv(x, filters, *args, bias=False, **more), act=act)

    x = net.input([1, 3, 35, 31])
    x = net.pool(conv(x, 8, 7, stride=2, act="relu"), "max", 3, 2, [1, 1, 1, 1])
    x = net.add(conv(conv(x, 8, 3, act="relu"), 8, 3), x, act="relu")
    y = conv(conv(x, 12, 3, stride=2, act="relu"), 12, 3)
    x = net.add(y, conv(x, 12, stride=2), act="relu")
    net.output(net.linear(net.flatten(net.global_pool(x)), 5))


@network()
def residual_chain(net):
    """Sums without and after the activation, each sum read twice, the first an output."""
    x = net.input([1, 10, 9, 9])
    for i in range(3):
        y = net.conv(x, 14, learned=([3, 7], [6, 8]), act="relu")
        y = net.conv(y, 10, learned=([9, 5], [4, 6]))
        x = net.add(x, y) if i < 2 else net.add(y, x)
        if i == 0:
            net.output(x)
    x = net.add(x, net.act(net.conv(x, 10, 3), "leaky_relu", slope=0.1))
    net.output(x)


@network()
def shufflenet_v1(net):
    x = net.input([1, 12, 13, 11])
    y = net.shuffle(net.conv(x, 18, groups=3, act="relu"), 3)
    y = net.conv(net.depthwise(y, 3, stride=2), 15, groups=3)
    x = net.act(net.concat(net.pool(x, "average", 3, 2, [1, 1, 1, 1], count_pad=True), y), "relu")
    y = net.shuffle(net.conv(x, 9, groups=3, act="relu"), 3)
    y = net.conv(net.depthwise(y), 27, groups=3)
    net.output(net.add(x, y, act="relu"))


@network()
def shufflenet_v2(net):
    x = net.input([1, 8, 14, 11])
    left = net.conv(net.depthwise(x, 3, stride=2), 8, act="relu")
    right = net.conv(x, 8, act="relu")
    right = net.conv(net.depthwise(right, 3, stride=2), 8, act="relu")
    x = net.shuffle(net.concat(left, right), 2)
    for _ in range(3):
        keep, y = net.split(x, 8, 8)
        y = net.conv(net.depthwise(net.conv(y, 8, act="relu")), 8, act="relu")
        x = net.shuffle(net.concat(keep, y), 2)
    net.output(net.conv(x, 12, act="relu"))


@network()
def shuffle_output(net):
    """Outputs that are views: shuffled, permuted, sliced, concatenated; one of them also read further."""
    x = net.input([1, 12, 5, 7])
    y = net.conv(x, 12, learned=([7, 5], [4, 8]), act="relu")
    shuffled = net.shuffle(y, 4)
    permuted = net.gather(y, [5, 0, 11, 3, 8, 1, 2, 10, 9, 4, 7, 6])
    joined = net.concat(net.slice(shuffled, 3, 9), permuted)
    net.output(shuffled, permuted, net.slice(y, 2, 7), joined, net.conv(joined, 5))


@network()
def permute(net):
    """Permutations between grouped layers, as in CondenseNet, and on both sides of a sum."""
    x = net.input([1, 12, 8, 9])
    x = net.conv(net.gather(x, net.rng.permutation(12)), 16, groups=4, act="relu")
    y = net.gather(net.depthwise(x), net.rng.permutation(16))
    x = net.add(net.gather(x, net.rng.permutation(16)), y, act="relu")
    net.output(net.conv(net.shuffle(x, 4), 8, groups=2))


@network()
def gather(net):
    """Channels left out and repeated: before a grouped convolution as in CondenseNet, before and behind a depthwise one, in sums, and as an output."""
    x = net.conv(net.input([1, 6, 8, 9]), 10, act="relu")
    y = net.conv(net.gather(x, [3, 1, 9, 0, 3, 7, 7, 2]), 12, groups=4, act="relu")
    z = net.depthwise(net.gather(y, [0, 5, 5, 11, 2, 0, 0]), stride=2)
    w = net.add(net.gather(z, [6, 1, 2, 1]), net.gather(z, [0, 0, 3, 5]), act="relu")
    net.output(net.conv(w, 5, 3), net.gather(z, [2, 2, 0]), net.gather(net.linear(net.flatten(net.global_pool(w)), 7), [6, 0, 0, 3]))


@network()
def clamps(net):
    """Bounds on one side and on both, on an input and behind convolutions."""
    x = net.input([1, 5, 6, 7], scale=3.0)
    for bounds in {"min": -0.5}, {"max": 1.25}, {"min": -1.0, "max": 0.5}:
        net.output(net.act(x, "clamp", **bounds), net.act(net.conv(x, 6, 3), "clamp", **bounds), net.act(net.depthwise(x), "clamp", **bounds))


@network()
def densenet(net):
    """Batch norm before the convolution: it can't be folded, as its tensor has other readers."""
    x = net.conv(net.input([1, 3, 17, 15]), 8, 3)
    for i in range(3):
        y = net.conv(net.batch_norm(x, act="relu"), 12, bias=False)
        y = net.conv(net.batch_norm(y, act="relu"), 5, 3, bias=False)
        x = net.concat(x, y)
    x = net.pool(net.conv(net.batch_norm(x, act="relu"), 10, bias=False), "average", 2, 2)
    net.output(net.batch_norm(x, act="relu"))


@network()
def condensenet(net):
    """The same with learned groups."""
    x = net.conv(net.input([1, 3, 11, 13]), 8, 3)
    for channels, filters in ([3, 5], [6, 10]), ([6, 2, 5], [2, 10, 4]):
        y = net.conv(net.batch_norm(x, act="relu"), 16, learned=(channels, filters))
        y = net.conv(net.shuffle(net.batch_norm(y, act="relu"), 4), 5, 3, learned=([7, 9], [1, 4]))
        x = net.concat(x, y)
    net.output(net.batch_norm(x, act="relu"))


@network()
def mobilenetv3(net):
    x = net.act(net.conv(net.input([1, 3, 25, 21]), 8, 3, stride=2), "hard_swish")
    y = net.act(net.depthwise(net.act(net.conv(x, 20), "hard_swish"), 5), "hard_swish")
    y = squeeze_excite(net, y, 6, "relu", "hard_sigmoid")
    net.output(net.add(net.conv(y, 8), x))


@network()
def efficientnet_flgc(net):
    x = net.input([1, 10, 11, 12])
    y = net.act(net.conv(x, 22, learned=([4, 6], [9, 13])), "silu")
    y = net.act(net.depthwise(y), "silu")
    y = squeeze_excite(net, y, 5, "silu", "sigmoid")
    x = net.add(net.conv(y, 10, learned=([15, 7], [3, 7])), x)
    net.output(net.act(net.conv(x, 16), "silu"))


def squeeze_excite(net, x, squeezed, act, gate):
    s = net.act(net.conv(net.global_pool(x), squeezed), act)
    return net.multiply(x, net.act(net.conv(s, net.shape(x)[1]), gate))


@network()
def inception(net):
    x = net.input([1, 9, 12, 10])
    a = net.conv(x, 5, act="relu")
    b = net.conv(net.conv(x, 4, act="relu"), 7, 3, act="relu")
    c = net.conv(net.pool(x, "max", 3, 1, [1, 1, 1, 1]), 3, act="relu")
    x = net.concat(a, b, c)
    a = net.conv(x, 6, 3, stride=2, pad=[0, 0, 0, 0], act="relu")
    net.output(net.concat(a, net.pool(x, "max", 3, 2)))


@network()
def vgg(net):
    """A map flattened into a linear layer; softmax at the end."""
    x = net.input([1, 3, 18, 22])
    x = net.pool(net.conv(x, 8, 3, act="relu"), "max", 2, 2)
    x = net.pool(net.conv(x, 10, 3, act="relu"), "max", 2, 2)
    x = net.act(net.linear(net.flatten(x), 19), "relu")
    net.output(net.softmax(net.linear(x, 11)))


@network()
def flatten_learned(net):
    """A map whose channels may have been reordered, flattened without pooling; softmax over the second of three outputs."""
    x = net.input([1, 8, 3, 5])
    x = net.conv(x, 12, learned=([3, 5], [7, 5]), act="relu")
    flat = net.flatten(x)
    net.output(flat, net.softmax(net.linear(flat, 6), axis=1), net.flatten(x, axis=2))


@network()
def detector(net):
    """The head of a single-shot detector: two scales, boxes and class scores."""
    x = net.conv(net.input([1, 3, 26, 34]), 8, 3, stride=2, act="relu")
    boxes, scores = [], []
    for _ in range(2):
        x = net.conv(net.depthwise(x, 3, stride=2, act="relu"), 12, learned=([3, net.shape(x)[1] - 3], [5, 7]), act="relu")
        boxes.append(net.reshape(net.transpose(net.conv(x, 12, 3), 0, 2, 3, 1), 0, -1, 4))
        scores.append(net.reshape(net.transpose(net.conv(net.depthwise(x, act="relu"), 6), 0, 2, 3, 1), 1, -1, 2))
    net.output(net.softmax(net.concat(*scores)), net.concat(*boxes))


@network()
def pyramid(net):
    """A feature pyramid: nearest resize by two, sums, outputs at each scale."""
    c3 = net.conv(net.input([1, 3, 20, 28]), 8, 3, stride=2, act="relu")
    c4 = net.conv(c3, 12, 3, stride=2, act="relu")
    p4 = net.conv(c4, 10)
    p3 = net.add(net.conv(c3, 10), net.resize(p4, "nearest", scale=[2, 2], coordinates="asymmetric", rounding="floor"))
    net.output(net.conv(p3, 6, 3), p4)


@network()
def spatial_pyramid_pooling(net):
    """Three max pools one after the other, all joined (YOLO's SPPF)."""
    x = net.act(net.conv(net.input([1, 10, 9, 9]), 6), "silu")
    parts = [x]
    for _ in range(3):
        parts.append(net.pool(parts[-1], "max", 5, 1, [2, 2, 2, 2]))
    net.output(net.act(net.conv(net.concat(*parts), 10), "silu"))


@network()
def segmentation(net):
    """Bilinear resize, then softmax over the channels of a map."""
    x = net.input([1, 3, 16, 20])
    x = net.conv(x, 8, 3, stride=2, act="relu")
    x = net.conv(x, 10, 3, dilation=2, act="relu")
    x = net.resize(net.conv(x, 5), "bilinear", size=[16, 20])
    net.output(net.softmax(x, axis=1))


# Single operators


ACTIVATIONS = [("relu", {}), ("relu6", {}), ("leaky_relu", {}), ("leaky_relu", {"slope": 0.3}), ("hard_swish", {}), ("hard_sigmoid", {}),
               ("hard_sigmoid", {"alpha": 0.25, "beta": 0.4}), ("sigmoid", {}), ("silu", {})]


@network()
def activations(net):
    """Each activation on a graph input."""
    x = net.input([1, 5, 5, 7], scale=3.5)
    for kind, attributes in ACTIVATIONS:
        net.output(net.act(x, kind, **attributes))
    net.output(net.prelu(x), net.prelu(x, shared=True))


@network()
def activations_after_conv(net):
    """Each activation after a convolution of its own kind."""
    x = net.input([1, 8, 7, 9], scale=2.0)
    for i, (kind, attributes) in enumerate(ACTIVATIONS):
        y = [lambda: net.conv(x, 6), lambda: net.conv(x, 5, 3), lambda: net.depthwise(x),
             lambda: net.conv(x, 7, learned=([5, 3], [4, 3]))][i % 4]()
        net.output(net.act(y, kind, **attributes))
    net.output(net.prelu(net.conv(x, 9, learned=([2, 6], [7, 2]))), net.prelu(net.depthwise(x), shared=True))


@network()
def activation_chain(net):
    """Activations on sums, pools, linear layers, and two in a row."""
    x = net.input([1, 8, 9, 8])
    x = net.act(net.add(net.conv(x, 8, 3), x), "hard_swish")
    x = net.act(net.pool(x, "max", 2, 2), "leaky_relu", slope=0.2)
    x = net.act(net.act(net.conv(x, 10), "relu"), "sigmoid")
    x = net.act(net.linear(net.flatten(net.global_pool(x)), 12), "silu")
    net.output(net.prelu(net.linear(x, 9)))


@network()
def batch_norm(net):
    """At the input, after each kind of convolution, with other readers, twice in a row, after a linear layer."""
    x = net.batch_norm(net.input([1, 6, 9, 8]), epsilon=1e-3)
    x = net.batch_norm(net.conv(x, 10, 3, bias=False), act="relu")
    x = net.batch_norm(net.depthwise(x), epsilon=1e-2, act="relu6")
    y = net.conv(x, 12, learned=([4, 0, 6], [5, 4, 3]), bias=False)
    x = net.add(net.batch_norm(y, act="relu"), y)
    x = net.batch_norm(net.batch_norm(net.conv(x, 8)))
    net.output(x)
    net.output(net.batch_norm(net.linear(net.flatten(net.global_pool(x)), 7), act="relu"))


@network()
def max_pools(net):
    x = net.input([1, 5, 13, 16])
    net.output(
        net.pool(x, "max", 2, 2),
        net.pool(x, "max", 2, 2, ceil=True),
        net.pool(x, "max", 3, 1, [1, 1, 1, 1]),
        net.pool(x, "max", 3, 3, [0, 1, 1, 0], ceil=True),
        net.pool(x, "max", 3, 2, [1, 1, 1, 1], dilation=2),
        net.pool(x, "max", [1, 4], [2, 1], [0, 2, 0, 1], dilation=[1, 2]),
        net.pool(x, "max", 2, 3, [1, 1, 1, 1], ceil=True),
        net.global_pool(x, "max"))


@network()
def average_pools(net):
    x = net.input([1, 5, 13, 16], scale=2.0)
    net.output(
        net.pool(x, "average", 2, 2),
        net.pool(x, "average", 3, 1, [1, 1, 1, 1]),
        net.pool(x, "average", 3, 1, [1, 1, 1, 1], count_pad=True),
        net.pool(x, "average", 3, 2, [0, 1, 2, 1]),
        net.pool(x, "average", [2, 5], [3, 1], [1, 2, 0, 2], count_pad=True),
        net.pool(x, "average", 2, 2, ceil=True),
        net.pool(x, "average", 3, 2, [1, 1, 1, 1], ceil=True),
        net.pool(x, "average", 3, 3, [1, 1, 1, 1], ceil=True, count_pad=True),
        net.global_pool(x))


@network()
def resize_nearest(net):
    x = net.input([1, 3, 6, 5])
    for rounding in "round_prefer_floor", "floor", "ceil", "round_prefer_ceil":
        net.output(net.resize(x, "nearest", size=[9, 13], rounding=rounding))
        net.output(net.resize(x, "nearest", scale=[0.5, 0.5], rounding=rounding))
    net.output(
        net.resize(x, "nearest", scale=[2, 3]),
        net.resize(x, "nearest", scale=[2, 2], coordinates="asymmetric", rounding="floor"),
        net.resize(x, "nearest", scale=[1.5, 2.75], coordinates="asymmetric"),
        net.resize(x, "nearest", size=[11, 3], coordinates="align_corners"),
        net.resize(x, "nearest", size=[1, 8], coordinates="align_corners", rounding="ceil"))


@network()
def resize_bilinear(net):
    x = net.input([1, 3, 6, 5], scale=2.0)
    for coordinates in None, "align_corners", "asymmetric":
        net.output(
            net.resize(x, "bilinear", scale=[2, 2], coordinates=coordinates),
            net.resize(x, "bilinear", size=[7, 13], coordinates=coordinates),
            net.resize(x, "bilinear", size=[4, 3], coordinates=coordinates),
            net.resize(x, "bilinear", scale=[1.25, 0.75], coordinates=coordinates))
    net.output(net.resize(net.conv(x, 4, learned=([1, 2], [3, 1]), act="relu"), "bilinear", scale=[2, 3]))


@network()
def broadcast(net):
    """Sums and products of a map with one value a channel, on either side."""
    x, gate = net.input([1, 7, 8, 5]), net.input([1, 7, 1, 1])
    y = net.conv(x, 7, 3)
    net.output(net.add(y, gate), net.multiply(gate, y), net.multiply(y, x), net.add(net.global_pool(y, "max"), gate))


@network()
def views(net):
    """Split with an unused part, parts joined in another order, one tensor joined twice, views of views."""
    x = net.conv(net.input([1, 6, 7, 5]), 15, act="relu")
    a, _, c, d = net.split(x, 4, 2, 6, 3)
    x = net.concat(d, c, a, d)
    y = net.concat(x, x)
    y = net.conv(net.slice(y, 5, 29), 12, learned=([10, 14], [7, 5]), act="relu")
    z = net.shuffle(net.concat(net.slice(y, 6, 12), net.slice(y, 0, 6)), 3)
    net.output(net.add(z, y), net.conv(net.concat(y, y, axis=-3), 9, groups=3))


@network()
def views_in_space(net):
    """Slice, split and concat along height and width, as in YOLO's focus layer."""
    x = net.conv(net.input([1, 4, 10, 9]), 6, act="relu")
    left, right = net.split(x, 4, 5, axis=3)
    x = net.concat(net.slice(left, 1, 9, axis=2), net.slice(right, 2, 10, axis=-2), axis=3)
    net.output(net.conv(x, 5, 3), net.concat(x, x, axis=2))


@network()
def several_inputs_outputs(net):
    """An input joined into an output, an output read further, outputs from several depths."""
    a, b = net.input([1, 6, 9, 7]), net.input([1, 5, 9, 7])
    joined = net.concat(a, b)
    x = net.conv(joined, 10, learned=([4, 7], [3, 7]), act="relu")
    y = net.conv(x, 6, 3)
    net.output(joined, x, net.add(y, a), net.flatten(net.global_pool(y)))


@network()
def rank_two(net):
    """No map anywhere."""
    x = net.input([2, 13])
    x = net.batch_norm(net.linear(x, 17), act="relu")
    x = net.add(net.prelu(net.linear(x, 17, bias=False)), x)
    a, b = net.split(x, 9, 8)
    net.output(net.softmax(net.linear(net.concat(b, a), 5)), net.multiply(x, x))


# Batches, shapes, weight types


@network()
def large_plane(net):
    """Rows and planes of many vectors, and neither a multiple of one."""
    x = net.conv(net.input([1, 3, 41, 51]), 8, 3, act="relu")
    y = net.depthwise(net.conv(x, 10, learned=([3, 5], [7, 3]), act="relu"), act="relu")
    x = net.add(net.conv(y, 8, learned=([4, 1, 5], [2, 5, 1])), x)
    net.output(net.depthwise(x, 3, stride=2, act="relu"), net.conv(net.pool(x, "max", 2, 2), 5, 3))


@network()
def batch_2(net):
    x = net.input([2, 8, 9, 11])
    y = net.conv(x, 14, learned=([3, 5], [8, 6]), act="relu")
    y = net.conv(net.depthwise(y, act="relu"), 8, learned=([9, 5], [2, 6]))
    x = net.shuffle(net.add(y, x), 2)
    x = net.conv(x, 10, 3, stride=2, act="relu")
    net.output(x, net.linear(net.flatten(net.global_pool(x)), 6))


@network()
def batch_3(net):
    """Joined and cut along the batch too."""
    x = net.input([3, 6, 7, 7])
    x = squeeze_excite(net, net.conv(x, 9, 3, act="relu"), 4, "relu", "sigmoid")
    x = net.concat(x, net.slice(x, 1, 2, axis=0), axis=0)
    x = net.pool(x, "max", 3, 2, [1, 1, 1, 1])
    net.output(net.softmax(net.linear(net.flatten(x), 5), axis=-1))


@network()
def shape_in_range(net):
    """The input has another shape than the default one, inside its range."""
    x = net.input([2, 3, 19, 26], default=[1, 3, 16, 16], range=[[1, 4], [3, 3], [16, 32], [16, 32]])
    x = net.conv(x, 8, 3, stride=2, act="relu")
    x = net.conv(x, 12, learned=([3, 5], [8, 4]), act="relu")
    net.output(net.linear(net.flatten(net.global_pool(x)), 6), net.pool(x, "average", 2, 2))


def half_weights(net):
    x = net.input([1, 6, 10, 9])
    x = net.conv(x, 10, 3, act="relu")
    x = net.conv(x, 15, learned=([4, 6], [9, 6]), act="relu")
    x = net.conv(net.depthwise(x, act="relu"), 8)
    net.output(net.linear(net.flatten(net.global_pool(x)), 7))


@network(weights="float16")
def weights_f16(net):
    half_weights(net)


@network(weights="bfloat16")
def weights_bf16(net):
    half_weights(net)


def check(name, results):
    """Outputs are finite, around 1, and neither constant nor mostly clipped to one value."""
    for k, y in enumerate(results):
        _, counts = np.unique(y, return_counts=True)
        clipped, spread = counts.max() / y.size, y.std()
        if not np.isfinite(y).all() or not 0.01 < spread < 10 or (clipped > 0.65 and y.size > 10):
            raise SystemExit(f"{name}, output {k}: spread {spread:.3g}, {clipped:.0%} of one value: not a useful test")


def main(out_dir, onnx_dir=None):
    for name, (describe, weights) in NETWORKS.items():
        folder = Path(out_dir) / name
        shutil.rmtree(folder, ignore_errors=True)
        net = Net(name, weights)
        describe(net)
        results = net.save(folder, onnx_dir and Path(onnx_dir) / f"{name}.onnx")
        check(name, results)
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{name}: {len(net.flgc_nodes)} nodes, {size} bytes, outputs {', '.join(str(list(y.shape)) for y in results)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
