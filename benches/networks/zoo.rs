//! The networks.

use crate::{Act, Builder, Groups};
use flgc::{Model, model::graph::Op};

/// `MobileNetV2` (width 1.0, 1000 classes) on `3 x size x size`; every 1x1 convolution in `groups`.
#[must_use]
pub fn mobilenet_v2(size: usize, groups: Groups) -> Model {
    let (mut b, x) = Builder::new(1, 1, [3, size, size]);
    let x = b.conv(&x, 32, 3, 2, Groups::Even(1));
    let mut x = b.relu6(&x);
    let stages =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    for (expansion, filters, repeats, first_stride) in stages {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { first_stride } else { 1 };
            let mut y = x.clone();
            if expansion > 1 {
                y = b.conv(&y, x.c * expansion, 1, 1, groups);
                y = b.relu6(&y);
            }
            y = b.depthwise(&y, 3, stride);
            y = b.relu6(&y);
            y = b.conv(&y, filters, 1, 1, groups);
            x = if stride == 1 && x.c == filters { b.add(&x, &y) } else { y };
        }
    }
    let x = b.conv(&x, 1280, 1, 1, groups);
    let x = b.relu6(&x);
    classifier(b, &x)
}

fn classifier(mut b: Builder, x: &Act) -> Model {
    let x = b.global_average(x);
    let x = b.linear(&x, 1000);
    b.finish(&[&x])
}

/// A residual bottleneck: 1x1, 3x3 in `groups`, 1x1; the 1x1 ones in `pointwise` groups.
fn bottleneck(
    b: &mut Builder,
    x: &Act,
    width: usize,
    filters: usize,
    stride: usize,
    groups: Groups,
    pointwise: Groups,
) -> Act {
    let y = b.conv(x, width, 1, 1, pointwise);
    let y = b.relu(&y);
    let y = b.conv(&y, width, 3, stride, groups);
    let y = b.relu(&y);
    let y = b.conv(&y, filters, 1, 1, pointwise);
    let shortcut = if stride == 1 && x.c == filters { x.clone() } else { b.conv(x, filters, 1, stride, pointwise) };
    let y = b.add(&y, &shortcut);
    b.relu(&y)
}

fn resnet(size: usize, base: usize, groups: Groups, pointwise: Groups) -> Model {
    let (mut b, x) = Builder::new(2, 1, [3, size, size]);
    let x = b.conv(&x, 64, 7, 2, Groups::Even(1));
    let x = b.relu(&x);
    let mut x = b.pool(&x, 3, 2, false);
    for (stage, repeats) in [3, 4, 6, 3].into_iter().enumerate() {
        for repeat in 0..repeats {
            let stride = if stage > 0 && repeat == 0 { 2 } else { 1 };
            x = bottleneck(&mut b, &x, base << stage, 256 << stage, stride, groups, pointwise);
        }
    }
    classifier(b, &x)
}

/// `ResNet-50` on `3 x size x size`, its 1x1 convolutions in `pointwise` groups.
#[must_use]
pub fn resnet50(size: usize, pointwise: Groups) -> Model {
    resnet(size, 64, Groups::Even(1), pointwise)
}

/// `ResNeXt-50` 32x4d on `3 x size x size`.
#[must_use]
pub fn resnext50(size: usize) -> Model {
    resnet(size, 128, Groups::Even(32), Groups::Even(1))
}

/// `ShuffleNet` v1 (3 groups) on `3 x size x size`.
#[must_use]
pub fn shufflenet_v1(size: usize) -> Model {
    let groups = 3;
    let (mut b, x) = Builder::new(3, 1, [3, size, size]);
    let x = b.conv(&x, 24, 3, 2, Groups::Even(1));
    let x = b.relu(&x);
    let mut x = b.pool(&x, 3, 2, false);
    for (stage, repeats) in [4, 8, 4].into_iter().enumerate() {
        let filters = 240 << stage;
        for repeat in 0..repeats {
            let down = repeat == 0;
            let own = if down { filters - x.c } else { filters };
            let first = if stage == 0 && down { 1 } else { groups };
            let y = b.conv(&x, filters / 4, 1, 1, Groups::Even(first));
            let y = b.relu(&y);
            let y = b.shuffle(&y, groups);
            let y = b.depthwise(&y, 3, if down { 2 } else { 1 });
            let y = b.conv(&y, own, 1, 1, Groups::Even(groups));
            let y = if down {
                let shortcut = b.pool(&x, 3, 2, true);
                b.concat(&[&shortcut, &y])
            } else {
                b.add(&x, &y)
            };
            x = b.relu(&y);
        }
    }
    classifier(b, &x)
}

