//! Step 6 for convolutions with many filters, 1x1 or with stride: their inputs, copied into panels block by block.
//!
//! The first tile of filters over a block of pixels copies what it reads, tile of pixels by tile of pixels, into scratch memory; all others read it from there, in order
//! ([`flgc_kernels::pointwise::Panels`]).

use super::{
    choose::{self, Method, PANEL_FLOATS, block_pixels, method},
    deal::Deal,
    layout::Layout,
    lower::run_of,
    net::Kind,
    prune::Live,
    regroup::{Net, Step},
    scratch::Target,
    tune::{Tuning, Ways},
    value::StorageId,
};
use flgc_kernels::{ALIGN, pointwise};
use std::collections::BTreeMap;

/// Fewest channels of a group with a larger window than 1x1: its taps share inputs, and few of them stay in the first-level cache. Only where they are dealt do larger
/// windows pay at all. Measured on Zen 3: the stem of ResNet50, of 3 channels, 2 % slower with panels; its 3x3 convolutions of stride 2 with 128, 256 and 512 channels 2
/// to 5, 7 and 14 % faster; one of stride 1 with 512 channels at 7x7 4 % slower.
const FEWEST_CHANNELS: usize = 32;

/// Fewest tiles of filters of such a group: what is dealt is near already. On an Intel Xeon of model 207, AVX-512, ResNet50's convolution of stride 2 with 11 tiles is 4 %
/// faster with panels at 28x28, ResNeXt50's with three 9 to 15 % slower at 7x7.
const FEWEST_TILES: usize = 8;

/// How a convolution's inputs are copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panels {
    /// Fewest tiles of filters, and taps, of a group whose inputs are.
    fewest: [usize; 2],
    /// Floats of a block's panels.
    pub(super) floats: usize,
    /// What may run at the same time, each with panels of its own.
    pub(super) parts: usize,
    /// Floats of a block's input, about.
    pub(super) cached: usize,
}

impl Panels {
    /// Whether so many tiles of filters of a group, over a block, copy its inputs: of so many channels, with a window of so many taps.
    pub(super) fn takes(&self, tiles: usize, channels: usize, window: usize) -> bool {
        takes(self.fewest, tiles, channels, window)
    }
}

fn takes([fewest_tiles, fewest_taps]: [usize; 2], tiles: usize, channels: usize, window: usize) -> bool {
    let pays = window == 1 || channels >= FEWEST_CHANNELS && tiles >= FEWEST_TILES;
    pays && tiles >= fewest_tiles && channels * window >= fewest_taps
}

/// The convolutions of `net` whose inputs are copied, by what they write, without those that run `together` with others.
pub(super) fn panels(
    net: &Net<'_>,
    live: &Live,
    (layouts, deals): (&[Layout], &BTreeMap<StorageId, Deal>),
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
        let deal = deals.get(&step.storage);
        let of = |fewest| of(step, (layouts, deal), kernel, (fewest, ways.block.unwrap_or(PANEL_FLOATS)), target.parts);
        let Some(possible) = of([choose::FEWEST_SHARING, 1]) else { continue };
        let by_rule = of(choose::fewest_paying(kernel.isa));
        let found = match ways.panels {
            Some(true) => by_rule.or(Some(possible)),
            Some(false) => None,
            None => by_rule,
        };
        let block = found.map(|found| found.cached);
        tuning.note(layer, Ways { panels: Some(found.is_some()), block, ..Ways::default() });
        panels.extend(found.map(|found| (step.storage, found)));
    }
    panels
}

/// How those groups of a step are copied that have at least the `fewest` tiles of filters and taps.
fn of(
    step: &Step<'_>,
    (layouts, deal): (&[Layout], Option<&Deal>),
    kernel: &pointwise::Kernel,
    (fewest, cached): ([usize; 2], usize),
    parts: usize,
) -> Option<Panels> {
    let Kind::Conv(conv) = &step.layer.kind else { return None };
    let [_, _, h, w] = step.inputs[0].shape.nchw()?;
    let [_, _, rows, columns] = step.output.shape.nchw()?;
    let (rows, pitch) = match deal {
        Some(deal) if deal.flat => (deal.rows, deal.pitch),
        None if method(conv, [h, w]) == Method::Flat && conv.taps() == 1 => {
            (rows, step.inputs[0].first_storage().map_or(1, |storage| layouts[storage as usize].pitch))
        }
        _ => return None,
    };
    let lanes = kernel.isa.lanes();
    // Blocks may end with a whole vector, and what is left of a run joins the last one.
    let (exact, pixels) = ((rows - 1) * pitch + columns, run_of([rows, columns], pitch, lanes));
    // Whatever part of its tiles goes together may have panels, so that each group counts that has tiles enough.
    let (mut floats, mut found) = (0, false);
    for group in conv.groups.iter() {
        let channels = group.channels.len();
        let taps = channels * conv.taps();
        let most = kernel.filters_over(kernel.least(exact, taps, 1));
        let tiles = group.filters.len().div_ceil(most);
        if takes(fewest, tiles, channels, conv.taps()) {
            floats = floats.max((block_pixels(pixels, taps, tiles, cached) + lanes) * taps);
            found |= kernel.has_panels(group.filters.len() / tiles);
        }
    }
    let floats = floats.next_multiple_of(ALIGN);
    if !found {
        return None;
    }
    Some(Panels { fewest, floats, parts, cached })
}
