//! Step 7 for strides: a convolution with stride goes through blocks of rows whose input is dealt into scratch memory, once for all filters.
//!
//! Of the columns that a stride of two passes over, half are thrown away by every tile of filters that loads them, and the rest does not lie in whole vectors. Dealt,
//! input `(r * stride + a, c * stride + b)` lies at `(r, c)` of a plane of its own for each **phase** `(a, b)`, so that each tap of the window is such a plane
//! shifted by whole rows and columns: the same sums, in the same order.

use super::{
    choose::{Method, method},
    direct,
    fuse::Run,
    layout::{Layout, moves_rows},
    net::{Conv, Kind},
    prune::Live,
    regroup::{Net, Step},
    scratch::{Scratch, Target, greatest_common_divisor},
    tune::{Tuning, Ways},
    value::StorageId,
};
use flgc_kernels::ALIGN;
use std::{collections::BTreeMap, ops::Range};

/// Tiles of filters of a group up to which dealing its input does not pay: each that reads it takes less time, but not as much less as dealing takes. From the
/// table `dealt` of the benchmark `choices` on an Intel Xeon, model 167, time dealt / not, by the filters of a group (tiles of 12 and 6):
///
/// | layer | AVX-512 8 | 12 | 16 | 32 | 64 | AVX2 8 | 12 | 16 | 32 | 64 |
/// |---|---|---|---|---|---|---|---|---|---|---|
/// | 224x224, 3 channels, 3x3 | 1.36 | 1.23 | 1.18 | 1.00 | 0.91 | 1.01 | 1.04 | 1.06 | 0.90 | 0.87 |
/// | 56x56, 64 channels, 1x1 | 1.44 | 1.31 | 1.02 | 0.82 | 0.68 | 1.01 | 1.11 | 0.91 | 0.85 | 0.73 |
/// | 56x56, 64 channels, 3x3 | 1.49 | 1.28 | 1.09 | 0.86 | 0.79 | 0.94 | 0.99 | 0.96 | 0.87 | 0.81 |
/// | 28x28, 256 channels, 1x1 | 1.44 | 1.43 | 1.06 | 0.81 | 0.65 | 1.00 | 1.22 | 1.02 | 0.85 | 0.73 |
/// | 28x28, 8 groups of 16 channels, 3x3 | 1.59 | 1.43 | 1.14 | 0.98 | | 1.06 | 1.12 | 1.01 | 0.93 | |
const FEW_TILES: usize = 2;
/// The same for the network's input, where nothing else reads it, so that it then needs no copy: ShuffleNetV2, with 24 filters at 112x112 and AVX-512, takes 0.988 of the time with its input dealt (Intel
/// Xeon, model 207).
const FEW_TILES_OF_INPUT: usize = 1;

/// How a convolution with stride is dealt.
#[derive(Clone, Debug)]
pub(super) struct Deal {
    /// Output rows of a block; the last block of a part may have fewer.
    pub(super) rows: usize,
    /// Whether a block runs over all of its pixels at once, not row by row.
    pub(super) flat: bool,
    /// Floats from a dealt row to the next.
    pub(super) pitch: usize,
    /// Dealt planes of one part.
    pub(super) planes: usize,
    /// Dealt rows behind those of the output.
    more_rows: usize,
    /// The dealt planes of one part.
    pub(super) scratch: Scratch,
    /// What may run at the same time, each with its own scratch memory.
    pub(super) parts: Vec<Part>,
}

/// A share of a convolution.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Rows of the output.
    pub(super) rows: Range<usize>,
    /// Which share of each group's tiles of filters, of how many.
    pub(super) tiles: (usize, usize),
}

/// Where the taps of a window lie in dealt planes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    kernel: [usize; 2],
    stride: [usize; 2],
    /// How many there are, down and along.
    pub(super) count: [usize; 2],
}

impl Phases {
    pub(super) fn of(conv: &Conv<'_>) -> Self {
        let count = [0, 1].map(|axis| conv.stride[axis].min(conv.kernel[axis]));
        Self { kernel: conv.kernel, stride: conv.stride, count }
    }

    /// Dealt rows and columns behind those of the output that a phase needs.
    pub(super) fn more(&self, phase: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| (self.kernel[axis] - 1 - phase[axis]) / self.stride[axis])
    }

    /// Whether its columns are two phases, which are dealt together.
    pub(super) fn are_pairs(&self) -> bool {
        (self.stride[1], self.count[1]) == (2, 2)
    }

    /// The number of a tap's phase, and the tap's offset in its planes.
    pub(super) fn tap(&self, [i, j]: [usize; 2], pitch: usize) -> (usize, usize) {
        let [s_h, s_w] = self.stride;
        (i % s_h * self.count[1] + j % s_w, i / s_h * pitch + j / s_w)
    }
}

