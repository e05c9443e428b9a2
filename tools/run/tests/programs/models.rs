//! Models that can't be used, options, usage.

use super::*;
use std::fs;

#[test]
fn bad_model_files_are_one_error() {
    let folder = folder();
    let path = folder.path().join("model.flgc");
    let picture = sample("ship/0000.jpg");
    let bytes = fs::read(reference()).unwrap();
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 4;
        bytes
    };
    let cases = [
        Vec::new(),
        b"no model".to_vec(),
        bytes[..bytes.len() - 1].to_vec(),
        bytes[..1000].to_vec(),
        [&bytes[..], b"x"].concat(),
        flipped(0),
        flipped(7),
        flipped(20),
        flipped(500),
        flipped(bytes.len() / 2),
        flipped(bytes.len() - 1),
    ];
    for bytes in cases {
        fs::write(&path, bytes).unwrap();
        run(&[&path, &picture]).expect_error(2, &["flgc-run: ", text(&path)]);
        inspect(&[&path]).expect_error(2, &["flgc-inspect: ", text(&path)]);
    }
    let missing = folder.path().join("missing.flgc");
    for path in [&missing, folder.path()] {
        run(&[path, &picture]).expect_error(2, &[text(path)]);
        inspect(&[path]).expect_error(2, &[text(path)]);
    }
    run(&[text(&missing), "--evaluate", text(&sample(""))]).expect_error(2, &[text(&missing)]);
    run(&[text(&missing), "--tensor=x.npy", "--output=y.npy"]).expect_error(2, &[text(&missing)]);
}

#[test]
fn models_that_take_no_pictures() {
    let folder = folder();
    let path = folder.path().join("model.flgc");
    let picture = sample("ship/0000.jpg");
    write_model(&path, |graph| {
        graph["inputs"][0].as_object_mut().unwrap().remove("image");
    });
    run(&[&path, &picture]).expect_error(2, &["input \"picture\"", "--tensor"]);
    write_model(&path, |graph| {
        graph["inputs"].as_array_mut().unwrap().push(json!({"name": "other", "shape": [1, 3]}));
        graph["nodes"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "add", "op": "add", "inputs": ["scores", "other"], "outputs": ["sum"]}));
        graph["outputs"] = json!(["sum"]);
    });
    run(&[&path, &picture]).expect_error(2, &["2 inputs", "--tensor"]);
    write_model(&path, |graph| {
        graph["outputs"] = json!(["picture2", "scores"]);
        graph["nodes"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "relu", "op": "relu", "inputs": ["picture"], "outputs": ["picture2"]}));
        graph.as_object_mut().unwrap().remove("labels");
    });
    run(&[&path, &picture]).expect_error(2, &["\"picture2\"", "[1, 3, 8, 8]", "--tensor"]);
    run(&[text(&path), text(&picture), "--output-name=scores"]).expect(0);
}

#[test]
fn a_batch_in_the_model_becomes_one_picture() {
    let folder = folder();
    let path = folder.path().join("model.flgc");
    write_model(&path, |graph| {
        graph["inputs"][0]["shape"] = json!([4, 3, 8, 8]);
        graph["inputs"][0]["range"] = json!([[1, 8], [3, 3], [8, 8], [8, 8]]);
    });
    run(&[&path, &sample("ship/0000.jpg")]).expect(0);
    write_model(&path, |graph| graph["inputs"][0]["shape"] = json!([4, 3, 8, 8]));
    run(&[&path, &sample("ship/0000.jpg")]).expect_error(2, &["[1, 3, 8, 8]"]);
}

#[test]
fn scores_that_are_no_numbers() {
    let folder = folder();
    let path = folder.path().join("model.flgc");
    // Normalised to more than f32 holds.
    write_model(&path, |graph| graph["inputs"][0]["image"] = json!({"scale": 1e38, "std": [1e-3, 1, 1]}));
    run(&[&path, &sample("ship/0000.jpg")]).expect_error(1, &["\"scores\"", "expected finite scores"]);
}

