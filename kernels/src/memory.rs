//! Memory asked for ahead of its use, for training; inference kernels do so by themselves.

/// Bytes that the memory moves at once.
const LINE: usize = 64;

/// Asks for all of `row`, without waiting for it. Does nothing where the compiler has no such instruction.
#[inline]
pub fn prefetch<T>(row: &[T]) {
    let from = row.as_ptr().cast::<u8>();
    for at in (0..size_of_val(row)).step_by(LINE) {
        ask(from.wrapping_add(at));
    }
}

#[cfg(target_arch = "x86_64")]
fn ask(p: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction belongs to the oldest x86-64, and a prefetch changes nothing, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
const fn ask(_: *const u8) {}
