//! Why a plan can't be made.

use crate::ModelError;
use flgc_kernels::{CallError, Isa};

/// Why a model can't be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The shapes asked for do not go through the network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A shape was asked for that the model does not allow, or for an input that it does not have.
    #[error("input {input:?}: shape {found}, expected {expected}")]
    InputShape {
        /// The input's name.
        input: String,
        /// The shape asked for.
        found: String,
        /// The shapes that the model allows.
        expected: String,
    },
    /// It would need more than `Options` allow.
    #[error(
        "layer {layer:?}: {what} would reach {needed}, the limit is {limit}; raise Options::{option} if that is what you want"
    )]
    Limit {
        /// The layer where the limit is exceeded.
        layer: String,
        /// What is counted.
        what: &'static str,
        /// How much the network needs, at least.
        needed: u64,
        /// How much is allowed.
        limit: u64,
        /// The option that sets the limit.
        option: &'static str,
    },
    /// The instruction set asked for is not there.
    #[error("instruction set {0} is not available on this CPU or in this build")]
    Isa(Isa),
    /// A tuning speaks of a layer that the network does not have.
    #[error(
        "the tuning speaks of layer {layer:?}, which this network does not have; give it the one that Plan::tuning gave for this model"
    )]
    Tuning {
        /// The layer.
        layer: String,
    },
    /// The thread pool can't be made.
    #[error("no pool of {threads} threads: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the pool says.
        source: rayon::ThreadPoolBuildError,
    },
    /// The operating system does not give the memory.
    #[error("no memory for {what} of {bytes} bytes: {source}")]
    Memory {
        /// What for.
        what: &'static str,
        /// How much.
        bytes: usize,
        /// What the system says.
        source: std::io::Error,
    },
    /// The plan contradicts itself: a mistake of this crate, never of the model.
    #[error("layer {layer:?}: {source} (this is a bug in flgc: please report it with the model)")]
    Call {
        /// The layer.
        layer: String,
        /// What does not fit.
        source: CallError,
    },
}