#[test]
fn limits() {
    let picture = sample("ship/0000.jpg");
    run_reference(&["--memory-limit=10kB", text(&picture)]).expect_error(2, &["10000", "--memory-limit"]);
    run_reference(&["--memory-limit", "8MB", text(&picture)]).expect(0);
    run_reference(&["--memory-limit=8MB", "--threads=1000", text(&sample("ship"))])
        .expect_error(2, &["--threads 1000", "8000000"]);
    inspect(&[text(&reference()), "--memory-limit=10kB"]).expect_error(2, &["--memory-limit"]);
    for wrong in ["8M", "lots", "-1", ""] {
        let ran = run_reference(&[format!("--memory-limit={wrong}").as_str(), text(&picture)]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    }
}

#[test]
fn caches() {
    let model = root().join("models/cifar10-mobilenetv2-flgc8.flgc");
    let picture = sample("ship/0000.jpg");
    let ran = run(&[&model, &picture]).expect(0);
    let small = "--caches=1KiB,8kB,8kB";
    assert_eq!(run(&[text(&model), text(&picture), small]).expect(0), ran);
    let plan = inspect(&[text(&model), small]).expect(0);
    assert!(plan.contains("with next"), "nothing runs in bands: {plan}");
    for wrong in ["", "32KiB", "32KiB,512KiB", "0,512KiB,8MiB", "512KiB,32KiB,8MiB", "1,2,3,4", "32KiB,half,8MiB"] {
        let ran = inspect(&[text(&model), &format!("--caches={wrong}")]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.contains("--caches"), "{ran:?}");
    }
}

#[test]
fn instruction_sets() {
    let samples = sample("horse");
    let labels = |isa: &str| -> Vec<Value> {
        let out = run_reference(&["--format=json", "--top-k=1", "--isa", isa, text(&samples)]).expect(0);
        json_lines(&out).iter().map(|line| line["top"][0]["label"].clone()).collect()
    };
    let expected = labels("auto");
    assert_eq!(expected.len(), 24);
    for isa in ["avx512", "avx2", "neon", "portable"] {
        if flgc::Isa::available().any(|there| there.name() == isa) {
            assert_eq!(labels(isa), expected, "{isa}");
        } else {
            eprintln!("{isa} is not available here");
            run_reference(&["--isa", isa, text(&samples)]).expect_error(2, &["flgc-run: --isa", isa, "portable"]);
            inspect(&[text(&reference()), "--isa", isa]).expect_error(2, &["flgc-inspect: --isa", isa]);
        }
    }
}

#[test]
fn usage() {
    let picture = sample("ship/0000.jpg");
    let picture = text(&picture);
    let reference = reference();
    let model = text(&reference);
    let wrong: [&[&str]; 14] = [
        &[],
        &[model],
        &[model, picture, "--nonsense"],
        &[model, picture, "--top-k=0"],
        &[model, picture, "--top-k=x"],
        &[model, picture, "--threads=0"],
        &[model, picture, "--format=xml"],
        &[model, picture, "--isa=mmx"],
        &[model, picture, "--output=y.npy"],
        &[model, "--tensor=x.npy"],
        &[model, picture, "--tensor=x.npy", "--output=y.npy"],
        &[model, picture, "--evaluate=x"],
        &[model, "--tensor=x.npy", "--output=y.npy", "--evaluate=x"],
        &[model, "--evaluate"],
    ];
    for args in wrong {
        let ran = run(args);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{args:?} {ran:?}");
        assert!(ran.stderr.contains("--help"), "{ran:?}");
    }
    for help in [run(&["--help"]), inspect(&["--help"])] {
        assert!(help.expect(0).contains("Usage: flgc-"));
    }
    assert!(run(&["--version"]).expect(0).starts_with("flgc-run "));
    assert!(run_reference(&["--no-fuse", picture]).expect(0).contains("ship"));
}
