//! Accuracy.

use super::*;
use std::fs;

#[test]
fn samples() {
    // ONNX Runtime gets 190 of the 240 right, 238 within five; JPEG decoders differ a little.
    let samples = sample("");
    let json =
        |threads: &str| run_reference(&["--evaluate", text(&samples), "--format=json", "--threads", threads]).expect(0);
    let out = json("1");
    let accuracy: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(accuracy.as_object().unwrap().keys().collect::<Vec<_>>(), ["images", "top1", "top5"]);
    assert_eq!(accuracy["images"], 240);
    assert!((accuracy["top1"].as_f64().unwrap() * 240.0 - 190.0).abs() < 2.5, "{out}");
    assert!((accuracy["top5"].as_f64().unwrap() * 240.0 - 238.0).abs() < 2.5, "{out}");
    assert_eq!(json("2"), out);
    let out = run_reference(&["--evaluate", text(&samples)]).expect(0);
    assert!(out.starts_with("images  240\ntop-1   7") && out.contains("\ntop-5   99."), "{out}");
    let out = run_reference(&["--evaluate", text(&samples), "--format=csv"]).expect(0);
    assert!(out.starts_with("images,top1,top5\n240,0.7"), "{out}");
}

#[test]
fn samples_by_the_shipped_model() {
    // ONNX Runtime gets 219 of the 240 right, 239 within five.
    let (model, samples) = (shipped(), sample(""));
    let out = run(&[text(&model), "--evaluate", text(&samples), "--format=json"]).expect(0);
    let accuracy: Value = serde_json::from_str(&out).unwrap();
    assert!((accuracy["top1"].as_f64().unwrap() * 240.0 - 219.0).abs() < 2.5, "{out}");
    assert!((accuracy["top5"].as_f64().unwrap() * 240.0 - 239.0).abs() < 2.5, "{out}");
}

/// A folder with one picture each of a ship and a frog, both classified rightly.
fn two() -> TempDir {
    let folder = folder();
    for (class, name) in [("ship", "ship/0000.jpg"), ("frog", "frog/0003.jpg")] {
        fs::create_dir(folder.path().join(class)).unwrap();
        fs::copy(sample(name), folder.path().join(class).join("1.jpg")).unwrap();
    }
    folder
}

fn evaluate(folder: &Path) -> Ran {
    run_reference(&["--format=json", "--evaluate", text(folder)])
}

#[test]
fn wrong_ones_count() {
    let folder = two();
    assert_eq!(evaluate(folder.path()).expect(0), "{\"images\":2,\"top1\":1.0,\"top5\":1.0}\n");
    // A ship among the frogs, in a folder inside.
    fs::create_dir(folder.path().join("frog/more")).unwrap();
    fs::copy(sample("ship/0000.jpg"), folder.path().join("frog/more/2.jpg")).unwrap();
    fs::create_dir(folder.path().join("cat")).unwrap();
    fs::write(folder.path().join("cat/.hidden"), "").unwrap();
    let accuracy: Value = serde_json::from_str(&evaluate(folder.path()).expect(0)).unwrap();
    assert_eq!(accuracy["images"], 3);
    assert!((accuracy["top1"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12);
}

#[test]
fn bad_pictures_are_reported_and_left_out() {
    let folder = two();
    fs::write(folder.path().join("ship/bad.jpg"), "no").unwrap();
    let ran = evaluate(folder.path());
    assert_eq!(ran.stderr.lines().count(), 1);
    assert!(ran.stderr.contains("ship/bad.jpg"), "{ran:?}");
    assert_eq!(ran.expect(1), "{\"images\":2,\"top1\":1.0,\"top5\":1.0}\n");
}

#[test]
fn folders_that_are_no_classes() {
    let folder = two();
    fs::write(folder.path().join("README"), "").unwrap();
    let ran = evaluate(folder.path());
    assert!(ran.stderr.contains("1 files beside the folders"), "{ran:?}");
    ran.expect(0);
    fs::remove_file(folder.path().join("README")).unwrap();
    fs::create_dir(folder.path().join("unicorn")).unwrap();
    evaluate(folder.path()).expect_error(2, &["unicorn", "airplane"]);
}

#[cfg(unix)]
#[test]
fn a_folder_whose_name_is_not_utf8_is_no_class() {
    use std::os::unix::ffi::OsStrExt;
    let folder = two();
    fs::create_dir(folder.path().join(OsStr::from_bytes(b"\xffship"))).unwrap();
    evaluate(folder.path()).expect_error(2, &["\u{fffd}ship", "airplane"]);
}

#[test]
fn nothing_to_evaluate() {
    let folder = folder();
    evaluate(folder.path()).expect_error(1, &[text(folder.path()), "no folders"]);
    evaluate(&folder.path().join("missing")).expect_error(1, &["missing", "No such file"]);
    fs::create_dir(folder.path().join("ship")).unwrap();
    evaluate(folder.path()).expect_error(1, &[text(folder.path()), "no picture"]);
    let model = folder.path().join("model.flgc");
    write_model(&model, |graph| {
        graph.as_object_mut().unwrap().remove("labels");
    });
    run(&[text(&model), "--evaluate", text(folder.path())]).expect_error(2, &["no labels"]);
}
