"""Write a small network with nothing but the snippet of docs/model-format.md, to test that the snippet is right.

    python tests/python_writer.py MODEL.flgc INPUT.npy OUTPUT.npy

Needs numpy and safetensors. INPUT is random, OUTPUT what numpy computes from it: learned groups (one without channels, one without
filters), ReLU, depthwise 3x3, global average pool, linear.
"""

import re
import sys
from pathlib import Path

import numpy as np

CHANNELS, FILTERS, FEATURES, HEIGHT, WIDTH = 7, 9, 4, 6, 5
IN_GROUP = np.array([0, 2, 3, 0, 2, 2, 0], np.uint8)
OUT_GROUP = np.array([2, 0, 1, 2, 0, 2, 0, 1, 2], np.uint8)


def snippet():
    """The functions of the page's Python block."""
    page = Path(__file__).resolve().parent.parent / "docs" / "model-format.md"
    functions = {}
    exec(re.search(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)[1], functions)
    return functions


def main(model_path, input_path, output_path):
    rng = np.random.default_rng(1)

    def random(*shape):
        return rng.normal(size=shape).astype(np.float32)

    # Learned groups: `dense` for numpy, `packed` (group after group, then filters, then channels) for the file.
    dense = random(FILTERS, CHANNELS) * (OUT_GROUP[:, None] == IN_GROUP)
    packed = [dense[f, c] for g in range(4) for f in range(FILTERS) for c in range(CHANNELS) if OUT_GROUP[f] == g and IN_GROUP[c] == g]
    tensors = {
        "mix.weight": np.array(packed, np.float32), "mix.bias": random(FILTERS), "mix.in": IN_GROUP, "mix.out": OUT_GROUP,
        "depth.weight": random(FILTERS, 1, 3, 3), "depth.bias": random(FILTERS),
        "head.weight": random(FEATURES, FILTERS), "head.bias": random(FEATURES),
    }
    learned = {"groups": 4, "in_group": "mix.in", "out_group": "mix.out"}
    mix = {"filters": FILTERS, "weight": "mix.weight", "bias": "mix.bias", "learned": learned}
    depth = {"filters": FILTERS, "groups": FILTERS, "kernel": [3, 3], "pad": [1, 1, 1, 1], "weight": "depth.weight", "bias": "depth.bias"}
    ops = [("mix", {"conv": mix}), ("relu", "relu"), ("depth", {"conv": depth}), ("pool", "global_average_pool"), ("flat", {"flatten": {}}),
           ("head", {"linear": {"features": FEATURES, "weight": "head.weight", "bias": "head.bias"}})]
    names = ["image"] + [name for name, _ in ops]
    nodes = [{"name": name, "op": op, "inputs": [before], "outputs": [name]} for before, (name, op) in zip(names, ops)]
    graph = {"inputs": [{"name": "image", "shape": [1, CHANNELS, HEIGHT, WIDTH]}], "nodes": nodes, "outputs": ["head"],
             "labels": ["one", "two", "three", "four \u2713"]}
    snippet()["save_flgc"](model_path, graph, tensors)

    x = random(CHANNELS, HEIGHT, WIDTH)
    np.save(input_path, x[None])
    x = np.einsum("fc,chw->fhw", dense, x, dtype=np.float64) + tensors["mix.bias"][:, None, None]
    x = np.pad(np.maximum(x, 0), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    x = np.einsum("fhwij,fij->fhw", windows, tensors["depth.weight"][:, 0]) + tensors["depth.bias"][:, None, None]
    x = tensors["head.weight"] @ x.mean((1, 2)) + tensors["head.bias"]
    np.save(output_path, x[None].astype(np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
