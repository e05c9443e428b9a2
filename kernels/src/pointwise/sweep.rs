//! Tiles of many shapes, to measure which of them the tables should take.

use super::Kernel;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::Isa;

/// A kernel whose tiles all have the same number of vectors: what the tables of [`Kernel`] were chosen from.
#[derive(Debug)]
pub struct Candidate {
    /// Vectors of a tile.
    pub vectors: usize,
    /// Whether inputs stay in registers while the filters pass, of which there may be any number.
    pub few: bool,
    /// The most filters of a tile, or taps, that there is code for.
    pub most: usize,
    /// The kernel; its calls take at most [`Kernel::max_filters`] filters.
    pub kernel: Kernel,
}

/// The candidates of an instruction set that this CPU runs.
pub fn candidates(isa: Isa) -> impl Iterator<Item = &'static Candidate> {
    let candidates: &[Candidate] = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::CANDIDATES,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::CANDIDATES,
        _ => &[],
    };
    candidates.iter().filter(move |_| isa.is_available())
}

/// Candidates of one instruction set: for each number of vectors the numbers of filters, and of taps that stay in registers.
macro_rules! table {
    ($isa:expr, $most:expr, tile { $($p:literal: $($f:literal)+;)+ } few { $($few_p:literal: $($t:literal)+;)+ }) => {
        &[
            $(super::Candidate {
                vectors: $p,
                few: false,
                most: [$($f),+].len(),
                kernel: Kernel { name: "candidate", isa: $isa, few: &[], by_filters: &[$(tile::<$f, $p>),+], panels: false },
            },)+
            $(super::Candidate {
                vectors: $few_p,
                few: true,
                most: [$($t),+].len(),
                kernel: Kernel { name: "candidate", isa: $isa, few: &[$(few::<$t, $few_p>),+], by_filters: $most, panels: false },
            },)+
        ]
    };
}
pub(super) use table;
