#!/usr/bin/env python3
"""The record of a run of bench.py: `python report.py RESULTS.json FOLDER [NAME]` writes NAME.json, tables (NAME.md) and a chart (NAME.svg); without a NAME, that of
the CPU and the instruction set."""

import contextlib
import io
import json
import re
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "flgc", "svg.fonttype": "none"})
import matplotlib.pyplot as plt

from bench import NETWORKS, OWN, PEERS, QUIET

TITLES = {"mobilenet_v2_flgc8": "MobileNetV2, FLGC G=8", "mobilenet_v2": "MobileNetV2", "shufflenet_v2_x1_0": "ShuffleNetV2 x1.0",
          "resnet50_flgc8_dw": "ResNet50, FLGC G=8, depthwise", "resnet50": "ResNet50", "resnext50_32x4d": "ResNeXt50 32x4d"}


def summary(cell, field):
    """The median over rounds, of the quiet ones where there are any; `None` without rounds."""
    rounds = [r for r in cell["rounds"] if r["noise"] < QUIET] or cell["rounds"]
    return statistics.median(r[field] for r in rounds) if rounds else None


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|---|" + "---:|" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def main():
    record, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    isa = next((r["isa"] for key, cell in record["results"].items() if key.endswith("|flgc") for r in cell["rounds"]), None)
    if isa is None:
        sys.exit(f"{sys.argv[1]}: no round of flgc, to which the others are compared")
    name = folder / (sys.argv[3] if len(sys.argv) > 3 else re.sub("[^a-z0-9]+", "-", f"{record['machine']['cpu']} {isa}".lower()))
    Path(f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        best = tables(record, isa)
        print(f"\n![Latency of the peers side by side]({name.name}.svg)")
    Path(f"{name}.md").write_text(text.getvalue())
    chart(best, f"{name}.svg")
    print(f"wrote {name}.md")


def tables(record, isa):
    """Prints them; returns for each network each peer's best time and encoding."""
    results, machine = record["results"], record["machine"]
    peers = [peer for peer in PEERS if any(key.endswith("|" + peer) and cell["rounds"] for key, cell in results.items())]
    networks = [network for network in NETWORKS if any(key.startswith(network + "|") for key in results)]
    value = lambda network, peer, field: summary(results.get(f"{network}|{peer}", {"rounds": []}), field)
    shown = lambda x, digits: "" if x is None else f"{x:.{digits}f}"
    peaks = {}
    for own in OWN:
        found = [r["peak_gflops"] for key, cell in results.items() if key.endswith("|" + own) for r in cell["rounds"]]
        if found:
            peaks[own] = statistics.median(found)

    print(f"{machine['cpu']}, {isa}, peak of one core {peaks['flgc']:.0f} GFLOP/s; {machine['rustc']}; commit {machine['commit']}; {machine['date']}. "
          + ", ".join(f"{name} {version}" for name, version in machine["versions"].items()) + ".\n")
    rows = lambda field, digits: [[network, *(shown(value(network, peer, field), digits) for peer in peers)] for network in networks]
    print("Latency, ms:\n")
    table(["network", *peers], rows("median", 2))

    # A network's encodings together: flgc's are one, of the others each has its best.
    best = {}
    for network in networks:
        base = network.split(".")[0]
        for peer in peers:
            ms = value(network, peer, "median")
            if ms is not None and ms < best.setdefault(base, {}).get(peer, (float("inf"), ""))[0]:
                best[base][peer] = (ms, network)
    lines = []
    for base, cells in best.items():
        if "flgc" not in cells:
            continue
        ours = cells["flgc"][0]
        macs = next(work["macs"] for name, work in record["work"].items() if name.split(".")[0] == base)
        f32 = {peer: cell for peer, cell in cells.items() if peer not in (*OWN, "openvino-default")}
        fastest = min(f32, key=lambda peer: f32[peer][0], default=None)
        line = [TITLES[base], f"{macs / 1e6:.1f}"]
        for own, peak in peaks.items():
            line += [f"{cells[own][0]:.2f}", f"{100 * 2e-6 * macs / cells[own][0] / peak:.0f} %"]
        line += [f"{fastest} {f32[fastest][0]:.2f}", f"{f32[fastest][0] / ours:.2f}x"] if fastest else ["", ""]
        default = cells.get("openvino-default")
        lines.append(line + ([f"{default[0]:.2f}", f"{default[0] / ours:.2f}x"] if default else ["", ""]))
    print("Each network in each peer's best encoding:\n")
    own_columns = [title for own in peaks for title in (f"{own}, ms", "of the peak")]
    table(["network", "multiply-adds, M", *own_columns, "fastest f32 peer, ms", "", "OpenVINO's default, ms", ""], lines)
    print("Cold start (load and first output; flgc's includes the start of the process), ms:\n")
    table(["network", *peers], rows("cold_ms", 0))
    print("Peak resident memory (of Python peers with the interpreter and numpy), MB:\n")
    table(["network", *peers], rows("rss_mb", 0))
    print("Largest difference to ONNX Runtime, of the largest output:\n")
    table(["network", *peers], [[network, *("" if value(network, peer, "error") is None else f"{value(network, peer, 'error'):.0e}" for peer in peers)] for network in networks])
    allocations = [r.get("allocations") for key, cell in results.items() if key.endswith("|flgc") for r in cell["rounds"]]
    if None not in allocations:
        print(f"Allocations of flgc in all timed runs: {sum(allocations)}.\n")
    if record.get("threads"):
        print("flgc with one and two threads, in turn (medians over the quiet rounds where there are any):\n")
        quiet = {network: [r for r in rounds if r["noise"] < QUIET] or rounds for network, rounds in record["threads"].items()}
        medians = {network: [statistics.median(r["ms"][i] for r in rounds) for i in (0, 1)] for network, rounds in quiet.items()}
        table(["network", "one thread, ms", "two threads, ms", ""], [[network, f"{one:.2f}", f"{two:.2f}", f"{one / two:.2f}x"] for network, (one, two) in medians.items()])
    if record.get("sizes"):
        print(f"Programs without symbols, bytes: flgc-run {record['sizes']['flgc-run']}; one that only loads and runs a model {record['sizes']['small']}.\n")
    noisy = sum(all(r["noise"] >= QUIET for r in cell["rounds"]) for cell in results.values() if cell["rounds"])
    print(f"Rounds: {max(len(cell['rounds']) for cell in results.values())}; cells without a quiet round: {noisy}.")
    for key, cell in results.items():
        if "error" in cell:
            print(f"Not measured: {key.replace('|', ', ')}: {cell['error'].splitlines()[-1]}")
    return best


def chart(best, path):
    """Bars of all peers, a panel for each network."""
    figure, axes = plt.subplots(len(best), 1, figsize=(9, 0.27 * sum(len(cells) + 2 for cells in best.values())),
                                height_ratios=[len(cells) + 1 for cells in best.values()])
    for axis, (base, cells) in zip([axes] if len(best) == 1 else axes, best.items()):
        order = sorted(cells, key=lambda peer: cells[peer][0], reverse=True)
        bars = axis.barh(order, [cells[peer][0] for peer in order], color=["#d9480f" if peer in OWN else "#748ca5" for peer in order])
        axis.bar_label(bars, [f"{cells[peer][0]:.2f} ms" for peer in order], padding=3, fontsize=8)
        axis.set_title(TITLES[base], loc="left", fontsize=10)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
