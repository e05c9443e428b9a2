//! CPU inference for convolutional networks with learned, uneven channel groups.
#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "mapping a file is unsafe; nothing else in this crate is")]
pub mod model;

pub use model::{Model, ModelError};
