//! 1x1 convolutions, dense or grouped: `y[n] = sum over the channels c of n's group of w[n][c] x[c]`.
//!
//! A chunk of columns is gathered into a scratch in the order of the groups, so that each group is a small matrix product. Only weights inside
//! groups are multiplied, unless the straight-through gradient asks for the derivative by masked ones.

use super::{
    Act, Buffers, Float, LANES, Param, Part, Source, Sums,
    groups::{Assignment, Estimator, Membership, Order},
    norm::add_sums,
    param::add_in_order,
    rows,
};
use flgc_kernels::matmul::{Mat, MatMut, matmul, matmul_add};
use rayon::prelude::*;

/// Numbers in the scratch of a chunk: they should stay in a second-level cache of 1 MiB; longer rows are read faster. Half of it is 6 % slower on an Intel Xeon
/// (model 207, 2 MiB), twice as much 2 %.
const CHUNK: usize = 128 << 10;
/// Between rows of a scratch, so that they do not fall on the same lines of the cache.
const GAP: usize = LANES;

/// What becomes of the gradient of an input.
#[derive(Debug)]
pub enum InputGradient<'a, F: Float> {
    /// Nobody wants it.
    Unwanted,
    /// The gradient of what is read.
    AsRead {
        /// Where it goes.
        dx: &'a mut Act<F>,
        /// On top of what is there.
        add: bool,
    },
    /// Of an input that is read through a norm and a ReLU: the gradient of the norm's output, with the sums that the norm needs.
    BeforeNorm(&'a mut Act<F>),
}

/// A 1x1 convolution with stride 1 and without bias.
#[derive(Clone, Debug)]
pub struct Pointwise<F> {
    /// Channels.
    pub c: usize,
    /// Filters.
    pub n: usize,
    /// Dense weights, `[n][c]`: masked ones stay alive.
    pub weight: Param<F>,
    /// Learned groups.
    pub members: Option<Membership<F>>,
    assignment: Assignment,
    order: Order,
    /// Weights inside groups, group after group, `[filters][channels]`.
    packed: Vec<F>,
}

impl<F: Float> Pointwise<F> {
    /// With these weights, in fixed groups.
    #[must_use]
    pub fn fixed(weight: Param<F>, assignment: Assignment) -> Self {
        let (c, n) = (assignment.of_channel.len(), assignment.of_filter.len());
        let order = Order::new(&assignment);
        let mut layer = Self { c, n, weight, members: None, packed: Vec::new(), order, assignment };
        layer.refresh();
        layer
    }

    /// With these weights, in learned groups.
    #[must_use]
    pub fn learned(weight: Param<F>, members: Membership<F>) -> Self {
        let layer = Self::fixed(weight, members.assignment());
        Self { members: Some(members), ..layer }
    }

    /// The group of each channel and filter.
    #[must_use]
    pub const fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Where the weights inside groups lie among the dense ones: group after group, filters and channels ascending.
    pub fn inside(&self) -> impl Iterator<Item = usize> {
        inside(&self.order, self.c)
    }

    /// To be called after weights or logits have changed.
    pub fn refresh(&mut self) {
        if let Some(members) = &self.members {
            let assignment = members.assignment();
            if assignment != self.assignment {
                self.order = Order::new(&assignment);
                self.assignment = assignment;
            }
        }
        self.packed.clear();
        self.packed.extend(inside(&self.order, self.c).map(|index| self.weight.value[index]));
    }

    /// Whether the derivative by masked weights is needed.
    fn needs_masked(&self) -> bool {
        self.members.as_ref().is_some_and(|members| members.learning && members.estimator == Estimator::Row)
    }

    /// Computes `y`; returns the sums of its values and of their squares.
    pub fn forward(&self, x: Source<'_, F>, y: &mut Act<F>, buffers: &Buffers<F>) -> Sums {
        let plane = y.plane();
        let part = |(part, y): (usize, &mut Part<F>)| {
            let mut scratch = Scratch::new(self, plane, buffers);
            let mut sums = vec![[0.0; 2]; self.n];
            for from in (0..plane).step_by(scratch.cols) {
                let cols = scratch.cols.min(plane - from);
                scratch.read(self, x, part, from, cols);
                scratch.multiply(self, cols);
                for (row, &filter) in self.order.filters.iter().enumerate() {
                    let result = &scratch.y[row * scratch.stride..][..cols];
                    let y = &mut y[filter * plane + from..][..cols];
                    let [sum, squares] = rows::round_with_moments(result, y);
                    sums[filter][0] += sum;
                    sums[filter][1] += squares;
                }
            }
            scratch.release(buffers);
            sums
        };
        let parts: Vec<Sums> = y.parts.par_iter_mut().enumerate().map(part).collect();
        add_sums(parts)
    }

