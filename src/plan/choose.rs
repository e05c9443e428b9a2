//! Step 6: which kernel runs a layer, and in which tiles.

use super::net::Conv;
use flgc_kernels::{
    Isa, deal, depthwise, elementwise, expand, linear, pointwise, pool, resize, softmax, spatial, winograd,
    winograd::TILE,
};

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// A vector in, a vector out: lanes along the filters.
    Vector,
    /// A channel for each filter, with its own edges.
    Depthwise,
    /// Dense 3x3, tile by tile.
    Winograd,
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
    } else if is_winograd(conv, [h, w]) {
        Method::Winograd
    } else if conv.stride == [1, 1] {
        Method::Flat
    } else {
        Method::Rows
    }
}

/// Whether Winograd's method pays for a convolution.
fn is_winograd(conv: &Conv<'_>, [h, w]: [usize; 2]) -> bool {
    let fits = conv.kernel == [3, 3]
        && conv.stride == [1, 1]
        && conv.dilation == [1, 1]
        && conv.pad.iter().all(|&pad| pad <= 2);
    if !(conv.winograd && fits) {
        return false;
    }
    let [top, left, bottom, right] = conv.pad;
    let size = [(h + top + bottom).saturating_sub(2), (w + left + right).saturating_sub(2)];
    let (mut weights, mut planes) = (0, 0);
    for group in conv.groups.iter().filter(|group| !group.filters.is_empty()) {
        weights += group.channels.len() * group.filters.len();
        planes += group.channels.len() + group.filters.len();
    }
    winograd_pays(size, weights, planes)
}

/// Whether 3x3 convolutions with so many weights for each tap, and channels and filters together, take clearly less time by Winograd's method: each output
/// costs 36/16 multiply-adds for a weight instead of nine, and what comes before and behind the products about 24 for a plane. Below nine tiles the products
/// have too few columns. Measured on Zen 3 (AVX2), time direct / by the method, with as many filters as channels:
///
/// | channels | 7x7 | 10x10 | 14x14 | 28x28 | 56x56 |
/// |---|---|---|---|---|---|
/// | 8 | 0.33 | 0.40 | 0.70 | 0.81 | 0.86 |
/// | 16 | 0.53 | 0.64 | 1.10 | 1.56 | 1.43 |
/// | 24 | 0.75 | 0.81 | 1.48 | 1.62 | 1.77 |
/// | 32 | 0.79 | 0.92 | 1.54 | 1.87 | 2.11 |
/// | 48 | 0.93 | 1.10 | 1.94 | 2.06 | 2.22 |
/// | 64 | 0.92 | 1.20 | 2.15 | 2.54 | 2.75 |
/// | 128 | 1.03 | 1.39 | 2.42 | 2.60 | 2.95 |
/// | 256 | 1.12 | 1.47 | 2.50 | 3.03 |  |
fn winograd_pays([rows, columns]: [usize; 2], weights: usize, planes: usize) -> bool {
    const PLANE: f64 = 24.0;
    const CLEARLY: f64 = 1.4;
    let tiles = rows.div_ceil(TILE) * columns.div_ceil(TILE);
    let direct = (9 * weights * rows * columns) as f64;
    let in_vectors = tiles.next_multiple_of(8) * TILE * TILE;
    let by_tiles = (2.25 * weights as f64 + PLANE * planes as f64) * in_vectors as f64;
    tiles >= 9 && direct > CLEARLY * by_tiles
}

/// The kernels of one instruction set.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    pub(super) pointwise: &'static pointwise::Kernel,
    pub(super) spatial: &'static spatial::Kernel,
    pub(super) winograd: &'static winograd::Kernel,
    pub(super) deal: &'static deal::Kernel,
    pub(super) depthwise: &'static depthwise::Kernel,
    /// Not every instruction set has one.
    pub(super) expand: Option<&'static expand::Kernel>,
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
            winograd: winograd::available().find(|kernel| kernel.isa == isa)?,
            deal: deal::available().find(|kernel| kernel.isa == isa)?,
            depthwise: depthwise::available().find(|kernel| kernel.isa == isa)?,
            expand: expand::available().find(|kernel| kernel.isa == isa),
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

