//! Training of networks whose channel groups are learned: FLGC, Wang et al., CVPR 2019, arXiv:1904.00346.
#![forbid(unsafe_code)]

pub mod data;
pub mod metrics;
pub mod nn;
pub mod progress;
pub mod report;
