//! Some filters over a run of pixels: `y[f][p] = bias[f] + sum over taps t of w[t][f] * x[t][p]`, vector lanes along the pixels `p`.
//!
//! A tap is an offset in the arena. For a 1x1 convolution it is the plane of a channel; for a k x k convolution of stride 1 whose planes
//! have a border of zeros it is a plane shifted by some rows and columns, so the same kernel serves both, dense or grouped.
//! Where rows lie otherwise in the outputs ([`Rows`]), what the inputs have between their rows is left out.
//! Every variant sums in the same order: bias, then taps in the order of the list, one fused multiply-add each (the portable variant rounds twice).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod body;
mod portable;
pub mod reference;
#[cfg(feature = "sweep")]
mod sweep;

use crate::{
    Epilogue, Isa, Planes,
    call::{CallError, Extents, Memory, Run},
    tile,
};
use std::ops::{Range, RangeInclusive};

#[cfg(feature = "sweep")]
pub use sweep::{Candidate, candidates};

type Entry = unsafe fn(&Call, *const f32, *mut f32);

/// A variant: an instruction set and a shape of tile.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-pointwise-<filters>x<pixels>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    /// The entry for each number of taps, from one, that leaves room for all inputs in registers.
    few: &'static [Entry],
    /// The entry for each number of filters, from one.
    by_filters: &'static [Entry],
    /// Whether some of them have panels.
    panels: bool,
}

/// Every variant in this build, fastest first.
static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &avx2::KERNEL,
    &portable::KERNEL,
];

/// The variants that this CPU runs, fastest first.
pub fn available() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().filter(|kernel| kernel.isa.is_available())
}

impl Kernel {
    /// The most filters in one call.
    #[must_use]
    pub const fn max_filters(&self) -> usize {
        self.by_filters.len()
    }

    /// The most filters in one call over so many pixels: fewer where a tile takes along pixels behind the last vector.
    #[must_use]
    pub fn filters_over(&self, pixels: usize) -> usize {
        let has_pixels = !pixels.is_multiple_of(self.isa.lanes());
        if has_pixels { self.max_filters().min(body::MOST_WITH_PIXELS) } else { self.max_filters() }
    }

    /// Whether calls with so many filters can have [`Panels`].
    #[must_use]
    pub const fn has_panels(&self, filters: usize) -> bool {
        self.panels && tile::has_panels(self.isa.lanes(), filters, PANEL_VECTORS) && filters <= self.max_filters()
    }

    /// Pixels, of so many, that are read from planes in spite of [`Panels`]: those of a vector that is left over, and of the pixel's tile behind it.
    #[must_use]
    pub const fn beside_panels(&self, pixels: usize) -> Range<usize> {
        let lanes = self.isa.lanes();
        let tiles = pixels / (PANEL_VECTORS * lanes) * PANEL_VECTORS * lanes;
        let has_pixel = !pixels.is_multiple_of(lanes);
        // The pixel's tile has two vectors, too.
        match (has_pixel, (pixels / lanes).is_multiple_of(PANEL_VECTORS)) {
            (_, true) => pixels..pixels,
            (false, false) => tiles..pixels,
            (true, false) => tiles.saturating_sub(PANEL_VECTORS * lanes)..pixels,
        }
    }

    /// Whether it takes runs of so many pixels: whole vectors, with one pixel more behind at least three of them, or, of sixteen lanes, four. A pixel costs each
    /// tap one multiply-add for all filters: a map of 7x7 takes three vectors of 16 and a pixel, one of 14x14 twelve and four.
    #[must_use]
    pub const fn takes(&self, pixels: usize) -> bool {
        let lanes = self.isa.lanes();
        match pixels % lanes {
            0 => true,
            1 => pixels > body::TAIL_VECTORS * lanes,
            4 => lanes == 16 && pixels > body::TAIL_VECTORS * lanes,
            _ => false,
        }
    }

    /// The pixels, at least `pixels`, that it takes and goes through fastest with so many taps and filters.
    #[must_use]
    pub fn least(&self, pixels: usize, taps: usize, filters: usize) -> usize {
        // Four pixels are stored one by one.
        let pays = pixels % 16 != 4 || taps >= FEWEST_TAPS_OF_FOUR;
        if pays && self.takes(pixels) && filters <= self.filters_over(pixels) {
            pixels
        } else {
            pixels.next_multiple_of(self.isa.lanes())
        }
    }
}

/// Taps from which four pixels behind the last vector take no more time one by one than as a vector. From the table `pixels` of the benchmark `choices`, on an Intel
/// Xeon of model 167, 14x14 pixels, one by one / as a vector: 1.23 with 4 taps, 1.15 with 8, 1.05 with 16, 1.02 with 32, 1.03 with 64, 1.02 with 96, 0.99 with 384;
/// on Zen 5 it was the faster way from about 64 on.
const FEWEST_TAPS_OF_FOUR: usize = 64;

/// Vectors of the tiles that panels are for.
const PANEL_VECTORS: usize = 2;

