//! Step 5: where the pixels of each storage lie: pitch, border, distance of planes.
//!
//! A k x k convolution without its own edge handling reads a border of zeros: some rows above and below, and some columns that one row's right edge
//! shares with the next row's left edge. Layers that run over whole planes at once need the same pitch in everything they read
//! and write; layers that work row by row do not. So storages fall into classes of equal pitch, and each class gets the
//! widest border that one of its members needs. Whoever writes a storage with a border also zeroes the border, in the same step.

use super::{
    choose::{Method, method},
    direct,
    net::{Conv, Kind},
    prune::Live,
    regroup::{Net, Step},
    value::{Content, Dims, Element, Lane, StorageId, Value},
};
use flgc_kernels::ALIGN;
use std::collections::BTreeMap;

/// Vectors of any kernel are at most this long.
const LANES: usize = 16;

/// The place of a storage's pixels, relative to the start of the storage.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Floats from one row to the next.
    pub(super) pitch: usize,
    /// Floats before the first pixel of a plane.
    pub(super) lead: usize,
    /// Floats from one plane to the next; 1 where planes are single floats without padding.
    pub(super) stride: usize,
    /// The slot of each channel; `u32::MAX` for channels that are not computed.
    pub(super) slots: Vec<u32>,
    /// Computed channels.
    pub(super) planes: usize,
    /// The border of zeros, if a reader needs one: floats before the first pixel, and floats after the last row.
    pub(super) border: Option<[usize; 2]>,
    /// Floats of all images, with what may be read behind them.
    pub(super) len: usize,
}

impl Layout {
    /// The channel in each slot.
    pub(super) fn channels(&self) -> Vec<u32> {
        let mut channels = vec![0; self.planes];
        for (channel, &slot) in self.slots.iter().enumerate().filter(|&(_, &slot)| slot != u32::MAX) {
            channels[slot as usize] = channel as u32;
        }
        channels
    }

    fn plane(&self, image: usize, channel: u32) -> usize {
        (image * self.planes + self.slots[channel as usize] as usize) * self.stride + self.lead
    }
}

/// All storages with their layouts, and their places in the arena.
pub(super) struct Places {
    pub(super) dims: Vec<Dims>,
    pub(super) layouts: Vec<Layout>,
    /// Where each storage starts in the arena.
    pub(super) base: Vec<usize>,
    /// Whether the first input has no place there, but is read where the caller has it.
    pub(super) direct: bool,
    /// Where the scratch memory of a step starts in the arena, by what the step writes.
    pub(super) scratch: BTreeMap<StorageId, usize>,
}

impl Places {
    /// The address of the first pixel of a plane.
    pub(super) fn plane(&self, lane: Lane, image: usize) -> u32 {
        let storage = lane.storage as usize;
        (self.base[storage] + self.layouts[storage].plane(image, lane.channel)) as u32
    }

    /// Whether a value is a part of an input that is read where the caller has it.
    pub(super) fn is_direct(&self, value: &Value) -> bool {
        self.direct && value.first_storage() == Some(direct::INPUT)
    }

    /// The float of the caller's input with which a plane begins.
    pub(super) fn plane_of_input(&self, lane: Lane, image: usize) -> usize {
        let [_, c, h, w] = self.dims[lane.storage as usize];
        (image * c + lane.channel as usize) * h * w
    }

    /// The address of one element.
    pub(super) fn element(&self, element: Element) -> u32 {
        let storage = element.storage as usize;
        let [_, c, h, w] = self.dims[storage];
        let index = element.index as usize;
        let (plane, pixel) = (index / (h * w), index % (h * w));
        let layout = &self.layouts[storage];
        let at = layout.plane(plane / c, (plane % c) as u32) + pixel / w * layout.pitch + pixel % w;
        (self.base[storage] + at) as u32
    }

    /// The addresses of all elements of a value whose planes are single pixels, or of its elements.
    pub(super) fn elements(&self, value: &Value) -> Vec<u32> {
        value.elements(&self.dims).into_iter().map(|element| self.element(element)).collect()
    }

    /// The pitch of a value's planes.
    pub(super) fn pitch(&self, value: &Value) -> usize {
        value.first_storage().map_or(1, |storage| self.layouts[storage as usize].pitch)
    }

