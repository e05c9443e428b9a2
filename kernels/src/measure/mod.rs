//! What benchmarks measure against: the arithmetic peak of the core that they run on, and calls of the allocator.

mod allocations;
mod peak;

pub use allocations::{Counting, allocations};
pub use peak::peak_flops;
