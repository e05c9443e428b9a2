//! Tiles of 1x1 convolutions.

use super::{Effort, fastest, head, least, row, timed};
use flgc_benches::layers::{Layer, POINTWISE_SHAPES, pointwise, pointwise_over};
use flgc_kernels::{
    Isa,
    pointwise::{self, Kernel},
};

fn kernel(isa: Isa) -> &'static Kernel {
    pointwise::available().find(|kernel| kernel.isa == isa).expect("the instruction set is available")
}

/// The tile that the kernel's tables take, beside the fastest of those that there is code for.
pub(super) fn tiles(isa: Isa, effort: Effort) {
    head(["layer", "groups", "taps, filters", "by the tables, us", "GFLOP/s", "fastest tile", "us", "ratio"]);
    for [from, to, size] in POINTWISE_SHAPES.into_iter().take(effort.shapes) {
        // Groups that are all alike: then each has as many taps and filters.
        let divides = |&groups: &usize| from.is_multiple_of(groups) && to.is_multiple_of(groups);
        for groups in [1, 2, 4, 8, 16, 32].into_iter().filter(divides) {
            let (taps, filters) = (from / groups, to / groups);
            let by_tables = {
                let kernel = kernel(isa);
                layer(kernel, [from, to, size], groups, kernel.filters_over(kernel.least(size * size, taps, 1)))
            };
            let mut candidates = vec![(String::new(), by_tables)];
            for candidate in pointwise::candidates(isa) {
                let (kernel, vectors) = (&candidate.kernel, candidate.vectors);
                if candidate.few {
                    if taps <= candidate.most {
                        let layer = pointwise(kernel, [from, to, size * size], groups, kernel.max_filters());
                        candidates.push((format!("{taps} taps x {vectors}"), layer));
                    }
                    continue;
                }
                // Of those that divide the filters alike, the one that says how.
                let even = |tile: &usize| filters.div_ceil(filters.div_ceil(*tile)) == *tile;
                for tile in (1..=candidate.most.min(filters)).filter(even) {
                    let layer = layer(kernel, [from, to, size], groups, tile);
                    candidates.push((format!("{tile} x {vectors}"), layer));
                }
            }
            let times = fastest(&mut candidates, effort.rounds, |(_, layer)| timed(|| layer.run()));
            let best = 1 + least(&times[1..]);
            row([
                format!("{size}x{size} {from}->{to}"),
                groups.to_string(),
                format!("{taps}, {filters}"),
                format!("{:.2}", times[0]),
                format!("{:.0}", 1e-3 * candidates[0].1.flops as f64 / times[0]),
                candidates[best].0.clone(),
                format!("{:.2}", times[best]),
                format!("{:.2}", times[0] / times[best]),
            ]);
        }
    }
}

/// A layer over the pixels that the kernel goes through fastest, by its own rule.
fn layer(kernel: &'static Kernel, [from, to, size]: [usize; 3], groups: usize, tile: usize) -> Layer {
    let run = kernel.least(size * size, from / groups, tile);
    pointwise_over(kernel, [from, to, size * size], groups, tile, run, |call| call)
}

/// Four pixels behind the last vector, one by one and as a vector, by the number of taps.
pub(super) fn pixels(isa: Isa, effort: Effort) {
    let kernel = kernel(isa);
    if !kernel.takes(196) {
        println!("Vectors of {} lanes take no four pixels.", isa.lanes());
        return;
    }
    head(["taps", "14x14 in whole vectors, us", "with four pixels, us", "ratio"]);
    for taps in [4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 384].into_iter().take(effort.shapes) {
        // With pixels behind the last vector a tile has fewer filters.
        let run = |pixels: usize| {
            pointwise_over(kernel, [taps, 96, 196], 1, kernel.filters_over(pixels), pixels, |call| call)
        };
        let times = fastest(&mut [run(208), run(196)], effort.rounds, |layer| timed(|| layer.run()));
        row([
            taps.to_string(),
            format!("{:.2}", times[0]),
            format!("{:.2}", times[1]),
            format!("{:.2}", times[1] / times[0]),
        ]);
    }
}

/// Asking for the inputs of the next tile, or for those some taps later (with AVX-512 for none), by the number of taps.
pub(super) fn next(isa: Isa, effort: Effort) {
    if isa == Isa::Portable {
        println!("The portable kernels ask for nothing.");
        return;
    }
    let kernel = kernel(isa);
    head(["layer", "taps", "otherwise, us", "the next tile, us", "ratio"]);
    for (size, filters) in [(112usize, 16), (56, 24), (28, 32), (14, 64)].into_iter().take(effort.shapes) {
        // With few taps inputs stay in registers.
        for taps in [5, 6, 8, 9, 12, 18, 24, 32, 48, 64, 96, 128, 144, 192, 256].into_iter().take(effort.shapes) {
            let groups = (96 / taps).max(1);
            let run = |asks: bool| {
                let shape = [taps * groups, filters / 8 * groups, size * size];
                let pixels = (size * size).next_multiple_of(isa.lanes());
                pointwise_over(kernel, shape, groups, kernel.max_filters(), pixels, |call| call.asking_for_next(asks))
            };
            let times = fastest(&mut [run(false), run(true)], effort.rounds, |layer| timed(|| layer.run()));
            row([
                format!("{size}x{size} {}->{} G{groups}", taps * groups, filters / 8 * groups),
                taps.to_string(),
                format!("{:.2}", times[0]),
                format!("{:.2}", times[1]),
                format!("{:.2}", times[1] / times[0]),
            ]);
        }
    }
}
