//! Activations.

use super::{Affine, Float, LANES, Vector, rows};
use std::sync::{Mutex, PoisonError};

/// An activation of a part in stored form, laid out `[c][h][w][LANES]`.
pub type Part<F> = Vec<<F as Vector>::Stored>;

/// An activation of a batch, or a gradient of one, in stored form: a vector for each part, laid out `[c][h][w][LANES]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Act<F: Float> {
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// The parts.
    pub parts: Vec<Part<F>>,
}

impl<F: Float> Act<F> {
    /// Numbers of one channel of a part: `h * w * LANES`.
    #[must_use]
    pub const fn plane(&self) -> usize {
        self.h * self.w * LANES
    }
}

/// What a layer reads: an activation as it is, or the raw output of a convolution, whose norm and ReLU are still to be applied.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a, F: Float> {
    /// What is stored.
    pub raw: &'a Act<F>,
    /// The norm, which is followed by a ReLU.
    pub norm: Option<&'a Affine<F>>,
}

impl<'a, F: Float> Source<'a, F> {
    /// An activation as it is.
    #[must_use]
    pub const fn plain(raw: &'a Act<F>) -> Self {
        Self { raw, norm: None }
    }

    /// Columns `from..` of channel `channel` of a part, as many as `y` takes.
    pub(super) fn read(&self, part: usize, channel: usize, from: usize, y: &mut [F]) {
        let x = &self.raw.parts[part][channel * self.raw.plane() + from..][..y.len()];
        match self.norm {
            None => rows::read(x, y),
            Some(norm) => rows::affine_relu(x, norm.scale[channel], norm.shift[channel], y),
        }
    }
}

/// Memory that is used again: fresh pages cost more than most layers.
#[derive(Debug)]
pub struct Buffers<F: Float> {
    scratch: Pool<F>,
    stored: Pool<F::Stored>,
}

impl<F: Float> Default for Buffers<F> {
    fn default() -> Self {
        Self { scratch: Pool::default(), stored: Pool::default() }
    }
}

impl<F: Float> Buffers<F> {
    /// An activation of that shape, with whatever numbers were there.
    pub fn take(&self, [c, h, w]: [usize; 3], parts: usize) -> Act<F> {
        let parts = (0..parts).map(|_| self.stored.take(c * h * w * LANES)).collect();
        Act { c, h, w, parts }
    }

    /// Takes an activation back.
    pub fn give(&self, act: Act<F>) {
        act.parts.into_iter().for_each(|part| self.stored.give(part));
    }

    /// Numbers to compute with, whatever was there.
    pub(super) fn vector(&self, len: usize) -> Vec<F> {
        self.scratch.take(len)
    }

    pub(super) fn give_vector(&self, vector: Vec<F>) {
        self.scratch.give(vector);
    }
}

#[derive(Debug)]
struct Pool<T>(Mutex<Vec<Vec<T>>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy + Default> Pool<T> {
    /// A vector of that length, with whatever was there: the shortest that is long enough.
    fn take(&self, len: usize) -> Vec<T> {
        let best = {
            let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = free.iter().enumerate().filter(|(_, free)| free.capacity() >= len);
            let best = fits.min_by_key(|(_, free)| free.capacity()).map(|(index, _)| index);
            best.map(|index| free.swap_remove(index))
        };
        let mut vector = best.unwrap_or_else(|| Vec::with_capacity(len));
        vector.resize(len, T::default());
        vector
    }

    fn give(&self, vector: Vec<T>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(vector);
    }
}