    /// Computes the gradients of the weights and logits, and that of the input as `dx` wants it.
    ///
    /// `g` is the gradient of the norm's output, `coefficients` are those of [`super::Norm::backward`]. Returns the sums of
    /// [`InputGradient::BeforeNorm`], else zeros.
    pub fn backward(
        &mut self,
        x: Source<'_, F>,
        y: &Act<F>,
        g: &Act<F>,
        coefficients: &[[F; 3]],
        dx: InputGradient<'_, F>,
        buffers: &Buffers<F>,
    ) -> Sums {
        let (plane, masked) = (y.plane(), self.needs_masked());
        let layer = &*self;
        let (dx, before, add) = match dx {
            InputGradient::Unwanted => (None, None, false),
            InputGradient::AsRead { dx, add } => (Some(dx), None, add),
            InputGradient::BeforeNorm(dx) => (Some(dx), x.norm, false),
        };
        let mut targets: Vec<Option<&mut Part<F>>> = match dx {
            Some(dx) => dx.parts.iter_mut().map(Some).collect(),
            None => g.parts.iter().map(|_| None).collect(),
        };
        let part = |(part, dx): (usize, &mut Option<&mut Part<F>>)| {
            let mut scratch = Scratch::new(layer, plane, buffers);
            let mut dw = buffers.vector(if masked { layer.n * layer.c } else { layer.order.weights() });
            dw.fill(F::zero());
            let mut sums = vec![[0.0; 2]; layer.c];
            for from in (0..plane).step_by(scratch.cols) {
                let cols = scratch.cols.min(plane - from);
                scratch.read(layer, x, part, from, cols);
                for (row, &filter) in layer.order.filters.iter().enumerate() {
                    let at = filter * plane + from..filter * plane + from + cols;
                    let dy = &mut scratch.y[row * scratch.stride..][..cols];
                    rows::combine(&g.parts[part][at.clone()], &y.parts[part][at], coefficients[filter], dy);
                }
                scratch.add_weight_gradient(layer, cols, masked, &mut dw);
                let Some(dx) = dx else { continue };
                scratch.multiply_transposed(layer, cols);
                for (row, &channel) in layer.order.channels.iter().enumerate() {
                    let at = row * scratch.stride..row * scratch.stride + cols;
                    let to = channel * plane + from..channel * plane + from + cols;
                    let (d, a) = (&scratch.dx[at.clone()], &scratch.x[at]);
                    match before {
                        Some(norm) => {
                            let raw = &x.raw.parts[part][to.clone()];
                            let [sum, product] = rows::relu_gradient(d, a, raw, norm.mean[channel], &mut dx[to]);
                            sums[channel][0] += sum;
                            sums[channel][1] += product;
                        }
                        None if add => rows::add_to_stored(d, &mut dx[to]),
                        None => rows::round(d, &mut dx[to]),
                    }
                }
            }
            scratch.release(buffers);
            (dw, sums)
        };
        let parts: Vec<(Vec<F>, Sums)> = targets.par_iter_mut().enumerate().map(part).collect();
        let (weights, sums): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        self.learn(masked, &weights);
        weights.into_iter().for_each(|weights| buffers.give_vector(weights));
        add_sums(sums)
    }

    /// Gradients of the weights and logits from those of the parts.
    fn learn(&mut self, masked: bool, parts: &[Vec<F>]) {
        let mut dw = vec![F::zero(); if masked { self.n * self.c } else { self.order.weights() }];
        add_in_order(&mut dw, parts);
        let learning = self.members.as_mut().filter(|members| members.learning);
        let mut by_mask = vec![F::zero(); if learning.is_some() { self.n * self.c } else { 0 }];
        self.weight.grad.fill(F::zero());
        if masked {
            let order = &self.order;
            for (dw, &filter) in dw.chunks_exact(self.c).zip(&order.filters) {
                for (&dw, &channel) in dw.iter().zip(&order.channels) {
                    let index = filter * self.c + channel;
                    by_mask[index] = dw * self.weight.value[index];
                    if self.assignment.of_filter[filter] == self.assignment.of_channel[channel] {
                        self.weight.grad[index] = dw;
                    }
                }
            }
        } else {
            for (index, dw) in inside(&self.order, self.c).zip(dw) {
                self.weight.grad[index] = dw;
                if learning.is_some() {
                    by_mask[index] = dw * self.weight.value[index];
                }
            }
        }
        if let Some(members) = learning {
            members.backward(&by_mask, &self.assignment);
        }
    }
}

