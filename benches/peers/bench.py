#!/usr/bin/env python3
"""Times flgc and its peers on the same networks, in interleaved rounds on one pinned core.

    python bench.py NETWORKS PROGRAMS RESULTS.json [--peers a,b] [--networks a,b] [--rounds 3] [--seconds 0.7] [--core 0]

NETWORKS is a folder made by gen_models.py; PROGRAMS has flgc-bench, flgc-import, flgc-run, rust_peers and small. Each round of a peer and a network is a process
of its own. A round in which something else kept the machine busy is repeated up to --tries times, then kept and marked. Where the next core may be used, too,
flgc also runs the grouped networks with two threads. RESULTS.json is added to.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from convert import convert

HERE = Path(__file__).resolve().parent
# flgc as it chooses for itself, and, on a CPU with AVX-512, without that.
OWN = {"flgc": [], "flgc-avx2": ["--isa", "avx2"]}
PEERS = [*OWN, "onnxruntime", "openvino-f32", "openvino-default", "litert", "mnn", "ncnn", "tract", "rten"]
NETWORKS = ["mobilenet_v2_flgc8.masked", "mobilenet_v2_flgc8.split", "mobilenet_v2_flgc8.padded", "mobilenet_v2", "shufflenet_v2_x1_0",
            "resnet50_flgc8_dw.masked", "resnet50_flgc8_dw.split", "resnet50_flgc8_dw.padded", "resnet50", "resnext50_32x4d"]
# What also runs with two threads.
IN_THREADS = ["mobilenet_v2_flgc8.masked", "resnet50_flgc8_dw.masked"]
# A share of time that others took, above which a round is noisy.
QUIET = 0.08


def cores():
    """For each core its time so far, idle and stolen."""
    found = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks = [int(field) for field in fields[:8]]
            found[name] = (sum(ticks), ticks[3] + ticks[4], ticks[7])
    return found


def busy(ours, before):
    """The largest share that others had since `before`: of the other cores, or stolen from ours."""
    shares = []
    for name, (total, idle, stolen) in cores().items():
        elapsed = max(1, total - before[name][0])
        own = name in [f"cpu{core}" for core in ours]
        shares.append((stolen - before[name][2]) / elapsed if own else 1 - (idle - before[name][1]) / elapsed)
    return max(shares)


def measure(command, ours, tries):
    """The JSON of a process on the cores `ours`, with `noise`."""
    environment = dict(os.environ, RTEN_NUM_THREADS="1", RAYON_NUM_THREADS="1", OMP_NUM_THREADS="1")
    for _ in range(tries):
        before, start, used = cores(), time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(["taskset", "-c", ",".join(map(str, ours)), *map(str, command)], capture_output=True, text=True, timeout=300, env=environment)
        if done.returncode != 0:
            raise RuntimeError((done.stderr or done.stdout).strip()[-300:])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        # Wall time without CPU time: somebody else had our core. Of several cores some wait for others anyway.
        waited = 1 - cpu / (time.perf_counter() - start) - 0.05 if len(ours) == 1 else 0
        noise = max(busy(ours, before), waited)
        if noise < QUIET:
            break
        time.sleep(1)
    result = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    return dict(result, noise=round(noise, 3))


def bench(programs, model, options, args, threads=1):
    """What flgc-bench says."""
    command = [programs / "flgc-bench", f"{model}.flgc", "--core", args.core, "--threads", threads, "--format", "json", *options]
    return measure(command, range(args.core, args.core + threads), args.tries)


def flgc(programs, model, options, args, given, expected, checked):
    """As a worker's answer; the output is compared once."""
    result = bench(programs, model, options, args)
    key = (model, *options)
    if key not in checked:
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/x.npy", given)
            command = [programs / "flgc-run", f"{model}.flgc", "--tensor", f"{folder}/x.npy", "--output", f"{folder}/y.npy", *options]
            subprocess.run(command, check=True, capture_output=True)
            y = np.load(f"{folder}/y.npy").reshape(-1)
        checked[key] = float(np.abs(y - expected).max() / np.abs(expected).max())
    latency = result["latency_ms"]
    return {"median": latency["p50"], "min": latency["min"], "cold_ms": result["cold_start_ms"], "rss_mb": result["peak_rss_bytes"] / 1e6, "allocations": result["allocations"],
            "error": checked[key], "noise": result["noise"], "peak_gflops": result["peak_gflops"], "isa": result["isa"]}


def sizes(programs):
    """Bytes of programs without symbols; none without binutils."""
    found = {}
    if shutil.which("strip") is None:
        return found
    with tempfile.TemporaryDirectory() as folder:
        for name in ["flgc-run", "small"]:
            subprocess.run(["strip", "-s", "-o", f"{folder}/{name}", programs / name], check=True)
            found[name] = os.path.getsize(f"{folder}/{name}")
    return found


