#!/usr/bin/env python3
"""Run the ONNX project's own tests of operators through the importer.

    python tools/python/zoo/node_tests.py TARGET > table.md

`TARGET` is the folder with the programs flgc-import and flgc-run. Takes the node tests of convolutions, pools, activations, normalisations and resizes out of the
`onnx` package; everything but a test's first input becomes a constant. Prints a table of what passes and of what is not supported, with the importer's own
reason; exit status 1 if a test that is imported gives other numbers.
"""

import copy
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

OPERATORS = {
    "Convolution": ["Conv", "ConvTranspose", "ConvInteger", "DeformConv"],
    "Pooling": ["AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "GlobalLpPool", "MaxPool", "MaxUnpool"],
    "Activation": ["Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Elu", "Selu", "Celu", "Gelu", "Mish", "Softplus", "Softsign",
                   "Tanh", "ThresholdedRelu", "Softmax", "LogSoftmax", "Hardmax"],
    "Normalisation": ["BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "LRN",
                      "LpNormalization", "MeanVarianceNormalization"],
    "Resize": ["Resize", "Upsample"],
}


def run(target, test, model, inputs, outputs, folder):
    """`None` if the outputs come out, the importer's reason if it refuses, an assertion if they differ."""
    graph = model.graph
    data, *constants = graph.input
    for value, array in zip(constants, inputs[1:]):
        graph.initializer.append(numpy_helper.from_array(array, value.name))
        graph.input.remove(value)
    onnx.save(model, folder / "model.onnx")
    done = subprocess.run([target / "flgc-import", folder / "model.onnx", "-o", folder / "model.flgc"], capture_output=True, text=True)
    if done.returncode:
        message = done.stderr.strip().partition(".onnx: ")[2]
        return re.sub(r"^\d+ nodes are not supported: |^one node is not supported: | \(1x: .*?\)", "", message)
    np.save(folder / "x.npy", inputs[0].astype(np.float32))
    command = [target / "flgc-run", folder / "model.flgc", "--tensor", f"{data.name}={folder}/x.npy"]
    for index, value in enumerate(graph.output):
        command += ["--output", f"{value.name}={folder}/y{index}.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for index, expected in enumerate(outputs):
        found = np.load(folder / f"y{index}.npy")
        assert found.shape == expected.shape, f"shape {found.shape} instead of {expected.shape}"
        off = np.abs(found - expected).max(initial=0)
        assert np.allclose(found, expected, test.rtol, test.atol), f"off by {off:.1e}"
    return None


def main(target):
    target, failed = Path(target).resolve(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for title, operators in OPERATORS.items():
        passed, refused = {}, {}
        for test in tests:
            model = copy.deepcopy(test.model)
            op = model.graph.node[0].op_type
            if len(model.graph.node) != 1 or op not in operators or not model.graph.input:
                continue
            name = test.name.removeprefix("test_")
            with tempfile.TemporaryDirectory() as folder:
                try:
                    reason = run(target, test, model, *test.data_sets[0], Path(folder))
                except AssertionError as error:
                    failed.append(f"{name}: {error}")
                    continue
            if reason is None:
                passed.setdefault(op, []).append(name)
            else:
                refused.setdefault(reason, []).append(name)
        print(f"### {title}\n\n| operator | tests that pass |\n|---|---|")
        for op in operators:
            if op in passed:
                print(f"| {op} | {len(passed[op])}: {', '.join(passed[op])} |")
        print("\n| not supported | tests |\n|---|---|")
        for reason, names in sorted(refused.items()):
            print(f"| {reason.replace('|', '/')} | {len(names)}: {', '.join(names)} |")
        print(flush=True)
    if failed:
        sys.exit("failed:\n" + "\n".join(failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
