//! An allocator that counts, for the tests that promise how much is allocated.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Counts what the calling thread allocates.
pub(crate) struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(calls: usize, bytes: isize) {
    // A thread that is being torn down no longer counts.
    let _ = CALLS.try_with(|all| all.set(all.get() + calls));
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

/// What a piece of code allocated on its thread.
pub(crate) struct Allocated {
    /// Calls of the allocator.
    pub(crate) calls: usize,
    /// The most bytes held at once, beyond those held before.
    pub(crate) most_bytes: usize,
}

/// Runs `f` and counts.
pub(crate) fn counted<R>(f: impl FnOnce() -> R) -> (R, Allocated) {
    let (calls, held) = (CALLS.get(), HELD.get());
    MOST.set(held);
    let result = f();
    (result, Allocated { calls: CALLS.get() - calls, most_bytes: (MOST.get() - held) as usize })
}
