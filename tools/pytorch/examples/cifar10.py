#!/usr/bin/env python3
"""Train a small MobileNetV2 with learned groups on CIFAR-10, on one process or several, and export it.

    python examples/cifar10.py DATA --out OUT
    torchrun --nproc-per-node 2 examples/cifar10.py DATA --out OUT

`DATA` holds `train/CLASS/PICTURE` and `test/CLASS/PICTURE`. Processes work together by DistributedDataParallel: over NCCL where each has a GPU, over gloo on CPUs.
OUT then holds `net.onnx`, `net.pt`, and `result.json` with the accuracy and the groups of each layer. A run that is started again goes on after its last epoch.
"""

import argparse
import json
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Subset
from torch.utils.data.distributed import DistributedSampler
from torchvision import datasets, transforms
from torchvision.models import mobilenet_v2

import flgc_torch

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=128, help="pictures of a step, over all processes")
    parser.add_argument("--width", type=float, default=0.35)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--estimator", choices=flgc_torch.ESTIMATORS, default="row")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--logit-lr", type=float, default=0.002)
    parser.add_argument("--pictures", type=int, help="train on that many only")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def network(width, classes):
    """MobileNetV2 with strides for small pictures."""
    net = mobilenet_v2(width_mult=width, num_classes=classes, dropout=0.0)
    net.features[0][0].stride = (1, 1)
    net.features[2].conv[1][0].stride = (1, 1)
    return net


class Processes:
    """The processes that work together; one without torchrun."""

    def __init__(self):
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        local = int(os.environ.get("LOCAL_RANK", 0))
        cuda = torch.cuda.is_available() and torch.cuda.device_count() > local
        self.device = torch.device("cuda", local) if cuda else torch.device("cpu")
        if self.count > 1:
            dist.init_process_group("nccl" if cuda else "gloo")

    def share(self, net):
        if self.count == 1:
            return net
        return DistributedDataParallel(net, device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def sum(self, value):
        total = torch.tensor(float(value), device=self.device)
        if self.count > 1:
            dist.all_reduce(total)
        return total.item()


def loader(folder, processes, batch, train, pictures=None):
    steps = [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip()] if train else []
    data = datasets.ImageFolder(folder, transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]))
    classes = data.classes
    if pictures:
        # Evenly over the classes, which follow each other.
        data = Subset(data, torch.linspace(0, len(data) - 1, min(pictures, len(data))).long().tolist())
    sampler = DistributedSampler(data, processes.count, processes.rank, shuffle=train, drop_last=train)
    return DataLoader(data, max(1, batch // processes.count), sampler=sampler, drop_last=train), classes


@torch.no_grad()
def accuracy(net, batches, processes):
    """Over all processes; a sampler that repeats pictures to come out even counts those twice."""
    net.eval()
    right = count = 0
    for pictures, labels in batches:
        right += (net(pictures.to(processes.device)).argmax(1).cpu() == labels).sum().item()
        count += len(labels)
    return processes.sum(right) / processes.sum(count)


def write(path, save):
    """By a temporary file, so that an interruption leaves the old one."""
    save(path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def main():
    options = arguments()
    processes = Processes()
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    train, classes = loader(options.data / "train", processes, options.batch, True, options.pictures)
    test, _ = loader(options.data / "test", processes, 512, False)
    net = network(options.width, len(classes))
    flgc_torch.swap(net, options.groups, estimator=options.estimator)
    net.to(processes.device)
    shared = processes.share(net)
    rules = flgc_torch.parameter_groups(net, options.lr, options.logit_lr, weight_decay=2e-4)
    # The logits follow Adam: their gradients are too small for the weights' rule.
    logits = rules.pop()
    optimisers = [torch.optim.SGD(rules, momentum=0.9, nesterov=True), torch.optim.Adam([logits])]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.epochs * len(train)) for optimiser in optimisers]
    state, first = options.out / "net.pt", 0
    stateful = [net, *optimisers, *schedules]
    if state.exists():
        saved = torch.load(state, map_location=processes.device, weights_only=True)
        first = saved["epoch"]
        for part, of in zip(stateful, saved["parts"]):
            part.load_state_dict(of)
    for epoch in range(first, options.epochs):
        train.sampler.set_epoch(epoch)
        shared.train()
        total = 0.0
        for pictures, labels in train:
            loss = nn.functional.cross_entropy(shared(pictures.to(processes.device)), labels.to(processes.device))
            for optimiser in optimisers:
                optimiser.zero_grad()
            loss.backward()
            for optimiser, schedule in zip(optimisers, schedules):
                optimiser.step()
                schedule.step()
            total += loss.item()
        loss = processes.sum(total) / processes.count / len(train)
        if processes.rank == 0:
            print(f"epoch {epoch + 1}/{options.epochs}: loss {loss:.4f}", flush=True)
            saved = {"epoch": epoch + 1, "parts": [part.state_dict() for part in stateful]}
            write(state, lambda path: torch.save(saved, path))
    score = accuracy(net, test, processes)
    if processes.rank == 0:
        print(f"test accuracy {100 * score:.2f} %")
        net.cpu()
        write(options.out / "net.onnx", lambda path: flgc_torch.export(net, path, torch.randn(1, 3, 32, 32)))
        groups = {name: [side.tolist() for side in layer.assignment()] for name, layer in flgc_torch.flgc_layers(net).items()}
        result = {"accuracy": score, "classes": classes, "mean": MEAN, "std": STD, "groups": groups}
        write(options.out / "result.json", lambda path: path.write_text(json.dumps(result)))
    if processes.count > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
