//! Step 7: an expansion, the depthwise layer behind it and the projection behind that run in bands of rows, where their planes would not stay in cache.
//!
//! For each band: some filters of the expansion into scratch memory, the depthwise layer over them, the next filters; when all channels of the band are there,
//! the projection. The rows that two bands share are computed twice, with the same bits.

use super::{
    cache::Caches,
    choose::{Method, method},
    layout::Layout,
    net::{Conv, Kind},
    prune::Live,
    regroup::{Net, Step},
    value::StorageId,
};
use flgc_kernels::ALIGN;
use std::ops::Range;

/// Second-level caches that the expansion's planes have to fill before bands pay. Measured with MobileNetV2-FLGC8 on Zen 3 (512 KiB), the three layers together,
/// fused and not: 4.8 MB 340 and 440 us; 1.8 MB 270 and 250 us, with stride 2 148 and 151 us; 0.6 MB 118 and 101 us.
const FAR: usize = 4;
/// Fewest rows of a band: below that the calls' own cost and the rows computed twice eat up what the caches give.
const FEWEST_ROWS: usize = 4;
/// Fewest filters of a chunk: a tile of any kernel.
const FEWEST_FILTERS: usize = 6;

/// Three steps in a row that run as one.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The index of the expansion; the depthwise layer and the projection follow.
    pub(super) first: usize,
    /// Rows that the depthwise layer makes in one band; the last band may have fewer.
    pub(super) rows: usize,
    /// Most filters of the expansion that are made before the depthwise layer reads them.
    pub(super) filters: usize,
    /// The scratch memory of one part: of the expansion's planes, and of the depthwise layer's.
    pub(super) scratch: [Scratch; 2],
    /// Ranges of bands that may run at the same time, each with its own scratch memory.
    pub(super) parts: Vec<Range<usize>>,
}

impl Run {
    /// The indices of its steps.
    pub(super) fn steps(&self) -> Range<usize> {
        self.first..self.first + 3
    }
}

/// Planes that each band uses anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scratch {
    /// Floats from one plane to the next.
    pub(super) stride: usize,
    /// Floats of all planes.
    pub(super) len: usize,
}

impl Scratch {
    pub(super) fn new(planes: usize, floats: usize) -> Self {
        // Vectors may begin before the first row and end behind the last one.
        let mut stride = floats.next_multiple_of(ALIGN) + 2 * ALIGN;
        if stride.is_multiple_of(super::layout::CACHE_ALIAS) {
            stride += ALIGN;
        }
        Self { stride, len: planes * stride }
    }
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
    let window = (conv.kernel[0] - 1) * conv.dilation[0] + 1;
    let begin = output.start * stride;
    let end = ((output.end - 1) * stride + window).saturating_sub(top).min(height);
    Band { output, input: begin.saturating_sub(top).min(end)..end, pad: top.saturating_sub(begin) }
}

/// The runs of `net` that are worth fusing, for `parts` threads and vectors of `lanes` floats.
pub(super) fn runs(
    net: &Net<'_>,
    live: &Live,
    layouts: &[Layout],
    caches: Caches,
    lanes: usize,
    parts: usize,
) -> Vec<Run> {
    let readers = readers(net, live);
    let mut runs = Vec::new();
    let mut first = 0;
    while first + 2 < net.steps.len() {
        let run = run(net, live, layouts, &readers, (caches, lanes), parts, first);
        first += if run.is_some() { 3 } else { 1 };
        runs.extend(run);
    }
    runs
}

/// How many steps and outputs read each storage.
fn readers(net: &Net<'_>, live: &Live) -> Vec<usize> {
    let mut readers = vec![0; net.storages.len()];
    let mut read = |storages: Box<dyn Iterator<Item = StorageId> + '_>| {
        let mut storages: Vec<StorageId> = storages.collect();
        storages.sort_unstable();
        storages.dedup();
        storages.iter().for_each(|&storage| readers[storage as usize] += 1);
    };
    for step in net.steps.iter().filter(|step| live.any(step.storage)) {
        step.operands().for_each(|value| read(value.storages()));
    }
    net.outputs.iter().for_each(|output| read(output.storages()));
    readers
}

fn run(
    net: &Net<'_>,
    live: &Live,
    layouts: &[Layout],
    readers: &[usize],
    (caches, lanes): (Caches, usize),
    parts: usize,
    first: usize,
) -> Option<Run> {
    let [expand, depthwise, project] = net.steps.get(first..first + 3)? else { return None };
    let ([Some(_), Some(_)], Kind::Conv(conv)) = ([expand, project].map(pointwise), &depthwise.layer.kind) else {
        return None;
    };
    let feeds = |from: &Step<'_>, to: &Step<'_>| {
        readers[from.storage as usize] == 1
            && from.residual.is_none()
            && to.inputs[0].storages().all(|storage| storage == from.storage)
            && layouts[from.storage as usize].border.is_none()
            && live.any(to.storage)
    };
    let [_, _, height, width] = net.storages[expand.storage as usize];
    let [_, _, rows, columns] = net.storages[depthwise.storage as usize];
    if method(conv, [height, width]) != Method::Depthwise || columns * rows == 1 {
        return None;
    }
    if !feeds(expand, depthwise) || !feeds(depthwise, project) {
        return None;
    }
    let [expanded, made] = [expand, depthwise].map(|step| &layouts[step.storage as usize]);
    let bytes = size_of::<f32>();
    if expanded.planes * expanded.stride * bytes <= FAR * caches.l2 {
        return None;
    }
    // Bands as high as the second-level cache allows, of equal height, that end where vectors of the projection end.
    let per_row = (made.planes * made.pitch + FEWEST_FILTERS * conv.stride[0] * expanded.pitch) * bytes;
    let most = (caches.l2 / per_row).max(FEWEST_ROWS);
    let quantum = lanes / greatest_common_divisor(lanes, made.pitch);
    let height_of_band = rows.div_ceil(rows.div_ceil(most)).next_multiple_of(quantum);
    let bands = rows.div_ceil(height_of_band);
    let input_rows = (height_of_band - 1) * conv.stride[0] + (conv.kernel[0] - 1) * conv.dilation[0] + 1;
    let plane = input_rows.min(height) * expanded.pitch;
    let filters = (caches.l1 / 2 / (plane * bytes)).max(FEWEST_FILTERS).min(expanded.planes);
    let parts = parts.min(bands);
    Some(Run {
        first,
        rows: height_of_band,
        filters,
        scratch: [Scratch::new(filters, plane), Scratch::new(made.planes, height_of_band * made.pitch)],
        parts: (0..parts).map(|part| part * bands / parts..(part + 1) * bands / parts).collect(),
    })
}

/// The convolution of a step over whole planes, pixel by pixel.
pub(super) fn pointwise<'a, 'm>(step: &'a Step<'m>) -> Option<&'a Conv<'m>> {
    let Kind::Conv(conv) = &step.layer.kind else { return None };
    let [_, _, h, w] = step.inputs[0].shape.nchw()?;
    (conv.is_pointwise() && method(conv, [h, w]) == Method::Flat).then_some(conv)
}

pub(super) fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
