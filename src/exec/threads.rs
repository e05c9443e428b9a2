//! A run on the threads of a rayon pool: they stay together, inside one `install`, until it is over.

use flgc_kernels::{Helper, Leader, with_denormals_flushed};
use std::ops::Range;

/// Leads a run on this thread of a pool, while as many others as are free help with one of `parts` each. With `flush` denormals are flushed: the floating-point
/// state belongs to each thread. Calls `done` behind each set.
pub(super) fn run(
    (leader, helper): (Leader<'_>, Helper<'_>),
    parts: Range<usize>,
    flush: bool,
    done: impl FnMut(usize) + Send,
) {
    rayon::join(|| on_thread(flush, || leader.run(done)), || help(helper, parts, flush));
}

/// Helps with each part on another thread. Joins, unlike tasks of a scope, take no memory from the allocator.
fn help(helper: Helper<'_>, mut parts: Range<usize>, flush: bool) {
    let Some(part) = parts.next() else { return };
    rayon::join(|| on_thread(flush, || helper.help(part)), || help(helper, parts, flush));
}

fn on_thread(flush: bool, work: impl FnOnce()) {
    if flush { with_denormals_flushed(work) } else { work() }
}
