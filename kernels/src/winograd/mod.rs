//! Winograd's method F(4x4, 3x3) (Lavin and Gray, CVPR 2016, [arXiv:1509.09308](https://arxiv.org/abs/1509.09308), section 4) for dense 3x3 convolutions
//! of stride 1: `y = A^T ((G g G^T) * (B^T d B)) A` makes 4x4 outputs of 6x6 inputs with 36 multiplications for each channel instead of 144.
//!
//! A layer is three steps: [`input`] turns each tile `d` of each channel into 36 numbers, [`crate::pointwise`] multiplies, for each of the 36 places, the
//! numbers of all channels by the weights of all filters ([`weights`]), and [`output`] turns each filter's 36 numbers of a tile into 4x4 outputs. Between
//! the steps tiles lie in planes, one for each place and channel: vector lanes along the tiles.
//!
//! A **segment** is what one vector of columns holds of four output rows: a tile for each four lanes. Four segments, from anywhere, make a vector of
//! tiles, in an order of their own that [`output`] undoes.
//!
//! Every variant sums in the same order; the numbers differ from those of a direct convolution by the rounding of larger intermediate values, about
//! a few 1e-6 of the largest.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod body;
pub mod input;
pub mod output;
mod portable;

use crate::{Image, Isa, Planes, call::CallError};
use std::ops::Range;

/// Rows and columns of a tile of outputs.
pub const TILE: usize = 4;
/// Rows and columns of a tile of inputs.
const WINDOW: usize = TILE + 2;
/// The numbers of a tile between the steps.
pub const PLACES: usize = WINDOW * WINDOW;
/// Segments of a vector of tiles.
pub const SEGMENTS: usize = 4;

/// A variant: an instruction set.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-winograd-4x4-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    input: unsafe fn(&input::Call, *mut f32),
    output: unsafe fn(&output::Call, *const f32, *mut f32),
}

/// Every variant in this build, fastest first.
static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &avx2::KERNEL,
    &portable::KERNEL,
];

/// The variants that this CPU runs, fastest first.
pub fn available() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().filter(|kernel| kernel.isa.is_available())
}

impl Kernel {
    /// Segments of an output of that size.
    #[must_use]
    pub const fn segments(&self, height: usize, width: usize) -> usize {
        height.div_ceil(TILE) * width.div_ceil(self.isa.lanes())
    }
}

/// The planes between the steps, with a vector for each four segments: vector `v` of place `k` and plane `p` lies at
/// `first + k * place + p * plane + v / 2 * pair`, and one vector further where `v` is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Between {
    /// Where the first plane starts.
    pub first: u32,
    /// Floats from a place to the next.
    pub place: usize,
    /// Floats from a plane to the next of the same place.
    pub plane: usize,
    /// Floats from two vectors to the next two of the same plane.
    pub pair: usize,
}

/// The weights of one filter for one channel, `G g G^T`, computed in f64 from `g`, 3x3 and row-major.
#[must_use]
pub fn weights(g: &[f32; 9]) -> [f32; PLACES] {
    let g = g.map(f64::from);
    let columns: [[f64; WINDOW]; 3] = std::array::from_fn(|j| points([g[j], g[3 + j], g[6 + j]]));
    let mut weights = [0.0; PLACES];
    for (i, row) in weights.chunks_exact_mut(WINDOW).enumerate() {
        let across = points(columns.map(|column| column[i]));
        row.iter_mut().zip(across).for_each(|(weight, x)| *weight = x as f32);
    }
    weights
}

/// `G g`
fn points([a, b, c]: [f64; 3]) -> [f64; WINDOW] {
    let (even, odd) = ((a + c) * (-1.0 / 6.0), b * (1.0 / 6.0));
    let (far_even, far_odd) = (a * (1.0 / 24.0) + c * (1.0 / 6.0), b * (1.0 / 12.0));
    [a * 0.25, even - odd, even + odd, far_even + far_odd, far_even - far_odd, c]
}

/// Some segments of an output, in the order of rows.
#[derive(Clone, Debug)]
struct Segments {
    /// The output's size.
    image: Image,
    range: Range<usize>,
    /// Segments side by side.
    columns: usize,
}

