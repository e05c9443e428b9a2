//! The most multiply-adds that a core does: independent chains of them, in registers.

use crate::{
    Isa,
    simd::{Portable, Simd},
};
use std::{hint::black_box, time::Instant};

/// Chains that do not wait for each other: enough to hide four to five cycles of latency on two units, few enough for 16 registers.
const CHAINS: usize = 12;
/// Rounds of one timing: some hundred microseconds.
const ROUNDS: usize = 50_000;
/// Timings, of which the fastest counts.
const TIMINGS: usize = 20;

type Entry = unsafe fn(f32) -> f32;

/// Floating-point operations per second of the calling thread's core with the vectors of `isa`, a multiply-add counted as two; `None` if this
/// CPU lacks it. Takes about ten milliseconds.
#[must_use]
pub fn peak_flops(isa: Isa) -> Option<f64> {
    if !isa.is_available() {
        return None;
    }
    let entry: Entry = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2,
        _ => portable,
    };
    let seconds = (0..TIMINGS).map(|_| {
        let start = Instant::now();
        // SAFETY: the CPU has the instruction set.
        black_box(unsafe { entry(black_box(0.5)) });
        start.elapsed().as_secs_f64()
    });
    let fastest = seconds.fold(f64::INFINITY, f64::min);
    Some(2.0 * (ROUNDS * CHAINS * isa.lanes()) as f64 / fastest)
}

#[inline(always)]
fn chains<S: Simd>(s: S, x: f32) -> f32 {
    let (factor, summand) = (s.splat(x), s.splat(1.0));
    let mut chains = [s.splat(0.0); CHAINS];
    for _ in 0..ROUNDS {
        for chain in &mut chains {
            *chain = s.fma(*chain, factor, summand);
        }
    }
    chains.into_iter().map(|chain| s.to_array(chain)[0]).sum()
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(x: f32) -> f32 {
    // SAFETY: the caller's promise.
    chains(unsafe { crate::simd::Avx2::assume() }, x)
}

/// # Safety
/// The CPU has AVX-512 F, BW, DQ and VL.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(x: f32) -> f32 {
    // SAFETY: the caller's promise.
    chains(unsafe { crate::simd::Avx512::assume() }, x)
}

/// # Safety
/// None.
unsafe fn portable(x: f32) -> f32 {
    chains(Portable, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_compute_and_every_instruction_set_has_a_peak() {
        // x -> x / 2 + 1 goes to 2.
        assert_eq!(chains(Portable, 0.5), 2.0 * CHAINS as f32);
        for isa in Isa::ALL {
            assert_eq!(peak_flops(isa).is_some_and(|flops| flops > 1e6), isa.is_available(), "{isa}");
        }
    }
}
