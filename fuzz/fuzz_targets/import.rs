//! Any bytes as an ONNX file: an error or a model that runs, never a panic.
#![no_main]

use flgc_import::{Imported, Options, import_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut options = Options::default();
    (options.plan.memory_limit, options.plan.macs_limit) = (8 << 20, 10_000_000);
    if let Ok(Imported { model, .. }) = import_bytes(data.to_vec().into(), None, &options) {
        let plan = flgc::Plan::new(&model, &options.plan).expect("what was imported has been planned");
        let inputs: Vec<Vec<f32>> = plan.inputs().iter().map(|port| vec![0.5; port.shape.iter().product()]).collect();
        let mut outputs: Vec<Vec<f32>> = plan.outputs().iter().map(|port| vec![0.0; port.shape.iter().product()]).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        plan.session().run_with(&inputs, &mut outputs).expect("shapes are the plan's own");
    }
});
