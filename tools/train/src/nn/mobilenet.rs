//! MobileNetV2 for small pictures: a 3x3 stem, blocks of expand 1x1, depthwise 3x3, project 1x1, a last 1x1, mean, fully connected.

use super::{
    Act, Block, Buffers, Conv, Depthwise, Float, Head, InputGradient, Keep, Kind, LANES, Param, Part, Pointwise,
    Running, Score, Shortcut, Source, Sums, Unit,
    groups::{Assignment, Estimator, Membership, Start},
    norm::add_sums,
    rows,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Expansion, channels, repeats, stride of the first.
const BLOCKS: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
/// Channels of the stem, and of the last 1x1 convolution.
const ENDS: [usize; 2] = [32, 1280];
/// Channels are a multiple of this.
const MULTIPLE: usize = 8;

/// How the 1x1 convolutions are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grouping {
    /// Not at all.
    Dense,
    /// Standard groups: runs of channels and filters.
    Group,
    /// Standard groups with a channel shuffle.
    GroupShuffle,
    /// Learned groups.
    Flgc,
}

/// What a network looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Factor of all numbers of channels, which are rounded to multiples of 8.
    pub width: f64,
    /// Rows and columns of the pictures.
    pub size: [usize; 2],
    /// Classes.
    pub classes: usize,
    /// How the 1x1 convolutions are grouped.
    pub grouping: Grouping,
    /// Groups of each.
    pub groups: usize,
    /// Where logits start.
    pub start: Start,
    /// How the gradient passes the one-hot step.
    pub estimator: Estimator,
    /// Seed of weights and logits.
    pub seed: u64,
}

/// The channels of a layer with `base` channels at width one.
fn channels(base: usize, width: f64) -> usize {
    ((base as f64 * width / MULTIPLE as f64).round() as usize).max(1) * MULTIPLE
}

/// The most channels or filters of a 1x1 convolution.
#[must_use]
pub fn widest(width: f64) -> usize {
    let (mut input, mut widest) = (ENDS[0], channels(ENDS[1], width));
    for (expansion, base, repeats, _) in BLOCKS {
        let expanded = if repeats > 1 { input.max(base) } else { input };
        widest = widest.max(expansion * channels(expanded, width));
        input = base;
    }
    widest
}

/// The network.
#[derive(Debug)]
pub struct MobileNet<F: Float> {
    /// 3x3 convolution of the picture: a 1x1 convolution of its nine shifts.
    pub stem: Unit<F>,
    /// The blocks.
    pub blocks: Vec<Block<F>>,
    /// The last 1x1 convolution.
    pub last: Unit<F>,
    /// The end.
    pub head: Head<F>,
    buffers: Buffers<F>,
}

/// Makes layers.
struct Maker<'a> {
    config: &'a Config,
    rng: Pcg64,
}

impl Maker<'_> {
    /// Uniform weights with the deviation that keeps the scale of a dense layer's input: `1 / sqrt(3 fan_in)`.
    fn weights<F: Float>(&mut self, name: String, count: usize, fan_in: usize) -> Param<F> {
        let bound = 1.0 / (fan_in as f64).sqrt();
        let values = (0..count).map(|_| F::of(self.rng.random_range(-bound..bound))).collect();
        Param::new(name, Kind::Weight, values)
    }

    fn dense<F: Float>(&mut self, name: &str, c: usize, n: usize) -> Unit<F> {
        let weight = self.weights(format!("{name}.weight"), n * c, c);
        Unit::new(name.to_owned(), Conv::Pointwise(Pointwise::fixed(weight, Assignment::dense(c, n)).into()))
    }

    /// A 1x1 convolution, grouped as the network's are.
    fn pointwise<F: Float>(&mut self, name: &str, c: usize, n: usize) -> Unit<F> {
        let Config { groups, grouping, start, estimator, .. } = *self.config;
        let weight = self.weights(format!("{name}.weight"), n * c, c);
        let conv = match grouping {
            Grouping::Dense => Pointwise::fixed(weight, Assignment::dense(c, n)),
            Grouping::Group => Pointwise::fixed(weight, Assignment::standard(c, n, groups)),
            Grouping::GroupShuffle => Pointwise::fixed(weight, Assignment::shuffled(c, n, groups)),
            Grouping::Flgc => {
                Pointwise::learned(weight, Membership::new(name, [c, n], groups, start, estimator, &mut self.rng))
            }
        };
        Unit::new(name.to_owned(), Conv::Pointwise(conv.into()))
    }

    fn depthwise<F: Float>(&mut self, name: &str, c: usize, stride: usize) -> Unit<F> {
        let weight = self.weights(format!("{name}.weight"), c * 9, 9);
        Unit::new(name.to_owned(), Conv::Depthwise(Depthwise::new(c, stride, weight)))
    }
}

