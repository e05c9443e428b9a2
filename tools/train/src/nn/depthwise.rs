//! Depthwise 3x3 convolutions, padded by one pixel, stride 1 or 2.

use super::{Act, Buffers, Float, LANES, Param, Source, Sums, norm::add_sums, param::add_in_order, rows};
use pulp::Arch;
use rayon::prelude::*;

/// Side of the window.
const K: usize = 3;

/// A 3x3 convolution of each channel on its own, without bias.
#[derive(Clone, Debug)]
pub struct Depthwise<F> {
    /// Channels.
    pub c: usize,
    /// 1 or 2.
    pub stride: usize,
    /// `[c][3][3]`
    pub weight: Param<F>,
}

type Lanes<F> = [F; LANES];

/// One channel of a part with a border of one pixel, `[h + 2][w + 2][LANES]`.
struct Padded<F> {
    w: usize,
    data: Vec<Lanes<F>>,
}

impl<F: Float> Padded<F> {
    fn new(h: usize, w: usize) -> Self {
        Self { w, data: vec![[F::zero(); LANES]; (h + 2) * (w + 2)] }
    }

    /// The pixels of row `row`, without the border.
    fn row_mut(&mut self, row: usize) -> &mut [F] {
        self.data[(row + 1) * (self.w + 2) + 1..][..self.w].as_flattened_mut()
    }

    fn row(&self, row: usize) -> &[F] {
        self.data[(row + 1) * (self.w + 2) + 1..][..self.w].as_flattened()
    }
}

impl<F: Float> Depthwise<F> {
    /// With these weights, `[c][3][3]`.
    #[must_use]
    pub const fn new(c: usize, stride: usize, weight: Param<F>) -> Self {
        Self { c, stride, weight }
    }

    /// Rows and columns of the output.
    #[must_use]
    pub const fn output(&self, h: usize, w: usize) -> [usize; 2] {
        [(h - 1) / self.stride + 1, (w - 1) / self.stride + 1]
    }

    fn taps(&self, channel: usize) -> [F; K * K] {
        std::array::from_fn(|tap| self.weight.value[channel * K * K + tap])
    }

    /// Computes `y`; returns the sums of its values and of their squares.
    pub fn forward(&self, x: Source<'_, F>, y: &mut Act<F>) -> Sums {
        let (h, w, plane) = (x.raw.h, x.raw.w, y.plane());
        let columns = y.w;
        let part = |(part, y): (usize, &mut Vec<F>)| -> Sums {
            let mut padded = Padded::new(h, w);
            let channel = |(channel, y): (usize, &mut [F])| {
                read(x, part, channel, &mut padded);
                convolve(&padded, self.taps(channel), self.stride, columns, y.as_chunks_mut().0);
                rows::moments(y)
            };
            y.chunks_exact_mut(plane).enumerate().map(channel).collect()
        };
        let parts: Vec<Sums> = y.parts.par_iter_mut().enumerate().map(part).collect();
        add_sums(parts)
    }

    /// Computes the gradient of the weights, and the gradient of the input before the norm and the ReLU through which it is read, with its sums
    /// for that norm. `g` is the gradient of the norm's output, `coefficients` are those of [`super::Norm::backward`]. `g` is used up: with
    /// stride 1 the result takes its place.
    ///
    /// # Panics
    /// If `x` is read as it is.
    pub fn backward(
        &mut self,
        x: Source<'_, F>,
        y: &Act<F>,
        mut g: Act<F>,
        coefficients: &[[F; 3]],
        buffers: &mut Buffers<F>,
    ) -> (Act<F>, Sums) {
        let norm = x.norm.expect("a depthwise layer reads a norm");
        let (h, w, plane_in, plane_out) = (x.raw.h, x.raw.w, x.raw.plane(), y.plane());
        let mut apart = (self.stride != 1).then(|| buffers.take([self.c, h, w], g.parts.len()));
        let mut targets: Vec<Option<&mut Vec<F>>> = match &mut apart {
            Some(dx) => dx.parts.iter_mut().map(Some).collect(),
            None => g.parts.iter().map(|_| None).collect(),
        };
        let layer = &*self;
        let part = |((part, g), target): ((usize, &mut Vec<F>), &mut Option<&mut Vec<F>>)| {
            let (mut a, mut da) = (Padded::new(h, w), Padded::new(h, w));
            let mut dy = vec![[F::zero(); LANES]; y.h * y.w];
            let (mut dw, mut sums) = (Vec::with_capacity(layer.c * K * K), Vec::with_capacity(layer.c));
            for channel in 0..layer.c {
                read(x, part, channel, &mut a);
                let out = channel * plane_out..(channel + 1) * plane_out;
                rows::combine(&g[out.clone()], &y.parts[part][out], coefficients[channel], dy.as_flattened_mut());
                dw.extend(weight_gradient(&a, &dy, layer.stride, y.w));
                spread(&dy, layer.taps(channel), layer.stride, y.w, &mut da);
                let at = channel * plane_in..(channel + 1) * plane_in;
                let raw = x.raw.parts[part][at.clone()].chunks_exact(w * LANES);
                let dx = match target {
                    Some(target) => &mut target[at],
                    None => &mut g[at],
                };
                let mut sum = [0.0; 2];
                for ((row, dx), raw) in dx.chunks_exact_mut(w * LANES).enumerate().zip(raw) {
                    let row = rows::relu_gradient(da.row(row), a.row(row), raw, norm.mean[channel], dx);
                    sum = [sum[0] + row[0], sum[1] + row[1]];
                }
                sums.push(sum);
            }
            (dw, sums)
        };
        let parts: Vec<(Vec<F>, Sums)> = g.parts.par_iter_mut().enumerate().zip(&mut targets).map(part).collect();
        let (weights, sums): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        add_in_order(&mut self.weight.grad, weights);
        let dx = match apart {
            Some(dx) => {
                buffers.give(g);
                dx
            }
            None => Act { h, w, ..g },
        };
        (dx, add_sums(sums))
    }
}

