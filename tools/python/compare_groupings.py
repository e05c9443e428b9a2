"""Train dense, standard, shuffled, fixed and learned groups with several seeds, and print a table of accuracies.

    cargo build --release -p flgc-train
    python tools/python/compare_groupings.py target/release/flgc-train DATA OUT [--epochs 3] [--seeds 3] [--width 0.5] [--groups 8] [--results FILE.csv]

Each training goes to a folder of its own in OUT and can be interrupted: started again, the script goes on where it was. Finished ones are also
written to the file of results, and those that stand there are not run again. Needs nothing but Python 3.11.
"""

import argparse
import csv
import statistics
import subprocess
from pathlib import Path

FLGC = ["--conv", "flgc", "--logit-start", "scattered"]
ADAM = ["--logit-optimizer", "adam", "--logit-lr", "0.002"]
KINDS = {
    "dense": ["--conv", "dense"],
    "group": ["--conv", "group"],
    "group-shuffle": ["--conv", "group-shuffle"],
    "fixed random groups": [*FLGC, "--fix-groups-from", "1"],
    "flgc, gradient over the row": [*FLGC, *ADAM, "--estimator", "row"],
    "flgc, gradient at the chosen entry": [*FLGC, *ADAM, "--estimator", "chosen"],
}


COLUMNS = ["kind", "seed", "epochs", "width", "groups", "test_accuracy", "moved_from_start", "empty_groups", "seconds"]


class Results:
    """The figures of finished trainings: a CSV file, or nothing that lasts."""

    def __init__(self, path):
        self.path = path
        self.rows = []
        if path and path.exists():
            with open(path, newline="") as file:
                self.rows = list(csv.DictReader(file))

    def find(self, key):
        return next((row for row in self.rows if key.items() <= row.items()), None)

    def add(self, row):
        self.rows.append(row)
        if self.path:
            with open(self.path, "w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)


def figures(options, results, kind, seed):
    """The figures of a training, which is run unless they stand in the results."""
    key = {"kind": kind, "seed": seed, "epochs": options.epochs, "width": options.width, "groups": options.groups}
    key = {column: str(value) for column, value in key.items()}
    if found := results.find(key):
        return found
    epochs = train(options, kind, seed)
    row = key | {column: epochs[-1][column] for column in ["test_accuracy", "moved_from_start", "empty_groups"]}
    row["seconds"] = f"{sum(float(epoch['seconds']) for epoch in epochs):.0f}"
    results.add(row)
    return row


def train(options, kind, seed):
    """The figures of each epoch."""
    folder = options.out / kind.replace(",", "").replace(" ", "-") / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    command = [options.program, options.data, "-o", folder / "model.flgc", "--run", folder, "--resume"]
    command += ["--seed", str(seed), "--epochs", str(options.epochs), "--width", str(options.width)]
    command += ["--groups", str(options.groups), *KINDS[kind]]
    subprocess.run(command, check=True)
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    options.program = options.program.resolve()
    rows = []
    results = Results(options.results)
    # Seed by seed, so that a script that is stopped has something to compare.
    last = {(kind, seed): figures(options, results, kind, seed) for seed in range(1, options.seeds + 1) for kind in KINDS}
    for kind in KINDS:
        runs = [last[kind, seed] for seed in range(1, options.seeds + 1)]
        percents = [float(run["test_accuracy"]) * 100 for run in runs]
        moved = statistics.mean(float(run["moved_from_start"]) * 100 for run in runs)
        empty = ", ".join(run["empty_groups"] for run in runs)
        each = ", ".join(f"{percent:.1f}" for percent in percents)
        rows.append(f"| {kind} | {statistics.mean(percents):.1f} ({each}) | {moved:.1f} | {empty} |")
    print("| 1x1 convolutions | test accuracy, %: mean (seeds) | moved from the start, % | empty groups |")
    print("|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
