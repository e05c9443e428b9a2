#!/usr/bin/env python3
"""Write the networks that the importer is checked on as ONNX files.

    python tools/python/zoo/make_zoo.py DIR [NAME...]

`DIR` then holds the networks of `benches/peers/gen_models.py` in all their encodings and those of `networks.py`, exported by PyTorch; with names, only those of
the latter. Files that are there already are kept. Needs `requirements.txt`.
"""

import subprocess
import sys
import warnings
from pathlib import Path

import torch

from networks import NAMES, build

ROOT = Path(__file__).resolve().parents[3]


def main(out, *names):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if not names and not (out / "models.json").exists():
        subprocess.run([sys.executable, ROOT / "benches/peers/gen_models.py", out], check=True)
    for name in names or NAMES:
        path = out / f"torch.{name}.onnx"
        if path.exists():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(build(name), (torch.randn(1, 3, 224, 224),), path, input_names=["x"], output_names=["y"], external_data=False, verbose=False)
        print(f"{path}: {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
