//! Kernels over the layer shapes of real networks, on one core: `cargo bench -p flgc-benches --bench kernels [-- FILTER]`.
//!
//! `resident` runs some channels that stay in the first-level cache, again and again; `streaming` runs all channels of the layer. The element that criterion
//! counts is a floating-point operation of the layer, nothing padded, so Gelem/s are GFLOP/s; the core's peak is printed first.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flgc_kernels::{
    Activation, Arena, Call, CallSet, Epilogue, Image, Isa, Planes, Weights, WeightsBuilder, Window, chain, depthwise,
    measure::peak_flops,
    pointwise,
    winograd::{self, Between, PLACES, SEGMENTS},
};
use std::{hint::black_box, time::Duration};

/// Floats of a plane with the room that kernels need behind it, and no multiple of what aliases in caches.
fn plane(pixels: usize) -> usize {
    let floats = (pixels + 16).next_multiple_of(16);
    if floats.is_multiple_of(256) { floats + 16 } else { floats }
}

const RELU6: Epilogue =
    Epilogue { first: Activation::Clamp { lo: 0.0, hi: 6.0 }, residual: None, last: Activation::None };

fn some_weights(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i % 7) as f32 / 8.0 - 0.3).collect()
}

/// Something to run: calls, with what they read and write.
struct Layer {
    calls: CallSet,
    weights: Weights,
    arena: Arena,
    macs: usize,
}

impl Layer {
    fn new(calls: CallSet, weights: WeightsBuilder, macs: usize) -> Self {
        let weights = weights.finish().expect("memory");
        let mut arena = Arena::new(calls.arena_end()).expect("memory");
        for (i, x) in arena.as_mut_slice().iter_mut().enumerate() {
            *x = (i % 255) as f32 / 255.0 - 0.5;
        }
        Self { calls, weights, arena, macs }
    }

    fn run(&mut self) {
        self.calls.run(&self.weights, &mut self.arena);
        black_box(&self.arena);
    }
}

/// `channels` planes of `size x size`, a window of `k x k`.
fn depthwise(kernel: &'static depthwise::Kernel, [channels, size, k, stride]: [usize; 4]) -> Layer {
    let out = size.div_ceil(stride);
    let (input, output) = (plane(size * size), plane(out * out));
    let image = |size: usize| Image { height: size, width: size, pitch: size };
    let mut weights = WeightsBuilder::expecting(0);
    let mut calls = Vec::new();
    for begin in (0..channels).step_by(16) {
        let channels = begin..channels.min(begin + 16);
        let filters = weights.push(&some_weights(channels.len() * k * k));
        let bias = weights.push(&some_weights(channels.len()));
        let spec = depthwise::Spec {
            input: image(size),
            output: image(out),
            window: Window { kernel: [k; 2], stride: [stride; 2], dilation: [1; 2], pad: [k / 2; 2] },
            odd: None,
            weights: filters,
            bias,
            x: Planes::from(channels.clone().map(|c| (16 + c * (input + output)) as u32).collect::<Vec<_>>()),
            y: &channels.map(|c| (16 + c * (input + output) + input) as u32).collect::<Vec<_>>(),
            epilogue: RELU6,
        };
        calls.push(depthwise::Call::new(kernel, spec).expect("a valid spec").into());
    }
    let macs = channels * out * out * k * k;
    Layer::new(CallSet::new(calls).expect("independent calls"), weights, macs)
}

