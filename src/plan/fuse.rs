//! Step 7: a depthwise layer, what makes its planes and the projection behind it run in bands of rows, where their planes would not stay in cache.
//!
//! Behind an expansion, for each band: some filters of the expansion into scratch memory, the depthwise layer over them, the next filters; when all channels of the
//! band are there, the projection. The rows that two bands share are computed twice, with the same bits. Where the depthwise layer takes every second column, the
//! expansion's inputs are dealt first, into even and odd columns, and so are its outputs.
//!
//! Behind a convolution with stride, as the stem of a network: all its filters over blocks of dealt columns ([`super::deal`]), then the depthwise layer and the
//! projection. Such rows are not worth computing twice: those that the next band shares stay in scratch memory and move to its front.

use super::{
    choose::{Method, method},
    deal::Deal,
    layout::Layout,
    net::{Conv, Kind},
    prune::Live,
    regroup::{Net, Step},
    scratch::{Scratch, Target, greatest_common_divisor},
    tune::{Tuning, Ways},
    value::{StorageId, Value},
};
use std::ops::Range;

/// Halves of the second-level cache that the planes of an expansion or a stem have to fill before bands pay, where the last level holds them, for vectors of less than
/// sixteen lanes. Measured with MobileNetV2-FLGC8 on Zen 3 (512 KiB, 32 MiB), the three layers together, fused and not: 4.8 MB 340 and 440 us; 1.8 MB 270 and 250 us,
/// with stride 2 148 and 151 us; 0.6 MB 118 and 101 us. The planes of its stem, 1.6 MB, do not pay either: 470 and 459 us; but 577 and 670 us for bare calls if
/// something else fills the last level between runs.
const FAR: usize = 8;
/// The same for sixteen lanes, which go through twice as much memory in the same time. On Zen 5 (1 MiB, 32 MiB): 1.8 MB 88 and 88 us, with stride 2 45 and 49 us;
/// 1.6 MB of a stem 145 and 150 us; 0.6 MB 30 and 30 us. On an Intel Xeon, model 207 (2 MiB, 260 MiB that bring 30 GB/s): 1.8 MB 183 and 272 us, with stride 2
/// 91 and 117 us; 1.6 MB of a stem 313 and 347 us.
const FAR_WIDE: usize = 1;
/// Most bytes of the second-level cache that a band takes: of 2 MiB half is faster by 4 % (MobileNetV2-FLGC8, Intel Xeon, model 207), since other memory passes through.
const MOST_OF_L2: usize = 1 << 20;
/// Fewest rows of a band: below that the calls' own cost and the rows computed twice eat up what the caches give.
const FEWEST_ROWS: usize = 4;

/// Three steps in a row that run as one.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The index of its first step; the depthwise layer and the projection follow.
    pub(super) first: usize,
    /// Rows that the depthwise layer makes in one band; the last band may have fewer.
    pub(super) rows: usize,
    /// How its first step runs.
    pub(super) head: Head,
    /// The planes of the first step that one part holds at once.
    pub(super) expanded: Scratch,
    /// The planes of the depthwise layer that one part holds.
    pub(super) made: Scratch,
    /// Ranges of bands that may run at the same time, each with its own scratch memory.
    pub(super) parts: Vec<Range<usize>>,
}

impl Run {
    /// The indices of its steps.
    pub(super) fn steps(&self) -> Range<usize> {
        self.first..self.first + 3
    }

    /// The floats of scratch memory of one part, in place of what the first step makes, and the depthwise layer.
    pub(super) fn scratch(&self) -> [usize; 2] {
        let dealt = match &self.head {
            Head::Expansion { dealt, .. } => dealt.map_or(0, |dealt| dealt.scratch.len),
            Head::Strided(deal) => deal.scratch.len,
        };
        [self.expanded.len + dealt, self.made.len]
    }

    /// How an expansion's columns are dealt, if they are.
    pub(super) fn dealt(&self) -> Option<&Dealt> {
        match &self.head {
            Head::Expansion { dealt, .. } => dealt.as_ref(),
            Head::Strided(_) => None,
        }
    }
}

/// How the first step of a run makes the planes that the depthwise layer reads.
#[derive(Clone, Debug)]
pub(super) enum Head {
    /// An expansion.
    Expansion {
        /// Most filters that are made before the depthwise layer reads them, in whole tiles.
        filters: usize,
        /// If the depthwise layer takes every second column: the expansion reads dealt columns, and so makes them.
        dealt: Option<Dealt>,
    },
    /// A convolution with stride: all filters over a dealt block of the band's rows, without those that the band before has left.
    Strided(Deal),
}

