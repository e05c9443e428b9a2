//! Step 6: which kernel runs a layer, and in which tiles.

use super::net::Conv;
use flgc_kernels::{Isa, deal, depthwise, elementwise, linear, pointwise, pool, resize, softmax, spatial};

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// A vector in, a vector out: lanes along the filters.
    Vector,
    /// A channel for each filter, with its own edges.
    Depthwise,
    /// Whole planes at once, lanes along all pixels of a plane.
    Flat,
    /// Row by row, for strides.
    Rows,
}

/// The method for a convolution whose input has `h x w` pixels.
pub(super) fn method(conv: &Conv<'_>, [h, w]: [usize; 2]) -> Method {
    if conv.is_pointwise() && [h, w] == [1, 1] {
        Method::Vector
    } else if conv.is_depthwise() {
        Method::Depthwise
    } else if conv.stride == [1, 1] {
        Method::Flat
    } else {
        Method::Rows
    }
}

/// The kernels of one instruction set.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    pub(super) pointwise: &'static pointwise::Kernel,
    pub(super) spatial: &'static spatial::Kernel,
    pub(super) deal: &'static deal::Kernel,
    pub(super) depthwise: &'static depthwise::Kernel,
    pub(super) linear: &'static linear::Kernel,
    pub(super) pool: &'static pool::Kernel,
    pub(super) elementwise: &'static elementwise::Kernel,
    pub(super) softmax: &'static softmax::Kernel,
    pub(super) resize: &'static resize::Kernel,
}

impl Kernels {
    /// Those of `isa`; `None` if this CPU or this build lacks it.
    pub(super) fn of(isa: Isa) -> Option<Self> {
        Some(Self {
            pointwise: pointwise::available().find(|kernel| kernel.isa == isa)?,
            spatial: spatial::available().find(|kernel| kernel.isa == isa)?,
            deal: deal::available().find(|kernel| kernel.isa == isa)?,
            depthwise: depthwise::available().find(|kernel| kernel.isa == isa)?,
            linear: linear::available().find(|kernel| kernel.isa == isa)?,
            pool: pool::available().find(|kernel| kernel.isa == isa)?,
            elementwise: elementwise::available().find(|kernel| kernel.isa == isa)?,
            softmax: softmax::available().find(|kernel| kernel.isa == isa)?,
            resize: resize::available().find(|kernel| kernel.isa == isa)?,
        })
    }
}

/// `filters` in tiles of at most `most`, as even as possible: leftovers are balanced, never padded.
pub(super) fn tiles(filters: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = filters.div_ceil(most);
    (0..count).map(move |tile| tile * filters / count..(tile + 1) * filters / count)
}

/// Floats of input that wait in the second-level cache for all tiles of filters, by rule.
pub(super) const CACHED_FLOATS: usize = 64 << 10;

/// Pixels of a run of flat tiles before the next tile of filters takes its turn: all of them if there is one tile of filters; otherwise as many as keep the
/// input of `taps` planes within `cached` floats.
pub(super) fn block_pixels(pixels: usize, taps: usize, filter_tiles: usize, cached: usize) -> usize {
    if filter_tiles <= 1 {
        return pixels;
    }
    (cached / taps.max(1)).clamp(64, 4096).next_multiple_of(64).min(pixels)
}

/// Rows of a run by rows before the next tile of filters takes its turn: all of them if there is one tile of filters; otherwise as many as keep an input of
/// `floats` for each row within `cached` floats.
pub(super) fn block_rows(rows: usize, floats: usize, filter_tiles: usize, cached: usize) -> usize {
    if filter_tiles <= 1 {
        return rows;
    }
    let most = (cached / floats.max(1)).clamp(1, rows);
    rows.div_ceil(rows.div_ceil(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_balanced_and_cover_all_filters() {
        for most in 1..=13 {
            for filters in 0..60 {
                let tiles: Vec<_> = tiles(filters, most).collect();
                let (min, max) =
                    (tiles.iter().map(ExactSizeIterator::len).min(), tiles.iter().map(ExactSizeIterator::len).max());
                assert!(
                    max.unwrap_or(0) <= most && max.unwrap_or(0) - min.unwrap_or(0) <= 1,
                    "{filters} in {most}: {tiles:?}"
                );
                assert!(tiles.iter().flat_map(Clone::clone).eq(0..filters));
            }
        }
        assert_eq!(tiles(18, 12).collect::<Vec<_>>(), [0..9, 9..18]);
    }

    #[test]
    fn blocks_of_pixels_follow_the_measured_table() {
        assert_eq!(block_pixels(12_544, 4, 1, CACHED_FLOATS), 12_544, "one tile of filters reads its input once");
        assert_eq!(block_pixels(3_136, 144, 4, CACHED_FLOATS), 512);
        assert_eq!(block_pixels(784, 192, 6, CACHED_FLOATS), 384);
        assert_eq!(block_pixels(208, 576, 16, CACHED_FLOATS), 128);
        assert_eq!(block_pixels(64, 960, 27, CACHED_FLOATS), 64);
    }
}