/// The convolutions of `net` that are dealt, by what they write, without those of `runs`.
pub(super) fn deals(
    net: &Net<'_>,
    live: &Live,
    layouts: &[Layout],
    runs: &[Run],
    target: Target,
    (asked, tuning): (&Tuning, &mut Tuning),
) -> BTreeMap<StorageId, Deal> {
    let mut deals = BTreeMap::new();
    let alone = |(index, step): &(usize, &Step<'_>)| {
        live.any(step.storage) && !runs.iter().any(|run| run.steps().contains(index))
    };
    for (_, step) in net.steps.iter().enumerate().filter(alone) {
        let layer = &step.layer.name;
        let Some((deal, pays)) = Deal::of(step, &layouts[step.storage as usize], target) else { continue };
        let dealt = asked.of(layer).dealt.unwrap_or(pays);
        tuning.note(layer, Ways { dealt: Some(dealt), ..Ways::default() });
        if dealt {
            deals.insert(step.storage, deal);
        }
    }
    deals
}

impl Deal {
    /// How a step that writes planes of that layout is dealt, if it can be, and whether that pays.
    pub(super) fn of(step: &Step<'_>, layout: &Layout, target: Target) -> Option<(Self, bool)> {
        let Target { caches, lanes, filters: tile, parts, .. } = target;
        let Kind::Conv(conv) = &step.layer.kind else { return None };
        let [_, _, h, w] = step.inputs[0].shape.nchw()?;
        let [_, _, rows, columns] = step.output.shape.nchw()?;
        if method(conv, [h, w]) != Method::Rows || conv.stride[1] == 1 || conv.dilation != [1, 1] {
            return None;
        }
        let groups = conv.groups.iter().filter(|group| !group.channels.is_empty());
        let (count, filters) =
            groups.clone().fold((0, 0), |(count, filters), group| (count + 1, filters + group.filters.len()));
        let few = if target.reads_input_once && direct::takes_pairs(step) { FEW_TILES_OF_INPUT } else { FEW_TILES };
        let pays = filters > count * few * tile;
        let phases = Phases::of(conv);
        let [more_rows, more_columns] = phases.more([0, 0]);
        // Rows of inputs are longer than those of outputs by some columns.
        let dealt_columns = columns + more_columns;
        let alike = layout.pitch >= dealt_columns;
        let flat = alike || moves_rows(step, conv) && !columns.is_multiple_of(lanes);
        let pitch = match (alike, flat) {
            (true, _) => layout.pitch,
            (false, true) => dealt_columns,
            (false, false) => dealt_columns.next_multiple_of(ALIGN / 2),
        };
        let planes = groups.map(|group| group.channels.len()).max()? * phases.count[0] * phases.count[1];
        let most = (caches.l2 / 2 / (planes * pitch * size_of::<f32>())).max(1);
        // Rows after which a block ends where a vector does, so that it leaves the next one alone.
        let quantum = if alike { lanes / greatest_common_divisor(lanes, pitch) } else { 1 };
        let of_block = rows.div_ceil(rows.div_ceil(most)).next_multiple_of(quantum).min(rows);
        let units = rows.div_ceil(quantum);
        let overruns = !flat && columns < lanes;
        let parts = if parts > 1 && (overruns || units < 2 * parts) {
            (0..parts).map(|part| Part { rows: 0..rows, tiles: (part, parts) }).collect()
        } else {
            let row = |part: usize| (part * units / parts * quantum).min(rows);
            (0..parts).map(|part| Part { rows: row(part)..row(part + 1), tiles: (0, 1) }).collect()
        };
        let scratch = scratch(planes, of_block + more_rows, pitch, lanes);
        Some((Self { rows: of_block, flat, pitch, planes, more_rows, scratch, parts }, pays))
    }

    /// The same for a single part of blocks of up to `rows` rows.
    pub(super) fn over(self, rows: usize, target: Target) -> Self {
        let scratch = scratch(self.planes, rows + self.more_rows, self.pitch, target.lanes);
        Self { rows, scratch, parts: Vec::new(), ..self }
    }
}

/// Dealt planes of so many rows.
fn scratch(planes: usize, rows: usize, pitch: usize, lanes: usize) -> Scratch {
    Scratch::new(planes, rows * pitch + lanes)
}
