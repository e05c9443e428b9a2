"""The layer by its definition, the swap, the export; the example on two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import mobilenet_v2

import flgc_torch

ROOT = Path(__file__).resolve().parents[1]


def layer(**options):
    torch.manual_seed(3)
    return flgc_torch.FlgcConv2d(6, 5, 1, learned_groups=3, start="random", **options).double()


def one_hot(logits):
    return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)


def test_forward_is_a_convolution_with_the_masked_weight():
    conv = layer()
    mask = one_hot(conv.filter_logits) @ one_hot(conv.channel_logits).T
    channels, filters = conv.assignment()
    assert torch.equal(mask, (filters[:, None] == channels).double())
    x = torch.randn(2, 6, 4, 5).double()
    expected = nn.functional.conv2d(x, conv.weight * mask[:, :, None, None], conv.bias)
    assert torch.equal(conv(x), expected)


def test_ties_go_to_the_first():
    conv = layer()
    with torch.no_grad():
        conv.channel_logits.zero_()
        conv.filter_logits.fill_(0.25)
    assert all(side.eq(0).all() for side in conv.assignment())
    assert conv.mask().eq(1).all()


@pytest.mark.parametrize("estimator", flgc_torch.ESTIMATORS)
def test_straight_through_gradient_by_its_definition(estimator):
    conv = layer(estimator=estimator)
    x = torch.randn(2, 6, 4, 5).double()
    direction = torch.randn(2, 5, 4, 5).double()
    (conv(x) * direction).sum().backward()
    # With s and t as free variables the layer is bilinear; their gradients pass the one-hot step as the identity, at the row or at the chosen entry.
    s, t = (one_hot(logits.detach()).requires_grad_() for logits in (conv.channel_logits, conv.filter_logits))
    weight = conv.weight.detach() * (t @ s.T)[:, :, None, None]
    (nn.functional.conv2d(x, weight, conv.bias.detach()) * direction).sum().backward()
    for logits, variable in (conv.channel_logits, s), (conv.filter_logits, t):
        gradient = variable.grad if estimator == "row" else variable.grad * variable.detach()
        rows = logits.detach().requires_grad_()
        rows.softmax(1).backward(gradient)
        assert torch.allclose(logits.grad, rows.grad, rtol=0, atol=1e-12)
        assert logits.grad.abs().max() > 1e-3


def test_any_number_of_groups_and_balanced_starts():
    for groups in 1, 2, 5, 40:
        conv = flgc_torch.FlgcConv2d(20, 30, 3, learned_groups=groups, start="balanced", padding=1)
        sizes = [torch.bincount(side, minlength=groups) for side in conv.assignment()]
        assert all(size.max() - size.min() <= 1 for size in sizes)
        assert conv(torch.randn(1, 20, 5, 5)).shape == (1, 30, 5, 5)


@pytest.mark.parametrize("options, part", [({"groups": 2}, "groups"), ({"learned_groups": 0}, "at least 1"), ({"estimator": "all"}, "estimator"), ({"start": "none"}, "start")])
def test_nonsense_options(options, part):
    with pytest.raises(ValueError, match=part):
        flgc_torch.FlgcConv2d(4, 4, 1, **{"learned_groups": 2, **options})


def small_net():
    torch.manual_seed(1)
    net = mobilenet_v2(width_mult=0.25, num_classes=7)
    before = {name: p.clone() for name, p in net.named_parameters()}
    return net, before, flgc_torch.swap(net, 4, estimator="chosen")


def test_swap_keeps_weights_and_leaves_other_layers():
    net, before, names = small_net()
    layers = flgc_torch.flgc_layers(net)
    assert list(layers) == names and len(names) == 34
    assert all(conv.kernel_size == (1, 1) and conv.learned_groups == 4 and conv.estimator == "chosen" for conv in layers.values())
    after = dict(net.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert set(after) - set(before) == {f"{name}.{side}_logits" for name in names for side in ("channel", "filter")}


def test_parameter_groups_hold_everything_once_and_fixed_groups_stay():
    net, _, _ = small_net()
    rules = flgc_torch.parameter_groups(net, lr=0.1, logit_lr=0.5, weight_decay=1e-4)
    assert sum(len(rule["params"]) for rule in rules) == len(list(net.parameters()))
    assert {id(p) for rule in rules for p in rule["params"]} == {id(p) for p in net.parameters()}
    assert [rule["lr"] for rule in rules] == [0.1, 0.1, 0.5] and [rule["weight_decay"] for rule in rules] == [1e-4, 0.0, 0.0]
    flgc_torch.fix_groups(net)
    optimiser = torch.optim.SGD(rules, momentum=0.9)
    logits = [p.clone() for p in rules[2]["params"]]
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(logits, rules[2]["params"]))
    assert len(flgc_torch.parameter_groups(net, 0.1, 0.5)) == 2


def test_deployed_and_exported_networks_compute_the_same(tmp_path):
    net, _, names = small_net()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(8, 3, 32, 32))
    net.eval()
    x = torch.randn(1, 3, 32, 32)
    expected = net(x).detach()
    plain = flgc_torch.deployed(net)
    assert not flgc_torch.flgc_layers(plain) and flgc_torch.flgc_layers(net)
    assert torch.allclose(plain(x), expected, atol=1e-6)
    flgc_torch.export(net, tmp_path / "net.onnx", x)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"input": x.numpy()})
    assert np.abs(scores - expected.numpy()).max() < 1e-5 * np.abs(scores).max()


def test_the_example_runs_on_two_processes_and_goes_on(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in ("train", 24), ("test", 6):
        for name in "ant", "bee", "cow", "dog":
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{i}.png")

    def train(epochs, *launcher):
        command = [*launcher, ROOT / "examples/cifar10.py", tmp_path, "--out", tmp_path / "out", "--batch", "16", "--width", "0.25", "--groups", "4", "--epochs", epochs]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        return done.stdout

    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    assert train(1, *two).count("epoch") == 1
    output = train(2, *two)
    assert "epoch 2/2" in output and "epoch 1/2" not in output
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["classes"] == ["ant", "bee", "cow", "dog"] and len(result["groups"]) > 30
    assert (tmp_path / "out/net.onnx").stat().st_size > 100_000