/// Rows whose even columns come first and whose odd ones begin later.
///
/// A 1x1 convolution does not mind the order of pixels, so that of the two layers before a stride the one with few channels is dealt: its inputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dealt {
    /// Floats from a row's first even column to its first odd one.
    pub(super) odd: usize,
    /// Floats from one row to the next.
    pub(super) pitch: usize,
    /// The input planes of a group, dealt.
    pub(super) scratch: Scratch,
}

/// The rows of a band: those the depthwise layer makes, and those it reads.
#[derive(Clone, Debug)]
pub(super) struct Band {
    pub(super) output: Range<usize>,
    pub(super) input: Range<usize>,
    /// Rows above the image that the first window holds.
    pub(super) pad: usize,
}

/// The rows `output` of a layer of `conv` over `height` rows.
pub(super) fn band(conv: &Conv<'_>, height: usize, output: Range<usize>) -> Band {
    let (stride, top) = (conv.stride[0], conv.pad[0]);
    let begin = output.start * stride;
    let end = ((output.end - 1) * stride + window_rows(conv)).saturating_sub(top).min(height);
    Band { output, input: begin.saturating_sub(top).min(end)..end, pad: top.saturating_sub(begin) }
}

/// The runs of `net` that are worth fusing.
pub(super) fn runs(
    net: &Net<'_>,
    live: &Live,
    layouts: &[Layout],
    target: Target,
    (asked, tuning): (&Tuning, &mut Tuning),
) -> Vec<Run> {
    let readers = readers(net, live);
    let mut runs = Vec::new();
    let mut first = 0;
    while first + 2 < net.steps.len() {
        let layer = &net.steps[first].layer.name;
        let run = run(net, live, layouts, &readers, target, first).and_then(|(run, pays)| {
            let bands = asked.of(layer).bands.unwrap_or(pays);
            tuning.note(layer, Ways { bands: Some(bands), ..Ways::default() });
            bands.then_some(run)
        });
        first += if run.is_some() { 3 } else { 1 };
        runs.extend(run);
    }
    runs
}

/// How many steps and outputs read each storage.
fn readers(net: &Net<'_>, live: &Live) -> Vec<usize> {
    let mut readers = vec![0; net.storages.len()];
    let mut read = |value: &Value| {
        let mut storages: Vec<StorageId> = value.storages().collect();
        storages.sort_unstable();
        storages.dedup();
        storages.iter().for_each(|&storage| readers[storage as usize] += 1);
    };
    for step in net.steps.iter().filter(|step| live.any(step.storage)) {
        step.operands().for_each(&mut read);
    }
    net.outputs.iter().for_each(|output| read(output));
    readers
}

/// The steps from `first` on as a run, if they can be one, and whether that pays.
fn run(
    net: &Net<'_>,
    live: &Live,
    layouts: &[Layout],
    readers: &[usize],
    target: Target,
    first: usize,
) -> Option<(Run, bool)> {
    let steps @ [head, depthwise, project] = net.steps.get(first..first + 3)? else { return None };
    let (Some(_), Kind::Conv(conv)) = (pointwise(project), &depthwise.layer.kind) else { return None };
    let feeds = |from: &Step<'_>, to: &Step<'_>| {
        readers[from.storage as usize] == 1
            && from.residual.is_none()
            && to.inputs[0].storages().all(|storage| storage == from.storage)
            && layouts[from.storage as usize].border.is_none()
            && live.any(to.storage)
    };
    let [_, _, height, width] = net.storages[head.storage as usize];
    let [_, _, rows, columns] = net.storages[depthwise.storage as usize];
    if method(conv, [height, width]) != Method::Depthwise || columns * rows == 1 {
        return None;
    }
    if !feeds(head, depthwise) || !feeds(depthwise, project) {
        return None;
    }
    let [expanded, made] = [head, depthwise].map(|step| &layouts[step.storage as usize]);
    let middle = Middle { conv, input: [height, width], output: [rows, columns], expanded, made };
    let (head, rows_of_band, scratch, pays) = match pointwise(&steps[0]) {
        Some(expansion) => middle.behind_expansion(expansion, target),
        None => middle.behind_strided(&steps[0], target)?,
    };
    let bands = rows.div_ceil(rows_of_band);
    let parts = target.parts.min(bands);
    let run = Run {
        first,
        rows: rows_of_band,
        head,
        expanded: scratch,
        made: Scratch::new(made.planes, rows_of_band * made.pitch),
        parts: (0..parts).map(|part| part * bands / parts..(part + 1) * bands / parts).collect(),
    };
    Some((run, pays))
}

/// The depthwise layer of a run, with what it reads and makes.
struct Middle<'a, 'm> {
    conv: &'a Conv<'m>,
    /// Rows and columns.
    input: [usize; 2],
    output: [usize; 2],
    expanded: &'a Layout,
    made: &'a Layout,
}

