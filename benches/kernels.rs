//! Kernels over the layer shapes of real networks, on one core: `cargo bench -p flgc-benches --bench kernels [-- FILTER]`.
//!
//! Beside each time are the floating-point operations of the layer, nothing padded, their share of the core's peak with the same instruction set, measured at the
//! start, and the bytes of inputs, outputs and weights. `resident` runs as many channels as stay in the first-level cache, again and again; everything else runs all
//! channels of the layer. Which of several kernels or tiles is fastest is what `--bench choices` looks for.

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use flgc_benches::layers::{self, Expansion, Layer, Strided};
use flgc_kernels::{
    Isa, depthwise, elementwise, expand, linear, measure::peak_flops, pointwise, pool, spatial, winograd,
};
use std::time::{Duration, Instant};

fn main() {
    layers::pin();
    for isa in Isa::available() {
        let Some(peak) = peak_flops(isa) else { continue };
        eprintln!("{}: peak {:.1} GFLOP/s", isa.name(), peak / 1e9);
        let mut criterion = Criterion::default().with_measurement(Operations { peak }).configure_from_args();
        convolutions(&mut criterion, isa);
        others(&mut criterion, isa);
        criterion.final_summary();
    }
}

/// The kernel of a family for an instruction set.
macro_rules! kernel {
    ($family:ident, $isa:expr) => {
        $family::available().find(|kernel| kernel.isa == $isa).expect("every family has every instruction set")
    };
}

fn convolutions(c: &mut Criterion<Operations>, isa: Isa) {
    let mut group = Group::new(c, "depthwise", isa);
    for [channels, size, k, stride] in [
        [32, 112, 3, 1],
        [144, 56, 3, 1],
        [192, 28, 3, 1],
        [384, 14, 3, 1],
        [576, 14, 3, 1],
        [960, 7, 3, 1],
        [96, 112, 3, 2],
        [144, 56, 3, 2],
        [192, 28, 3, 2],
        [576, 14, 3, 2],
        [240, 28, 5, 1],
        [672, 14, 5, 1],
        [144, 56, 5, 2],
        [96, 56, 7, 1],
        [96, 56, 7, 2],
    ] {
        let kernel = kernel!(depthwise, isa);
        let shape = format!("{size}x{size} c{channels} {k}x{k} s{stride}");
        group.bench(BenchmarkId::new("streaming", &shape), || layers::depthwise(kernel, [channels, size, k, stride]));
        // Inputs and outputs in half of 32 KiB.
        let resident = channels.min(4096 / (size * size + size.div_ceil(stride).pow(2)));
        if resident > 0 {
            let shape = format!("{shape}, {resident} of them");
            group.bench(BenchmarkId::new("resident", shape), || layers::depthwise(kernel, [resident, size, k, stride]));
        }
    }
    group.finish();

    let mut group = Group::new(c, "pointwise", isa);
    for [from, to, size] in layers::POINTWISE_SHAPES {
        for groups in [1, 2, 4, 8, 16, 32].into_iter().filter(|&groups| groups <= from.min(to)) {
            let kernel = kernel!(pointwise, isa);
            let id = BenchmarkId::from_parameter(format!("{size}x{size} {from}->{to} G{groups}"));
            let pixels = kernel.least(size * size, from / groups, 1);
            let tile = kernel.filters_over(pixels);
            group.bench(id, || layers::pointwise_over(kernel, [from, to, size * size], groups, tile, pixels, |c| c));
        }
    }
    group.finish();

    let mut group = Group::new(c, "dense-3x3", isa);
    for size in [7, 10, 14, 28, 56] {
        for channels in [8, 16, 24, 32, 48, 64, 128, 256] {
            let (direct, tiles) = (kernel!(pointwise, isa), kernel!(winograd, isa));
            let shape = format!("{size}x{size} c{channels}");
            group.bench(BenchmarkId::new("direct", &shape), || layers::dense(direct, [channels, size]));
            group.bench(BenchmarkId::new("winograd", &shape), || layers::by_tiles((tiles, direct), [channels, size]));
        }
    }
    group.finish();

    if let Some(kernel) = expand::available().find(|kernel| kernel.isa == isa) {
        let mut group = Group::new(c, "expand", isa);
        for [from, to, size, stride, groups] in [
            [16, 96, 112, 2, 8],
            [24, 144, 56, 1, 8],
            [24, 144, 56, 2, 8],
            [32, 192, 28, 1, 8],
            [32, 192, 28, 2, 8],
            [64, 384, 14, 1, 8],
            [96, 576, 14, 1, 8],
            [32, 192, 28, 1, 4],
            [24, 144, 56, 1, 3],
            [16, 96, 112, 2, 1],
            [8, 16, 14, 1, 1],
            [3, 2, 56, 1, 1],
            [3, 8, 28, 1, 1],
            [2, 2, 112, 2, 1],
            [2, 8, 28, 2, 1],
        ] {
            let shape = Expansion { from, to, size, stride, groups };
            let apart = (kernel!(pointwise, isa), kernel!(depthwise, isa));
            let name = format!("{size}x{size} {from}->{to} G{groups} s{stride}");
            group.bench(BenchmarkId::new("apart", &name), || layers::expand_apart(apart, shape));
            group.bench(BenchmarkId::new("in registers", &name), || layers::expand(kernel, shape));
        }
        group.finish();
    }

    let mut group = Group::new(c, "spatial", isa);
    for [from, to, size, k, groups] in [
        [3, 32, 224, 3, 1],
        [3, 64, 224, 7, 1],
        [128, 128, 56, 3, 1],
        [256, 256, 28, 3, 1],
        [512, 512, 14, 3, 1],
        [256, 256, 56, 3, 32],
        [256, 512, 56, 1, 1],
        [512, 1024, 28, 1, 1],
        [256, 512, 56, 1, 8],
    ] {
        let kernel = kernel!(spatial, isa);
        let shape = Strided { from, to, size, k, stride: 2, groups };
        let id = BenchmarkId::from_parameter(format!("{size}x{size} {from}->{to} {k}x{k} s2 G{groups}"));
        group.bench(id, || layers::strided(kernel, shape));
    }
    group.finish();
}

