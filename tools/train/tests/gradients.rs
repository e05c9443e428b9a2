//! Gradients of every layer and of the whole network against finite differences in double precision, and the straight-through step against its
//! definition.

use flgc_train::nn::{
    Act, Buffers, Conv, Depthwise, Head, InputGradient, Kind, LANES, Param, Pointwise, Source, Unit,
    groups::{Assignment, Estimator, Membership, Start},
    mobilenet::{Config, Grouping, MobileNet},
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Step of the differences.
const STEP: f64 = 1e-5;

fn random(rng: &mut Pcg64, count: usize) -> Vec<f64> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn act(rng: &mut Pcg64, [c, h, w]: [usize; 3], parts: usize) -> Act<f64> {
    Act { c, h, w, parts: (0..parts).map(|_| random(rng, c * h * w * LANES)).collect() }
}

fn weight(rng: &mut Pcg64, name: &str, count: usize) -> Param<f64> {
    Param::new(name.into(), Kind::Weight, random(rng, count))
}

fn pointwise(rng: &mut Pcg64, name: &str, assignment: Assignment) -> Unit<f64> {
    let count = assignment.of_channel.len() * assignment.of_filter.len();
    let conv = Pointwise::fixed(weight(rng, name, count), assignment);
    with_offsets(rng, Unit::new(name.into(), Conv::Pointwise(conv.into())))
}

fn depthwise(rng: &mut Pcg64, name: &str, c: usize, stride: usize) -> Unit<f64> {
    let conv = Depthwise::new(c, stride, weight(rng, name, c * 9));
    with_offsets(rng, Unit::new(name.into(), Conv::Depthwise(conv)))
}

/// Scales and shifts that differ from 1 and 0.
fn with_offsets(rng: &mut Pcg64, mut unit: Unit<f64>) -> Unit<f64> {
    for gamma in &mut unit.norm.gamma.value {
        *gamma = rng.random_range(0.5..1.5);
    }
    for beta in &mut unit.norm.beta.value {
        *beta = rng.random_range(-0.3..0.3);
    }
    unit
}

fn refresh(unit: &mut Unit<f64>) {
    if let Conv::Pointwise(conv) = &mut unit.conv {
        conv.refresh();
    }
}

/// Two units in a row, and a weight for each number of the output: their weighted sum is the loss.
struct Chain {
    first: Unit<f64>,
    second: Unit<f64>,
    x: Act<f64>,
    r: Act<f64>,
    buffers: Buffers<f64>,
}

impl Chain {
    fn loss(&mut self) -> f64 {
        refresh(&mut self.first);
        refresh(&mut self.second);
        self.first.forward(Source::plain(&self.x), true, &self.buffers);
        self.second.forward(self.first.source(), true, &self.buffers);
        let (raw, norm) = self.second.raw();
        let plane = raw.plane();
        let parts = raw.parts.iter().zip(&self.r.parts);
        let values = parts.flat_map(|(raw, r)| raw.iter().zip(r).enumerate());
        values
            .map(|(i, (raw, r))| {
                let channel = i / plane % norm.scale.len();
                (raw * norm.scale[channel] + norm.shift[channel]) * r
            })
            .sum()
    }

    /// The gradients, and that of the input.
    fn backward(&mut self) -> Act<f64> {
        self.loss();
        let sums = self.second.sums(&self.r);
        let (g, sums) = if let Conv::Depthwise(_) = self.second.conv {
            self.second.backward_depthwise(self.first.source(), self.r.clone(), &sums, &self.buffers)
        } else {
            let (raw, _) = self.first.raw();
            let mut g = Act { parts: raw.parts.iter().map(|part| vec![0.0; part.len()]).collect(), ..*raw };
            let sums = self.second.backward(
                self.first.source(),
                &self.r,
                &sums,
                InputGradient::BeforeNorm(&mut g),
                &self.buffers,
            );
            (g, sums)
        };
        for (given, computed) in sums.iter().zip(self.first.sums(&g)) {
            assert_close(given[0], computed[0], "sum of g");
            assert_close(given[1], computed[1], "sum of g (x - mean)");
        }
        // What is there is kept with `add`.
        let mut dx = Act { parts: self.x.parts.iter().map(|part| vec![1.0; part.len()]).collect(), ..self.x };
        self.first.backward(
            Source::plain(&self.x),
            &g,
            &sums,
            InputGradient::AsRead { dx: &mut dx, add: true },
            &self.buffers,
        );
        dx.parts.iter_mut().flatten().for_each(|dx| *dx -= 1.0);
        dx
    }

    fn check(mut self, rng: &mut Pcg64) {
        let dx = self.backward();
        for part in 0..self.x.parts.len() {
            for _ in 0..40 {
                let i = rng.random_range(0..self.x.parts[part].len());
                let difference = self.difference(|chain, step| chain.x.parts[part][i] += step);
                assert_close(dx.parts[part][i], difference, &format!("input {i} of part {part}"));
            }
        }
        for unit in 0..2 {
            fn params(chain: &mut Chain, unit: usize) -> Vec<&mut Param<f64>> {
                if unit == 0 { chain.first.params_mut() } else { chain.second.params_mut() }
            }
            for index in 0..params(&mut self, unit).len() {
                let param = &params(&mut self, unit)[index];
                let (name, grad) = (param.name.clone(), param.grad.clone());
                for (i, &grad) in grad.iter().enumerate() {
                    let difference = self.difference(|chain, step| params(chain, unit)[index].value[i] += step);
                    assert_close(grad, difference, &format!("{name}[{i}]"));
                }
            }
        }
    }

    fn difference(&mut self, mut nudge: impl FnMut(&mut Self, f64)) -> f64 {
        nudge(self, STEP);
        let above = self.loss();
        nudge(self, -2.0 * STEP);
        let below = self.loss();
        nudge(self, STEP);
        (above - below) / (2.0 * STEP)
    }
}

fn assert_close(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{what}: found {found}, expected {expected}");
}

/// Groups of every kind: uneven, one channel, no channels, no filters.
fn uneven() -> Assignment {
    Assignment { groups: 5, of_channel: vec![3, 0, 3, 1, 0, 4, 3], of_filter: vec![1, 3, 0, 2, 3, 0] }
}

#[test]
fn pointwise_behind_pointwise() {
    let mut rng = Pcg64::seed_from_u64(1);
    for assignment in [uneven(), Assignment::dense(7, 6)] {
        let first = pointwise(
            &mut rng,
            "first",
            Assignment { of_filter: vec![0, 1, 2, 0, 1, 2, 0], ..Assignment::standard(5, 7, 3) },
        );
        let second = pointwise(&mut rng, "second", assignment);
        let (x, r) = (act(&mut rng, [5, 3, 3], 2), act(&mut rng, [6, 3, 3], 2));
        Chain { first, second, x, r, buffers: Buffers::default() }.check(&mut rng);
    }
}

#[test]
fn planes_longer_than_a_chunk() {
    let mut rng = Pcg64::seed_from_u64(2);
    let first = pointwise(&mut rng, "first", Assignment::dense(2, 3));
    let second = pointwise(&mut rng, "second", Assignment::standard(3, 2, 2));
    let (x, r) = (act(&mut rng, [2, 9, 11], 1), act(&mut rng, [2, 9, 11], 1));
    Chain { first, second, x, r, buffers: Buffers::default() }.check(&mut rng);
}

#[test]
fn depthwise_behind_pointwise() {
    let mut rng = Pcg64::seed_from_u64(3);
    for (stride, h, w) in [(1, 4, 5), (2, 4, 6), (2, 5, 3), (1, 1, 1), (2, 1, 2)] {
        let first = pointwise(&mut rng, "first", Assignment::dense(2, 3));
        let second = depthwise(&mut rng, "second", 3, stride);
        let [_, out_h, out_w] = second.output(h, w);
        let (x, r) = (act(&mut rng, [2, h, w], 2), act(&mut rng, [3, out_h, out_w], 2));
        Chain { first, second, x, r, buffers: Buffers::default() }.check(&mut rng);
    }
}

#[test]
fn head_and_loss() {
    let mut rng = Pcg64::seed_from_u64(4);
    let mut unit = pointwise(&mut rng, "unit", Assignment::dense(2, 3));
    let (x, labels): (_, Vec<u16>) = (act(&mut rng, [2, 2, 3], 2), (0..LANES as u16 * 2 - 5).map(|i| i % 4).collect());
    let mut head = Head::new(weight(&mut rng, "weight", 4 * 3), weight(&mut rng, "bias", 4));
    let buffers = Buffers::default();
    let loss = |unit: &mut Unit<f64>, head: &mut Head<f64>| {
        refresh(unit);
        unit.forward(Source::plain(&x), true, &buffers);
        let scores = head.scores(unit.source());
        let score = head.loss(&scores, &labels, 0.1);
        score.loss / score.pictures as f64
    };
    loss(&mut unit, &mut head);
    let (raw, _) = unit.raw();
    let mut g = raw.clone();
    let sums = head.backward(unit.source(), &mut g);
    for (given, computed) in sums.iter().zip(unit.sums(&g)) {
        assert_close(given[0], computed[0], "sum of g");
        assert_close(given[1], computed[1], "sum of g (x - mean)");
    }
    unit.backward(Source::plain(&x), &g, &sums, InputGradient::Unwanted, &Buffers::default());
    for which in 0..5 {
        fn param<'a>(unit: &'a mut Unit<f64>, head: &'a mut Head<f64>, which: usize) -> &'a mut Param<f64> {
            match which {
                0 => &mut head.weight,
                1 => &mut head.bias,
                which => unit.params_mut().swap_remove(which - 2),
            }
        }
        let found = param(&mut unit, &mut head, which).grad.clone();
        for (i, found) in found.into_iter().enumerate() {
            let mut at = |step: f64| {
                param(&mut unit, &mut head, which).value[i] += step;
                let loss = loss(&mut unit, &mut head);
                param(&mut unit, &mut head, which).value[i] -= step;
                loss
            };
            let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert_close(found, expected, &format!("parameter list {which}, {i}"));
        }
    }
}

/// The definition, in plain loops: `M = t s^T`, one-hot counts as the identity backwards, then the softmax.
#[test]
fn straight_through() {
    let mut rng = Pcg64::seed_from_u64(5);
    let (c, n, groups) = (7, 6, 3);
    for estimator in [Estimator::Row, Estimator::Chosen] {
        let members = Membership::new("layer", [c, n], groups, Start::Random { scale: 1.0 }, estimator, &mut rng);
        let weight = weight(&mut rng, "layer.weight", n * c);
        let conv = Pointwise::learned(weight.clone(), members.clone());
        let assignment = conv.assignment().clone();
        let mut unit = with_offsets(&mut rng, Unit::new("layer".into(), Conv::Pointwise(conv.into())));
        let (x, r) = (act(&mut rng, [c, 3, 2], 2), act(&mut rng, [n, 3, 2], 2));
        let buffers = Buffers::default();
        // The derivative of the loss by each element of a mask that is free to be anything.
        let loss = |mask: &[f64]| {
            let masked = weight.value.iter().zip(mask).map(|(weight, mask)| weight * mask).collect();
            let conv = Pointwise::fixed(Param { value: masked, ..weight.clone() }, Assignment::dense(c, n));
            let mut free = Unit::new("free".into(), Conv::Pointwise(conv.into()));
            free.norm = unit.norm.clone();
            free.forward(Source::plain(&x), true, &buffers);
            let (raw, norm) = free.raw();
            let plane = raw.plane();
            let values = raw.parts.iter().zip(&r.parts).flat_map(|(raw, r)| raw.iter().zip(r).enumerate());
            values.map(|(i, (raw, r))| (raw * norm.scale[i / plane % n] + norm.shift[i / plane % n]) * r).sum::<f64>()
        };
        let same = |filter: usize, channel: usize| assignment.of_filter[filter] == assignment.of_channel[channel];
        let mask: Vec<f64> = (0..n * c).map(|i| f64::from(u8::from(same(i / c, i % c)))).collect();
        let by_mask: Vec<f64> = (0..n * c)
            .map(|i| {
                let at = |step: f64| {
                    let mut mask = mask.clone();
                    mask[i] += step;
                    loss(&mask)
                };
                (at(STEP) - at(-STEP)) / (2.0 * STEP)
            })
            .collect();
        let expected = |logits: &[f64], own: &[usize], other: &[usize], by: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            let mut gradient = Vec::new();
            for (member, row) in logits.chunks_exact(groups).enumerate() {
                let total: f64 = row.iter().map(|logit| logit.exp()).sum();
                let p: Vec<f64> = row.iter().map(|logit| logit.exp() / total).collect();
                let by_one_hot: Vec<f64> = (0..groups)
                    .map(|group| {
                        let counts = estimator == Estimator::Row || own[member] == group;
                        let members = (0..other.len()).filter(|&other_member| counts && other[other_member] == group);
                        members.map(|other_member| by(member, other_member)).sum()
                    })
                    .collect();
                for j in 0..groups {
                    let by_logit = |i: usize| by_one_hot[i] * p[i] * (f64::from(u8::from(i == j)) - p[j]);
                    gradient.push((0..groups).map(by_logit).sum());
                }
            }
            gradient
        };
        unit.forward(Source::plain(&x), true, &Buffers::default());
        let sums = unit.sums(&r);
        unit.backward(Source::plain(&x), &r, &sums, InputGradient::Unwanted, &Buffers::default());
        let (of_channel, of_filter) = (&assignment.of_channel, &assignment.of_filter);
        let channels =
            expected(&members.channels.value, of_channel, of_filter, &|channel, filter| by_mask[filter * c + channel]);
        let filters =
            expected(&members.filters.value, of_filter, of_channel, &|filter, channel| by_mask[filter * c + channel]);
        let params = unit.params_mut();
        for (found, expected) in [(&params[1].grad, channels), (&params[2].grad, filters)] {
            assert!(expected.iter().any(|expected| expected.abs() > 1e-3));
            for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
                assert_close(found, expected, &format!("{estimator:?} logit {i}"));
            }
        }
    }
}

