#!/usr/bin/env python3
"""Import what `cifar10.py` has trained, and check that flgc finds the groups that it ended with, and the accuracy.

    python examples/check_import.py OUT DATA TARGET

`OUT` and `DATA` are those of `cifar10.py`, `TARGET` is the folder with the programs flgc-import and flgc-run.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import safe_open


def sets(channels, filters):
    """The groups as sets of channels and filters: those with both sides; in the others nothing meets."""
    groups = {}
    for side, of in enumerate((channels, filters)):
        for index, group in enumerate(of):
            groups.setdefault(group, ([], []))[side].append(index)
    return sorted((c, f) for c, f in groups.values() if c and f)


def main(out, data, target):
    out, target = Path(out), Path(target)
    result = json.loads((out / "result.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        labels, model = Path(folder) / "labels.txt", Path(folder) / "net.flgc"
        labels.write_text("\n".join(result["classes"]))
        numbers = lambda of: ",".join(map(str, of))
        subprocess.run([target / "flgc-import", out / "net.onnx", "-o", model, "--labels", labels, "--mean", numbers(result["mean"]), "--std", numbers(result["std"])],
                       check=True)
        done = subprocess.run([target / "flgc-run", model, "--evaluate", Path(data) / "test", "--format", "json", "--threads", "2"], check=True, capture_output=True)
        score = json.loads(done.stdout)
        with safe_open(model, "numpy") as file:
            nodes = json.loads(file.metadata()["graph"])["nodes"]
            found = []
            for node in nodes:
                conv = node["op"].get("conv") if isinstance(node["op"], dict) else None
                if conv and conv["kernel"] == [1, 1] and conv.get("learned"):
                    found.append(sets(*(file.get_tensor(conv["learned"][side]).tolist() for side in ("in_group", "out_group"))))
    expected = [sets(*sides) for sides in result["groups"].values()]
    assert found == expected, f"{len(found)} layers with groups, expected {len(expected)}; equal: {sum(a == b for a, b in zip(found, expected))}"
    assert abs(score["top1"] - result["accuracy"]) < 1e-3, (score, result["accuracy"])
    print(f"{len(found)} layers with exactly the trained groups; accuracy {100 * score['top1']:.2f} % of {score['images']} pictures, trained {100 * result['accuracy']:.2f} %")


if __name__ == "__main__":
    main(*sys.argv[1:])
