//! Every variant of the linear family against the naive one.

mod common;

use common::*;
use flgc_kernels::{
    Activation, Epilogue, Planes,
    linear::{self, Call, Spec, reference},
};
use proptest::prelude::*;

/// Where the lists start in the weights: slopes, biases, then the rest; all but the slopes unaligned.
const BIAS: u32 = 65;
const WEIGHTS: u32 = 130;

fn check(kernel: &'static linear::Kernel, filters: usize, inputs: usize, epilogue: &Epilogue, seed: u64) {
    let what = format!("{}, {filters} filters, {inputs} inputs", kernel.name);
    let mut random = Random(seed);
    // Floats in any order: inputs, with repetition, then residuals and outputs; as many again belong to nobody.
    let mut places: Vec<u32> = (0..2 * (inputs + 2 * filters) as u32).collect();
    random.shuffle(&mut places);
    let before = random.floats(places.len());
    let (x, rest) = places.split_at(inputs);
    let x: Planes = (0..inputs).map(|_| x[random.below(inputs)]).collect::<Vec<_>>().into();
    let (residual, y) = rest[..2 * filters].split_at(filters);

    let padded = kernel.padded(filters);
    let weights = weights(&random.floats(WEIGHTS as usize + inputs * padded));
    let residual = epilogue.residual.is_some().then(|| residual.into());
    let spec = Spec { weights: WEIGHTS, bias: BIAS, x, y, epilogue: Epilogue { residual, ..epilogue.clone() } };
    let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);

    let expected = reference::run(&spec, padded, weights.as_slice(), &before);
    for (&place, expected) in y.iter().zip(expected) {
        assert_close(after[place as usize], expected, inputs, &what);
    }
    let places = y.iter().map(|&place| place as usize..place as usize + 1);
    assert_untouched(&before, &after, places, &what);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_variant_matches_the_reference(
        inputs in 0usize..70,
        (first, residual, last) in (activation(0), any::<bool>(), activation(0)),
        seed: u64,
    ) {
        let epilogue = Epilogue { first, residual: residual.then(|| vec![].into()), last };
        each(linear::available(), |kernel| {
            for filters in 1..=kernel.max_filters() {
                check(kernel, filters, inputs, &epilogue, seed);
            }
        });
    }

    /// A filter's bits do not depend on the panel that it shares with others.
    #[test]
    fn panels_do_not_change_bits(inputs in 0usize..100, seed: u64) {
        each(linear::available(), |kernel| {
            let mut random = Random(seed);
            let (lanes, filters) = (kernel.isa.lanes(), kernel.max_filters());
            let before = random.floats(inputs + filters);
            let weights = weights(&random.floats(filters * (1 + inputs)));
            let x: Planes = (0..inputs as u32).collect::<Vec<_>>().into();
            let y: Vec<u32> = (0..filters).map(|f| (inputs + f) as u32).collect();
            let epilogue = Epilogue::activation(Activation::Silu);
            let spec = Spec { weights: filters as u32, bias: 0, x, y: &y, epilogue };
            let whole = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);
            for f in 0..filters {
                // The filter in the first lane, the others of the vector zero.
                let own = |t: usize| weights.as_slice()[t * filters + f];
                let rows = (0..=inputs).flat_map(|t| (0..lanes).map(move |lane| if lane == 0 { own(t) } else { 0.0 }));
                let weights = common::weights(&rows.collect::<Vec<_>>());
                let spec = Spec { weights: lanes as u32, y: &y[f..=f], ..spec.clone() };
                let single = run(Call::new(kernel, spec).unwrap(), &weights, &before);
                let at = y[f] as usize;
                assert_same_bits(&whole[at..=at], &single[at..=at], kernel.name);
            }
        });
    }
}

#[test]
fn wrong_shapes_are_refused() {
    each(linear::available(), |kernel| {
        let spec = |y, residual: Option<&[u32]>| {
            let epilogue = Epilogue { residual: residual.map(Planes::from), ..Epilogue::default() };
            Call::new(kernel, Spec { weights: 0, bias: 0, x: vec![0].into(), y, epilogue })
        };
        let many: Vec<u32> = (1..=kernel.max_filters() as u32 + 1).collect();
        assert!(spec(&many[1..], None).is_ok());
        assert!(spec(&many, None).is_err());
        assert!(spec(&[], None).is_err());
        assert!(spec(&[1], Some(&[2])).is_ok());
        assert!(spec(&[1], Some(&[2, 3])).is_err());
    });
}
