"""The layer: a dense convolution under a mask that is learned with it."""

import torch
from torch import nn
from torch.nn import functional

ESTIMATORS = ("row", "chosen")
STARTS = ("balanced", "scattered", "random")
# How far the own group of a balanced or scattered start is ahead.
LEAD = 0.5


class OneHot(torch.autograd.Function):
    """Rows made one-hot at their largest entry, the first on a tie. Backwards the identity or, with `chosen`, only at that entry."""

    @staticmethod
    def forward(ctx, rows, chosen):
        one_hot = functional.one_hot(rows.argmax(1), rows.shape[1]).to(rows.dtype)
        ctx.save_for_backward(one_hot if chosen else None)
        return one_hot

    @staticmethod
    def backward(ctx, gradient):
        (one_hot,) = ctx.saved_tensors
        return gradient if one_hot is None else gradient * one_hot, None


def learned_mask(channel_logits, filter_logits, chosen=False):
    """`M = t s^T`, `[filters, channels]`: one where a filter and a channel are in the same group (Eq. 4 and 5 of the paper).

    The softmax of each row of logits is made one-hot; backwards that step counts as the identity over the whole row (the paper) or, with
    `chosen`, at the chosen entry only.
    """
    s, t = (OneHot.apply(logits.softmax(1), chosen) for logits in (channel_logits, filter_logits))
    return t @ s.T


def start_logits(count, groups, start, scale):
    """Logits `[count, groups]`: even groups dealt out in turn or at random, with noise of that scale, or `N(0, scale)`."""
    logits = torch.randn(count, groups) * scale
    if start == "random":
        return logits
    group = torch.arange(count) % groups
    if start == "scattered":
        group = group[torch.randperm(count)]
    return logits + LEAD * functional.one_hot(group, groups)


class FlgcConv2d(nn.Conv2d):
    """A drop-in for `nn.Conv2d` whose channels and filters each learn which of `learned_groups` groups they belong to.

    Any number of groups; they may be of any sizes in the end, also without channels or without filters. All weights stay alive: a masked one decays,
    keeps its momentum and may come back. `estimator`: where the gradient passes the one-hot step, see `learned_mask`. `start`: `balanced` deals channels
    and filters out in turn, `scattered` at random, `random` leaves it to noise; `logit_scale` is that noise's standard deviation.
    """

    def __init__(self, in_channels, out_channels, kernel_size, *, learned_groups, estimator="row", start="scattered", logit_scale=None, **options):
        if options.get("groups", 1) != 1:
            raise ValueError(f"groups: found {options['groups']}, expected 1: they are learned here")
        if learned_groups < 1:
            raise ValueError(f"learned_groups: found {learned_groups}, expected at least 1")
        if estimator not in ESTIMATORS:
            raise ValueError(f"estimator: found {estimator!r}, expected one of {ESTIMATORS}")
        if start not in STARTS:
            raise ValueError(f"start: found {start!r}, expected one of {STARTS}")
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.learned_groups, self.estimator = learned_groups, estimator
        scale = logit_scale if logit_scale is not None else (1.0 if start == "random" else 0.1)
        self.channel_logits = nn.Parameter(start_logits(in_channels, learned_groups, start, scale))
        self.filter_logits = nn.Parameter(start_logits(out_channels, learned_groups, start, scale))

    def mask(self):
        """One where a filter and a channel are in the same group, `[filters, channels]`."""
        return learned_mask(self.channel_logits, self.filter_logits, self.estimator == "chosen")

    def masked_weight(self):
        """The weights that the layer computes with."""
        return self.weight * self.mask()[:, :, None, None]

    def assignment(self):
        """The group of each channel and of each filter."""
        return self.channel_logits.detach().argmax(1), self.filter_logits.detach().argmax(1)

    def forward(self, x):
        return self._conv_forward(x, self.masked_weight(), self.bias)

    def extra_repr(self):
        return f"{super().extra_repr()}, learned_groups={self.learned_groups}, estimator={self.estimator}"