/// `from` planes of `pixels` to `to` planes in `groups` equal groups; filters in tiles of at most `tile`.
fn pointwise(kernel: &'static pointwise::Kernel, [from, to, pixels]: [usize; 3], groups: usize, tile: usize) -> Layer {
    let (stride, run) = (plane(pixels), pixels.next_multiple_of(kernel.isa.lanes()));
    let mut weights = WeightsBuilder::expecting(0);
    let mut calls = Vec::new();
    let split = |all: usize, part: usize, parts: usize| part * all / parts..(part + 1) * all / parts;
    let at = |plane: usize| (16 + plane * stride) as u32;
    let mut macs = 0;
    for group in 0..groups {
        let (channels, filters) = (split(from, group, groups), split(to, group, groups));
        macs += channels.len() * filters.len() * pixels;
        let x = Planes::from(channels.clone().map(at).collect::<Vec<_>>());
        let tiles = filters.len().div_ceil(tile);
        for part in 0..tiles {
            let tile = split(filters.len(), part, tiles);
            let tile = filters.start + tile.start..filters.start + tile.end;
            let count = channels.len() * tile.len();
            let spec = pointwise::Spec {
                pixels: run,
                weights: weights.push(&some_weights(count)),
                bias: weights.push(&some_weights(tile.len())),
                x: x.clone(),
                y: &tile.map(|f| at(from + f)).collect::<Vec<_>>(),
                shift: 0,
                rows: None,
                epilogue: RELU6,
            };
            calls.push(pointwise::Call::new(kernel, spec).expect("a valid spec").into());
        }
    }
    Layer::new(CallSet::new(calls).expect("independent calls"), weights, macs)
}

/// `channels` planes of `size x size` to as many by a dense 3x3 convolution, whose taps are planes with a border.
fn direct(kernel: &'static pointwise::Kernel, [channels, size]: [usize; 2]) -> Layer {
    let pitch = size + 1;
    let run = (size * pitch).next_multiple_of(kernel.isa.lanes());
    let stride = plane(run + 3 * pitch);
    let mut weights = WeightsBuilder::expecting(0);
    let first = |plane: usize| 64 + plane * stride + pitch + 1;
    let taps = |c: usize| (0..9).map(move |tap| (first(c) + tap / 3 * pitch + tap % 3 - pitch - 1) as u32);
    let x = Planes::from((0..channels).flat_map(taps).collect::<Vec<_>>());
    let tiles = channels.div_ceil(kernel.max_filters());
    let mut calls = Vec::new();
    for tile in 0..tiles {
        let tile = tile * channels / tiles..(tile + 1) * channels / tiles;
        let spec = pointwise::Spec {
            pixels: run,
            weights: weights.push(&some_weights(channels * 9 * tile.len())),
            bias: weights.push(&some_weights(tile.len())),
            x: x.clone(),
            y: &tile.map(|f| first(channels + f) as u32).collect::<Vec<_>>(),
            shift: 0,
            rows: None,
            epilogue: RELU6,
        };
        calls.push(pointwise::Call::new(kernel, spec).expect("a valid spec").into());
    }
    Layer::new(CallSet::new(calls).expect("independent calls"), weights, channels * channels * 9 * size * size)
}

/// The same by Winograd's method, all tiles at once; the multiply-adds are those of the direct one.
fn by_tiles(
    (kernel, product): (&'static winograd::Kernel, &'static pointwise::Kernel),
    [channels, size]: [usize; 2],
) -> Layer {
    let image = Image { height: size, width: size, pitch: size };
    let segments = 0..kernel.segments(size, size);
    let floats = segments.len().div_ceil(SEGMENTS) * kernel.isa.lanes();
    let stride = plane(size * size);
    let planes = |first: usize| (0..channels).map(|c| (16 + (first + c) * stride) as u32).collect::<Vec<_>>();
    let place = plane(channels * floats) | 16;
    let between = |first: usize| Between { first: first as u32, place, plane: floats };
    let from = between(16 + 2 * channels * stride);
    let to = between(from.first as usize + PLACES * place);
    let mut weights = WeightsBuilder::expecting(0);
    let spec = winograd::input::Spec {
        input: image,
        output: image,
        pad: [1, 1],
        segments: segments.clone(),
        x: planes(0).into(),
        y: from,
    };
    let before: Call = winograd::input::Call::new(kernel, spec).expect("a valid spec").into();
    let zeros = weights.push(&[0.0; 16]);
    let tiles = channels.div_ceil(product.max_filters());
    let mut products = Vec::new();
    for k in 0..PLACES {
        let at = |of: Between, planes: std::ops::Range<usize>| -> Vec<u32> {
            planes.map(|plane| of.first + (k * place + plane * floats) as u32).collect()
        };
        let x = Planes::from(at(from, 0..channels));
        for tile in 0..tiles {
            let tile = tile * channels / tiles..(tile + 1) * channels / tiles;
            let spec = pointwise::Spec {
                pixels: floats,
                weights: weights.push(&some_weights(channels * tile.len())),
                bias: zeros,
                x: x.clone(),
                y: &at(to, tile),
                shift: 0,
                rows: None,
                epilogue: Epilogue::default(),
            };
            products.push(pointwise::Call::new(product, spec).expect("a valid spec").into());
        }
    }
    let bias = weights.push(&some_weights(channels));
    let y = planes(channels);
    let spec = winograd::output::Spec { output: image, segments, x: to, bias, y: &y, epilogue: RELU6 };
    let behind: Call = winograd::output::Call::new(kernel, spec).expect("a valid spec").into();
    let sets = [vec![before], products, vec![behind]].map(|calls| CallSet::new(calls).expect("independent calls"));
    let all = chain::Call::new(sets.into()).expect("offsets in an arena");
    let calls = CallSet::new(vec![all.into()]).expect("one call");
    Layer::new(calls, weights, channels * channels * 9 * size * size)
}

