//! Depthwise 3x3 convolutions, padded by one pixel, stride 1 or 2.

use super::{
    Act, Buffers, Float, LANES, Param, Part, Source, Sums, norm::add_sums, param::add_in_order, rows, simd::vectorised,
};
use rayon::prelude::*;

/// Side of the window.
const K: usize = 3;

/// The weights of a channel.
type Taps<F> = [F; K * K];

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

/// One channel of a part with a border of one zero pixel, `[h + 2][w + 2][LANES]`.
struct Padded<F> {
    w: usize,
    data: Vec<F>,
}

impl<F: Float> Padded<F> {
    fn new(h: usize, w: usize, buffers: &Buffers<F>) -> Self {
        let mut data = buffers.vector((h + 2) * (w + 2) * LANES);
        data.fill(F::zero());
        Self { w, data }
    }

    /// The pixels of row `row`, without the border.
    fn row_mut(&mut self, row: usize) -> &mut [F] {
        &mut self.data[((row + 1) * (self.w + 2) + 1) * LANES..][..self.w * LANES]
    }

    fn row(&self, row: usize) -> &[F] {
        &self.data[((row + 1) * (self.w + 2) + 1) * LANES..][..self.w * LANES]
    }

    /// Numbers from one row to the next.
    const fn pitch(&self) -> usize {
        (self.w + 2) * LANES
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

    fn taps(&self, channel: usize) -> Taps<F> {
        std::array::from_fn(|tap| self.weight.value[channel * K * K + tap])
    }

    /// Computes `y`; returns the sums of its values and of their squares.
    pub fn forward(&self, x: Source<'_, F>, y: &mut Act<F>, buffers: &Buffers<F>) -> Sums {
        let (h, w, plane) = (x.raw.h, x.raw.w, y.plane());
        let columns = y.w * LANES;
        let part = |(part, y): (usize, &mut Part<F>)| -> Sums {
            let (mut padded, mut result) = (Padded::new(h, w, buffers), buffers.vector(plane));
            let mut sums = Sums::with_capacity(self.c);
            for (channel, y) in y.chunks_exact_mut(plane).enumerate() {
                read(x, part, channel, &mut padded);
                convolve(&padded.data, padded.pitch(), self.taps(channel), self.stride, columns, &mut result);
                sums.push(rows::round_with_moments(&result, y));
            }
            [padded.data, result].into_iter().for_each(|vector| buffers.give_vector(vector));
            sums
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
        buffers: &Buffers<F>,
    ) -> (Act<F>, Sums) {
        let norm = x.norm.expect("a depthwise layer reads a norm");
        let (h, w, plane_in, plane_out) = (x.raw.h, x.raw.w, x.raw.plane(), y.plane());
        let mut apart = (self.stride != 1).then(|| buffers.take([self.c, h, w], g.parts.len()));
        let mut targets: Vec<Option<&mut Part<F>>> = match &mut apart {
            Some(dx) => dx.parts.iter_mut().map(Some).collect(),
            None => g.parts.iter().map(|_| None).collect(),
        };
        let layer = &*self;
        let part = |((part, g), target): ((usize, &mut Part<F>), &mut Option<&mut Part<F>>)| {
            let (mut a, mut dy) = (Padded::new(h, w, buffers), Padded::new(h, w, buffers));
            let (mut row, mut d) = (buffers.vector(y.w * LANES), buffers.vector(plane_in));
            let (mut dw, mut sums) = (Vec::with_capacity(layer.c * K * K), Vec::with_capacity(layer.c));
            for (channel, &coefficients) in coefficients.iter().enumerate() {
                read(x, part, channel, &mut a);
                let out = channel * plane_out..(channel + 1) * plane_out;
                let rows_out = g[out.clone()].chunks_exact(row.len()).zip(y.parts[part][out].chunks_exact(row.len()));
                for (index, (g, y)) in rows_out.enumerate() {
                    // At the place of the input that the output is centred on.
                    let to = dy.row_mut(index * layer.stride);
                    if layer.stride == 1 {
                        rows::combine(g, y, coefficients, to);
                    } else {
                        rows::combine(g, y, coefficients, &mut row);
                        let pixels = to.chunks_exact_mut(LANES).step_by(layer.stride);
                        pixels.zip(row.chunks_exact(LANES)).for_each(|(to, from)| to.copy_from_slice(from));
                    }
                }
                let [h_out, w_out] = [y.h, y.w];
                dw.extend(weight_gradient(&a.data, &dy.data, a.pitch(), layer.stride, h_out, w_out));
                let at = channel * plane_in..(channel + 1) * plane_in;
                let dx = match target {
                    Some(target) => &mut target[at.clone()],
                    None => &mut g[at.clone()],
                };
                let mut flipped = layer.taps(channel);
                flipped.reverse();
                convolve(&dy.data, dy.pitch(), flipped, 1, w * LANES, &mut d);
                let raw = x.raw.parts[part][at].chunks_exact(w * LANES);
                let mut sum = [0.0; 2];
                let rows_in = dx.chunks_exact_mut(w * LANES).zip(d.chunks_exact(w * LANES)).zip(raw);
                for (row, ((dx, d), raw)) in rows_in.enumerate() {
                    let row = rows::relu_gradient(d, a.row(row), raw, norm.mean[channel], dx);
                    sum = [sum[0] + row[0], sum[1] + row[1]];
                }
                sums.push(sum);
            }
            [a.data, dy.data, row, d].into_iter().for_each(|vector| buffers.give_vector(vector));
            (dw, sums)
        };
        let parts: Vec<(Vec<F>, Sums)> = g.parts.par_iter_mut().enumerate().zip(&mut targets).map(part).collect();
        let (weights, sums): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        add_in_order(&mut self.weight.grad, &weights);
        let dx = match apart {
            Some(dx) => {
                buffers.give(g);
                dx
            }
            None => g,
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

vectorised! {
    /// Each output pixel from the nine inputs around it: `x` has a border, rows are `pitch` numbers apart there and `columns` in `y`.
    fn convolve<F>(s, x: &'a [F], pitch: usize, taps: Taps<F>, stride: usize, columns: usize, y: &'a mut [F]) {
        let per_pixel = F::per_pixel::<S>();
        let (pitch, columns) = (pitch / LANES * per_pixel, columns / LANES * per_pixel);
        let (x, taps) = (F::vectors::<S>(x), taps.map(|tap| F::splat(s, tap)));
        for (row, y) in F::vectors_mut::<S>(y).chunks_exact_mut(columns).enumerate() {
            let window: [_; K] = std::array::from_fn(|ky| &x[(row * stride + ky) * pitch..][..pitch]);
            for (column, y) in y.chunks_exact_mut(per_pixel).enumerate() {
                let from = column * stride * per_pixel;
                let window = window.map(|row| &row[from..from + K * per_pixel]);
                for (v, y) in y.iter_mut().enumerate() {
                    let mut sum = F::splat(s, F::zero());
                    for (taps, row) in taps.as_chunks::<K>().0.iter().zip(window) {
                        for (kx, &tap) in taps.iter().enumerate() {
                            sum = F::fused(s, tap, row[kx * per_pixel + v], sum);
                        }
                    }
                    *y = sum;
                }
            }
        }
    }
}

vectorised! {
    /// The gradient of the taps; `dy` lies at the places of the inputs that it is centred on.
    fn weight_gradient<F>(s, x: &'a [F], dy: &'a [F], pitch: usize, stride: usize, h: usize, w: usize) -> Taps<F> {
        let per_pixel = F::per_pixel::<S>();
        let pitch = pitch / LANES * per_pixel;
        let (x, dy) = (F::vectors::<S>(x), F::vectors::<S>(dy));
        let mut sums = [F::splat(s, F::zero()); K * K];
        for row in 0..h {
            let window: [_; K] = std::array::from_fn(|ky| &x[(row * stride + ky) * pitch..][..pitch]);
            let dy = &dy[(row * stride + 1) * pitch + per_pixel..][..pitch - per_pixel];
            for column in 0..w {
                let from = column * stride * per_pixel;
                let dy = &dy[from..from + per_pixel];
                let window = window.map(|row| &row[from..from + K * per_pixel]);
                for (v, &dy) in dy.iter().enumerate() {
                    for (sums, row) in sums.as_chunks_mut::<K>().0.iter_mut().zip(window) {
                        for (kx, sum) in sums.iter_mut().enumerate() {
                            *sum = F::fused(s, dy, row[kx * per_pixel + v], *sum);
                        }
                    }
                }
            }
        }
        sums.map(|sum| F::total(s, sum))
    }
}