    /// The address runs `(start, length)` that make up a value, in order.
    pub(super) fn runs(&self, value: &Value) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        let mut add = |start: u32, len: u32| match runs.last_mut() {
            Some((last, count)) if *last + *count == start => *count += len,
            _ => runs.push((start, len)),
        };
        match &value.content {
            Content::Elements(elements) => elements.iter().for_each(|&element| add(self.element(element), 1)),
            Content::Lanes(lanes) => {
                let [n, _, h, w] = value.shape.nchw().unwrap_or([0; 4]);
                for image in 0..n {
                    for &lane in lanes {
                        let (start, pitch) = (self.plane(lane, image), self.layouts[lane.storage as usize].pitch);
                        (0..h).for_each(|row| add(start + (row * pitch) as u32, w as u32));
                    }
                }
            }
        }
        runs
    }
}

/// What the readers and the writer of a storage need of it.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    /// Vectors run over its planes, so they need room to overrun.
    planes: bool,
    /// Zero pixels `[top, left, bottom, right]`.
    pad: [usize; 4],
    /// Floats that a reader touches behind the last pixel's row, in rows and floats.
    reach: [usize; 2],
}

/// The layouts of all storages.
pub(super) fn layouts(net: &Net<'_>, live: &Live, orders: &[Vec<u32>]) -> Vec<Layout> {
    let mut needs = vec![Needs::default(); net.storages.len()];
    let mut classes = Classes::new(net.storages.len());
    let mut depthwise = vec![false; net.storages.len()];
    for storage in net.steps.iter().flat_map(around_depthwise) {
        depthwise[storage as usize] = true;
    }
    for step in net.steps.iter().filter(|step| live.any(step.storage)) {
        let around = step.inputs.iter().flat_map(|input| input.storages()).chain([step.storage]);
        let may_move = around.into_iter().all(|storage| !depthwise[storage as usize]);
        collect(step, &net.storages, may_move, &mut needs, &mut classes);
    }
    let mut pitch = vec![0; net.storages.len()];
    for (storage, need) in needs.iter().enumerate() {
        let [.., w] = net.storages[storage];
        let class = classes.of(storage as StorageId) as usize;
        pitch[class] = pitch[class].max(w + need.pad[1].max(need.pad[3]));
    }
    (0..net.storages.len())
        .map(|storage| {
            let class = classes.of(storage as StorageId) as usize;
            layout(net.storages[storage], &needs[storage], pitch[class], storage, live, &orders[storage])
        })
        .collect()
}

/// The distance of planes of so many floats, in floats: where they are large, an odd number of cache lines, so that the same pixels of all planes spread over
/// all places of a cache.
pub(super) const fn distance(floats: usize) -> usize {
    const LARGE: usize = 8;
    let lines = floats.div_ceil(ALIGN);
    let odd = if lines >= LARGE { lines | 1 } else { lines };
    odd * ALIGN
}

fn layout([n, c, h, w]: Dims, need: &Needs, pitch: usize, storage: usize, live: &Live, order: &[u32]) -> Layout {
    let mut slots = vec![u32::MAX; c];
    let mut planes = 0;
    for &channel in order.iter().filter(|&&channel| live.is(storage as u32, channel as usize)) {
        slots[channel as usize] = planes as u32;
        planes += 1;
    }
    if h * w == 1 && !need.planes {
        return Layout { pitch: 1, lead: 0, stride: 1, slots, planes, border: None, len: n * planes };
    }
    let [top, left, bottom, _] = need.pad;
    let border = (need.pad != [0; 4]).then_some([top * pitch + left, bottom * pitch]);
    let [before, after] = border.unwrap_or_default();
    let lead = before.next_multiple_of(ALIGN);
    let last_row = (h - 1) * pitch;
    let own = (last_row + w).next_multiple_of(LANES).max(last_row + LANES).max(h * pitch + after);
    let stride = distance(lead + own);
    let [rows, floats] = need.reach;
    let reach = (lead + rows * pitch + floats).saturating_sub(stride);
    Layout { pitch, lead, stride, slots, planes, border, len: n * planes * stride + reach }
}