#[test]
fn whole_network() {
    for (grouping, groups) in
        [(Grouping::Flgc, 3), (Grouping::Dense, 1), (Grouping::GroupShuffle, 2), (Grouping::Group, 4)]
    {
        let size = [6, 9];
        let config = Config {
            width: 0.25,
            size,
            classes: 3,
            grouping,
            groups,
            start: Start::Random { scale: 1.0 },
            estimator: Estimator::Row,
            seed: 6,
        };
        let mut rng = Pcg64::seed_from_u64(7);
        let mut network = MobileNet::<f64>::new(&config);
        let pictures: Vec<Vec<f64>> = (0..2).map(|_| random(&mut rng, 3 * size[0] * size[1] * LANES)).collect();
        let labels: Vec<u16> = (0..2 * LANES).map(|_| rng.random_range(0..3)).collect();
        let loss = |network: &mut MobileNet<f64>| {
            network.refresh();
            let scores = network.forward(&pictures, size, true);
            let score = network.head.loss(&scores, &labels, 0.1);
            score.loss / score.pictures as f64
        };
        loss(&mut network);
        network.backward(&pictures, size);
        let grads: Vec<(String, Kind, Vec<f64>)> = network
            .params_mut()
            .into_iter()
            .map(|param| (param.name.clone(), param.kind, param.grad.clone()))
            .collect();
        for (index, (name, kind, grad)) in grads.iter().enumerate() {
            // The mask does not change with a small step of a logit; `straight_through` checks those.
            if *kind == Kind::Logits {
                continue;
            }
            // The scale of the list: a bend of a ReLU within the step costs little of it.
            let scale = grad.iter().fold(0.0, |largest: f64, grad| largest.max(grad.abs()));
            for _ in 0..1 {
                let i = rng.random_range(0..grad.len());
                let mut at = |step: f64| {
                    network.params_mut()[index].value[i] += step;
                    let loss = loss(&mut network);
                    network.params_mut()[index].value[i] -= step;
                    loss
                };
                let step = 1e-8;
                let expected = (at(step) - at(-step)) / (2.0 * step);
                let error = (grad[i] - expected).abs();
                assert!(
                    error <= 1e-3 * scale + 1e-6,
                    "{grouping:?} {name}[{i}]: found {}, expected {expected}",
                    grad[i]
                );
            }
        }
    }
}
