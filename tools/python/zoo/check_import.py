#!/usr/bin/env python3
"""Import ONNX files and compare what flgc computes with ONNX Runtime, on a random and on a natural input.

    python tools/python/zoo/check_import.py TARGET FILE.onnx... > table.md

`TARGET` is the folder with the programs flgc-import and flgc-run. Prints a table; exit status 1 if any network is off by more than 1e-4 of the largest
output, or fails. Networks with names that differ only in `.masked`, `.split`, `.split1` and `.padded` must have the same groups.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 1e-4


def natural(shape, index):
    """Sample pictures, normalised as for ImageNet."""
    pictures = sorted((ROOT / "models/samples").glob("*/*.jpg"))
    n, c, h, w = shape
    batch = []
    for i in range(n):
        picture = Image.open(pictures[(index * 17 + i) % len(pictures)]).convert("RGB").resize((w, h), Image.BICUBIC)
        batch.append((np.asarray(picture, np.float32) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])
    return np.ascontiguousarray(np.stack(batch).transpose(0, 3, 1, 2)[:, :c]).astype(np.float32)


def check(target, path, folder):
    """The row of one network."""
    model = Path(folder) / "model.flgc"
    start = time.perf_counter()
    done = subprocess.run([target / "flgc-import", path, "-o", model, "--report", "json"], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        return {"name": path.stem, "error": done.stderr.strip()}
    report = json.loads(done.stdout)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for kind in "random", "natural":
        feeds, command = {}, [target / "flgc-run", model]
        for index, tensor in enumerate(session.get_inputs()):
            shape = [d if isinstance(d, int) else 1 for d in tensor.shape]
            is_picture = kind == "natural" and len(shape) == 4 and shape[1] == 3
            feeds[tensor.name] = natural(shape, index) if is_picture else np.random.default_rng(index).standard_normal(shape).astype(np.float32)
            np.save(Path(folder) / f"x{index}.npy", feeds[tensor.name])
            command += ["--tensor", f"{tensor.name}={folder}/x{index}.npy"]
        outputs = [tensor.name for tensor in session.get_outputs()]
        for index, name in enumerate(outputs):
            command += ["--output", f"{name}={folder}/y{index}.npy"]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            return {"name": path.stem, "error": run.stderr.strip()}
        for index, expected in enumerate(session.run(outputs, feeds)):
            found = np.load(Path(folder) / f"y{index}.npy")
            assert found.shape == expected.shape, (path, found.shape, expected.shape)
            worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
    kinds = {}
    for layer in report["layers"]:
        kinds[layer["kind"]] = kinds.get(layer["kind"], 0) + 1
    return {"name": path.stem, "error": None, "worst": worst, "report": report, "kinds": kinds, "seconds": seconds}


def groups_of(report):
    """What the encodings of one network have to have in common."""
    groups = lambda layer: sorted((group["channels"], group["filters"]) for group in layer["groups"])
    return [(layer["kind"], layer["macs"], groups(layer)) for layer in report["layers"]], report["macs"], len(report["moves"])


def main(target, *paths):
    target, failed, encodings = Path(target).resolve(), [], {}
    print("| network | layers found | multiply-adds in the file | left | moves | worst error |")
    print("|---|---|---:|---:|---:|---:|")
    for path in map(Path, paths):
        with tempfile.TemporaryDirectory() as folder:
            row = check(target, path, folder)
        if row["error"]:
            failed.append(row["name"])
            print(f"| {row['name']} | {row['error']} | | | | |", flush=True)
            continue
        report = row["report"]
        kinds = ", ".join(f"{count} {kind}" for kind, count in row["kinds"].items())
        print(f"| {row['name']} | {kinds} | {report['macs_before'] / 1e6:.1f} M | {report['macs'] / 1e6:.1f} M | {len(report['moves'])} | {row['worst']:.1e} |",
              flush=True)
        print(f"{row['name']}: imported in {row['seconds']:.2f} s", file=sys.stderr)
        if not row["worst"] <= LIMIT:
            failed.append(row["name"])
        base, _, encoding = row["name"].rpartition(".")
        if encoding in ("masked", "split", "split1", "padded"):
            if encodings.setdefault(base, groups_of(report)) != groups_of(report):
                failed.append(f"{row['name']}, whose groups are not those of the other encodings")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
