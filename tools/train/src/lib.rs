//! Training of networks whose channel groups are learned: FLGC, Wang et al., CVPR 2019, arXiv:1904.00346.
//!
//! [`data`] brings pictures, [`nn`] computes losses and gradients, [`optim`] follows them, [`train`] does that for a number of epochs and
//! keeps a [`checkpoint`] after each, [`export`] writes the result as an flgc model and [`restore`] starts from one, [`report`] shows what happened.
#![forbid(unsafe_code)]

pub mod average;
pub mod checkpoint;
pub mod cli;
pub mod data;
pub mod export;
pub mod metrics;
pub mod nn;
pub mod optim;
pub mod progress;
pub mod report;
pub mod restore;
pub mod settings;
pub mod train;
