//! What benchmarks and tests run: well-known networks with random weights, and single layers as bare calls of kernels.

pub mod layers;
mod networks;

pub use networks::{
    Act, Builder, Groups, condensenet, densenet, mobilenet_v2, mobilenet_v3_block, resnet50, resnext50, shufflenet_v1,
    shufflenet_v2,
};