impl<F: Float> MobileNet<F> {
    /// With random weights.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let channels = |base: usize| channels(base, config.width);
        let mut make = Maker { config, rng: Pcg64::seed_from_u64(config.seed) };
        let mut c = channels(ENDS[0]);
        let stem = make.dense("stem", 3 * 9, c);
        let (mut blocks, mut wide_sizes, mut shrink) = (Vec::<Block<F>>::new(), Vec::new(), 1);
        for (expansion, base, repeats, first_stride) in BLOCKS {
            for repeat in 0..repeats {
                let (n, wide) = (channels(base), expansion * c);
                let stride = if repeat == 0 { first_stride } else { 1 };
                let name = format!("block{}", blocks.len() + 1);
                let expand = make.pointwise(&format!("{name}.expand"), c, wide);
                let depthwise = make.depthwise(&format!("{name}.depthwise"), wide, stride);
                let project = make.pointwise(&format!("{name}.project"), wide, n);
                let shortcut = match (stride, c == n) {
                    (1, true) => Shortcut::Identity,
                    (1, false) => Shortcut::Unit(Box::new(make.pointwise(&format!("{name}.shortcut"), c, n))),
                    _ => Shortcut::None,
                };
                blocks.push(Block::new(expand, depthwise, project, shortcut));
                wide_sizes.push(wide * (config.size[0] / shrink) * (config.size[1] / shrink));
                shrink *= stride;
                c = n;
            }
        }
        // The largest activations and their gradients share the memory of two.
        let largest = wide_sizes.iter().copied().max();
        let mut last_largest = None;
        for (block, _) in blocks.iter_mut().zip(wide_sizes).filter(|(_, size)| largest == Some(*size)) {
            block.keep = Keep::Nothing;
            last_largest = Some(block);
        }
        if let Some(block) = last_largest {
            block.keep = Keep::ForBackward;
        }
        let wide = channels(ENDS[1]);
        let last = make.pointwise("last", c, wide);
        let weight = make.weights("classifier.weight".into(), config.classes * wide, wide);
        let bias = make.weights("classifier.bias".into(), config.classes, wide);
        let head = Head::new(weight, Param { kind: Kind::Offset, ..bias });
        Self { stem, blocks, last, head, buffers: Buffers::default() }
    }

    /// Scores of a batch of pictures, parts of `[3][h][w][LANES]`: `[classes][LANES]` for each part. All batches have the same size: the network
    /// keeps its memory.
    pub fn forward(&mut self, pictures: &[Vec<F>], size: [usize; 2], training: bool) -> Vec<Vec<F>> {
        let Self { stem, blocks, last, head, buffers } = self;
        let shifts = shifts(pictures, size, buffers);
        stem.forward(Source::plain(&shifts), training, buffers);
        buffers.give(shifts);
        for i in 0..blocks.len() {
            let (before, block) = blocks.split_at_mut(i);
            block[0].forward(input(stem, before), training, buffers);
        }
        last.forward(input(stem, blocks), training, buffers);
        head.scores(last.source())
    }

    /// Gradients of everything learned, after [`MobileNet::forward`] in training on the same pictures and [`Head::loss`].
    pub fn backward(&mut self, pictures: &[Vec<F>], size: [usize; 2]) {
        let Self { stem, blocks, last, head, buffers } = self;
        let parts = pictures.len();
        let like = |act: &Act<F>| buffers.take([act.c, act.h, act.w], parts);
        // The largest gradient first: the smaller ones then use its memory.
        let wide = blocks.iter().filter(|block| block.keep != Keep::Nothing).map(|block| block.expand.raw().0);
        if let Some(largest) = wide.max_by_key(|act| act.c * act.plane()) {
            buffers.give(like(largest));
        }
        let mut g_last = like(last.raw().0);
        let sums = head.backward(last.source(), &mut g_last);
        let x = input(stem, blocks);
        let mut g = like(x.raw);
        last.backward(x, &g_last, &sums, InputGradient::AsRead { dx: &mut g, add: false }, buffers);
        buffers.give(g_last);
        for i in (0..blocks.len()).rev() {
            let (before, block) = blocks.split_at_mut(i);
            g = block[0].backward(input(stem, before), g, buffers);
        }
        let sums = through_relu(stem.source(), &mut g, buffers);
        let shifts = shifts(pictures, size, buffers);
        stem.backward(Source::plain(&shifts), &g, &sums, InputGradient::Unwanted, buffers);
        [shifts, g].into_iter().for_each(|act| buffers.give(act));
    }

    /// Every convolution with its norm, in the order of the network.
    pub fn units_mut(&mut self) -> impl Iterator<Item = &mut Unit<F>> {
        units(&mut self.stem, &mut self.blocks, &mut self.last)
    }

    /// Every convolution with its norm, in the order of the network.
    pub fn units(&self) -> impl Iterator<Item = &Unit<F>> {
        std::iter::once(&self.stem).chain(self.blocks.iter().flat_map(Block::units)).chain([&self.last])
    }

    /// Everything that is learned, in a fixed order.
    pub fn params_mut(&mut self) -> Vec<&mut Param<F>> {
        self.state_mut().0
    }

    /// Everything that training changes: what is learned, and the running statistics.
    pub fn state_mut(&mut self) -> (Vec<&mut Param<F>>, Vec<Running<'_, F>>) {
        let Self { stem, blocks, last, head, .. } = self;
        let (mut params, mut statistics) = (Vec::new(), Vec::new());
        for unit in units(stem, blocks, last) {
            let (of_unit, running) = unit.state_mut();
            params.extend(of_unit);
            statistics.push(running);
        }
        params.extend([&mut head.weight, &mut head.bias]);
        (params, statistics)
    }

    /// The grouped layers: those that are not dense by design.
    pub fn pointwise_mut(&mut self) -> impl Iterator<Item = (&str, &mut Pointwise<F>)> {
        self.units_mut().filter(|unit| unit.name != "stem").filter_map(|unit| match &mut unit.conv {
            Conv::Pointwise(conv) => Some((unit.name.as_str(), &mut **conv)),
            Conv::Depthwise(_) => None,
        })
    }

    /// The groups of each of these layers, with its name.
    pub fn assignments(&self) -> impl Iterator<Item = (&str, &Assignment)> {
        self.units().filter(|unit| unit.name != "stem").filter_map(|unit| match &unit.conv {
            Conv::Pointwise(conv) => Some((unit.name.as_str(), conv.assignment())),
            Conv::Depthwise(_) => None,
        })
    }

    /// To be called after weights or logits have changed.
    pub fn refresh(&mut self) {
        for unit in self.units_mut() {
            if let Conv::Pointwise(conv) = &mut unit.conv {
                conv.refresh();
            }
        }
    }

    /// Whether logits are learned from now on.
    pub fn set_learning(&mut self, learning: bool) {
        for members in self.pointwise_mut().filter_map(|(_, conv)| conv.members.as_mut()) {
            members.learning = learning;
        }
    }

    /// Classifies a batch with the running statistics.
    pub fn test(&mut self, pictures: &[Vec<F>], labels: &[u16], size: [usize; 2]) -> Score {
        let scores = self.forward(pictures, size, false);
        self.head.loss(&scores, labels, 0.0)
    }

    /// One step without the update: forward, loss, backward.
    pub fn learn(&mut self, pictures: &[Vec<F>], labels: &[u16], size: [usize; 2], smoothing: f64) -> Score {
        let scores = self.forward(pictures, size, true);
        let score = self.head.loss(&scores, labels, smoothing);
        self.backward(pictures, size);
        score
    }
}

