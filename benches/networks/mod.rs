//! Well-known networks with random weights and random groups: their speed and structure do not depend on the weights.

mod builder;
mod zoo;

pub use builder::{Act, Builder, Groups};
pub use zoo::{
    condensenet, densenet, mobilenet_v2, mobilenet_v3_block, resnet50, resnext50, shufflenet_v1, shufflenet_v2,
};
