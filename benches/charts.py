#!/usr/bin/env python3
"""Charts of measurements (needs matplotlib):

charts.py groups GROUPS.csv CHART.svg     time against the number of groups, from `cargo bench -p flgc-benches --bench groups`
charts.py layers BENCH.json CHART.svg     share of the core's peak by layer, from `flgc-bench MODEL --format json`
"""

import collections
import csv
import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "flgc", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False})
import matplotlib.pyplot as plt

COLOURS = {"depthwise": "#d95f02", "1x1": "#1b9e77", "spatial": "#7570b3", "other": "#999999"}


def groups(source, chart):
    """All shapes together, and for each shape how far each point lies above the line through its neighbours."""
    times, macs = collections.defaultdict(list), collections.defaultdict(list)
    for row in csv.DictReader(open(source)):
        key = row["kind"], (int(row["channels"]), int(row["filters"]), int(row["size"])), int(row["groups"])
        times[key].append(float(row["us"]))
        macs[key].append(int(row["macs"]))
    mean = lambda of, kind, shape, g: sum(of[kind, shape, g]) / len(of[kind, shape, g])
    shapes = list(dict.fromkeys(shape for _, shape, _ in times))
    numbers = sorted({g for _, _, g in times})
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for kind, colour in ("equal", "#1b9e77"), ("random", "#d95f02"):
        total = [sum(mean(times, kind, shape, g) for shape in shapes) / 1e3 for g in numbers]
        work = [sum(mean(macs, kind, shape, g) for shape in shapes) for g in numbers]
        axes.plot(numbers, total, "o-", color=colour, markersize=3, label=f"{kind} groups")
        # The arithmetic, at the rate of the dense layers.
        axes.plot(numbers, [total[0] * w / work[0] for w in work], ":", color=colour, label=f"{kind} groups, at the rate of dense layers")
        over = {(shape, g): mean(times, kind, shape, g) / ((mean(times, kind, shape, g - 1) + mean(times, kind, shape, g + 1)) / 2)
                for shape in shapes for g in numbers[1:-1]}
        together = max(total[i] / ((total[i - 1] + total[i + 1]) / 2) for i in range(1, len(total) - 1))
        (shape, g), worst = max(over.items(), key=lambda item: item[1])
        print(f"{kind}: all shapes at most {together:.2f} times the line through the neighbours; of single shapes "
              f"{shape[0]} -> {shape[1]} at {shape[2]}x{shape[2]} with G={g} {worst:.2f}, {sum(o > 1.3 for o in over.values())} of {len(over)} points above 1.3")
    axes.set(xlabel="groups", ylabel="ms, all 1x1 shapes of MobileNetV2 once", xscale="log", yscale="log")
    axes.set_xticks([1, 2, 4, 8, 16, 32], [1, 2, 4, 8, 16, 32])
    axes.minorticks_off()
    ticks = [t for t in (0.2, 0.5, 1, 2, 5, 10) if min(total) * 0.5 < t < max(total) * 2]
    axes.set_yticks(ticks, ticks)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(chart, metadata={"Date": None})


def layers(source, chart):
    """A bar for each layer: as wide as it takes long, as high as its share of the peak."""
    report = json.load(open(source))
    figure, axes = plt.subplots(figsize=(10, 4.5))
    at = 0.0
    for layer in report["layers"]:
        kernel = layer["kernel"]
        kind = "depthwise" if "depthwise" in kernel else "spatial" if "spatial" in kernel else "1x1" if "pointwise" in kernel else "other"
        ms = layer["us"] / 1e3
        axes.bar(at, layer["gflops"] / report["peak_gflops"] * 100, width=ms, align="edge", color=COLOURS[kind], edgecolor="white", linewidth=0.3)
        at += ms
    for kind, colour in COLOURS.items():
        axes.bar(0, 0, color=colour, label=kind)
    axes.axhline(report["share_of_peak"] * 100, color="black", linewidth=0.8, linestyle=":", label=f"all: {report['share_of_peak']:.0%} of {report['peak_gflops']:.0f} GFLOP/s")
    axes.set(xlabel="ms of a run, layer after layer", ylabel="share of the core's peak, %", xlim=(0, at), ylim=(0, 100))
    axes.legend(frameon=False, ncols=5, loc="upper center")
    figure.tight_layout()
    figure.savefig(chart, metadata={"Date": None})


if __name__ == "__main__":
    commands = {"groups": groups, "layers": layers}
    if len(sys.argv) != 4 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
