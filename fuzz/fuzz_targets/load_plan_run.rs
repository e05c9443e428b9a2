//! Any bytes as a model file, planned within small limits, with and without fusion, and run twice: never a panic or a plan that contradicts itself, and the same bits.
#![no_main]

use flgc::{
    Model, Options, Plan,
    plan::{Caches, PlanError},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(model) = Model::from_bytes(flgc_fuzz::with_checksum(data)) else { return };
    // Caches so small that whatever can be fused is.
    let caches = Some(Caches { l1: 256, l2: 512, last: 512 });
    let run = |fuse| {
        let options = Options { memory_limit: 32 << 20, macs_limit: 10_000_000, fuse, caches, ..Options::default() };
        let plan = match Plan::new(&model, &options) {
            Ok(plan) => plan,
            Err(error @ PlanError::Call { .. }) => panic!("{error}"),
            Err(_) => return None,
        };
        let mut session = plan.try_session().ok()?;
        let len = |port: &flgc::Port| port.shape.iter().product::<usize>();
        let input = |port| (0..len(port)).map(|i| (i % 7) as f32 - 3.0).collect();
        let inputs: Vec<Vec<f32>> = plan.inputs().iter().map(input).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut once = || {
            let mut outputs: Vec<Vec<f32>> = plan.outputs().iter().map(|port| vec![0.0; len(port)]).collect();
            let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            session.run_with(&inputs, &mut slices).expect("inputs and outputs have the plan's shapes");
            outputs.iter().flatten().map(|x| x.to_bits()).collect::<Vec<u32>>()
        };
        let first = once();
        assert_eq!(first, once());
        Some(first)
    };
    if let (Some(fused), Some(apart)) = (run(true), run(false)) {
        assert_eq!(fused, apart);
    }
});
