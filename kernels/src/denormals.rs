//! Flushing denormal numbers to zero.

/// Runs `f` with denormal results and operands taken as zero, then restores the floating-point state, also when `f` panics.
///
/// Arithmetic on denormals takes a hundred times as long as on other numbers on many CPUs, and networks produce them (a decaying average, a sigmoid's
/// tail). The standard library says that changing the control register (`_mm_setcsr`) while Rust code runs is undefined behaviour, because the
/// compiler may move floating-point operations across the change or evaluate them at compile time under the default
/// mode. Nothing here depends on which of the two happens: an operation moved out of the region, or evaluated early, treats a
/// denormal exactly instead of as zero, a difference below 1.2e-38 that no result of ours promises either way; no exception is unmasked
/// and the rounding mode stays. Function pointers (every kernel is called through one) keep the compiler from moving kernel arithmetic across.
///
/// Does nothing on architectures other than `x86_64` and `aarch64`.
pub fn with_denormals_flushed<R>(f: impl FnOnce() -> R) -> R {
    let _restore = Restore(control::flush());
    f()
}

struct Restore(control::State);

impl Drop for Restore {
    fn drop(&mut self) {
        control::set(self.0);
    }
}

#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    pub(super) type State = u32;
    /// Flush to zero (bit 15), denormals are zero (bit 6).
    const FLUSH: State = 1 << 15 | 1 << 6;

    pub(super) fn flush() -> State {
        let mut state: State = 0;
        // SAFETY: stores the control register, which every x86-64 CPU has, into a local.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut state, options(nostack, preserves_flags)) };
        set(state | FLUSH);
        state
    }

    pub(super) fn set(state: State) {
        // SAFETY: loads a value that was read from this register, but for the two flush bits: no reserved bit is set, no exception unmasked. What the
        // changed mode means for the code inside: see `with_denormals_flushed`.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &state, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    pub(super) type State = u64;

    pub(super) fn flush() -> State {
        let state: State;
        // SAFETY: reads the floating-point control register.
        unsafe { asm!("mrs {}, fpcr", out(reg) state, options(nomem, nostack, preserves_flags)) };
        // Bit 24: flush to zero.
        set(state | 1 << 24);
        state
    }

    pub(super) fn set(state: State) {
        // SAFETY: writes back what was read, but for the flush bit.
        unsafe { asm!("msr fpcr, {}", in(reg) state, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub(super) type State = ();
    pub(super) fn flush() {}
    pub(super) fn set((): State) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use super::*;
    use std::hint::black_box;

    fn halved_smallest() -> f32 {
        black_box(f32::MIN_POSITIVE) * black_box(0.5)
    }

    #[test]
    fn denormals_are_zero_inside_and_back_outside() {
        assert!(halved_smallest() > 0.0);
        assert_eq!(with_denormals_flushed(halved_smallest), 0.0);
        assert!(halved_smallest() > 0.0);
    }

    #[test]
    fn the_state_is_restored_after_a_panic() {
        let result = std::panic::catch_unwind(|| with_denormals_flushed(|| panic!("inside")));
        assert!(result.is_err());
        assert!(halved_smallest() > 0.0);
    }
}
