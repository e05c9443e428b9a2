//! Group membership of channels and filters, and how it is learned: FLGC, Wang et al., CVPR 2019, arXiv:1904.00346.
//!
//! A layer of `c` channels, `n` filters and `g` groups owns logits `S[c][g]` and `T[n][g]`. The softmax of a row, made one-hot at its largest
//! entry, says which group a channel or filter is in: `s` and `t`. The mask is `M = t s^T`, the layer computes with `W * M`. Backwards the
//! one-hot step counts as the identity, and the gradient goes on through the softmax.

use super::{Float, Kind, Param};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The group of each channel and of each filter of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// How many groups.
    pub groups: usize,
    /// The group of each channel.
    pub of_channel: Vec<usize>,
    /// The group of each filter.
    pub of_filter: Vec<usize>,
}

/// `count` members in `groups` runs of equal length, but for one member.
fn runs(count: usize, groups: usize) -> Vec<usize> {
    (0..count).map(|i| i * groups / count).collect()
}

/// `count` members dealt out to `groups` groups in turn.
fn dealt(count: usize, groups: usize) -> Vec<usize> {
    (0..count).map(|i| i % groups).collect()
}

impl Assignment {
    /// Every channel and filter in one group: a dense layer.
    #[must_use]
    pub fn dense(c: usize, n: usize) -> Self {
        Self { groups: 1, of_channel: vec![0; c], of_filter: vec![0; n] }
    }

    /// The standard group convolution: runs of channels and of filters.
    #[must_use]
    pub fn standard(c: usize, n: usize, groups: usize) -> Self {
        Self { groups, of_channel: runs(c, groups), of_filter: runs(n, groups) }
    }

    /// A standard group convolution whose output channels are shuffled: each group of the next layer reads some filters of every group.
    #[must_use]
    pub fn shuffled(c: usize, n: usize, groups: usize) -> Self {
        Self { groups, of_channel: runs(c, groups), of_filter: dealt(n, groups) }
    }

    /// How many channels are in each group.
    #[must_use]
    pub fn channels(&self) -> Vec<usize> {
        sizes(&self.of_channel, self.groups)
    }

    /// How many filters are in each group.
    #[must_use]
    pub fn filters(&self) -> Vec<usize> {
        sizes(&self.of_filter, self.groups)
    }

    /// How many groups have no channels or no filters.
    #[must_use]
    pub fn empty(&self) -> usize {
        self.channels()
            .into_iter()
            .zip(self.filters())
            .filter(|&(channels, filters)| channels == 0 || filters == 0)
            .count()
    }
}

fn sizes(of: &[usize], groups: usize) -> Vec<usize> {
    let mut sizes = vec![0; groups];
    for &group in of {
        sizes[group] += 1;
    }
    sizes
}

/// An assignment as lists of members, group after group.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// Channels, those of the first group first, ascending.
    pub(super) channels: Vec<usize>,
    /// Filters, likewise.
    pub(super) filters: Vec<usize>,
    /// Each group's ranges of these lists.
    pub(super) groups: Vec<Group>,
}

/// One group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Range of [`Order::channels`].
    pub(super) channels: Range<usize>,
    /// Range of [`Order::filters`].
    pub(super) filters: Range<usize>,
    /// Range of the weights inside groups, `[filters][channels]`.
    pub(super) weights: Range<usize>,
}

impl Order {
    pub(super) fn new(assignment: &Assignment) -> Self {
        let sorted = |of: &[usize]| {
            let mut members: Vec<usize> = (0..of.len()).collect();
            members.sort_by_key(|&member| of[member]);
            members
        };
        let (mut channel, mut filter, mut weight) = (0, 0, 0);
        let mut next = |channels, filters| {
            let group = Group {
                channels: channel..channel + channels,
                filters: filter..filter + filters,
                weights: weight..weight + channels * filters,
            };
            (channel, filter, weight) = (group.channels.end, group.filters.end, group.weights.end);
            group
        };
        let sizes = assignment.channels().into_iter().zip(assignment.filters());
        let groups = sizes.map(|(channels, filters)| next(channels, filters)).collect();
        Self { channels: sorted(&assignment.of_channel), filters: sorted(&assignment.of_filter), groups }
    }

