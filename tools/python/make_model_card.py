"""The card of a model that `flgc-train` made, as Markdown beside it, with the curve of the last training.

    cargo build --release
    python tools/python/make_model_card.py target/release MODEL.flgc DATA [--after CARD.md] [--remark TEXT] RUN [RUN ...]

DATA has the pictures, in test/CLASS/PICTURE; each RUN is the folder of a training, in order: the last one made the model. `--after` takes the trainings before them, and remarks, from the card of the model
that the first of them started from; `--remark` adds one. Needs tools/python/requirements.txt.
"""

import argparse
import csv
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]


def output(*command):
    return json.loads(subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout)


COLUMNS = ["width", "epochs", "seed", "rate", "decay", "smoothing", "cutout", "epochs averaged", "groups learned", "moved from the start", "hours", "test accuracy at the end (highest)"]
# What older cards leave out.
DEFAULTS = {"width": "1", "epochs averaged": "none"}


def training(run):
    """A row of the table of trainings, and the test accuracy at its end."""
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with safe_open(run / "checkpoint.safetensors", "np") as file:
        settings = next(json.loads(value)["settings"] for value in file.metadata().values() if '"settings"' in value)
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    test = [100 * float(row["test_accuracy"]) for row in rows]
    fixed = settings["fix_groups_from"]
    groups = "all epochs" if fixed is None else "from the other training" if fixed == 1 and settings["from"] else f"to epoch {fixed - 1}"
    moved = 100 * float(rows[-1]["moved_from_start"])
    row = [f"{settings['width']:g}", len(rows), settings["seed"], settings["rate"], settings["sgd"]["decay"], settings["smoothing"], settings.get("cutout") or "none", settings.get("average") or "none", groups,
           f"{moved:.1f} %", f"{hours:.1f}", f"{test[-1]:.2f} % ({max(test):.2f} %)"]
    return row, test[-1]


def earlier(card):
    """The rows of a card's table of trainings."""
    cells = [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in card.read_text().splitlines() if line.startswith("| ")]
    header = next(i for i, row in enumerate(cells) if "epochs" in row and "seed" in row)
    names, rows = cells[header], []
    for row in cells[header + 1:]:
        if len(row) != len(names):
            break
        if row[0].startswith("---"):
            continue
        values = DEFAULTS | dict(zip(names, row))
        rows.append([values[name] for name in COLUMNS])
    return rows


CHOICE = "The model is that of the last epoch; no epoch was chosen by its test accuracy."


def remarks(card):
    """What stands in a card behind the sentence on the choice of the model."""
    return card.read_text().split(CHOICE)[1].split("\n\n## Groups")[0].strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--after", type=Path)
    parser.add_argument("--remark", action="append", default=[])
    options = parser.parse_args()
    model = options.model
    scores = output(options.programs / "flgc-run", model, "--evaluate", options.data / "test", "--format", "json")
    samples = output(options.programs / "flgc-run", model, "--evaluate", ROOT / "models/samples", "--format", "json")
    plan = output(options.programs / "flgc-inspect", model, "--format", "json")
    layers = []
    with safe_open(model, "np") as file:
        checksum, graph = file.metadata()["checksum"], json.loads(file.metadata()["graph"])
        for node in graph["nodes"]:
            learned = node["op"].get("conv", {}).get("learned") if isinstance(node["op"], dict) else None
            if learned:
                sizes = [Counter(file.get_tensor(learned[side]).tolist()) for side in ("in_group", "out_group")]
                layers.append((node["name"], *([side[group] for group in range(learned["groups"])] for side in sizes)))
    empty = sum(0 in pair for _, *sides in layers for pair in zip(*sides))
    table = "\n".join(f"| `{name}` | {' '.join(map(str, channels))} | {' '.join(map(str, filters))} |" for name, channels, filters in layers)
    trainings = [training(run) for run in options.runs]
    image = graph["inputs"][0]["image"]
    # Of values from 0 to 1.
    unit = 1 / 255 / image["scale"]
    mean, std = (", ".join(f"{x * unit:.4g}" for x in image[name]) for name in ("mean", "std"))
    shutil.copyfile(options.runs[-1] / "accuracy.svg", model.with_suffix(".svg"))
    before, told = (earlier(options.after), [remarks(options.after)]) if options.after else ([], [])
    choice = " ".join([CHOICE, *filter(None, told), *options.remark])
    table_of_trainings = "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [COLUMNS, ["---"] * len(COLUMNS), *before, *(row for row, _ in trainings)])
    width = trainings[-1][0][0]
    model.with_suffix(".md").write_text(f"""# {model.stem}

MobileNetV2 for CIFAR-10, width {width}, every 1x1 convolution with eight learned groups (FLGC, G = 8), trained by `flgc-train`.

| | |
|---|---|
| file | `{model.name}`, {model.stat().st_size:,} bytes, f16 weights |
| checksum | CRC-32C `{checksum}` |
| input | `{graph["inputs"][0]["name"]}`, `{graph["inputs"][0]["shape"]}`; smallest and largest of each: {graph["inputs"][0]["range"]} |
| preprocessing | RGB, `(v / 255 - mean) / std`, mean {mean}, std {std}; stored in the file |
| output | `{graph["outputs"][0]}`, `[1, {len(graph["labels"])}]`, before softmax |
| classes | {", ".join(graph["labels"])} |
| accuracy | {100 * scores["top1"]:.2f} % top-1, {100 * scores["top5"]:.2f} % top-5 on the {scores["images"]:,} test images by `flgc-run --evaluate`; the trainer's own figure, with activations in bf16, is {trainings[-1][1]:.2f} % |
| multiply-adds | {plan["macs"]:,} for one picture: weights inside groups, padding pixels counted |
| parameters | {plan["parameters"]:,}: weights inside groups and biases, batch norm folded |
| steps that move data | {plan["moves"]} |

![accuracy by epoch of the last training]({model.stem}.svg)

## Training

On the 50,000 training images of CIFAR-10 (as JPEG files), in one command that also evaluates the result: `models/{model.stem}.sh DATA`. SGD with momentum 0.9, batches of 128, 400 steps of warm-up and a cosine down to 0, or to where averaging begins; random crops and flips.
Each training but the first starts from the weights of the one before and keeps its groups; where the width differs, from a wider network that computes the same. Logits start scattered and follow Adam at 0.002; the gradient passes the one-hot step at the
chosen entry. The first two trainings kept activations in f32 (commit a42ac20), later ones in bf16. On two cores of virtual machines (AMD EPYC Zen 3, later Intel Xeons), on which other work ran part of the time.

{table_of_trainings}

{choice}

## Groups

{len(layers)} layers have learned groups; {"none" if empty == 0 else empty} of their groups {"has" if empty == 0 else "have"} an empty side. Channels and filters of each group:

| layer | channels | filters |
|---|---|---|
{table}

## Samples

Of the {samples["images"]} pictures in `samples/` (the first 24 test images of each class), {round(samples["images"] * samples["top1"])} are classified rightly ({100 * samples["top1"]:.2f} %), {round(samples["images"] * samples["top5"])} within the first five.

CIFAR-10 was collected by Alex Krizhevsky, Vinod Nair and Geoffrey Hinton (A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009). The JPEG re-encoding is lossy: accuracies on it differ a little from those on the official
binary files.
""")


if __name__ == "__main__":
    main()
