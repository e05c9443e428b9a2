//! The parts of a step on the threads of a rayon pool. A run stays inside one `install`, where a fork costs well below a microsecond.

use flgc_kernels::{Fork, with_denormals_flushed};

/// The pool that the run was installed in.
pub(super) struct Pool {
    /// Whether denormals are flushed: the floating-point state belongs to each thread.
    pub(super) flush: bool,
}

impl Pool {
    fn run(&self, part: impl FnOnce()) {
        if self.flush { with_denormals_flushed(part) } else { part() }
    }
}

impl Fork for Pool {
    fn join(&self, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
        rayon::join(|| self.run(a), || self.run(b));
    }
}
