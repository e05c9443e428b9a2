//! MobileNetV2 for small pictures: a 3x3 stem, blocks of expand 1x1, depthwise 3x3, project 1x1, a last 1x1, mean, fully connected.

use super::{
    Act, Affine, Buffers, Conv, Depthwise, Float, Head, Kind, LANES, Param, Pointwise, Score, Source, Unit,
    groups::{Assignment, Estimator, Membership, Start},
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

/// One block: expand, depthwise, project, and a residual where the stride is 1.
#[derive(Debug)]
pub struct Block<F> {
    /// 1x1 to more channels.
    pub expand: Unit<F>,
    /// 3x3.
    pub depthwise: Unit<F>,
    /// 1x1 to fewer channels; no ReLU.
    pub project: Unit<F>,
    /// With stride 1, the way around: the input itself, or through a 1x1 convolution where the channels differ.
    pub shortcut: Shortcut<F>,
}

/// The way around a block.
#[derive(Debug)]
pub enum Shortcut<F> {
    /// None: the stride is not 1.
    None,
    /// The input.
    Identity,
    /// A 1x1 convolution with batch norm.
    Unit(Box<Unit<F>>),
}

/// The network.
#[derive(Debug)]
pub struct MobileNet<F> {
    /// 3x3 convolution of the picture: a 1x1 convolution of its nine shifts.
    pub stem: Unit<F>,
    /// The blocks.
    pub blocks: Vec<Block<F>>,
    /// The last 1x1 convolution.
    pub last: Unit<F>,
    /// The end.
    pub head: Head<F>,
    /// The picture's shifts, the stem's output, then each block's.
    outs: Vec<Act<F>>,
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
        Unit::new(name.to_owned(), Conv::Pointwise(Pointwise::fixed(weight, Assignment::dense(c, n))))
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
        Unit::new(name.to_owned(), Conv::Pointwise(conv))
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
        let channels =
            |base: usize| ((base as f64 * config.width / MULTIPLE as f64).round() as usize).max(1) * MULTIPLE;
        let mut make = Maker { config, rng: Pcg64::seed_from_u64(config.seed) };
        let mut c = channels(ENDS[0]);
        let stem = make.dense("stem", 3 * 9, c);
        let mut blocks = Vec::new();
        for (expansion, base, repeats, first_stride) in BLOCKS {
            for repeat in 0..repeats {
                let (n, wide) = (channels(base), expansion * c);
                let stride = if repeat == 0 { first_stride } else { 1 };
                let name = format!("block{}", blocks.len() + 1);
                blocks.push(Block {
                    expand: make.pointwise(&format!("{name}.expand"), c, wide),
                    depthwise: make.depthwise(&format!("{name}.depthwise"), wide, stride),
                    project: make.pointwise(&format!("{name}.project"), wide, n),
                    shortcut: match (stride, c == n) {
                        (1, true) => Shortcut::Identity,
                        (1, false) => Shortcut::Unit(Box::new(make.pointwise(&format!("{name}.shortcut"), c, n))),
                        _ => Shortcut::None,
                    },
                });
                c = n;
            }
        }
        let wide = channels(ENDS[1]);
        let last = make.pointwise("last", c, wide);
        let weight = make.weights("classifier.weight".into(), config.classes * wide, wide);
        let bias = make.weights("classifier.bias".into(), config.classes, wide);
        let head = Head::new(weight, Param { kind: Kind::Offset, ..bias });
        Self { stem, blocks, last, head, outs: Vec::new(), buffers: Buffers::default() }
    }

    /// Scores of a batch of pictures, parts of `[3][h][w][LANES]`: `[classes][LANES]` for each part.
    ///
    /// # Panics
    /// If the number of parts or their size differs from the first batch's.
    pub fn forward(&mut self, pictures: &[Vec<F>], [h, w]: [usize; 2], training: bool) -> Vec<Vec<F>> {
        if self.outs.is_empty() {
            self.outs.push(self.buffers.take([3 * 9, h, w], pictures.len()));
        }
        let found = (pictures.len(), [h, w]);
        let expected = (self.outs[0].parts.len(), [self.outs[0].h, self.outs[0].w]);
        assert_eq!(found, expected, "a network keeps its memory for the first batch's parts and size");
        let Self { stem, blocks, last, head, outs, buffers } = self;
        shifts(pictures, &mut outs[0]);
        stem.forward(Source::plain(&outs[0]), training, buffers);
        let (raw, norm) = stem.raw();
        join(outs, 1, raw, (norm, true), Around::Nothing, buffers);
        for (i, block) in blocks.iter_mut().enumerate() {
            let x = Source::plain(&outs[i + 1]);
            block.expand.forward(x, training, buffers);
            block.depthwise.forward(block.expand.source(), training, buffers);
            block.project.forward(block.depthwise.source(), training, buffers);
            if let Shortcut::Unit(unit) = &mut block.shortcut {
                unit.forward(x, training, buffers);
            }
            let (raw, norm) = block.project.raw();
            let around = match &block.shortcut {
                Shortcut::None => Around::Nothing,
                Shortcut::Identity => Around::Out(i + 1),
                Shortcut::Unit(unit) => Around::Raw(unit.raw()),
            };
            join(outs, i + 2, raw, (norm, false), around, buffers);
        }
        last.forward(Source::plain(&outs[outs.len() - 1]), training, buffers);
        head.scores(last.source())
    }

    /// Gradients of everything learned, after [`MobileNet::forward`] in training and [`Head::loss`].
    pub fn backward(&mut self) {
        let Self { stem, blocks, last, head, outs, buffers } = self;
        let shape_of = |act: &Act<F>| [act.c, act.h, act.w];
        let x = &outs[outs.len() - 1];
        let parts = x.parts.len();
        let mut g_last = buffers.take(shape_of(last.raw().0), parts);
        let sums = head.backward(last.source(), &mut g_last);
        // The gradient of the output of a block.
        let mut g = buffers.take(shape_of(x), parts);
        last.backward(Source::plain(x), &g_last, &sums, Some((&mut g, false)), buffers);
        buffers.give(g_last);
        for (i, block) in blocks.iter_mut().enumerate().rev() {
            let x = &outs[i + 1];
            let mut g_wide = buffers.take(shape_of(block.depthwise.raw().0), parts);
            let sums = block.project.sums(&g);
            let wide_sums =
                block.project.backward(block.depthwise.source(), &g, &sums, Some((&mut g_wide, false)), buffers);
            let (g_wide, wide_sums) =
                block.depthwise.backward_depthwise(block.expand.source(), g_wide, &wide_sums, buffers);
            // What comes around the block.
            let (mut dx, add) = match &mut block.shortcut {
                Shortcut::Identity => (g, true),
                Shortcut::Unit(unit) => {
                    let mut dx = buffers.take(shape_of(x), parts);
                    let sums = unit.sums(&g);
                    unit.backward(Source::plain(x), &g, &sums, Some((&mut dx, false)), buffers);
                    buffers.give(g);
                    (dx, true)
                }
                Shortcut::None => {
                    buffers.give(g);
                    (buffers.take(shape_of(x), parts), false)
                }
            };
            block.expand.backward(Source::plain(x), &g_wide, &wide_sums, Some((&mut dx, add)), buffers);
            buffers.give(g_wide);
            g = dx;
        }
        // Through the ReLU of the stem, whose output is stored.
        let (raw, norm) = stem.raw();
        let (plane, out) = (g.plane(), &outs[1]);
        let part = |((g, a), raw): ((&mut Vec<F>, &Vec<F>), &Vec<F>)| -> Vec<[f64; 2]> {
            let channels = g.chunks_exact_mut(plane).zip(a.chunks_exact(plane)).zip(raw.chunks_exact(plane));
            let masked =
                |(((g, a), raw), &mean): (((&mut [F], &[F]), &[F]), &F)| rows::relu_gradient_in_place(g, a, raw, mean);
            channels.zip(&norm.mean).map(masked).collect()
        };
        let sums: Vec<_> = g.parts.par_iter_mut().zip(&out.parts).zip(&raw.parts).map(part).collect();
        let sums = super::norm::add_sums(sums);
        stem.backward(Source::plain(&outs[0]), &g, &sums, None, buffers);
        buffers.give(g);
    }

    /// Every convolution with its norm, in the order of the network.
    pub fn units_mut(&mut self) -> impl Iterator<Item = &mut Unit<F>> {
        units(&mut self.stem, &mut self.blocks, &mut self.last)
    }

    /// Every convolution with its norm, in the order of the network.
    #[must_use]
    pub fn units(&self) -> Vec<&Unit<F>> {
        let blocks = self.blocks.iter().flat_map(|block| {
            let shortcut = match &block.shortcut {
                Shortcut::Unit(unit) => Some(&**unit),
                _ => None,
            };
            [&block.expand, &block.depthwise, &block.project].into_iter().chain(shortcut)
        });
        std::iter::once(&self.stem).chain(blocks).chain([&self.last]).collect()
    }

    /// Everything that is learned, in a fixed order.
    pub fn params_mut(&mut self) -> Vec<&mut Param<F>> {
        self.state_mut().0
    }

    /// Everything that training changes: what is learned, and each unit's name with its running mean and variance.
    pub fn state_mut(&mut self) -> (Vec<&mut Param<F>>, Vec<(&str, [&mut Vec<F>; 2])>) {
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
            Conv::Pointwise(conv) => Some((unit.name.as_str(), conv)),
            Conv::Depthwise(_) => None,
        })
    }

    /// The groups of each of these layers, with its name.
    pub fn assignments(&self) -> impl Iterator<Item = (&str, &Assignment)> {
        self.units().into_iter().filter(|unit| unit.name != "stem").filter_map(|unit| match &unit.conv {
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
        self.backward();
        score
    }
}

fn units<'a, F: Float>(
    stem: &'a mut Unit<F>,
    blocks: &'a mut [Block<F>],
    last: &'a mut Unit<F>,
) -> impl Iterator<Item = &'a mut Unit<F>> {
    let blocks = blocks.iter_mut().flat_map(|block| {
        let shortcut = match &mut block.shortcut {
            Shortcut::Unit(unit) => Some(&mut **unit),
            _ => None,
        };
        [&mut block.expand, &mut block.depthwise, &mut block.project].into_iter().chain(shortcut)
    });
    std::iter::once(stem).chain(blocks).chain([last])
}

