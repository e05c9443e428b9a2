//! The program, as a program: arguments, files, exit status.

use flgc::{
    Model,
    model::{
        DType,
        graph::{Channels, Fit},
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name).join("model.onnx")
}

fn import(input: &Path, output: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flgc-import")).arg(input).arg("-o").arg(output).args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The only line on standard error of a run that failed with status 2 and said nothing else.
#[track_caller]
fn refusal(run: &Output) -> &str {
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    assert!(run.stdout.is_empty(), "{run:?}");
    let message = text(&run.stderr);
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[test]
fn a_network_is_imported_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.flgc");
    let run = import(&case("flgc__masked"), &output, &[]);
    assert_eq!((run.status.code(), run.stdout.len()), (Some(0), 0));
    assert!(text(&run.stderr).contains("11604 of 23592 multiply-adds"), "{}", text(&run.stderr));
    Model::open(&output).unwrap();

    let run = import(&case("flgc__masked"), &output, &["--report"]);
    let table = text(&run.stdout);
    for part in ["uneven", "depthwise", "linear", "5x2", "0x3", "steps that only move data  0"] {
        assert!(table.contains(part), "{part}: {table}");
    }

    let run = import(&case("strided_slices"), &output, &["--report", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert!(!report["moves"].as_array().unwrap().is_empty());
    assert!(report["moves"][0]["why"].as_str().unwrap().contains("(slice)"), "{report}");
    let layers = report["layers"].as_array().unwrap();
    let sum: u64 = layers.iter().map(|layer| layer["macs"].as_u64().unwrap()).sum();
    assert_eq!(report["macs"].as_u64(), Some(sum));
    assert_eq!(report["macs_before"], report["macs"]);
    assert_eq!(layers[0]["kind"], "dense");
}

#[test]
fn labels_pictures_and_types_go_into_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let (output, labels) = (folder.path().join("model.flgc"), folder.path().join("labels.txt"));
    fs::write(&labels, "ant\nbee\ncrow\ndog\nelk\nfox\ngnu\n").unwrap();
    let labels = labels.to_str().unwrap();
    let pictures = ["--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.25", "--resize", "10", "--crop", "8", "--f16"];
    let run = import(&case("shuffle"), &output, &[&["--labels", labels][..], &pictures].concat());
    // Labels belong to the last dimension of the first output, which here has eight columns.
    assert!(refusal(&run).contains("labels"), "{run:?}");
    assert!(!output.exists());

    let run = import(&case("shuffle"), &output, &pictures);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let model = Model::open(&output).unwrap();
    let image = model.graph().inputs[0].image.clone().unwrap();
    assert_eq!((image.channels, image.fit, image.resize), (Channels::Rgb, Fit::Crop, Some(10)));
    assert_eq!((image.mean, image.std), (vec![0.5, 0.4, 0.3], vec![0.2, 0.2, 0.25]));
    let halves = model.tensor_names().filter(|name| model.tensor(name).unwrap().dtype == DType::F16).count();
    assert!(halves > 0);

    let run = import(&case("shuffle"), &output, &["--channels", "bgr", "--scale", "1", "--bf16"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let image = Model::open(&output).unwrap().graph().inputs[0].image.clone().unwrap();
    assert_eq!((image.channels, image.scale, image.fit), (Channels::Bgr, 1.0, Fit::Stretch));
    assert_eq!(import(&case("shuffle"), &output, &["--crop", "7"]).status.code(), Some(2));
}

#[test]
fn sizes_that_are_open_can_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.flgc");
    for shape in ["2,3,6,5", "x0=2,3,6,5"] {
        let run = import(&case("shape_arithmetic"), &output, &["--input-shape", shape]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        assert_eq!(Model::open(&output).unwrap().graph().inputs[0].shape, [2, 3, 6, 5]);
    }
    for (shape, part) in [
        ("2,3,7,5", "asked for"),
        ("y=2,3,6,5", "one of [\"x0\"]"),
        ("2,3,six,5", "numbers with commas"),
        ("0,3,6,5", "asked for"),
    ] {
        let run = import(&case("shape_arithmetic"), &output, &["--input-shape", shape]);
        assert!(refusal(&run).contains(part), "{run:?}");
    }
    assert!(refusal(&import(&case("several"), &output, &["--input-shape", "1,4,6,6"])).contains("no name"));
}

#[test]
fn failures_leave_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let (damaged, output) = (folder.path().join("damaged.onnx"), folder.path().join("model.flgc"));
    let bytes = fs::read(case("flgc__split")).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(&output, "something of value").unwrap();
    assert!(refusal(&import(&damaged, &output, &[])).contains("damaged.onnx"));
    assert!(refusal(&import(&folder.path().join("missing.onnx"), &output, &[])).contains("missing.onnx"));
    assert!(refusal(&import(folder.path(), &output, &[])).contains(folder.path().to_str().unwrap()));
    assert!(refusal(&import(&case("batch"), &output, &["--labels", "no/such/labels"])).contains("no/such/labels"));
    assert_eq!(fs::read_to_string(&output).unwrap(), "something of value");
    let nowhere = folder.path().join("no/such/folder/model.flgc");
    assert!(refusal(&import(&case("batch"), &nowhere, &[])).contains("no/such/folder"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    for options in [&["--f16", "--bf16"][..], &["--resize", "9"], &["--report", "xml"], &["--mean", "a,b,c"]] {
        let run = import(&case("batch"), &output, options);
        assert_eq!(run.status.code(), Some(2), "{options:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_a_closed_output_is_none() {
    let run = import(&case("batch"), Path::new("/dev/full"), &[]);
    assert!(refusal(&run).contains("/dev/full: No space left"));
    assert!(Path::new("/dev/full").metadata().is_ok_and(|there| !there.is_file()), "still the device");
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.flgc");
    let mut program = Command::new(env!("CARGO_BIN_EXE_flgc-import"))
        .arg(case("flgc__split"))
        .arg("-o")
        .arg(&output)
        .arg("--report")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(program.stdout.take());
    assert_eq!(program.wait().unwrap().code(), Some(0));
    Model::open(&output).unwrap();
}