/// What a depthwise layer reads and writes: in bands, the layers around it share its pitches.
fn around_depthwise(step: &Step<'_>) -> Vec<StorageId> {
    match &step.layer.kind {
        Kind::Conv(conv) if conv.is_depthwise() => {
            step.inputs.iter().flat_map(|input| input.storages()).chain([step.storage]).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a convolution over whole planes has sums of so many terms that it may as well move its rows to another pitch: below, a vector of sums takes
/// fewer cycles than the move.
pub(super) fn moves_rows(step: &Step<'_>, conv: &Conv<'_>) -> bool {
    const TERMS: usize = 64;
    let least = conv.groups.iter().filter(|group| !group.filters.is_empty()).map(|group| group.channels.len()).min();
    step.residual.is_none() && least.is_some_and(|channels| channels * conv.taps() >= TERMS)
}

fn collect(step: &Step<'_>, dims: &[Dims], may_move: bool, needs: &mut [Needs], classes: &mut Classes) {
    let output = step.storage;
    let [.., h, w] = dims[output as usize];
    let input = step.inputs[0].shape.nchw().unwrap_or([1; 4]);
    let mut by_planes = true;
    match &step.layer.kind {
        Kind::Conv(conv) => match method(conv, [input[2], input[3]]) {
            Method::Vector => by_planes = false,
            Method::Depthwise | Method::Winograd => {}
            method @ (Method::Flat | Method::Rows) => {
                if method == Method::Flat && !(may_move && moves_rows(step, conv)) {
                    classes.join_all(step.inputs[0].storages().into_iter().chain([output]));
                }
                for storage in step.inputs[0].storages() {
                    let need = &mut needs[storage as usize];
                    for (pad, own) in need.pad.iter_mut().zip(conv.pad) {
                        *pad = own.max(*pad);
                    }
                    let [rows, floats] = reach(conv, [h, w]);
                    need.reach = [need.reach[0].max(rows), need.reach[1].max(floats)];
                }
            }
        },
        Kind::Pool { .. } | Kind::Resize(_) | Kind::GlobalPool { .. } => {}
        Kind::Softmax { .. } | Kind::Scale { .. } | Kind::Add | Kind::Multiply | Kind::Identity => {
            by_planes = h * w > 1;
            if by_planes {
                let whole = |value: &&std::rc::Rc<Value>| value.shape.nchw().is_some_and(|[.., h, w]| h * w > 1);
                classes.join_all(step.inputs.iter().filter(whole).flat_map(|value| value.storages()).chain([output]));
            }
        }
        Kind::Linear(_) | Kind::View(_) | Kind::Move => by_planes = false,
    }
    for input in &step.inputs {
        // Planes that one call reads have one pitch; single pixels have none.
        if input.shape.nchw().is_some_and(|[.., h, w]| h * w > 1) && input.lanes().is_some() && by_planes {
            classes.join_all(input.storages());
        }
    }
    if by_planes {
        if let Some(residual) = &step.residual {
            classes.join_all(residual.storages().into_iter().chain([output]));
        }
        let scalars = matches!(step.layer.kind, Kind::Multiply | Kind::Add);
        let single = |value: &&Value| scalars && value.shape.nchw().is_some_and(|[.., h, w]| h * w == 1);
        let storages = step.operands().filter(|value| !single(value)).flat_map(Value::storages);
        for storage in storages.chain([output]) {
            needs[storage as usize].planes |=
                !(storage == output && matches!(step.layer.kind, Kind::GlobalPool { .. }));
        }
    }
}

/// How far behind a plane's first pixel a convolution with `h x w` outputs may read, in rows of the input and floats: whole vectors, and with a stride
/// the pixels between. A 1x1 convolution counts as one with a stride: fused with a depthwise layer of stride two, it has its input dealt.
fn reach(conv: &Conv<'_>, [h, w]: [usize; 2]) -> [usize; 2] {
    let below = (conv.kernel[0] - 1) * conv.dilation[0];
    let right = (conv.kernel[1] - 1) * conv.dilation[1];
    [(h - 1) * conv.stride[0] + below, (w + LANES) * conv.stride[1].max(2) + right]
}

/// Sets of storages that share a pitch.
struct Classes(Vec<StorageId>);

impl Classes {
    fn new(len: usize) -> Self {
        Self((0..len as StorageId).collect())
    }

    fn of(&mut self, storage: StorageId) -> StorageId {
        let mut root = storage;
        while self.0[root as usize] != root {
            let above = self.0[self.0[root as usize] as usize];
            self.0[root as usize] = above;
            root = above;
        }
        root
    }

    fn join_all(&mut self, storages: impl IntoIterator<Item = StorageId>) {
        let mut first = None;
        for storage in storages {
            let root = self.of(storage);
            let first = *first.get_or_insert(root);
            let target = self.of(first);
            self.0[root as usize] = target;
        }
    }
}
