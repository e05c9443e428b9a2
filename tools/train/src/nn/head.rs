//! The end of a network: mean over each plane, a fully connected layer, cross-entropy.

use super::{Act, Float, LANES, Param, Part, Source, Sums, norm::add_sums, param::add_in_order, rows};
use flgc_kernels::matmul::{Mat, MatMut, matmul, matmul_add};
use rayon::prelude::*;

/// Mean over each plane of an activation behind a norm and a ReLU, a fully connected layer, softmax and cross-entropy.
#[derive(Debug)]
pub struct Head<F> {
    /// Channels.
    pub c: usize,
    /// Classes.
    pub classes: usize,
    /// `[classes][c]`
    pub weight: Param<F>,
    /// `[classes]`
    pub bias: Param<F>,
    /// Means of the last forward pass, `[c][LANES]` for each part.
    pooled: Vec<Vec<F>>,
    /// Gradient of the scores of the last forward pass, `[classes][LANES]` for each part.
    by_score: Vec<Vec<F>>,
}

/// How well a batch was classified.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Cross-entropy, summed over the pictures.
    pub loss: f64,
    /// Pictures whose largest score is that of their class.
    pub right: usize,
    /// Pictures.
    pub pictures: usize,
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.loss += other.loss;
        self.right += other.right;
        self.pictures += other.pictures;
    }
}

impl<F: Float> Head<F> {
    /// With these weights, `[classes][c]`, and biases.
    #[must_use]
    pub fn new(weight: Param<F>, bias: Param<F>) -> Self {
        let classes = bias.value.len();
        Self { c: weight.value.len() / classes, classes, weight, bias, pooled: Vec::new(), by_score: Vec::new() }
    }

    /// The scores of a batch, `[classes][LANES]` for each part.
    pub fn scores(&mut self, x: Source<'_, F>) -> Vec<Vec<F>> {
        let (c, plane) = (self.c, x.raw.plane());
        let pixels = F::of((plane / LANES) as f64);
        let layer = &*self;
        let part = |part: usize| {
            let (mut pooled, mut row) = (vec![F::zero(); c * LANES], vec![F::zero(); plane]);
            for (channel, pooled) in pooled.chunks_exact_mut(LANES).enumerate() {
                x.read(part, channel, 0, &mut row);
                for pixel in row.chunks_exact(LANES) {
                    rows::add(pixel, pooled);
                }
                pooled.iter_mut().for_each(|sum| *sum /= pixels);
            }
            let mut scores: Vec<F> = layer.bias.value.iter().flat_map(|&bias| [bias; LANES]).collect();
            let weight = Mat::new(&layer.weight.value, layer.classes, c, c);
            matmul_add(
                MatMut::new(&mut scores, layer.classes, LANES, LANES),
                weight,
                Mat::new(&pooled, c, LANES, LANES),
            );
            (pooled, scores)
        };
        let parts: Vec<_> = (0..x.raw.parts.len()).into_par_iter().map(part).collect();
        let (pooled, scores) = parts.into_iter().unzip();
        self.pooled = pooled;
        scores
    }

    /// Cross-entropy against `labels`, of which a share `smoothing` goes evenly to all classes; lanes beyond the labels do not count. Keeps the
    /// gradient of the mean loss for [`Head::backward`].
    pub fn loss(&mut self, scores: &[Vec<F>], labels: &[u16], smoothing: f64) -> Score {
        let classes = self.classes;
        let mut score = Score::default();
        self.by_score = scores.iter().map(|scores| vec![F::zero(); scores.len()]).collect();
        for (picture, &label) in labels.iter().enumerate() {
            let (part, lane) = (picture / LANES, picture % LANES);
            let of: Vec<f64> = (0..classes).map(|class| scores[part][class * LANES + lane].f64()).collect();
            let largest = of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = of.iter().map(|score| (score - largest).exp()).sum::<f64>().ln() + largest;
            let label = usize::from(label);
            for (class, of) in of.iter().enumerate() {
                let target = smoothing / classes as f64 + if class == label { 1.0 - smoothing } else { 0.0 };
                score.loss += target * (log_sum - of);
                let by = ((of - log_sum).exp() - target) / labels.len() as f64;
                self.by_score[part][class * LANES + lane] = F::of(by);
            }
            score.right += usize::from(of.iter().position(|&score| score == largest) == Some(label));
        }
        score.pictures = labels.len();
        score
    }

    /// Gradients of weights and biases, and into `g` that of the norm's output in `x`, with its sums.
    ///
    /// # Panics
    /// If `x` is read as it is.
    pub fn backward(&mut self, x: Source<'_, F>, g: &mut Act<F>) -> Sums {
        let norm = x.norm.expect("the head reads a norm");
        let (c, classes, plane) = (self.c, self.classes, x.raw.plane());
        let share = F::of(LANES as f64 / plane as f64);
        let layer = &*self;
        let part = |(part, g): (usize, &mut Part<F>)| {
            let (by, pooled) = (&layer.by_score[part], &layer.pooled[part]);
            let by_score = Mat::new(by, classes, LANES, LANES);
            let mut dw = vec![F::zero(); classes * c];
            matmul(MatMut::new(&mut dw, classes, c, c), by_score, Mat::new(pooled, c, LANES, LANES).t());
            dw.extend(by.chunks_exact(LANES).map(|by| by.iter().copied().sum::<F>()));
            let mut by_mean = vec![F::zero(); c * LANES];
            let weight = Mat::new(&layer.weight.value, classes, c, c);
            matmul(MatMut::new(&mut by_mean, c, LANES, LANES), weight.t(), by_score);
            by_mean.iter_mut().for_each(|by| *by *= share);
            let mut a = vec![F::zero(); plane];
            let mut sums = Sums::with_capacity(c);
            for (channel, g) in g.chunks_exact_mut(plane).enumerate() {
                x.read(part, channel, 0, &mut a);
                let d = by_mean[channel * LANES..][..LANES].repeat(plane / LANES);
                let raw = &x.raw.parts[part][channel * plane..][..plane];
                sums.push(rows::relu_gradient(&d, &a, raw, norm.mean[channel], g));
            }
            (dw, sums)
        };
        let parts: Vec<(Vec<F>, Sums)> = g.parts.par_iter_mut().enumerate().map(part).collect();
        let (weights, sums): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let mut grad = vec![F::zero(); classes * c + classes];
        add_in_order(&mut grad, &weights);
        self.bias.grad = grad.split_off(classes * c);
        self.weight.grad = grad;
        add_sums(sums)
    }
}
