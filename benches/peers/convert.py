"""An ONNX network in the form that a peer reads."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx


def convert(peer, source, folder, programs):
    """The path, without its ending, of `source` (an ONNX file) in the form that `peer` loads, made in `folder` unless it is there."""
    target = Path(folder) / source.stem
    if peer.startswith("flgc"):
        return make(target, ".flgc", lambda out: run([programs / "flgc-import", source, "-o", out]))
    if peer == "mnn":
        # The converter's native entry: the script `mnnconvert` installs a telemetry package and tries to upload statistics.
        code = "import sys, _tools; _tools.mnnconvert(['mnnconvert'] + sys.argv[1:])"
        options = ["-f", "ONNX", "--modelFile", source, "--bizCode", "bench", "--MNNModel"]
        return make(target, ".mnn", lambda out: run([sys.executable, "-c", code, *options, out]))
    if peer == "litert":
        import to_tflite

        return make(target, ".tflite", lambda out: to_tflite.convert(str(source), str(out)))
    if peer == "ncnn":
        return make(target, ".ncnn.param", lambda out: to_ncnn(source, target))
    return source.with_suffix("")


def make(target, ending, write):
    # Names have dots of their own: endings are appended, never replaced.
    path = target.with_name(target.name + ending)
    if not path.exists():
        write(path)
    if not path.exists():
        raise RuntimeError(f"the converter wrote no {path.name}")
    return target


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError((done.stderr or done.stdout).strip()[-300:])


def to_ncnn(source, target):
    """By pnnx. It takes a gather of channels for "channel number one of the list", which is wrong: each such pair of layers becomes one of our own."""
    copy = target.with_name(target.name + ".onnx")
    shutil.copy(source, copy)
    program = Path(list(importlib.util.find_spec("pnnx").submodule_search_locations)[0]) / "pnnx"
    run([program, copy, "inputshape=[1,3,224,224]", "fp16=0"])
    graph = onnx.load(source).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if "idx" in tensor.name}
    lists = [constants[node.input[1]] for node in graph.node if node.op_type == "Gather"]
    if not lists:
        return
    np.savez(target.with_name(target.name + ".gather.npz"), **{f"g{i}": channels for i, channels in enumerate(lists)})
    file = target.with_name(target.name + ".ncnn.param")
    lines, out, count = iter(file.read_text().splitlines()), [], 0
    for line in lines:
        crop = line.split()
        if crop and crop[0] == "Crop":
            squeeze = next(lines).split()
            if squeeze[0] != "Squeeze" or squeeze[4] != crop[5]:
                raise RuntimeError(f"{file.name}: a gather in another form than expected")
            out.append(f"ChannelGather gather_{count} 1 1 {crop[4]} {squeeze[5]} 0={count}")
            count += 1
        else:
            out.append(line)
    if count != len(lists):
        raise RuntimeError(f"{file.name}: {count} gathers, expected {len(lists)}")
    layers, blobs = map(int, out[1].split())
    out[1] = f"{layers - count} {blobs - count}"
    file.write_text("\n".join(out) + "\n")