def machine(programs):
    """What the figures depend on."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "unknown")
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "").split()
    said = lambda *command: subprocess.run(command, capture_output=True, text=True, cwd=HERE).stdout.strip()
    packages = ["onnxruntime", "openvino", "ai-edge-litert", "MNN", "ncnn", "pnnx", "onnx", "numpy"]
    return {"cpu": cpu, "avx512": "avx512f" in flags, "avx2": "avx2" in flags, "cores": os.cpu_count(), "system": platform.platform(),
            "rustc": said("rustc", "--version"), "commit": said("git", "describe", "--always", "--dirty"),
            "date": datetime.date.today().isoformat(), "versions": {name: metadata.version(name) for name in packages} | {"tract": "0.23.9", "rten": "0.27.0"}}


def save(record, path):
    """Replaces the file."""
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(record, indent=1))
    unfinished.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks_folder", type=Path, metavar="NETWORKS")
    parser.add_argument("programs", type=Path, metavar="PROGRAMS")
    parser.add_argument("results", type=Path, metavar="RESULTS.json")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.7, help="of each round, of a peer and a network")
    parser.add_argument("--min-runs", type=int, default=12)
    parser.add_argument("--tries", type=int, default=6)
    parser.add_argument("--core", type=int, default=0)
    args = parser.parse_args()
    programs = args.programs.resolve()
    converted = args.networks_folder / "converted"
    converted.mkdir(exist_ok=True)
    peers, networks = args.peers.split(","), args.networks.split(",")
    record = json.loads(args.results.read_text()) if args.results.exists() else {"results": {}}
    here = machine(programs)
    # Rounds of another machine or another commit do not belong to these.
    if any(record.get("machine", here).get(key) != here[key] for key in ["cpu", "commit", "rustc", "versions"]):
        print("starts anew: the rounds so far are of another machine, commit or version", flush=True)
        record = {"results": {}}
    record["machine"] = here
    for cell in record["results"].values():
        cell.pop("error", None)
    if not record["machine"]["avx512"]:
        peers = [peer for peer in peers if peer != "flgc-avx2"]
    record["work"] = {name: {"macs": work["macs"]} for name, work in json.loads((args.networks_folder / "models.json").read_text()).items()}
    record["sizes"] = sizes(programs)
    given = np.fromfile(args.networks_folder / "input.bin", np.float32).reshape(1, 3, 224, 224)
    checked = {}
    for turn in range(args.rounds):
        for network in networks:
            source = args.networks_folder / f"{network}.onnx"
            reference = args.networks_folder / f"{network.split('.')[0]}.ref.bin"
            for peer in peers:
                cell = record["results"].setdefault(f"{network}|{peer}", {"rounds": []})
                if "error" in cell:
                    continue
                try:
                    model = convert(peer, source, converted, programs)
                    tail = [args.networks_folder / "input.bin", reference, args.seconds, args.min_runs]
                    if peer in OWN:
                        result = flgc(programs, model, OWN[peer], args, given, np.fromfile(reference, np.float32), checked)
                    else:
                        worker = [programs / "rust_peers", peer, source] if peer in ("tract", "rten") else [sys.executable, HERE / "workers.py", peer, model]
                        result = measure([*worker, *tail], [args.core], args.tries)
                        times = result.pop("times")
                        result.update(median=statistics.median(times), min=min(times), runs=len(times))
                except (RuntimeError, subprocess.SubprocessError, ValueError, IndexError) as error:
                    cell["error"] = str(error)
                    print(f"{turn + 1} {network:28} {peer:17} failed: {error}", flush=True)
                    continue
                cell["rounds"].append(result)
                print(f"{turn + 1} {network:28} {peer:17} {result['median']:8.2f} ms, cold {result['cold_ms']:6.0f} ms, {result['rss_mb']:5.0f} MB, "
                      f"error {result['error']:.0e}, noise {result['noise']:.2f}", flush=True)
                save(record, args.results)
            has_second = {args.core, args.core + 1} <= os.sched_getaffinity(0)
            if network in IN_THREADS and "flgc" in peers and has_second and "error" not in record["results"][f"{network}|flgc"]:
                model = convert("flgc", source, converted, programs)
                one, two = (bench(programs, model, [], args, threads) for threads in (1, 2))
                ms, noise = [one["latency_ms"]["p50"], two["latency_ms"]["p50"]], max(one["noise"], two["noise"])
                record.setdefault("threads", {}).setdefault(network, []).append({"ms": ms, "noise": noise})
                print(f"{turn + 1} {network:28} one thread {ms[0]:.3f} ms, two {ms[1]:.3f} ms, noise {noise:.2f}", flush=True)
                save(record, args.results)


if __name__ == "__main__":
    main()