/// What is added to the output of a block.
enum Around<'a, F> {
    Nothing,
    /// Output number so much.
    Out(usize),
    /// A raw output, through its norm.
    Raw((&'a Act<F>, &'a Affine<F>)),
}

/// Makes output number `index`: `raw` through its norm, with `relu` through that, plus what goes around.
fn join<F: Float>(
    outs: &mut Vec<Act<F>>,
    index: usize,
    raw: &Act<F>,
    (norm, relu): (&Affine<F>, bool),
    around: Around<'_, F>,
    buffers: &Buffers<F>,
) {
    if outs.len() == index {
        outs.push(buffers.take([raw.c, raw.h, raw.w], raw.parts.len()));
    }
    let plane = raw.plane();
    let (before, out) = outs.split_at_mut(index);
    out[0].parts.par_iter_mut().enumerate().for_each(|(part, out)| {
        for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
            let of = |act: &Act<F>| channel * plane..channel * plane + act.plane();
            let (x, scale, shift) = (&raw.parts[part][of(raw)], norm.scale[channel], norm.shift[channel]);
            if relu {
                rows::affine_relu(x, scale, shift, out)
            } else {
                rows::affine(x, scale, shift, out)
            }
            match &around {
                Around::Nothing => {}
                Around::Out(x) => rows::add(&before[*x].parts[part][of(&before[*x])], out),
                Around::Raw((raw, norm)) => {
                    rows::affine_add(&raw.parts[part][of(raw)], norm.scale[channel], norm.shift[channel], out);
                }
            }
        }
    });
}

/// The nine shifts of each channel of the pictures, zeros from beyond the border: `[3][3][3][h][w][LANES]`.
fn shifts<F: Float>(pictures: &[Vec<F>], out: &mut Act<F>) {
    let (h, w, plane) = (out.h, out.w, out.plane());
    out.parts.par_iter_mut().zip(pictures).for_each(|(out, picture)| {
        for (index, out) in out.chunks_exact_mut(plane).enumerate() {
            let (x, ky, kx) = (&picture[index / 9 * plane..][..plane], index / 3 % 3, index % 3);
            for (row, out) in out.chunks_exact_mut(w * LANES).enumerate() {
                out.fill(F::zero());
                let Some(from) = (row + ky).checked_sub(1).filter(|&from| from < h) else { continue };
                let x = &x[from * w * LANES..][..w * LANES];
                let (cut_left, cut_right) = ((1 - kx.min(1)) * LANES, kx.saturating_sub(1) * LANES);
                let shown = w * LANES - cut_left - cut_right;
                out[cut_left..][..shown].copy_from_slice(&x[cut_right..][..shown]);
            }
        }
    });
}