/// Floats of input that wait in the second-level cache for all tiles of filters, by rule. From the table `blocks` of the benchmark `choices`, on an Intel Xeon of model
/// 167 with AVX-512, microseconds:
///
/// | 1x1 layer | 8 Ki | 16 Ki | 32 Ki | 64 Ki | 128 Ki | 256 Ki |
/// |---|---|---|---|---|---|---|
/// | 56x56, 64 to 256 | 656 | 641 | 636 | 642 | 647 | 628 |
/// | 56x56, 256 to 64 | 770 | 761 | 758 | 767 | 786 | 813 |
/// | 28x28, 512 to 128 | 671 | 664 | 667 | 667 | 667 | 695 |
/// | 14x14, 1024 to 256 | 686 | 697 | 681 | 686 | 639 | 635 |
/// | 14x14, 576 to 96 | 133 | 130 | 133 | 121 | 124 | 124 |
/// | 28x28, 512 to 128 in 8 groups | 114 | 106 | 105 | 110 | 110 | 108 |
pub(super) const CACHED_FLOATS: usize = 64 << 10;

/// The same where the inputs are copied into panels. From the table `blocks` on Zen 3 (AVX2), microseconds:
///
/// | 1x1 layer | 8 Ki | 16 Ki | 32 Ki | 64 Ki | 128 Ki | 256 Ki |
/// |---|---|---|---|---|---|---|
/// | 56x56, 64 to 256 | 1127 | 1099 | 1095 | 1096 | 1121 | 1130 |
/// | 56x56, 256 to 64 | 1123 | 1120 | 1109 | 1113 | 1112 | 1133 |
/// | 28x28, 512 to 128 | 1087 | 1095 | 1087 | 1093 | 1118 | 1103 |
/// | 14x14, 1024 to 256 | 1121 | 1123 | 1130 | 1118 | 1120 | 1142 |
/// | 14x14, 256 to 1024 | 1122 | 1123 | 1120 | 1123 | 1109 | 1119 |
pub(super) const PANEL_FLOATS: usize = 32 << 10;

/// Tiles of filters of a group for which its inputs can be copied into panels: one copies, the others read.
pub(super) const FEWEST_SHARING: usize = 2;