impl Middle<'_, '_> {
    /// How an expansion runs before it: the head, the rows of a band, the expansion's scratch memory, and whether bands pay.
    fn behind_expansion(&self, expansion: &Conv<'_>, target: Target) -> (Head, usize, Scratch, bool) {
        let Target { caches, lanes, filters: tile, .. } = target;
        let Self { conv, input: [height, width], output, expanded, made } = *self;
        // Bands as high as the second-level cache allows.
        let rows = self.rows(made.planes * made.pitch + tile * conv.stride[0] * expanded.pitch, target);
        let input_rows = self.input_rows(rows);
        let dealt = (target.deals && takes_dealt(conv, [height, width], output)).then(|| {
            let odd = width.div_ceil(2).next_multiple_of(lanes);
            let channels = expansion.groups.iter().map(|group| group.channels.len()).max().unwrap_or(0);
            Dealt { odd, pitch: 2 * odd, scratch: Scratch::new(channels, input_rows * 2 * odd) }
        });
        let plane = input_rows * dealt.map_or(expanded.pitch, |dealt| dealt.pitch);
        let filters = (caches.l1 / 2 / (plane * size_of::<f32>())).max(tile).min(expanded.planes);
        let pays = self.are_far(target);
        (Head::Expansion { filters, dealt }, rows, Scratch::new(filters, plane), pays)
    }

    /// The same for a convolution with stride; `None` if it can't be dealt, or has rows that can't stay for the next band.
    fn behind_strided(&self, step: &Step<'_>, target: Target) -> Option<(Head, usize, Scratch, bool)> {
        let Self { conv, input: [_, width], output: [rows, _], expanded, made } = *self;
        let (deal, pays) = Deal::of(step, expanded, target)?;
        let read = conv.stride[0] * (expanded.planes * expanded.pitch + deal.planes * deal.pitch);
        let rows_of_band = self.rows(made.planes * made.pitch + read, target);
        // Rows move as whole vectors, and not onto each other. The second band begins fewer rows behind the first one, by its padding, than others.
        let shared = window_rows(conv).saturating_sub(conv.stride[0]);
        let moves = width >= target.lanes && shared + conv.pad[0] <= rows_of_band * conv.stride[0];
        if rows_of_band < rows && shared > 0 && !moves {
            return None;
        }
        let input_rows = self.input_rows(rows_of_band);
        let scratch = Scratch::new(expanded.planes, input_rows * expanded.pitch);
        let pays = pays && self.are_far(target);
        Some((Head::Strided(deal.over(input_rows, target)), rows_of_band, scratch, pays))
    }

    /// Rows of equal bands, of which each takes `floats` in the second-level cache, that end where vectors of the projection end.
    fn rows(&self, floats: usize, Target { caches, lanes, .. }: Target) -> usize {
        let (rows, pitch) = (self.output[0], self.made.pitch);
        let most = (caches.l2.min(MOST_OF_L2) / (floats * size_of::<f32>())).max(FEWEST_ROWS);
        let quantum = lanes / greatest_common_divisor(lanes, pitch);
        rows.div_ceil(rows.div_ceil(most)).next_multiple_of(quantum)
    }

    /// Rows that the layer reads for so many of its own.
    fn input_rows(&self, rows: usize) -> usize {
        ((rows - 1) * self.conv.stride[0] + window_rows(self.conv)).min(self.input[0])
    }

    /// Whether the planes that the layer reads lie so far from the core that bands pay.
    fn are_far(&self, Target { caches, lanes, .. }: Target) -> bool {
        let bytes = self.expanded.planes * self.expanded.stride * size_of::<f32>();
        bytes > caches.last.min(if lanes < 16 { FAR } else { FAR_WIDE } * (caches.l2 / 2))
    }
}

/// Rows from the first to the last tap of a window.
fn window_rows(conv: &Conv<'_>) -> usize {
    (conv.kernel[0] - 1) * conv.dilation[0] + 1
}

/// Whether there is a kernel over dealt columns for a depthwise layer.
fn takes_dealt(conv: &Conv<'_>, input: [usize; 2], output: [usize; 2]) -> bool {
    let Conv { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pad: [1, 1, ..], .. } = conv else { return false };
    input[1] > 1 && output[0] <= input[0].div_ceil(2) && output[1] <= input[1].div_ceil(2)
}

/// The convolution of a step over whole planes, pixel by pixel.
pub(super) fn pointwise<'a, 'm>(step: &'a Step<'m>) -> Option<&'a Conv<'m>> {
    let Kind::Conv(conv) = &step.layer.kind else { return None };
    let [_, _, h, w] = step.inputs[0].shape.nchw()?;
    (conv.is_pointwise() && method(conv, [h, w]) == Method::Flat).then_some(conv)
}
