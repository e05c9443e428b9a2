//! `flgc-bench`.

use super::*;

#[test]
fn json_has_the_keys_of_the_contract() {
    let out = bench(&[text(&reference()), "--runs=20", "--core=0", "--format=json"]).expect(0);
    let whole: Value = serde_json::from_str(&out).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    // serde_json sorts the keys it reads.
    let expected = [
        "allocations",
        "cold_start_ms",
        "core",
        "gflops",
        "isa",
        "latency_ms",
        "layers",
        "macs",
        "memory",
        "model",
        "peak_gflops",
        "peak_rss_bytes",
        "share_of_peak",
        "threads",
    ];
    assert_eq!(keys(&whole), expected);
    assert_eq!(keys(&whole["latency_ms"]), ["max", "min", "p50", "p90", "p99"]);
    assert_eq!(keys(&whole["memory"]), ["arena", "mapped", "weights"]);
    assert_eq!((&whole["macs"], &whole["threads"], &whole["core"]), (&json!(1_665_280), &json!(1), &json!(0)));
    assert_eq!(whole["allocations"], 0, "a run allocates nothing");
    let number = |value: &Value| value.as_f64().unwrap();
    let latency = &whole["latency_ms"];
    let ordered = ["min", "p50", "p90", "p99", "max"].map(|key| number(&latency[key]));
    assert!(ordered.is_sorted() && ordered[0] > 0.0, "{latency}");
    let gflops = 2e-6 * 1_665_280.0 / number(&latency["p50"]);
    assert!((number(&whole["gflops"]) / gflops - 1.0).abs() < 1e-9);
    assert!((number(&whole["share_of_peak"]) - gflops / number(&whole["peak_gflops"])).abs() < 1e-9);
    let layers = whole["layers"].as_array().unwrap();
    let expected = ["fused_with_next", "gflops", "groups", "kernel", "macs", "name", "shape", "us"];
    assert!(layers.iter().all(|layer| keys(layer) == expected));
    // Layers that run together have one time, at the last.
    let timed = |layer: &Value| number(&layer["us"]) > 0.0;
    assert!(layers.iter().all(|layer| timed(layer) != layer["fused_with_next"].as_bool().unwrap()));
    assert_eq!(layers.iter().map(|layer| layer["macs"].as_u64().unwrap()).sum::<u64>(), 1_665_280);
    if cfg!(target_os = "linux") {
        assert!(number(&whole["cold_start_ms"]) > 0.0 && whole["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    }
}

#[test]
fn text_and_trace_show_every_layer() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.json");
    // Layers that run in bands, which depends on the machine's caches, have one span together.
    let args = ["--runs=5", "--warmup=0", "--threads=2", "--no-fuse", "--layers", "--trace", text(&trace)];
    let out = bench(&[&[text(&reference())], &args[..]].concat()).expect(0);
    for part in ["conv6", "f32-depthwise", "threads 2, unpinned, 5 runs", "cold start", "multiply-adds   1665280"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let spans: Value = serde_json::from_slice(&std::fs::read(&trace).unwrap()).unwrap();
    let spans = spans.as_array().unwrap();
    let names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"conv6") && names.contains(&"fc"), "{names:?}");
    let starts: Vec<f64> = spans.iter().map(|span| span["ts"].as_f64().unwrap()).collect();
    assert!(starts.is_sorted() && spans.iter().all(|span| span["ph"] == "X"));
}

#[test]
fn ways_that_were_measured_are_kept_and_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tuning.json");
    let (model, file) = (reference(), text(&file));
    let model = text(&model);
    bench(&[model, "--runs=2", "--tune", file, "--tune-seconds=0.2"]).expect(0);
    let tuning: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(!tuning["layers"].as_object().unwrap().is_empty(), "{tuning}");
    bench(&[model, "--runs=2", "--tuning", file]).expect(0);
    bench(&[model, "--tuning=no/such/file.json"]).expect_error(2, &["no/such/file.json"]);
    std::fs::write(file, "{\"layers\": {\"elsewhere\": {\"bands\": true}}}").unwrap();
    bench(&[model, "--tuning", file]).expect_error(2, &["layer \"elsewhere\"", "does not have"]);
    std::fs::write(file, "[1]").unwrap();
    bench(&[model, "--tuning", file]).expect_error(2, &["tuning.json", "not a tuning"]);
    for nonsense in
        [&["--tune-seconds=1"][..], &["--tune", file, "--tuning", file], &["--tune", file, "--tune-seconds=-1"]]
    {
        let ran = bench(&[&[model], nonsense].concat());
        assert_eq!((ran.status, &*ran.stdout), (Some(2), ""), "{nonsense:?}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let model = reference();
    let model = text(&model);
    bench(&[model, "--core=4000"]).expect_error(2, &["--core: found 4000", "[0"]);
    bench(&[model, "--isa=neon"]).expect_error(2, &["--isa: found neon"]);
    bench(&[model, "--memory-limit=1kB"]).expect_error(2, &["--memory-limit"]);
    bench(&["no/such/model.flgc"]).expect_error(2, &["no/such/model.flgc"]);
    // Beside it there may be notes on the machine.
    let ran = bench(&[model, "--runs=1", "--trace=no/such/folder/t.json"]);
    assert!(ran.status == Some(2) && ran.stderr.contains("no/such/folder/t.json"), "{ran:?}");
    for (nonsense, expected) in [
        ("--runs=0", "1 to 10000000 runs"),
        ("--runs=18446744073709551615", "1 to 10000000 runs"),
        ("--isa=mmx", "mmx"),
        ("--threads=0", "1 to 1024 threads"),
        ("--threads=5000", "1 to 1024 threads"),
        ("--core=-1", "-1"),
    ] {
        let ran = bench(&[model, nonsense]);
        assert_eq!((ran.status, &*ran.stdout), (Some(2), ""), "{nonsense}");
        assert!(ran.stderr.contains(expected), "{nonsense}: {}", ran.stderr);
    }
}

#[test]
fn several_inputs_and_outputs_allocate_nothing_either() {
    let model = root().join("tests/golden/several-inputs-outputs/model.flgc");
    let out = bench(&[text(&model), "--runs=5", "--format=json"]).expect(0);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["allocations"], 0);
}