    /// Weights inside groups.
    pub(super) fn weights(&self) -> usize {
        self.groups.last().map_or(0, |group| group.weights.end)
    }
}

/// How the gradient passes the one-hot step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// As if it were the identity: over the whole row (the paper).
    Row,
    /// Only at the chosen entry (the public reimplementation); needs no gradient of masked weights.
    Chosen,
}

/// Where logits start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// `scale * N(0, 1)`: groups of random sizes, some empty.
    Random {
        /// Standard deviation.
        scale: f64,
    },
    /// `scale * N(0, 1)`, and [`HEAD_START`] on a group that is dealt out in turn: even groups.
    Balanced {
        /// Standard deviation.
        scale: f64,
    },
    /// As `Balanced`, but the groups are dealt out in random order.
    Scattered {
        /// Standard deviation.
        scale: f64,
    },
}

/// What a balanced start adds to the logit of a member's own group.
pub const HEAD_START: f64 = 0.5;

/// Logits of the groups of a layer.
#[derive(Clone, Debug)]
pub struct Membership<F> {
    /// How many groups.
    pub groups: usize,
    /// `S`, `[c][groups]`.
    pub channels: Param<F>,
    /// `T`, `[n][groups]`.
    pub filters: Param<F>,
    /// How the gradient passes the one-hot step.
    pub estimator: Estimator,
    /// Whether logits are learned at the moment.
    pub learning: bool,
}

impl<F: Float> Membership<F> {
    /// Fresh logits for a layer of `c` channels and `n` filters.
    pub fn new(
        name: &str,
        [c, n]: [usize; 2],
        groups: usize,
        start: Start,
        estimator: Estimator,
        rng: &mut impl Rng,
    ) -> Self {
        let mut logits = |members: usize| -> Vec<F> {
            let (scale, own) = match start {
                Start::Random { scale } => (scale, None),
                Start::Balanced { scale } => (scale, Some(dealt(members, groups))),
                Start::Scattered { scale } => {
                    let mut own = dealt(members, groups);
                    for i in (1..members).rev() {
                        own.swap(i, rng.random_range(0..=i));
                    }
                    (scale, Some(own))
                }
            };
            let mut logit = |member: usize, group: usize| {
                let head_start = if own.as_ref().is_some_and(|own| own[member] == group) { HEAD_START } else { 0.0 };
                F::of(scale * normal(rng) + head_start)
            };
            (0..members * groups).map(|i| logit(i / groups, i % groups)).collect()
        };
        let (of_channels, of_filters) = (logits(c), logits(n));
        Self {
            groups,
            channels: Param::new(format!("{name}.channel_logits"), Kind::Logits, of_channels),
            filters: Param::new(format!("{name}.filter_logits"), Kind::Logits, of_filters),
            estimator,
            learning: true,
        }
    }

    /// The group of each channel and filter: the largest entry of each row, the first on a tie.
    #[must_use]
    pub fn assignment(&self) -> Assignment {
        let of = |logits: &[F]| logits.chunks_exact(self.groups).map(first_largest).collect();
        Assignment { groups: self.groups, of_channel: of(&self.channels.value), of_filter: of(&self.filters.value) }
    }

    /// Makes this the assignment: in each row the chosen group's logit changes places with the largest.
    ///
    /// # Panics
    /// If a list has another length than the layer, or a group is out of range.
    pub fn choose(&mut self, assignment: &Assignment) {
        for (logits, chosen) in
            [(&mut self.channels, &assignment.of_channel), (&mut self.filters, &assignment.of_filter)]
        {
            assert_eq!(logits.value.len(), chosen.len() * self.groups, "one group for each member");
            for (row, &chosen) in logits.value.chunks_exact_mut(self.groups).zip(chosen) {
                row.swap(first_largest(row), chosen);
            }
        }
    }

