//! CPU inference for convolutional networks with learned, uneven channel groups (FLGC, Wang et al., CVPR 2019, arXiv:1904.00346).
//!
//! The pipeline: [`model`] (bytes to [`Model`]) -> [`plan`] ([`Model`] to [`Plan`], once) -> [`exec`] ([`Plan`] and input to output, many times).
//! The plan orders channels so that each group is contiguous, folds what can be folded, packs weights and chooses kernels (crate
//! `flgc-kernels`); a run is then a loop over steps that allocates nothing, copies no channels and cannot fail.
//!
//! ```
//! let model = flgc::Model::open("models/cifar10-mobilenetv2-flgc8.flgc")?; // map, verify
//! let plan = flgc::Plan::new(&model, &flgc::Options::default())?; // reorder, pack, choose; shared between threads
//! let mut session = plan.session(); // the memory of one run
//! let pixels = vec![0.5; plan.inputs()[0].shape.iter().product()];
//! let scores = session.run(&pixels)?;
//! assert_eq!(scores.len(), plan.labels().len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

pub mod exec;
pub mod model;
pub mod plan;

pub use exec::{RunError, Session};
pub use flgc_kernels::Isa;
pub use model::{Model, ModelError};
pub use plan::{Options, Plan, PlanError, Port, Report, Threads, Tune, Tuning};

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
