//! Step 7: a depthwise layer, what makes its planes and the projection behind it run in bands of rows, where their planes would not stay in a cache that is near.
//!
//! Behind an expansion, for each band: some filters of the expansion into scratch memory, the depthwise layer over them, the next filters; when all channels of the
//! band are there, the projection. The rows that two bands share are computed twice, with the same bits. Where the depthwise layer takes every second column, the
//! expansion's inputs are dealt first, into even and odd columns, and so are its outputs.
//!
//! An expansion of few channels runs in registers instead, with the depthwise layer over it ([`flgc_kernels::expand`]): nothing of it is stored.
//!
//! Behind a convolution with stride, as the stem of a network: all its filters over blocks of dealt columns ([`super::deal`]), then the depthwise layer and the
//! projection. Such rows are not worth computing twice: those that the next band shares stay in scratch memory and move to its front.

use super::{
    choose::{Method, method},
    deal::Deal,
    layout::Layout,
    net::{Act, Conv, Kind},
    prune::Live,
    regroup::{Net, Step},
    scratch::{Scratch, Target, greatest_common_divisor},
    tune::{Tuning, Ways},
    value::Value,
};
use flgc_kernels::{ALIGN, Activation};
use std::ops::Range;

/// Halves of the second-level cache that the planes of an expansion or a stem have to fill before bands pay, where the last level holds them and is near, for
/// vectors of less than sixteen lanes. Measured with MobileNetV2-FLGC8 on Zen 3 (512 KiB, 32 MiB), the three layers together, fused and not: 4.8 MB 340 and 440 us;
/// 1.8 MB 270 and 250 us, with stride 2 148 and 151 us; 0.6 MB 118 and 101 us. The planes of its stem, 1.6 MB, do not pay either: 470 and 459 us; but 577 and 670 us
/// for bare calls if something else fills the last level between runs.
const FAR: usize = 8;
/// The same for sixteen lanes, which go through twice as much memory in the same time, and where the last level is far. On Zen 5 (1 MiB, 32 MiB) with sixteen: 1.8 MB
/// 88 and 88 us, with stride 2 45 and 49 us; 1.6 MB of a stem 145 and 150 us; 0.6 MB 30 and 30 us. On an Intel Xeon, model 167 (2 MiB, 480 MiB that bring 30 GB/s),
/// from the table `bands` of the benchmark `choices`, eight groups: with sixteen lanes 4.8 MB 211 and 446 us; 1.8 MB 136 and 204 us, with stride 2 70 and 92 us; with
/// eight 4.8 MB 232 and 460 us; 1.8 MB 169 and 246 us, with stride 2 108 and 113 us; 0.6 MB 80 and 84 us.
const FAR_WIDE: usize = 1;
/// A second-level cache beyond this size stands before a last level that is shared by many cores and far from each.
const LARGE_L2: usize = 1 << 20;
/// Most channels of a filter, in the mean, of an expansion that some filters at a time go into the first-level cache for the depthwise layer, though all its planes fit
/// in a large second-level one. On that Xeon, sixteen lanes, in bands and not: 28x28 two 31 and 34 us, four 46 and 51 us, eight 61 and 62 us; 14x14 eight 31 and 32 us,
/// twelve 64 and 67 us, 24 93 and 91 us; at 7x7 eight is slower, 31 and 30 us.
const MOST_IN_L1: usize = 12;
/// Most channels of a filter, in the mean, up to which an expansion before a depthwise layer of stride two pays in registers, or costs nothing, for sixteen lanes. On that Xeon, in
/// registers and in bands, by the channels of a group: 112x112 one 132 and 171 us, two 180 and 211 us, four 248 and 243 us, sixteen 595 and 483 us; 56x56 three 66 and
/// 70 us, six 104 and 97 us; 28x28 two 17 and 19 us, four 24 and 24 us. With a stride of one it is slower there for any number: 150 and 136 us at 56x56 with three.
const MOST_IN_REGISTERS: usize = 4;
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
            Head::InRegisters => 0,
        };
        [self.expanded.len + dealt, self.made.len]
    }

    /// How an expansion's columns are dealt, if they are.
    pub(super) fn dealt(&self) -> Option<&Dealt> {
        match &self.head {
            Head::Expansion { dealt, .. } => dealt.as_ref(),
            Head::Strided(_) | Head::InRegisters => None,
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
    /// An expansion of few channels, with the depthwise layer; scratch memory holds copies of what a strip reads.
    InRegisters,
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
        let ways = asked.of(layer);
        let run = run(net, live, layouts, &readers, target, (first, ways)).and_then(|found| {
            let bands = ways.bands.unwrap_or(found.pays);
            tuning.note(layer, Ways { bands: Some(bands), registers: found.registers, ..Ways::default() });
            bands.then_some(found.run)
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
        value.storages().into_iter().for_each(|storage| readers[storage as usize] += 1);
    };
    for step in net.steps.iter().filter(|step| live.any(step.storage)) {
        step.operands().for_each(&mut read);
    }
    net.outputs.iter().for_each(|output| read(output));
    readers
}

/// A run that can be.
struct Found {
    run: Run,
    /// Whether it pays.
    pays: bool,
    /// Whether its first two layers run in registers, if they can.
    registers: Option<bool>,
}

/// The steps from `first` on as a run, if they can be one.
fn run(
    net: &Net<'_>,
    live: &Live,
    layouts: &[Layout],
    readers: &[usize],
    target: Target,
    (first, ways): (usize, Ways),
) -> Option<Found> {
    let steps @ [head, depthwise, project] = net.steps.get(first..first + 3)? else { return None };
    let (Some(_), Kind::Conv(conv)) = (pointwise(project), &depthwise.layer.kind) else { return None };
    let feeds = |from: &Step<'_>, to: &Step<'_>| {
        readers[from.storage as usize] == 1
            && from.residual.is_none()
            && to.inputs[0].storages() == [from.storage]
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
    let expansion = pointwise(&steps[0]);
    let fits = expansion.filter(|_| middle.fits_registers(&steps[0], depthwise, target));
    let registers = fits.map(|expansion| ways.registers.unwrap_or_else(|| middle.pays_in_registers(expansion, target)));
    let (head, rows_of_band, scratch, pays) = match (expansion, registers) {
        (Some(expansion), Some(true)) => middle.in_registers(expansion, target)?,
        (Some(expansion), _) => middle.behind_expansion(expansion, target),
        (None, _) => middle.behind_strided(&steps[0], target)?,
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
    Some(Found { run, pays, registers })
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
            Dealt { odd, pitch: 2 * odd, scratch: Scratch::new(most_channels(expansion), input_rows * 2 * odd) }
        });
        let plane = input_rows * dealt.map_or(expanded.pitch, |dealt| dealt.pitch);
        let filters = (caches.l1 / 2 / (plane * size_of::<f32>())).max(tile).min(expanded.planes);
        let is_cheap = weights_of_filter(expansion) <= MOST_IN_L1 && caches.l2 > LARGE_L2 && self.fills(lanes);
        // A reduction has more inputs to deal than outputs.
        let channels: usize = expansion.groups.iter().map(|group| group.channels.len()).sum();
        let deals_few = dealt.is_none() || expansion.filters >= 2 * channels;
        let pays = (self.are_far(target) || is_cheap) && deals_few;
        (Head::Expansion { filters, dealt }, rows, Scratch::new(filters, plane), pays)
    }

    /// Whether there is a kernel that makes what it reads in registers, once: for each of its outputs a filter of the expansion.
    fn fits_registers(&self, expand: &Step<'_>, depthwise: &Step<'_>, target: Target) -> bool {
        let Self { conv, input: [height, width], output: [rows, columns], .. } = *self;
        let clamps = |step: &Step<'_>| {
            let is_clamp = |act: &Act| matches!(act, Act::Same(Activation::None | Activation::Clamp { .. }));
            is_clamp(&step.layer.first) && step.layer.last.is_none() && step.residual.is_none()
        };
        let Conv { kernel: [3, 3], stride: [down, along], dilation: [1, 1], pad: [1, 1, ..], .. } = *conv else {
            return false;
        };
        let stride = down.max(along);
        target.expand.is_some()
            && self.made.planes <= self.expanded.planes
            && down == along
            && stride <= 2
            && columns == width.div_ceil(stride)
            && (rows - 1) * stride < height
            && clamps(expand)
            && clamps(depthwise)
    }

    /// Whether that pays.
    fn pays_in_registers(&self, expansion: &Conv<'_>, target: Target) -> bool {
        let is_cheap = weights_of_filter(expansion) <= MOST_IN_REGISTERS;
        self.conv.stride[0] == 2 && target.lanes >= 16 && self.fills(target.lanes) && is_cheap
    }

    /// Whether a row of the depthwise layer has about a vector of outputs: in a narrower one lanes are idle.
    const fn fills(&self, lanes: usize) -> bool {
        self.output[1] + 2 >= lanes
    }

    /// How an expansion runs in registers; `None` beyond what a machine can address.
    fn in_registers(&self, expansion: &Conv<'_>, target: Target) -> Option<(Head, usize, Scratch, bool)> {
        let rows = self.rows(self.made.planes * self.made.pitch, target);
        let channels = most_channels(expansion);
        let len = target.expand?.scratch(self.input_rows(rows), self.conv.stride[0], channels)?;
        Some((Head::InRegisters, rows, Scratch { stride: 0, len: len.next_multiple_of(ALIGN) }, true))
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

    /// Rows of equal bands, of which each row takes `floats` in the second-level cache, that end where vectors of the projection end; as many bands as there are
    /// threads, as far as that and a least height allow.
    fn rows(&self, floats: usize, Target { caches, lanes, parts, .. }: Target) -> usize {
        let (rows, pitch) = (self.output[0], self.made.pitch);
        let most = (caches.l2.min(MOST_OF_L2) / (floats * size_of::<f32>())).max(FEWEST_ROWS);
        let quantum = lanes / greatest_common_divisor(lanes, pitch);
        let bands = rows.div_ceil(most).max(parts.min(rows / FEWEST_ROWS));
        rows.div_ceil(bands).next_multiple_of(quantum)
    }

    /// Rows that the layer reads for so many of its own.
    fn input_rows(&self, rows: usize) -> usize {
        ((rows - 1) * self.conv.stride[0] + window_rows(self.conv)).min(self.input[0])
    }

    /// Whether the planes that the layer reads lie so far from the core that bands pay. Only half of the last level counts: what the layer
    /// makes needs room, too.
    fn are_far(&self, Target { caches, lanes, .. }: Target) -> bool {
        let bytes = self.expanded.planes * self.expanded.stride * size_of::<f32>();
        let is_near = lanes < 16 && caches.l2 <= LARGE_L2;
        bytes > (caches.last / 2).min(if is_near { FAR } else { FAR_WIDE } * (caches.l2 / 2))
    }
}

/// Channels of the largest group.
fn most_channels(conv: &Conv<'_>) -> usize {
    conv.groups.iter().map(|group| group.channels.len()).max().unwrap_or(0)
}

/// Weights of a filter, in the mean.
fn weights_of_filter(conv: &Conv<'_>) -> usize {
    let weights: usize = conv.groups.iter().map(|group| group.channels.len() * group.filters.len()).sum();
    weights.div_ceil(conv.filters.max(1))
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