/// Tiles of filters of a group, and taps, from which that pays: the tile that copies takes 1.3 to 1.4 times as long on Zen 3, where a store costs about as much as two
/// multiply-adds. From the table `panels` of the benchmark `choices` there, AVX2, one group, time with panels / without, by filters. Neighbours of the machine slowed some
/// rows at 28x28 and 56x56 down, which panels mind less.
///
/// | pixels | taps | 12 | 24 | 36 | 48 | 64 | 96 | 192 |
/// |---|---|---|---|---|---|---|---|---|
/// | 14x14 | 8 | 1.21 | 1.10 | 1.06 | 1.05 | 1.05 | 1.01 | 0.99 |
/// | 14x14 | 16 | 1.16 | 1.04 | 1.00 | 0.98 | 0.95 | 0.93 | 0.92 |
/// | 14x14 | 24 | 1.13 | 1.06 | 1.00 | 1.00 | 0.97 | 0.97 | 0.98 |
/// | 14x14 | 48 | 1.08 | 1.01 | 1.03 | 1.01 | 1.00 | 1.00 | 0.98 |
/// | 14x14 | 96 | 1.17 | 1.06 | 1.01 | 1.02 | 1.01 | 1.00 | 0.99 |
/// | 14x14 | 192 | 1.17 | 1.07 | 1.04 | 1.01 | 1.01 | 1.00 | 0.99 |
/// | 28x28 | 8 | 1.19 | 1.04 | 1.04 | 1.03 | 1.06 | 1.00 | 0.99 |
/// | 28x28 | 16 | 1.12 | 1.03 | 0.98 | 0.96 | 0.94 | 0.95 | 0.92 |
/// | 28x28 | 24 | 1.13 | 1.03 | 1.03 | 1.00 | 0.98 | 0.96 | 0.96 |
/// | 28x28 | 48 | 1.15 | 1.09 | 1.05 | 1.04 | 1.03 | 1.01 | 0.99 |
/// | 28x28 | 96 | 1.15 | 1.05 | 1.00 | 0.97 | 0.94 | 0.93 | 0.92 |
/// | 56x56 | 16 | 1.04 | 1.03 | 0.97 | 0.86 | 0.84 | 0.93 | 0.89 |
/// | 56x56 | 48 | 1.20 | 0.97 | 0.88 | 0.84 | 0.83 | 0.94 | 0.90 |
/// | 56x56 | 96 | 1.10 | 0.98 | 0.81 | 0.95 | 0.95 | 0.93 | 0.93 |
///
/// With AVX-512, on an Intel Xeon of model 207 in a noisy hour (single entries are off by a fifth), where tiles of up to 64 taps ask for the inputs of the next:
///
/// | pixels | taps | 24 | 36 | 48 | 96 | 256 |
/// |---|---|---|---|---|---|---|
/// | 28x28 | 32 | 1.03 | 1.02 | 1.00 | 1.02 | 0.97 |
/// | 28x28 | 48 | 1.06 | 1.06 | 1.00 | 1.01 | 0.95 |
/// | 28x28 | 64 | 1.01 | 1.01 | 1.01 | 1.01 | 0.96 |
/// | 28x28 | 80 | 0.92 | 0.92 | 0.89 | 0.86 | 0.89 |
/// | 28x28 | 96 | 0.89 | 0.86 | 0.83 | 0.87 | 0.86 |
/// | 28x28 | 128 | 0.89 | 0.99 | 0.85 | 0.80 | 0.74 |
/// | 28x28 | 256 | 0.79 | 0.71 | 1.16 | 0.83 | 0.87 |
/// | 56x56 | 32 | 1.08 | 1.05 | 1.05 | 1.00 | 0.85 |
/// | 56x56 | 48 | 1.03 | 1.02 | 1.07 | 1.03 | 0.81 |
/// | 56x56 | 64 | 0.99 | 0.99 | 0.94 | 0.91 | 1.17 |
/// | 56x56 | 80 | 0.76 | 0.74 | 1.15 | 0.93 | 0.94 |
/// | 56x56 | 96 | 0.80 | 0.94 | 0.65 | 0.75 | 0.76 |
/// | 56x56 | 128 | 0.79 | 0.74 | 0.96 | 0.74 | 0.92 |
/// | 56x56 | 256 | 0.83 | 0.91 | 0.87 | 1.05 | 0.91 |
/// | 112x112 | 32 | 1.22 | 1.15 | 1.12 | 1.07 | 0.99 |
/// | 112x112 | 48 | 1.20 | 0.95 | 0.95 | 0.74 | 0.99 |
/// | 112x112 | 64 | 1.16 | 1.10 | 1.07 | 1.02 | 0.98 |
/// | 112x112 | 80 | 0.79 | 0.77 | 0.81 | 0.82 | 0.87 |
/// | 112x112 | 96 | 0.61 | 0.78 | 0.66 | 0.83 | 0.86 |
/// | 112x112 | 128 | 0.70 | 0.74 | 0.78 | 0.81 | 0.85 |
/// | 112x112 | 256 | 0.80 | 0.84 | 0.84 | 0.93 | 0.94 |
pub(super) const fn fewest_paying(isa: Isa) -> [usize; 2] {
    if isa.lanes() < 16 { [8, 16] } else { [FEWEST_SHARING, 65] }
}

/// Whether the products of Winograd's method find their inputs in panels, where the method's first step puts them. With AVX-512 they are as near in planes: 3x3 layers of
/// ResNet50 take 1 to 5 % longer with panels at 56x56, 1 % at 28x28, 4 to 6 % at 14x14, on an Intel Xeon of model 207.
pub(super) const fn winograd_has_panels(isa: Isa) -> bool {
    isa.lanes() < 16
}

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

/// How much of a run of `whole` rows or pixels goes to one call: `block`, or less where a layer has too few tiles of filters to give each thread its share, in
/// multiples of `quantum`.
pub(super) fn shared(block: usize, [whole, quantum]: [usize; 2], tiles: usize, threads: usize) -> usize {
    // Groups differ in size, so fewer than two tiles for each thread may leave one idle.
    if threads < 2 || tiles >= 2 * threads {
        return block;
    }
    block.min(whole.div_ceil(threads).next_multiple_of(quantum))
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
    fn threads_share_pixels_where_tiles_are_few() {
        assert_eq!(shared(12_544, [12_544, 64], 1, 1), 12_544, "one thread");
        assert_eq!(shared(12_544, [12_544, 64], 4, 2), 12_544, "tiles enough");
        assert_eq!(shared(12_544, [12_544, 64], 1, 2), 6_272);
        assert_eq!(shared(12_544, [12_544, 64], 3, 4), 3_136);
        assert_eq!(shared(112, [112, 1], 1, 3), 38, "rows");
        assert_eq!(shared(49, [49, 64], 1, 2), 49, "less than what a run begins with");
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
