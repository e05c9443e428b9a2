//! Step 7 for dense 3x3 convolutions: Winograd's method, block by block, with what lies between its steps in scratch memory.

use super::{
    choose::{Kernels, Method, method},
    layout::distance,
    net::{Conv, Kind},
    prune::Live,
    regroup::{Net, Step},
    value::StorageId,
};
use flgc_kernels::winograd::{PLACES, SEGMENTS};
use std::{collections::BTreeMap, ops::Range};

/// Floats between the steps of a block, about: few enough for the caches, enough to use the weights often. Measured on Zen 3 (512 KiB, 32 MiB), ResNet50:
/// 72 Ki 86.0 ms, 144 Ki 85.0, 288 Ki 81.5, 576 Ki 81.5, 1152 Ki 81.6.
const FLOATS: usize = 384 << 10;
/// Fewest vectors of tiles in a block: the product's tiles have at least two.
const FEWEST: usize = 2;

/// How a convolution goes through Winograd's method.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    /// Segments of its output.
    segments: usize,
    /// Vectors of tiles in a block; the last block may have fewer.
    pub(super) vectors: usize,
    /// Floats of what lies before the product.
    pub(super) from: usize,
    /// Floats of what lies before and behind it.
    pub(super) scratch: usize,
}

impl Winograd {
    /// The segments of each block.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let (segments, of_block) = (self.segments, self.vectors * SEGMENTS);
        (0..segments).step_by(of_block).map(move |begin| begin..segments.min(begin + of_block))
    }
}

/// The convolutions of `net` that go through it, by what they write.
pub(super) fn winograds(net: &Net<'_>, live: &Live, kernels: &Kernels) -> BTreeMap<StorageId, Winograd> {
    let steps = net.steps.iter().filter(|step| live.any(step.storage));
    let mut winograds = BTreeMap::new();
    winograds.extend(steps.filter_map(|step| Some((step.storage, winograd(step, kernels)?))));
    winograds
}

fn winograd(step: &Step<'_>, kernels: &Kernels) -> Option<Winograd> {
    let Kind::Conv(conv) = &step.layer.kind else { return None };
    let [_, _, h, w] = step.inputs[0].shape.nchw()?;
    let [_, _, rows, columns] = step.output.shape.nchw()?;
    if method(conv, [h, w]) != Method::Winograd {
        return None;
    }
    let lanes = kernels.winograd.isa.lanes();
    let most = |size: fn(&Conv<'_>, usize) -> usize| (0..conv.groups.len()).map(|group| size(conv, group)).max();
    let channels = most(|conv, group| conv.groups.get(group).channels.len())?;
    let filters = most(|conv, group| conv.groups.get(group).filters.len())?;
    let segments = kernels.winograd.segments(rows, columns);
    let all = segments.div_ceil(SEGMENTS);
    let most = (FLOATS / (PLACES * (channels + filters) * lanes)).max(FEWEST).min(all);
    let vectors = all.div_ceil(all.div_ceil(most));
    let size = |planes: usize, vectors: usize| PLACES * distance(planes * vectors * lanes);
    // Panels hold pairs of vectors.
    let (from, to) = (size(channels, vectors.next_multiple_of(2)), size(filters, vectors));
    Some(Winograd { segments, vectors, from, scratch: from + to })
}
