//! Step 7 for 1x1 convolutions with many filters: their inputs, copied into panels block by block.
//!
//! The first tile of filters over a block of pixels copies what it reads, tile of pixels by tile of pixels, into scratch memory; all others read it from there, in order
//! ([`flgc_kernels::pointwise::Panels`]).

use super::{
    choose::{self, Method, PANEL_FLOATS, block_pixels, method},
    layout::Layout,
    net::Kind,
    prune::Live,
    regroup::{Net, Step},
    scratch::Target,
    tune::{Tuning, Ways},
    value::StorageId,
};
use flgc_kernels::pointwise;
use std::collections::BTreeMap;

/// How a convolution's inputs are copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panels {
    /// Fewest tiles of filters, and taps, of a group whose inputs are.
    fewest: [usize; 2],
    /// Floats of a block's panels.
    pub(super) floats: usize,
    /// What may run at the same time, each with panels of its own.
    pub(super) parts: usize,
}

impl Panels {
    /// Whether the inputs of a group with so many tiles of filters and taps are copied.
    pub(super) fn takes(&self, tiles: usize, taps: usize) -> bool {
        takes(self.fewest, tiles, taps)
    }
}

fn takes(fewest: [usize; 2], tiles: usize, taps: usize) -> bool {
    tiles >= fewest[0] && taps >= fewest[1]
}

/// The convolutions of `net` whose inputs are copied, by what they write, without those that run `together` with others.
pub(super) fn panels(
    net: &Net<'_>,
    live: &Live,
    layouts: &[Layout],
    together: impl Fn(usize) -> bool,
    (kernel, target): (&pointwise::Kernel, Target),
    (asked, tuning): (&Tuning, &mut Tuning),
) -> BTreeMap<StorageId, Panels> {
    let mut panels = BTreeMap::new();
    if !kernel.has_panels(kernel.max_filters()) {
        return panels;
    }
    for (index, step) in net.steps.iter().enumerate() {
        if !live.any(step.storage) || together(index) {
            continue;
        }
        let layer = &step.layer.name;
        let ways = asked.of(layer);
        let of = |fewest| of(step, layouts, kernel, (fewest, ways.block.unwrap_or(PANEL_FLOATS)), target.parts);
        let Some(possible) = of([choose::FEWEST_SHARING, 1]) else { continue };
        let by_rule = of(choose::FEWEST_PAYING);
        let found = match ways.panels {
            Some(true) => Some(possible),
            Some(false) => None,
            None => by_rule,
        };
        tuning.note(layer, Ways { panels: Some(found.is_some()), ..Ways::default() });
        panels.extend(found.map(|found| (step.storage, found)));
    }
    panels
}

/// How those groups of a step are copied that have at least the `fewest` tiles of filters and taps.
fn of(
    step: &Step<'_>,
    layouts: &[Layout],
    kernel: &pointwise::Kernel,
    (fewest, cached): ([usize; 2], usize),
    parts: usize,
) -> Option<Panels> {
    let Kind::Conv(conv) = &step.layer.kind else { return None };
    let [_, _, h, w] = step.inputs[0].shape.nchw()?;
    let [_, _, rows, _] = step.output.shape.nchw()?;
    // The taps of larger windows share inputs, which panels would hold several times.
    if method(conv, [h, w]) != Method::Flat || conv.taps() > 1 {
        return None;
    }
    let pitch = step.inputs[0].first_storage().map_or(1, |storage| layouts[storage as usize].pitch);
    // Blocks may end with a whole vector, and what is left of a plane joins the last one.
    let (pixels, lanes) = (rows * pitch, kernel.isa.lanes());
    let floats = conv.groups.iter().filter_map(|group| {
        let tiles = group.filters.len().div_ceil(kernel.max_filters());
        let taps = group.channels.len() * conv.taps();
        takes(fewest, tiles, taps).then(|| (block_pixels(pixels, taps, tiles, cached) + lanes) * taps)
    });
    let floats = floats.max().filter(|&floats| floats > 0)?;
    Some(Panels { fewest, floats, parts })
}