impl Segments {
    /// # Errors
    /// If the image has no size, or not as many segments.
    fn new(kernel: &Kernel, image: Image, range: Range<usize>) -> Result<Self, CallError> {
        image.check()?;
        let all = kernel.segments(image.height, image.width);
        if range.is_empty() || range.end > all {
            return Err(CallError::Shape {
                what: "the end of the segments",
                found: range.end,
                expected: "behind their start, and at most as many as the output has",
            });
        }
        Ok(Self { image, range, columns: image.width.div_ceil(kernel.isa.lanes()) })
    }

    /// Vectors of tiles.
    fn vectors(&self) -> usize {
        self.range.len().div_ceil(SEGMENTS)
    }

    /// The first row and column of each segment of a vector of tiles; a row beyond the image for those that are left over.
    #[inline(always)]
    fn of_vector(&self, vector: usize, lanes: usize) -> [[usize; 2]; SEGMENTS] {
        let mut corners = [[usize::MAX / 2, 0]; SEGMENTS];
        for (q, corner) in corners.iter_mut().enumerate() {
            let segment = self.range.start + vector * SEGMENTS + q;
            if segment < self.range.end {
                *corner = [segment / self.columns * TILE, segment % self.columns * lanes];
            }
        }
        corners
    }
}

impl Between {
    /// Planes of `vectors` vectors of `lanes` floats, one behind the other.
    #[must_use]
    pub const fn planes(first: u32, place: usize, vectors: usize, lanes: usize) -> Self {
        Self { first, place, plane: vectors * lanes, pair: 2 * lanes }
    }

    /// Two vectors of `lanes` floats of each of so many planes, then the next two, as [`crate::pointwise::Panels`] have them. If the number of vectors is odd, the last
    /// ones lie as if one more followed each.
    #[must_use]
    pub const fn panels(first: u32, place: usize, planes: usize, lanes: usize) -> Self {
        Self { first, place, plane: 2 * lanes, pair: planes * 2 * lanes }
    }

    /// How much further the planes would begin if each lay in one piece and had its pair of vectors from float `start` on where it has it now.
    #[must_use]
    pub const fn later(&self, start: usize, lanes: usize) -> usize {
        start / (2 * lanes) * self.pair - start
    }

    /// Where a vector of the first plane lies, from the start of its place.
    #[inline(always)]
    const fn vector(&self, vector: usize, lanes: usize) -> usize {
        vector / 2 * self.pair + vector % 2 * lanes
    }

    /// What so many planes of so many vectors take of each place: runs, from its start.
    ///
    /// # Errors
    /// If vectors overlap.
    fn runs(&self, planes: usize, vectors: usize, lanes: usize) -> Result<Vec<Range<usize>>, CallError> {
        let (pair, pairs) = (2 * lanes, vectors.div_ceil(2));
        let reach =
            |vectors: usize| planes.saturating_sub(1).saturating_mul(self.plane).saturating_add(vectors * lanes);
        let shape = |found, expected| CallError::Shape { what: "the distance of planes", found, expected };
        if self.pair == pair {
            return match self.plane < vectors * lanes && planes > 1 {
                true => Err(shape(self.plane, "at least all of their vectors")),
                false => Ok(std::iter::once(0..reach(vectors)).collect()),
            };
        }
        if self.plane < vectors.min(2) * lanes || pairs > 1 && self.pair < reach(2) {
            return Err(shape(self.plane, "at least two vectors, and all planes at most that of pairs"));
        }
        let start = |run: usize| run.saturating_mul(self.pair);
        Ok((0..pairs)
            .map(|run| start(run)..start(run).saturating_add(reach(vectors - 2 * run).min(reach(2))))
            .collect())
    }

    /// Where each place starts.
    ///
    /// # Errors
    /// If one starts outside any arena.
    fn starts(&self) -> Result<Planes, CallError> {
        let start = |k: usize| {
            let at = k.saturating_mul(self.place).saturating_add(self.first as usize);
            u32::try_from(at).map_err(|_| CallError::Reach(i64::try_from(at).unwrap_or(i64::MAX)))
        };
        (0..PLACES).map(start).collect::<Result<Vec<u32>, _>>().map(Planes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_middle_weight_gives_products_of_the_middle_column() {
        let column = [0.0, -1.0 / 6.0, 1.0 / 6.0, 1.0 / 12.0, -1.0 / 12.0, 0.0];
        let mut g = [0.0; 9];
        g[4] = 1.0;
        for (k, got) in weights(&g).into_iter().enumerate() {
            let expected = column[k / WINDOW] * column[k % WINDOW];
            assert!((f64::from(got) - expected).abs() < 1e-8, "place {k}: {got}, expected {expected}");
        }
    }
}