fn others(c: &mut Criterion<Operations>, isa: Isa) {
    let mut group = Group::new(c, "linear", isa);
    for [from, to] in [[1280, 1000], [1024, 1000], [2048, 1000], [576, 144], [144, 576], [17, 10]] {
        let kernel = kernel!(linear, isa);
        group.bench(BenchmarkId::from_parameter(format!("{from}->{to}")), || layers::linear(kernel, [from, to]));
    }
    group.finish();

    let mut group = Group::new(c, "pool", isa);
    for [channels, size, k, stride] in [[64, 112, 3, 2], [24, 112, 3, 2], [128, 56, 2, 2], [192, 28, 3, 1]] {
        let kernel = kernel!(pool, isa);
        let id = BenchmarkId::new("max", format!("{size}x{size} c{channels} {k}x{k} s{stride}"));
        group.bench(id, || layers::max_pool(kernel, [channels, size, k, stride]));
    }
    for [channels, size] in [[1280, 7], [2048, 7], [144, 56]] {
        let kernel = kernel!(pool, isa);
        let id = BenchmarkId::new("mean", format!("{size}x{size} c{channels}"));
        group.bench(id, || layers::global_pool(kernel, [channels, size]));
    }
    group.finish();

    let mut group = Group::new(c, "elementwise", isa);
    for [channels, size] in [[256, 56], [24, 56], [32, 28], [96, 14], [160, 7]] {
        let kernel = kernel!(elementwise, isa);
        let id = BenchmarkId::new("add", format!("{size}x{size} c{channels}"));
        group.bench(id, || layers::add(kernel, [channels, size * size]));
    }
    group.finish();
}

/// Benchmarks of one family and instruction set.
struct Group<'a>(BenchmarkGroup<'a, Operations>);

impl<'a> Group<'a> {
    fn new(c: &'a mut Criterion<Operations>, family: &str, isa: Isa) -> Self {
        let mut group = c.benchmark_group(format!("{family}/{}", isa.name()));
        group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400)).sample_size(20);
        Self(group)
    }

    fn bench(&mut self, id: BenchmarkId, make: impl Fn() -> Layer) {
        let mut layer = make();
        self.0.throughput(Throughput::ElementsAndBytes { elements: layer.flops as u64, bytes: layer.bytes as u64 });
        self.0.bench_function(id, |b| b.iter(|| layer.run()));
    }

    fn finish(self) {
        self.0.finish();
    }
}

/// Wall time, with operations a second beside the core's peak.
struct Operations {
    /// The most operations that the core does in a second.
    peak: f64,
}

impl Measurement for Operations {
    type Intermediate = Instant;
    type Value = Duration;

    fn start(&self) -> Instant {
        WallTime.start()
    }

    fn end(&self, start: Instant) -> Duration {
        WallTime.end(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        WallTime.add(a, b)
    }

    fn zero(&self) -> Duration {
        WallTime.zero()
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Operations {
    fn format_throughput(&self, throughput: &Throughput, nanos: f64) -> String {
        match *throughput {
            Throughput::Elements(flops) => {
                let rate = flops as f64 / nanos;
                format!("{rate:.1} GFLOP/s {:.0} %", 1e11 * rate / self.peak)
            }
            Throughput::Bytes(bytes) => format!("{:.1} GB/s", bytes as f64 / nanos),
            _ => WallTime.formatter().format_throughput(throughput, nanos),
        }
    }

    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(&self, typical: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_throughputs(typical, throughput, values)
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}
