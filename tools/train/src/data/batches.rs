//! Batches for the steps of an epoch: shuffled, augmented and normalised by a thread of their own, so that no step waits for its pictures.

use super::Dataset;
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64;
use std::{
    ops::Range,
    panic,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// Pictures of a part: one in each lane of the vectors that a training step computes with.
pub const LANES: usize = 16;
/// Batches that wait to be taken.
const DEPTH: usize = 3;

/// What a step takes: `labels.len()` pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Pictures `p * LANES ..` are in part `p`, `[3][h][w][LANES]`; lanes without a picture are zeros.
    pub parts: Vec<Vec<f32>>,
    /// The class of each picture.
    pub labels: Vec<u16>,
}

/// Brings pixels to floats, `(value / 255 - mean) / std` for each of red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalise {
    /// Means of the channels, of values from 0 to 1.
    pub mean: [f64; 3],
    /// Standard deviations of the channels.
    pub std: [f64; 3],
}

impl Normalise {
    /// The float of each pixel value, for each channel: to the bit what `flgc-run` computes.
    fn floats(&self) -> [[f32; 256]; 3] {
        const SCALE: f64 = 1.0 / 255.0;
        let float = |channel: usize, value: usize| (value as f64 * SCALE - self.mean[channel]) / self.std[channel];
        std::array::from_fn(|channel| std::array::from_fn(|value| float(channel, value) as f32))
    }
}

/// How pictures differ from epoch to epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augment {
    /// Most pixels that a picture is moved by, down or up and right or left. What comes in is 0 in normalised floats, the mean colour.
    pub crop: usize,
    /// Whether half of the pictures are mirrored, left to right.
    pub flip: bool,
    /// Side in pixels of a square, anywhere in the picture and cut at its edges, that becomes 0; 0: none. (Cutout, `DeVries` and Taylor, arXiv:1708.04552.)
    pub cutout: usize,
}

impl Augment {
    /// Pictures as they are.
    #[must_use]
    pub fn none() -> Self {
        Self { crop: 0, flip: false, cutout: 0 }
    }
}

/// A picture as it is seen once.
#[derive(Clone)]
struct View {
    picture: usize,
    /// Where the window begins in the picture.
    down: isize,
    right: isize,
    flip: bool,
    /// Rows and columns, as they are seen, that become 0.
    hole: [Range<usize>; 2],
}

/// The batches of an epoch, in an order and with crops and flips that come from `seed` and `epoch` alone.
///
/// What is left after the last whole batch is dropped: statistics of a handful of pictures are noise to batch normalisation, and as each epoch has
/// another order, no picture misses out. There are none if there are fewer pictures than a batch takes.
///
/// # Panics
/// If `batch` is no positive multiple of [`LANES`], or the thread can't be started.
#[must_use]
pub fn epoch(
    dataset: Arc<Dataset>,
    normalise: Normalise,
    augment: Augment,
    batch: usize,
    seed: u64,
    epoch: u64,
) -> Batches {
    assert!(
        batch > 0 && batch.is_multiple_of(LANES),
        "found a batch of {batch}, expected a positive multiple of {LANES}"
    );
    // A generator for each epoch: 32 bytes of the one of the seed, four steps.
    let mut seeds = Pcg64::seed_from_u64(seed);
    seeds.advance(4 * u128::from(epoch));
    let mut rng = Pcg64::from_rng(&mut seeds);

    let mut order: Vec<_> = (0..dataset.len()).collect();
    order.shuffle(&mut rng);
    order.truncate(order.len() / batch * batch);
    let shift = |rng: &mut Pcg64| rng.random_range(0..=2 * augment.crop) as isize - augment.crop as isize;
    let side = augment.cutout;
    let hole = |rng: &mut Pcg64, size: usize| {
        // Every pixel is as likely to be its middle.
        let middle = rng.random_range(0..size);
        middle.saturating_sub(side / 2)..(middle + side - side / 2).min(size)
    };
    let view = |picture| {
        let (down, right) = (shift(&mut rng), shift(&mut rng));
        let flip = augment.flip && rng.random();
        let hole = match side {
            0 => [0..0, 0..0],
            _ => [dataset.height, dataset.width].map(|size| hole(&mut rng, size)),
        };
        View { picture, down, right, flip, hole }
    };
    let views = order.into_iter().map(view).collect();
    Batches::start(dataset, normalise, batch, views)
}