/// `ShuffleNet` v2 (width 1.0) on `3 x size x size`.
#[must_use]
pub fn shufflenet_v2(size: usize) -> Model {
    let (mut b, x) = Builder::new(4, 1, [3, size, size]);
    let x = b.conv(&x, 24, 3, 2, Groups::Even(1));
    let x = b.relu(&x);
    let mut x = b.pool(&x, 3, 2, false);
    for (stage, repeats) in [4, 8, 4].into_iter().enumerate() {
        let half = 58 << stage;
        for repeat in 0..repeats {
            let down = repeat == 0;
            let (left, right) = if down { (x.clone(), x.clone()) } else { b.split(&x, half) };
            let y = b.conv(&right, half, 1, 1, Groups::Even(1));
            let y = b.relu(&y);
            let y = b.depthwise(&y, 3, if down { 2 } else { 1 });
            let y = b.conv(&y, half, 1, 1, Groups::Even(1));
            let y = b.relu(&y);
            let left = if down {
                let left = b.depthwise(&left, 3, 2);
                let left = b.conv(&left, half, 1, 1, Groups::Even(1));
                b.relu(&left)
            } else {
                left
            };
            let joined = b.concat(&[&left, &y]);
            x = b.shuffle(&joined, 2);
        }
    }
    let x = b.conv(&x, 1024, 1, 1, Groups::Even(1));
    let x = b.relu(&x);
    classifier(b, &x)
}

/// Batch norm and `ReLU` before a convolution, as in `DenseNet`.
fn norm_relu_conv(b: &mut Builder, x: &Act, filters: usize, k: usize, groups: Groups) -> Act {
    let y = b.batch_norm(x);
    let y = b.relu(&y);
    b.conv(&y, filters, k, 1, groups)
}

/// A small `DenseNet` (growth 12, three blocks) on `3 x size x size`.
#[must_use]
pub fn densenet(size: usize) -> Model {
    let (mut b, x) = Builder::new(5, 1, [3, size, size]);
    let mut x = b.conv(&x, 24, 3, 1, Groups::Even(1));
    for block in 0..3 {
        let mut features = vec![x.clone()];
        for _ in 0..4 {
            let joined = b.concat(&features.iter().collect::<Vec<_>>());
            let y = norm_relu_conv(&mut b, &joined, 48, 1, Groups::Even(1));
            features.push(norm_relu_conv(&mut b, &y, 12, 3, Groups::Even(1)));
        }
        x = b.concat(&features.iter().collect::<Vec<_>>());
        if block < 2 {
            let y = norm_relu_conv(&mut b, &x, x.c / 2, 1, Groups::Even(1));
            x = b.pool(&y, 2, 2, true);
        }
    }
    let x = b.batch_norm(&x);
    let x = b.relu(&x);
    classifier(b, &x)
}

/// A small `CondenseNet` on `3 x size x size`: learned groups behind an index, then a shuffle and an evenly grouped 3x3, densely connected.
#[must_use]
pub fn condensenet(size: usize) -> Model {
    let (mut b, x) = Builder::new(6, 1, [3, size, size]);
    let mut x = b.conv(&x, 16, 3, 2, Groups::Even(1));
    for block in 0..3 {
        for _ in 0..4 {
            let y = b.batch_norm(&x);
            let y = b.relu(&y);
            let y = b.permute(&y);
            let y = b.conv(&y, 32, 1, 1, Groups::Learned(4));
            let y = b.batch_norm(&y);
            let y = b.relu(&y);
            let y = b.shuffle(&y, 4);
            let y = b.conv(&y, 8, 3, 1, Groups::Even(4));
            x = b.concat(&[&x, &y]);
        }
        if block < 2 {
            x = b.pool(&x, 2, 2, true);
        }
    }
    classifier(b, &x)
}

/// An inverted residual block with squeeze-and-excite and hard swish, as in `MobileNetV3`, its 1x1 convolutions in `groups`, on `16 x size x size`.
#[must_use]
pub fn mobilenet_v3_block(size: usize, groups: Groups) -> Model {
    let (mut b, x) = Builder::new(7, 1, [16, size, size]);
    let y = b.conv(&x, 64, 1, 1, groups);
    let y = b.apply(Op::HardSwish, &[&y]);
    let y = b.depthwise(&y, 5, 1);
    let y = b.apply(Op::HardSwish, &[&y]);
    let s = b.global_average(&y);
    let s = b.conv(&s, 16, 1, 1, groups);
    let s = b.relu(&s);
    let s = b.conv(&s, 64, 1, 1, groups);
    let s = b.apply(Op::Sigmoid, &[&s]);
    let y = b.apply(Op::Multiply, &[&y, &s]);
    let y = b.conv(&y, 16, 1, 1, groups);
    let x = b.add(&x, &y);
    b.finish(&[&x])
}