    /// The gradients of the logits. `by_mask[n][c]` is the derivative by each element of the mask, `W` times the derivative by `W * M`; with
    /// [`Estimator::Chosen`] only elements inside groups matter.
    pub(super) fn backward(&mut self, by_mask: &[F], assignment: &Assignment) {
        let (groups, c, n) = (self.groups, assignment.of_channel.len(), assignment.of_filter.len());
        let (mut by_channel, mut by_filter) = (vec![0.0; c * groups], vec![0.0; n * groups]);
        for (filter, row) in by_mask.chunks_exact(c).enumerate() {
            let of_filter = assignment.of_filter[filter];
            for (channel, by) in row.iter().enumerate() {
                let of_channel = assignment.of_channel[channel];
                // M = t s^T: an element passes its gradient to the group of its channel in t, and to that of its filter in s.
                by_filter[filter * groups + of_channel] += by.f64();
                by_channel[channel * groups + of_filter] += by.f64();
            }
        }
        let through = |param: &mut Param<F>, by: &[f64], of: &[usize]| {
            let rows =
                param.value.chunks_exact(groups).zip(param.grad.chunks_exact_mut(groups)).zip(by.chunks_exact(groups));
            for (((logits, grad), by), &chosen) in rows.zip(of) {
                let only = (self.estimator == Estimator::Chosen).then_some(chosen);
                through_softmax(logits, by, only, grad);
            }
        };
        through(&mut self.channels, &by_channel, &assignment.of_channel);
        through(&mut self.filters, &by_filter, &assignment.of_filter);
    }
}

/// The gradient of logits from the gradient `by` of their softmax, or only of entry `only` of it.
fn through_softmax<F: Float>(logits: &[F], by: &[f64], only: Option<usize>, grad: &mut [F]) {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, logit| largest.max(logit.f64()));
    let exp: Vec<f64> = logits.iter().map(|logit| (logit.f64() - largest).exp()).collect();
    let total: f64 = exp.iter().sum();
    let counts = |group: usize| only.is_none_or(|only| only == group);
    let entry = |group: usize| if counts(group) { by[group] } else { 0.0 };
    let mean: f64 = exp.iter().enumerate().map(|(group, exp)| exp / total * entry(group)).sum();
    for (group, grad) in grad.iter_mut().enumerate() {
        *grad = F::of(exp[group] / total * (entry(group) - mean));
    }
}

/// Index of the largest entry, the first on a tie.
fn first_largest<F: Float>(row: &[F]) -> usize {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = i;
        }
    }
    best
}

/// A number from the standard normal distribution (Box and Muller).
pub(super) fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn ties_go_to_the_first_group() {
        assert_eq!(first_largest(&[1.0, 2.0, 2.0]), 1);
        assert_eq!(first_largest(&[0.0f32; 4]), 0);
        assert_eq!(first_largest(&[f64::NAN, 2.0]), 0);
    }

    #[test]
    fn standard_groups_are_runs_and_shuffled_ones_are_dealt() {
        let standard = Assignment::standard(4, 6, 2);
        assert_eq!((standard.of_channel, standard.of_filter), (vec![0, 0, 1, 1], vec![0, 0, 0, 1, 1, 1]));
        let shuffled = Assignment::shuffled(4, 6, 2);
        assert_eq!((shuffled.of_channel, shuffled.of_filter), (vec![0, 0, 1, 1], vec![0, 1, 0, 1, 0, 1]));
        assert_eq!(Assignment::standard(8, 5, 3).channels(), [3, 3, 2]);
    }

    #[test]
    fn balanced_starts_are_even() {
        let mut rng = Pcg64::seed_from_u64(7);
        for start in [Start::Balanced { scale: 0.01 }, Start::Scattered { scale: 0.01 }] {
            let members = Membership::<f32>::new("x", [24, 17], 8, start, Estimator::Row, &mut rng);
            let assignment = members.assignment();
            assert_eq!(assignment.channels(), [3; 8]);
            assert_eq!(assignment.filters(), [3, 2, 2, 2, 2, 2, 2, 2]);
        }
    }

    #[test]
    fn orders_list_members_group_by_group() {
        let assignment = Assignment { groups: 3, of_channel: vec![2, 0, 2], of_filter: vec![0, 1, 0, 2] };
        let order = Order::new(&assignment);
        assert_eq!((order.channels.as_slice(), order.filters.as_slice()), (&[1, 0, 2][..], &[0, 2, 1, 3][..]));
        let ranges: Vec<_> = order.groups.iter().map(|group| (group.channels.clone(), group.filters.clone())).collect();
        assert_eq!(ranges, [(0..1, 0..2), (1..1, 2..3), (1..3, 3..4)]);
        assert_eq!(order.weights(), 4);
        assert_eq!(assignment.empty(), 1);
    }
}