/// Where the weights inside groups lie among the dense ones, group after group.
fn inside(order: &Order, c: usize) -> impl Iterator<Item = usize> {
    order.groups.iter().flat_map(move |group| {
        let filters = &order.filters[group.filters.clone()];
        filters.iter().flat_map(move |filter| {
            order.channels[group.channels.clone()].iter().map(move |channel| filter * c + channel)
        })
    })
}

/// A chunk of columns: its rows in the order of the groups.
struct Scratch<F> {
    cols: usize,
    stride: usize,
    /// Input.
    x: Vec<F>,
    /// Output, or its gradient.
    y: Vec<F>,
    /// Gradient of the input.
    dx: Vec<F>,
}

impl<F: Float> Scratch<F> {
    fn new(layer: &Pointwise<F>, plane: usize, buffers: &Buffers<F>) -> Self {
        let cols = (CHUNK / (layer.c + layer.n) / 64 * 64).clamp(128, 1024).min(plane);
        let stride = cols + GAP;
        let [x, y, dx] = [layer.c, layer.n, layer.c].map(|rows| buffers.vector(rows * stride));
        Self { cols, stride, x, y, dx }
    }

    fn release(self, buffers: &Buffers<F>) {
        [self.x, self.y, self.dx].into_iter().for_each(|vector| buffers.give_vector(vector));
    }

    fn read(&mut self, layer: &Pointwise<F>, x: Source<'_, F>, part: usize, from: usize, cols: usize) {
        for (row, &channel) in layer.order.channels.iter().enumerate() {
            x.read(part, channel, from, &mut self.x[row * self.stride..][..cols]);
        }
    }

    /// `y = w x` in each group.
    fn multiply(&mut self, layer: &Pointwise<F>, cols: usize) {
        for group in &layer.order.groups {
            let (channels, filters) = (group.channels.len(), group.filters.len());
            let w = Mat::new(&layer.packed[group.weights.clone()], filters, channels, channels);
            let x = Mat::new(&self.x[group.channels.start * self.stride..], channels, cols, self.stride);
            let y = &mut self.y[group.filters.start * self.stride..];
            matmul(MatMut::new(y, filters, cols, self.stride), w, x);
        }
    }

    /// `dx = w^T dy` in each group.
    fn multiply_transposed(&mut self, layer: &Pointwise<F>, cols: usize) {
        for group in &layer.order.groups {
            let (channels, filters) = (group.channels.len(), group.filters.len());
            let w = Mat::new(&layer.packed[group.weights.clone()], filters, channels, channels);
            let dy = Mat::new(&self.y[group.filters.start * self.stride..], filters, cols, self.stride);
            let dx = &mut self.dx[group.channels.start * self.stride..];
            matmul(MatMut::new(dx, channels, cols, self.stride), w.t(), dy);
        }
    }

    /// `dw += dy x^T`, in each group or, with `masked`, everywhere.
    fn add_weight_gradient(&self, layer: &Pointwise<F>, cols: usize, masked: bool, dw: &mut [F]) {
        if masked {
            let (x, dy) =
                (Mat::new(&self.x, layer.c, cols, self.stride), Mat::new(&self.y, layer.n, cols, self.stride));
            matmul_add(MatMut::new(dw, layer.n, layer.c, layer.c), dy, x.t());
            return;
        }
        for group in &layer.order.groups {
            let (channels, filters) = (group.channels.len(), group.filters.len());
            let x = Mat::new(&self.x[group.channels.start * self.stride..], channels, cols, self.stride);
            let dy = Mat::new(&self.y[group.filters.start * self.stride..], filters, cols, self.stride);
            matmul_add(MatMut::new(&mut dw[group.weights.clone()], filters, channels, channels), dy, x.t());
        }
    }
}