/// What a call computes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// Pixels of a plane: what [`Kernel::takes`].
    pub pixels: usize,
    /// Where the weights start, `[taps][filters]`.
    pub weights: u32,
    /// Where the biases start, `[filters]`.
    pub bias: u32,
    /// The offset of each tap's first pixel.
    pub x: Planes,
    /// The offset of each filter's output.
    pub y: &'a [u32],
    /// The first pixel of the run: added to every offset of `x`, `y` and the residual; with `rows`, where that pixel goes is added to `y`.
    pub shift: u32,
    /// How rows lie in the outputs, where that is not as in the inputs; then there is no residual.
    pub rows: Option<Rows>,
    /// Whether its tiles copy their inputs into panels, or read them from there.
    pub panels: Panels,
    /// Applied to each output. The planes of the residual may be those of the outputs, which then replace it.
    pub epilogue: Epilogue,
}

/// Panels of inputs: for each tile of two vectors of pixels what it reads, `[taps][pixels]`, and of the one pixel behind the last vector what each tap has, one panel
/// behind the other from a place in the arena on, which has as many floats for them as there are pixels and taps. A tile then reads memory in order, where the machine's
/// prefetchers see it, and needs neither the offsets of its taps nor to ask for inputs. A vector that is left over is read from the planes, and so are the pixel
/// behind it and the two vectors between: [`Kernel::beside_panels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panels {
    /// There are none.
    None,
    /// The call copies its inputs there.
    Pack(u32),
    /// The call finds its inputs there, as one over the same pixels and taps has packed them. Of the planes it reads nothing but [`Kernel::beside_panels`].
    Read(u32),
}

/// Rows of pixels in inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// How many; what the run has behind the last one has no place in the outputs.
    pub count: usize,
    /// Pixels of a row, at least one; what lies between rows of the inputs has no place in the outputs.
    pub columns: usize,
    /// Floats from one row of the inputs to the next, at least `columns`.
    pub x_pitch: usize,
    /// Floats from one row of the outputs to the next, at least `columns`.
    pub y_pitch: usize,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    entry: Entry,
    pixels: usize,
    weights: u32,
    bias: u32,
    x: Planes,
    y: Box<[u32]>,
    shift: u32,
    rows: Option<tile::Rows>,
    /// Whether each tile asks for the inputs of the next.
    asks_for_next: bool,
    panels: Panels,
    epilogue: Epilogue,
}

/// The taps for which a tile asks for the inputs of the next: fewer go without, more would push each other out of the first cache. From the table `next` of the
/// benchmark `choices`, AVX2 on an Intel Xeon of model 167, asking for the next tile's / for those some taps later:
///
/// | taps | 5 | 8 | 9 | 12 | 18 | 24 | 32 | 48 | 64 | 96 | 128 | 192 |
/// |---|---|---|---|---|---|---|---|---|---|---|---|---|
/// | 112x112 | 1.01 | 0.98 | 1.01 | 0.98 | 0.99 | 0.97 | 0.97 | 0.97 | 0.98 | 0.99 | 1.09 | 1.08 |
/// | 56x56 | 0.89 | 0.90 | 0.81 | 0.84 | 0.88 | 0.84 | 0.88 | 0.86 | 0.93 | 0.96 | 0.85 | 1.01 |
/// | 28x28 | 1.03 | 1.00 | 0.92 | 0.94 | 0.95 | 0.93 | 0.97 | 0.93 | 1.00 | 1.00 | 0.99 | 1.07 |
/// | 14x14 | 1.03 | 1.00 | 0.93 | 0.94 | 0.95 | 0.99 | 1.00 | 1.00 | 0.95 | 0.97 | 0.96 | 1.00 |
///
/// With AVX-512, asking for the next tile's / for none (with up to twelve taps inputs stay in registers):
///
/// | taps | 18 | 24 | 32 | 48 | 64 | 96 | 128 | 192 | 256 |
/// |---|---|---|---|---|---|---|---|---|---|
/// | 112x112 | 1.01 | 1.00 | 1.01 | 1.00 | 1.02 | 1.10 | 1.15 | 1.17 | 1.12 |
/// | 56x56 | 0.86 | 0.87 | 0.83 | 0.80 | 0.96 | 1.22 | 1.02 | 1.11 | 1.04 |
/// | 28x28 | 0.97 | 0.95 | 0.96 | 0.96 | 0.97 | 1.10 | 1.21 | 1.15 | 1.24 |
/// | 14x14 | 0.98 | 0.98 | 0.98 | 0.99 | 0.98 | 0.99 | 1.01 | 1.04 | 1.03 |
const fn taps_of_next(isa: Isa) -> RangeInclusive<usize> {
    9..=if isa.lanes() < 16 { 96 } else { 64 }
}

