//! usage: rust_peers PEER MODEL INPUT REF SECONDS MIN_RUNS   (PEER = tract | rten | rten-prepack)
//! Prints one JSON line. Time zero is the first statement of main.
use anyhow::{anyhow, Result};
use std::time::Instant;

fn read_f32(p: &str) -> Result<Vec<f32>> {
    Ok(std::fs::read(p)?
        .chunks_exact(4)
        .map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]]))
        .collect())
}

fn bench(mut f: impl FnMut() -> Result<Vec<f32>>, t0: Instant, refp: &str, secs: f64, min_runs: usize) -> Result<()> {
    let y = f()?;
    let cold = t0.elapsed().as_secs_f64() * 1e3;
    let r = read_f32(refp)?;
    let scale = r.iter().fold(0f32, |a, b| a.max(b.abs()));
    let err = y.iter().zip(&r).fold(0f32, |a, (p, q)| a.max((p - q).abs())) / scale;
    for _ in 0..2 {
        f()?;
    }
    let start = Instant::now();
    let mut times = vec![];
    while times.len() < min_runs || (start.elapsed().as_secs_f64() < secs && times.len() < 400) {
        let t = Instant::now();
        std::hint::black_box(f()?);
        times.push(t.elapsed().as_secs_f64() * 1e3);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let hwm = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("");
    let hwm: f64 = hwm.split_whitespace().nth(1).unwrap_or("0").parse()?;
    println!(
        "{{\"cold_ms\": {cold:.3}, \"error\": {err:e}, \"rss_mb\": {:.1}, \"times\": {times:?}}}",
        hwm * 1024.0 / 1e6
    );
    Ok(())
}

fn main() -> Result<()> {
    let t0 = Instant::now();
    let a: Vec<String> = std::env::args().collect();
    let (peer, model, input, refp) = (a[1].as_str(), a[2].as_str(), a[3].as_str(), a[4].as_str());
    let secs: f64 = a[5].parse()?;
    let min_runs: usize = a[6].parse()?;
    let x = read_f32(input)?;
    if peer == "tract" {
        use tract_onnx::prelude::*;
        let m = tract_onnx::onnx()
            .model_for_path(model)?
            .into_optimized()?
            .into_runnable()?;
        let x: Tensor = Tensor::from_shape(&[1, 3, 224, 224], &x)?;
        bench(
            || {
                let r = m.run(tvec!(x.clone().into()))?;
                Ok(unsafe { r[0].as_slice_unchecked::<f32>() }.to_vec())
            },
            t0, refp, secs, min_runs,
        )
    } else {
        use rten::{ModelOptions, Value};
        use rten_tensor::prelude::*;
        use rten_tensor::NdTensor;
        let mut o = ModelOptions::with_all_ops();
        o.enable_optimization(true).prepack_weights(peer == "rten-prepack");
        let m = o.load_file(model).map_err(|e| anyhow!("{e}"))?;
        let x = NdTensor::from_data([1, 3, 224, 224], x);
        bench(
            || {
                let y = m.run_one(x.view().into(), None).map_err(|e| anyhow!("{e}"))?;
                let y: rten_tensor::Tensor<f32> = match y { Value::FloatTensor(t) => t, _ => return Err(anyhow!("type")) };
                Ok(y.to_vec())
            },
            t0, refp, secs, min_runs,
        )
    }
}