fn read<F: Float>(x: Source<'_, F>, part: usize, channel: usize, padded: &mut Padded<F>) {
    let w = x.raw.w * LANES;
    for row in 0..x.raw.h {
        x.read(part, channel, row * w, padded.row_mut(row));
    }
}

/// Each output pixel from the nine inputs around it.
fn convolve<F: Float>(x: &Padded<F>, taps: [F; K * K], stride: usize, columns: usize, y: &mut [Lanes<F>]) {
    let pitch = x.w + 2;
    Arch::new().dispatch(|| {
        for (row, y) in y.chunks_exact_mut(columns).enumerate() {
            let above = &x.data[row * stride * pitch..];
            for (column, y) in y.iter_mut().enumerate() {
                let mut sum = [F::zero(); LANES];
                for ky in 0..K {
                    let Some(x) = above[ky * pitch + column * stride..].first_chunk::<K>() else { continue };
                    for kx in 0..K {
                        for l in 0..LANES {
                            sum[l] += taps[ky * K + kx] * x[kx][l];
                        }
                    }
                }
                *y = sum;
            }
        }
    });
}

/// The gradient of the taps.
fn weight_gradient<F: Float>(x: &Padded<F>, dy: &[Lanes<F>], stride: usize, columns: usize) -> [F; K * K] {
    let pitch = x.w + 2;
    let mut taps = [F::zero(); K * K];
    Arch::new().dispatch(|| {
        // A row of the window at a time: three sums fit into registers.
        for (ky, taps) in taps.chunks_exact_mut(K).enumerate() {
            let mut sums = [[F::zero(); LANES]; K];
            for (row, dy) in dy.chunks_exact(columns).enumerate() {
                let above = &x.data[(row * stride + ky) * pitch..];
                for (column, dy) in dy.iter().enumerate() {
                    let Some(x) = above[column * stride..].first_chunk::<K>() else { continue };
                    for kx in 0..K {
                        for l in 0..LANES {
                            sums[kx][l] += dy[l] * x[kx][l];
                        }
                    }
                }
            }
            for (tap, sums) in taps.iter_mut().zip(sums) {
                *tap = sums.iter().copied().sum();
            }
        }
    });
    taps
}

/// The gradient of the input: each output's gradient spread over the nine inputs around it.
fn spread<F: Float>(dy: &[Lanes<F>], taps: [F; K * K], stride: usize, columns: usize, dx: &mut Padded<F>) {
    let pitch = dx.w + 2;
    Arch::new().dispatch(|| {
        dx.data.fill([F::zero(); LANES]);
        for (row, dy) in dy.chunks_exact(columns).enumerate() {
            for ky in 0..K {
                let below = &mut dx.data[(row * stride + ky) * pitch..];
                for (column, dy) in dy.iter().enumerate() {
                    let Some(x) = below[column * stride..].first_chunk_mut::<K>() else { continue };
                    for kx in 0..K {
                        for l in 0..LANES {
                            x[kx][l] += taps[ky * K + kx] * dy[l];
                        }
                    }
                }
            }
        }
    });
}
