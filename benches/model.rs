//! Latency of whole networks on one core, random weights: `cargo bench -p flgc-benches --bench model [-- FILTER]`.
//!
//! Beside each time it prints the multiply-adds that the network needs (weights inside groups). `flgc-bench` gives what the core can do.

use criterion::{Criterion, criterion_group, criterion_main};
use flgc::{Isa, Model, Options, Plan};
use flgc_benches::{Groups, layers, mobilenet_v2, resnet50, resnext50, shufflenet_v2};
use std::cell::Cell;

fn latency(c: &mut Criterion) {
    layers::pin();
    type Network = fn() -> Model;
    let networks: [(&str, Network); 6] = [
        ("mobilenet_v2_flgc8", || mobilenet_v2(224, Groups::Learned(8))),
        ("mobilenet_v2", || mobilenet_v2(224, Groups::Even(1))),
        ("shufflenet_v2_x1_0", || shufflenet_v2(224)),
        ("resnet50_flgc8", || resnet50(224, Groups::Learned(8))),
        ("resnet50", || resnet50(224, Groups::Even(1))),
        ("resnext50_32x4d", || resnext50(224)),
    ];
    for (name, network) in networks {
        let mut group = c.benchmark_group(name);
        for isa in Isa::available() {
            let macs = Cell::new(0);
            group.bench_function(isa.name(), |b| {
                // Made here, so that a filter on the command line skips it.
                let plan =
                    Plan::new(&network(), &Options { isa: Some(isa), ..Options::default() }).expect("a valid model");
                macs.set(plan.report().macs);
                let mut session = plan.session();
                let len: usize = plan.inputs()[0].shape.iter().product();
                let input: Vec<f32> = (0..len).map(|i| (i % 255) as f32 / 255.0 - 0.5).collect();
                b.iter(|| session.run(&input).expect("the right length")[0]);
            });
            if macs.get() > 0 {
                eprintln!("{name}: {:.1} M multiply-adds a run", macs.get() as f64 / 1e6);
            }
        }
        group.finish();
    }
}

criterion_group!(benches, latency);
criterion_main!(benches);