fn bench(c: &mut Criterion, group: &str, id: BenchmarkId, make: impl Fn() -> Layer) {
    let mut group = c.benchmark_group(group);
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400)).sample_size(20);
    let mut layer = make();
    group.throughput(Throughput::Elements(2 * layer.macs as u64));
    group.bench_function(id, |b| b.iter(|| layer.run()));
    group.finish();
}

fn kernels(c: &mut Criterion) {
    // One core, the first one allowed: a run that wanders between cores loses its caches.
    if let Some(core) = core_affinity::get_core_ids().and_then(|ids| ids.first().copied()) {
        core_affinity::set_for_current(core);
    }
    for isa in Isa::available() {
        if let Some(peak) = peak_flops(isa) {
            eprintln!("{}: peak {:.1} GFLOP/s", isa.name(), peak / 1e9);
        }
    }
    for kernel in depthwise::available() {
        let name = format!("depthwise/{}", kernel.isa.name());
        for (channels, size, k, stride) in [
            (32, 112, 3, 1),
            (144, 56, 3, 1),
            (192, 28, 3, 1),
            (384, 14, 3, 1),
            (576, 14, 3, 1),
            (960, 7, 3, 1),
            (96, 112, 3, 2),
            (144, 56, 3, 2),
            (192, 28, 3, 2),
            (576, 14, 3, 2),
            (240, 28, 5, 1),
            (672, 14, 5, 1),
            (144, 56, 5, 2),
        ] {
            let resident = (1500 / (size * size)).clamp(1, channels);
            for (what, channels) in [("streaming", channels), ("resident", resident)] {
                let shape = format!("{size}x{size} c{channels} {k}x{k} s{stride}");
                bench(c, &name, BenchmarkId::new(what, shape), || depthwise(kernel, [channels, size, k, stride]));
            }
        }
    }
    for kernel in pointwise::available() {
        let name = format!("pointwise/{}", kernel.isa.name());
        for (from, to, size) in [
            (16, 96, 112),
            (96, 24, 56),
            (24, 144, 56),
            (144, 24, 56),
            (32, 192, 28),
            (192, 32, 28),
            (64, 384, 14),
            (384, 64, 14),
            (96, 576, 14),
            (576, 96, 14),
            (160, 960, 7),
            (960, 160, 7),
            (320, 1280, 7),
        ] {
            for groups in [1, 2, 4, 8, 16, 32].into_iter().filter(|&groups| groups <= from.min(to)) {
                for tile in (1..=kernel.max_filters()).filter(|&tile| tile <= to / groups) {
                    let shape = format!("{size}x{size} {from}->{to} G{groups} tile {tile}");
                    bench(c, &name, BenchmarkId::new("streaming", shape), || {
                        pointwise(kernel, [from, to, size * size], groups, tile)
                    });
                }
            }
        }
    }
    for (product, kernel) in pointwise::available().zip(winograd::available()) {
        let name = format!("dense-3x3/{}", kernel.isa.name());
        for size in [7, 10, 14, 28, 56] {
            for channels in [8, 16, 24, 32, 48, 64, 128, 256] {
                let shape = format!("{size}x{size} c{channels}");
                bench(c, &name, BenchmarkId::new("direct", &shape), || direct(product, [channels, size]));
                bench(c, &name, BenchmarkId::new("winograd", &shape), || by_tiles((kernel, product), [channels, size]));
            }
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
