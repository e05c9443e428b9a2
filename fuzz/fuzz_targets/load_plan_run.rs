//! Any bytes as a model file, planned within small limits and run twice: never a panic, and the same bits twice.
#![no_main]

use flgc::{Model, Options, Plan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(model) = Model::from_bytes(flgc_fuzz::with_checksum(data)) else { return };
    let options = Options { memory_limit: 32 << 20, macs_limit: 10_000_000, ..Options::default() };
    let Ok(plan) = Plan::new(&model, &options) else { return };
    drop(model);
    let Ok(mut session) = plan.try_session() else { return };
    let len = |port: &flgc::Port| port.shape.iter().product::<usize>();
    let inputs: Vec<Vec<f32>> = plan.inputs().iter().map(|port| (0..len(port)).map(|i| (i % 7) as f32 - 3.0).collect()).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut run = || {
        let mut outputs: Vec<Vec<f32>> = plan.outputs().iter().map(|port| vec![0.0; len(port)]).collect();
        let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        session.run_with(&inputs, &mut slices).expect("inputs and outputs have the plan's shapes");
        outputs.iter().flatten().map(|x| x.to_bits()).collect::<Vec<u32>>()
    };
    assert_eq!(run(), run());
});
