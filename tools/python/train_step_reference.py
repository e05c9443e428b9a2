"""Write what PyTorch makes of a small network's first two training steps, for tools/train/tests/pytorch.rs.

    python tools/python/train_step_reference.py tools/train/tests/data/train_step.safetensors

MobileNetV2 of width 0.25 with 3 learned groups on every 1x1 convolution, in double precision. The file holds, under the names of
`flgc-train`:

- `start.NAME`, `pictures` `[32][3][8][8]`: random numbers that bfloat16 holds exactly (some rows of logits have a tie); `labels`
- `losses`: of both steps
- `gradient.NAME`: of step 1
- `after.NAME`: parameters and running statistics (`UNIT.mean`, `UNIT.variance`) after step 2

A gradient or result of more than 400 numbers is cut down to every 17th (a prime that divides no dimension, so that these come from all
rows and columns), with the sum of all and the sum of their squares under `sums.gradient.NAME` and `sums.after.NAME`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from flgc_mobilenet_torch import MobileNet, is_logits, optimiser

SEED, STEPS = 3, 2
WIDTH, GROUPS, CLASSES, BATCH, SIZE = 0.25, 3, 5, 32, 8
RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-4
LOGIT_RATE, LOGIT_DECAY = 0.5, 1e-3
SMOOTHING = 0.1
WHOLE, EVERY = 400, 17


def draw(rng, name, shape):
    """Where a parameter starts."""
    if is_logits(name):
        return rng.normal(size=shape)
    if name.endswith(".gamma"):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith((".beta", ".bias")):
        return rng.uniform(-0.3, 0.3, shape)
    return rng.uniform(-1, 1, shape) / np.sqrt(np.prod(shape[1:]))


def representable(array):
    return torch.from_numpy(array).to(torch.bfloat16)


def put(tensors, name, values):
    values = values.detach().flatten()
    if len(values) > WHOLE:
        tensors[f"sums.{name}"] = torch.stack([values.sum(), values.square().sum()])
        values = values[::EVERY]
    tensors[name] = values.clone()


def groups(network):
    return {name: unit.groups() for name, unit in network.learned_units().items()}


def moved(before, after):
    """How many channels and filters are in another group."""
    return sum(int((old != new).sum()) for name in before for old, new in zip(before[name], after[name]))


def margin(network):
    """The least distance of a row's largest logit from its next: how far the numbers are from another assignment."""
    rows = torch.cat([logits for name, logits in network.named_parameters() if is_logits(name)]).detach()
    first, second = rows.topk(2, dim=1).values.T
    return float((first - second).min())


def main(path):
    rng = np.random.default_rng(SEED)
    network = MobileNet(WIDTH, CLASSES, GROUPS).double().train()
    tensors = {}
    for name, parameter in network.named_parameters():
        tensors[f"start.{name}"] = start = representable(draw(rng, name, parameter.shape))
        parameter.data = start.double()
    tensors["pictures"] = pictures = representable(rng.uniform(-1, 1, (BATCH, 3, SIZE, SIZE)))
    labels = torch.from_numpy(rng.integers(0, CLASSES, BATCH))
    tensors["labels"] = labels.to(torch.uint8)

    sgd = optimiser(network, RATE, MOMENTUM, DECAY, LOGIT_RATE, LOGIT_DECAY)
    losses = []
    for step in range(STEPS):
        loss = functional.cross_entropy(network(pictures.double()), labels, label_smoothing=SMOOTHING)
        sgd.zero_grad()
        loss.backward()
        if step == 0:
            for name, parameter in network.named_parameters():
                put(tensors, f"gradient.{name}", parameter.grad)
        losses.append(loss.detach())
        before, margin_before = groups(network), margin(network)
        sgd.step()
        print(f"step {step + 1}: loss {loss:.6f}, then {moved(before, groups(network))} members change their group; "
              f"least margin of the logits {margin_before:.2e}")
        # The assignment of step 2 has to be another one, and no matter of rounding.
        assert step or (moved(before, groups(network)) and margin(network) > 1e-6)
    tensors["losses"] = torch.stack(losses)
    for name, values in network.state_dict().items():
        put(tensors, f"after.{name}", values)

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"made by": f"train_step_reference.py, torch {torch.__version__}, seed {SEED}"})
    numbers = sum(parameter.numel() for parameter in network.parameters())
    print(f"{path}: {Path(path).stat().st_size} bytes, {numbers} parameters in {len(list(network.parameters()))} lists")


if __name__ == "__main__":
    main(*sys.argv[1:])