/// All pictures in their order, as they are: for tests. The last batch may be smaller.
///
/// # Panics
/// If `batch` is 0, or the thread can't be started.
#[must_use]
pub fn in_order(dataset: Arc<Dataset>, normalise: Normalise, batch: usize) -> Batches {
    assert!(batch > 0, "found a batch of 0, expected at least one picture");
    let views = (0..dataset.len())
        .map(|picture| View { picture, down: 0, right: 0, flip: false, hole: [0..0, 0..0] })
        .collect();
    Batches::start(dataset, normalise, batch, views)
}

/// Batches as a thread makes them, a few ahead. The thread ends with the last one, or when this is dropped.
///
/// `len` is the number of those not yet taken.
#[derive(Debug)]
pub struct Batches {
    left: usize,
    receiver: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Batches {
    fn start(dataset: Arc<Dataset>, normalise: Normalise, batch: usize, views: Vec<View>) -> Self {
        let left = views.len().div_ceil(batch);
        let (sender, receiver) = sync_channel(DEPTH);
        let thread = thread::Builder::new()
            .name("batches".to_owned())
            .spawn(move || produce(&dataset, &normalise.floats(), batch, &views, &sender))
            .expect("the system starts a thread");
        Self { left, receiver: Some(receiver), thread: Some(thread) }
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.left = self.left.checked_sub(1)?;
        if let Ok(batch) = self.receiver.as_ref()?.recv() {
            return Some(batch);
        }
        // The thread ended early, and it only does when it panics. That must not pass for the end of the epoch.
        self.left = 0;
        match self.thread.take()?.join() {
            Err(payload) => panic::resume_unwind(payload),
            Ok(()) => unreachable!("a batch for each that was promised"),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        // Without a receiver, the thread's next batch can't be sent and it ends.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there is only told to those who want a batch.
            let _ = thread.join();
        }
    }
}

fn produce(dataset: &Dataset, floats: &[[f32; 256]; 3], batch: usize, views: &[View], sender: &SyncSender<Batch>) {
    for views in views.chunks(batch) {
        let parts = views.chunks(LANES).map(|views| part(dataset, floats, views)).collect();
        let labels = views.iter().map(|view| dataset.labels[view.picture]).collect();
        if sender.send(Batch { parts, labels }).is_err() {
            return;
        }
    }
}

/// Up to [`LANES`] pictures as `[3][h][w][LANES]`.
fn part(dataset: &Dataset, floats: &[[f32; 256]; 3], views: &[View]) -> Vec<f32> {
    let (h, w) = (dataset.height, dataset.width);
    let mut part = vec![0.0; 3 * h * w * LANES];
    // Row by row, so that the lanes of a row are written while it is in the nearest cache.
    for (row, out) in part.chunks_exact_mut(w * LANES).enumerate() {
        let (c, y) = (row / h, row % h);
        for (lane, view) in views.iter().enumerate() {
            let [rows, columns] = &view.hole;
            let hole = if rows.contains(&y) { columns.clone() } else { 0..0 };
            let Some(y) = y.checked_add_signed(view.down).filter(|&y| y < h) else { continue };
            let pixels = &dataset.picture(view.picture)[(c * h + y) * w..][..w];
            for x in 0..w {
                let from = x.checked_add_signed(view.right);
                if let Some(&value) = from.and_then(|from| pixels.get(from)) {
                    let to = if view.flip { w - 1 - x } else { x };
                    if !hole.contains(&to) {
                        out[to * LANES + lane] = floats[c][usize::from(value)];
                    }
                }
            }
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_thread_reaches_who_waits() {
        let dataset = Arc::new(Dataset::new(vec!["a".to_owned()], 1, 1, vec![0; 3], vec![0]));
        let normalise = Normalise { mean: [0.0; 3], std: [1.0; 3] };
        let views = vec![View { picture: 1, down: 0, right: 0, flip: false, hole: [0..0, 0..0] }];
        let mut batches = Batches::start(dataset, normalise, 1, views);
        assert!(panic::catch_unwind(panic::AssertUnwindSafe(|| batches.next())).is_err());
        assert!(batches.next().is_none());
    }
}
