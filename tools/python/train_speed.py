"""Time training steps of `flgc-train` and of eager PyTorch, turn by turn, and print a table.

    cargo build --release -p flgc-train --example step
    python tools/python/train_speed.py target/release/examples/step [--rounds 5] [--steps 10]

Both train MobileNetV2 of full width with 8 learned groups on every 1x1 convolution, on 128 random pictures of 32x32, in f32. PyTorch
multiplies the dense weight with the mask, in channels_last. A round runs one process of each; a step's time is the median over the round's
steps after one warm-up step, memory is the largest of any round. Nothing else should run meanwhile.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

BATCH, SIZE, CLASSES, GROUPS, SMOOTHING = 128, 32, 10, 8, 0.1


def torch_steps(options):
    """The median time of a step in milliseconds, by PyTorch in this process."""
    import torch
    from torch.nn import functional

    from flgc_mobilenet_torch import MobileNet, is_logits, optimiser

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    network = MobileNet(1.0, CLASSES, GROUPS, chosen=options.estimator == "chosen").train()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if is_logits(name):
                # Even groups, as `step` starts.
                own = torch.arange(len(parameter)) % GROUPS
                parameter.copy_(0.1 * torch.randn_like(parameter) + 0.5 * functional.one_hot(own, GROUPS))
            elif name.endswith(".weight") and name != "classifier.weight":
                bound = parameter[0].numel() ** -0.5
                parameter.uniform_(-bound, bound)
    network = network.to(memory_format=torch.channels_last)
    pictures = torch.rand(BATCH, 3, SIZE, SIZE).mul(2).sub(1).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % CLASSES
    sgd = optimiser(network, rate=0.1, momentum=0.9, decay=1e-4, logit_rate=0.1, logit_decay=0.0)

    def step():
        begin = time.perf_counter()
        loss = functional.cross_entropy(network(pictures), labels, label_smoothing=SMOOTHING)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return (time.perf_counter() - begin) * 1e3

    step()
    return statistics.median(step() for _ in range(options.steps))


def run(command):
    """The median that a process reports, in milliseconds, and the most memory it held, in MiB."""
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    found = re.search(r"median ([\d.]+) ms", text)
    if child.returncode or not found:
        sys.exit(f"{command[0]}: exit code {child.returncode}, it said:\n{text}")
    return float(found[1]), usage.ru_maxrss / 1024


def cpu():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown CPU")


def compare(options):
    from importlib.metadata import version

    same = [f"--{name}={getattr(options, name)}" for name in ("steps", "threads", "estimator")]
    kind = {"row": "flgc", "chosen": "flgc-chosen"}[options.estimator]
    commands = {
        "flgc-train": [options.step, kind, str(options.threads), str(options.steps)],
        "PyTorch": [sys.executable, __file__, "--torch", *same],
    }
    times, memory = {name: [] for name in commands}, dict.fromkeys(commands, 0.0)
    for number in range(options.rounds):
        for name, command in commands.items():
            median, held = run(command)
            times[name].append(median)
            memory[name] = max(memory[name], held)
        ours, theirs = (times[name][-1] for name in commands)
        print(f"round {number + 1}: {ours:.0f} ms, PyTorch {theirs:.0f} ms", file=sys.stderr)

    ratios = [theirs / ours for ours, theirs in zip(*times.values())]
    print(f"{cpu()}, {options.threads} threads, torch {version('torch')}, {options.rounds} rounds of {options.steps} steps, "
          f"batch {BATCH}, estimator {options.estimator}\n")
    print("| | step, ms: median (rounds) | peak memory, MiB |\n|---|---|---|")
    for name in commands:
        rounds = ", ".join(f"{median:.0f}" for median in times[name])
        print(f"| {name} | {statistics.median(times[name]):.0f} ({rounds}) | {memory[name]:.0f} |")
    rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"| PyTorch / flgc-train | {statistics.median(ratios):.2f} ({rounds}) | {memory['PyTorch'] / memory['flgc-train']:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", help="the example `step` of flgc-train, built for release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="timed steps of a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--estimator", choices=["row", "chosen"], default="row", help="how the gradient passes the one-hot step")
    parser.add_argument("--torch", action="store_true", help="only PyTorch's steps, in this process")
    options = parser.parse_args()
    if options.torch:
        print(f"median {torch_steps(options):.1f} ms")
    elif options.step:
        compare(options)
    else:
        parser.error("the path of the example `step` is missing")


if __name__ == "__main__":
    main()