fn units<'a, F: Float>(
    stem: &'a mut Unit<F>,
    blocks: &'a mut [Block<F>],
    last: &'a mut Unit<F>,
) -> impl Iterator<Item = &'a mut Unit<F>> {
    std::iter::once(stem).chain(blocks.iter_mut().flat_map(Block::units_mut)).chain([last])
}

/// What the layer behind these blocks reads.
fn input<'a, F: Float>(stem: &'a Unit<F>, blocks: &'a [Block<F>]) -> Source<'a, F> {
    blocks.last().map_or_else(|| stem.source(), Block::source)
}

/// Turns the gradient of what is read through a norm and a ReLU into that of the norm's output; returns its sums.
fn through_relu<F: Float>(x: Source<'_, F>, g: &mut Act<F>, buffers: &Buffers<F>) -> Sums {
    let (plane, means) = (g.plane(), x.norm.map_or(&[][..], |norm| &norm.mean));
    let part = |(part, g): (usize, &mut Part<F>)| -> Sums {
        let [mut a, mut d] = [(); 2].map(|()| buffers.vector(plane));
        let channels = g.chunks_exact_mut(plane).zip(x.raw.parts[part].chunks_exact(plane)).zip(means);
        let masked = channels.enumerate().map(|(channel, ((g, raw), &mean))| {
            x.read(part, channel, 0, &mut a);
            rows::read(g, &mut d);
            rows::relu_gradient(&d, &a, raw, mean, g)
        });
        let sums = masked.collect();
        [a, d].into_iter().for_each(|vector| buffers.give_vector(vector));
        sums
    };
    let parts: Vec<Sums> = g.parts.par_iter_mut().enumerate().map(part).collect();
    add_sums(parts)
}

/// The nine shifts of each channel of the pictures, zeros from beyond the border: `[3][3][3][h][w][LANES]`.
fn shifts<F: Float>(pictures: &[Vec<F>], [h, w]: [usize; 2], buffers: &Buffers<F>) -> Act<F> {
    let mut shifts = buffers.take([3 * 9, h, w], pictures.len());
    let plane = shifts.plane();
    shifts.parts.par_iter_mut().zip(pictures).for_each(|(out, picture)| {
        for (index, out) in out.chunks_exact_mut(plane).enumerate() {
            let (x, ky, kx) = (&picture[index / 9 * plane..][..plane], index / 3 % 3, index % 3);
            for (row, out) in out.chunks_exact_mut(w * LANES).enumerate() {
                out.fill(F::Stored::default());
                let Some(from) = (row + ky).checked_sub(1).filter(|&from| from < h) else { continue };
                let x = &x[from * w * LANES..][..w * LANES];
                let (cut_left, cut_right) = ((1 - kx.min(1)) * LANES, kx.saturating_sub(1) * LANES);
                let shown = w * LANES - cut_left - cut_right;
                rows::round(&x[cut_right..][..shown], &mut out[cut_left..][..shown]);
            }
        }
    });
    shifts
}