impl Call {
    /// # Errors
    /// If there is no filter or more than the kernel takes, `pixels` is not what [`Kernel::takes`], the kernel has no panels for so many filters or there is no tap for
    /// them, or the residual has another number of planes.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { pixels, weights, bias, x, y, shift, rows, panels, epilogue } = spec;
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        let Some(&entry) = y.len().checked_sub(1).and_then(|last| kernel.by_filters.get(last)) else {
            return shape("the number of filters", y.len(), "at least one and at most what the kernel takes");
        };
        if y.len() > kernel.filters_over(pixels) {
            return shape("the number of filters", y.len(), "fewer, with pixels behind the last vector");
        }
        if !kernel.takes(pixels) {
            return shape(
                "the number of pixels",
                pixels,
                "a multiple of the vector's lanes, at least three vectors and one pixel more, or of sixteen lanes four",
            );
        }
        if panels != Panels::None && !kernel.has_panels(y.len()) {
            return shape(
                "the number of filters",
                y.len(),
                "with panels, what the kernel has tiles of two vectors for",
            );
        }
        if panels != Panels::None && x.offsets().is_empty() {
            return shape("the number of taps", 0, "with panels, at least one");
        }
        if let Some(residual) = &epilogue.residual
            && residual.offsets().len() != y.len()
        {
            return shape("the number of residual planes", residual.offsets().len(), "one for each filter");
        }
        let rows = match rows {
            Some(Rows { count: 0, .. }) => return shape("the number of rows", 0, "at least one"),
            Some(Rows { columns, x_pitch, y_pitch, .. }) if columns == 0 || columns > x_pitch.min(y_pitch) => {
                return shape("the columns of a row", columns, "at least one and at most the pitches");
            }
            Some(_) if epilogue.residual.is_some() => {
                return shape("the number of residual planes", y.len(), "none, with rows of another pitch");
            }
            rows => rows.map(|Rows { count, columns, x_pitch, y_pitch }| {
                tile::Rows::of_call([count, columns], x_pitch, y_pitch, (shift as usize).saturating_add(pixels))
            }),
        };
        let few = x.offsets().len().checked_sub(1).and_then(|last| kernel.few.get(last));
        let plain = epilogue.residual.is_none() && epilogue.first.bounds().is_some() && rows.is_none();
        let entry = match few {
            Some(&few) if plain && panels == Panels::None && pixels.is_multiple_of(kernel.isa.lanes()) => few,
            _ => entry,
        };
        let asks_for_next = taps_of_next(kernel.isa).contains(&x.offsets().len());
        Ok(Self { kernel, entry, pixels, weights, bias, x, y: y.into(), shift, rows, asks_for_next, panels, epilogue })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// The same, but whether each tile asks for the inputs of the next is given.
    #[cfg(feature = "sweep")]
    #[must_use]
    pub fn asking_for_next(self, asks_for_next: bool) -> Self {
        Self { asks_for_next, ..self }
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let begin = i64::from(self.shift);
        let end = begin.saturating_add(i64::try_from(self.pixels).unwrap_or(i64::MAX));
        let (taps, filters) = (self.x.offsets().len(), self.y.len());
        let floats = i64::try_from(self.pixels.saturating_mul(taps)).unwrap_or(i64::MAX);
        match self.panels {
            Panels::None => extents.read(&self.x, begin, end)?,
            Panels::Pack(at) => {
                extents.read(&self.x, begin, end)?;
                extents.write(&[at], 0, floats)?;
            }
            Panels::Read(at) => {
                let Range { start, end } = self.kernel.beside_panels(self.pixels);
                let at_pixel = |pixel: usize| begin.saturating_add(i64::try_from(pixel).unwrap_or(i64::MAX));
                extents.read(&self.x, at_pixel(start), at_pixel(end))?;
                extents.read_at(at, floats)?;
            }
        }
        match self.rows {
            Some(rows) => {
                let end = (self.shift as usize).saturating_add(self.pixels);
                extents.write(&self.y, rows.place(self.shift as usize), rows.place(end))?;
            }
            None => extents.write(&self.y, begin, end)?,
        }
        // Each pixel of the residual is read right before its sum is written, which may be the same place.
        if let Some(residual) = &self.epilogue.residual
            && *residual.offsets() != *self.y
        {
            extents.read(residual, begin, end)?;
        }
        // Pixels behind the last vector read weights and biases as vectors.
        let lanes = self.kernel.isa.lanes();
        let vector = if self.pixels.is_multiple_of(lanes) { filters } else { lanes } as u64;
        if let Some(last) = taps.checked_sub(1) {
            extents.weights(u64::from(self.weights) + last as u64 * filters as u64 + vector);
        }
        extents.weights(u64::from(self.bias) + vector);
        extents.weights(self.epilogue.weights_end(filters));
        Ok(())
    }

    fn cost(&self) -> u64 {
        // A store costs about as much as two multiply-adds.
        (self.pixels * self.y.len() * (self.x.offsets().len() + 2)) as u64
    }

    unsafe fn run(&self, Memory { weights, arena, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.entry)(self, weights, arena) }
    }
}
