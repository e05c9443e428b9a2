//! Raw tensors in and out.

use super::*;
use npyz::WriterBuilder;
use std::fs;

fn golden(name: &str) -> PathBuf {
    root().join("tests/golden").join(name)
}

fn read(path: &Path) -> (Vec<u64>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(file.order(), npyz::Order::C);
    (file.shape().to_vec(), file.into_vec().unwrap())
}

fn write<T: npyz::AutoSerialize>(path: &Path, shape: &[u64], order: npyz::Order, data: &[T]) {
    let mut file = fs::File::create(path).unwrap();
    let mut writer =
        npyz::WriteOptions::new().default_dtype().shape(shape).order(order).writer(&mut file).begin_nd().unwrap();
    writer.extend(data).unwrap();
    writer.finish().unwrap();
}

#[track_caller]
fn assert_close(found: &Path, expected: &Path) {
    let (found, expected) = (read(found), read(expected));
    assert_eq!(found.0, expected.0);
    let largest = expected.1.iter().fold(0.0f32, |max, value| max.max(value.abs()));
    assert!(found.1.iter().zip(&expected.1).all(|(a, b)| (a - b).abs() <= 1e-4 * largest), "{found:?} {expected:?}");
}

fn names(option: &str, name: &str, path: &Path) -> String {
    format!("--{option}={name}={}", text(path))
}

#[test]
fn one_input_and_one_output_need_no_names() {
    let (folder, golden) = (folder(), golden("mobilenetv2-flgc"));
    let (model, input, output) = (golden.join("model.flgc"), golden.join("input-0.npy"), folder.path().join("y.npy"));
    for threads in ["1", "2"] {
        let out =
            run(&[text(&model), "--tensor", text(&input), "--output", text(&output), "--threads", threads]).expect(0);
        assert_eq!(out, "");
        assert_close(&output, &golden.join("output-0.npy"));
    }
    // With names as well, and under a path that has an `=`.
    let named = folder.path().join("a=b.npy");
    run(&[text(&model), &names("tensor", "input0", &input), &names("output", "linear30", &named)]).expect(0);
    assert_eq!(read(&named), read(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn several_inputs_and_outputs() {
    let (folder, golden) = (folder(), golden("several-inputs-outputs"));
    let model = golden.join("model.flgc");
    let outputs = ["concat0", "relu2", "add4", "flatten6"];
    let mut args = vec![text(&model).to_owned()];
    // In any order.
    for index in [1, 0] {
        args.push(names("tensor", &format!("input{index}"), &golden.join(format!("input-{index}.npy"))));
    }
    let inputs = args.clone();
    for (index, name) in outputs.iter().enumerate().rev() {
        args.push(names("output", name, &folder.path().join(format!("{index}.npy"))));
    }
    run(&args).expect(0);
    for index in 0..outputs.len() {
        assert_close(&folder.path().join(format!("{index}.npy")), &golden.join(format!("output-{index}.npy")));
    }
    // One of them, by `--output-name`.
    let one = folder.path().join("one.npy");
    let one_output = format!("--output={}", text(&one));
    run(&[&inputs[..], &["--output-name=add4".to_owned(), one_output.clone()]].concat()).expect(0);
    assert_close(&one, &golden.join("output-2.npy"));
    // Which is not clear.
    run(&[&inputs[..], std::slice::from_ref(&one_output)].concat()).expect_error(2, &["--output", "concat0"]);
    run(&[&inputs[..], &["--output=nope=y.npy".to_owned()]].concat()).expect_error(2, &["nope=y.npy", "concat0"]);
    run(&[&inputs[..], &["--output-name=nope".to_owned(), one_output.clone()]].concat()).expect_error(2, &["\"nope\""]);
    run(&[&inputs[..2], std::slice::from_ref(&one_output)].concat()).expect_error(2, &["none for input \"input0\""]);
    run(&[&inputs[..2], &inputs[1..2], std::slice::from_ref(&one_output)].concat())
        .expect_error(2, &["second", "\"input1\""]);
    run(&[&inputs[..1], &["--tensor=x.npy".to_owned(), one_output]].concat()).expect_error(2, &["x.npy", "input0"]);
}

#[test]
fn the_shape_of_the_tensor_is_the_shape_of_the_plan() {
    let (folder, golden) = (folder(), golden("shape-in-range"));
    let output = folder.path().join("y.npy");
    let args = [
        text(&golden.join("model.flgc")).to_owned(),
        names("tensor", "input0", &golden.join("input-0.npy")),
        names("output", "average_pool7", &output),
    ];
    run(&args).expect(0);
    assert_close(&output, &golden.join("output-1.npy"));
}

#[test]
fn tensors_that_do_not_fit() {
    let (folder, golden) = (folder(), golden("mobilenetv2-flgc"));
    let model = golden.join("model.flgc");
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    let args = [text(&model), "--tensor", text(&x), "--output", text(&y)];
    let c = npyz::Order::C;
    run(&args).expect_error(1, &[text(&x), "No such file"]);
    write(&x, &[1, 3, 33, 28], c, &[0f32; 3 * 33 * 28]);
    run(&args).expect_error(1, &["\"input0\"", "[1, 3, 33, 28]", "[1, 3, 33, 29]"]);
    write(&x, &[3, 33, 29], c, &[0f32; 3 * 33 * 29]);
    run(&args).expect_error(1, &["\"input0\"", "[3, 33, 29]"]);
    write(&x, &[], c, &[0f32]);
    run(&args).expect_error(1, &["\"input0\"", "[]"]);
    write(&x, &[1, 0, 33, 29], c, &[] as &[f32]);
    run(&args).expect_error(1, &["\"input0\"", "[1, 0, 33, 29]"]);
    write(&x, &[1, 3, 33, 29], c, &[0f64; 3 * 33 * 29]);
    run(&args).expect_error(1, &[text(&x), "'<f8'", "'<f4'"]);
    write(&x, &[1, 3, 33, 29], npyz::Order::Fortran, &[0f32; 3 * 33 * 29]);
    run(&args).expect_error(1, &[text(&x), "Fortran order", "C order"]);
    write(&x, &[1, 3, 33, 29], c, &[0f32; 3 * 33 * 29]);
    let bytes = fs::read(&x).unwrap();
    fs::write(&x, &bytes[..bytes.len() - 1]).unwrap();
    run(&args).expect_error(1, &[text(&x), "found 11483 bytes", "11484"]);
    fs::write(&x, "no tensor").unwrap();
    run(&args).expect_error(1, &[text(&x), "a .npy file"]);
    run(&[text(&model), "--tensor=nope=x.npy", "--output=y.npy"]).expect_error(2, &["nope=x.npy", "input0"]);
    assert!(!y.exists());
}

#[test]
fn outputs_that_cannot_be_written() {
    let (folder, golden) = (folder(), golden("mobilenetv2-flgc"));
    let (model, input) = (golden.join("model.flgc"), golden.join("input-0.npy"));
    let to = |path: &Path| run(&[text(&model), "--tensor", text(&input), "--output", text(path)]);
    let nowhere = folder.path().join("nowhere/y.npy");
    to(&nowhere).expect_error(2, &[text(&nowhere), "No such file"]);
    to(folder.path()).expect_error(2, &[text(folder.path())]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    #[cfg(target_os = "linux")]
    {
        to(Path::new("/dev/full")).expect_error(2, &["/dev/full", "No space left"]);
        assert!(Path::new("/dev/full").metadata().is_ok_and(|there| !there.is_file()), "still the device");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_old_file() {
    // No file may grow beyond one block: as a full disk, but for the error's text.
    let (folder, golden) = (folder(), golden("several-inputs-outputs"));
    let output = folder.path().join("y.npy");
    fs::write(&output, "old").unwrap();
    let script = "ulimit -f 1; trap '' XFSZ; exec \"$0\" \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, RUN]).arg(golden.join("model.flgc")).arg(names("output", "concat0", &output));
    for index in [0, 1] {
        command.arg(names("tensor", &format!("input{index}"), &golden.join(format!("input-{index}.npy"))));
    }
    Ran::from(command.output().unwrap()).expect_error(2, &[text(&output), "File too large"]);
    assert_eq!(fs::read_to_string(&output).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[cfg(unix)]
#[test]
fn outputs_through_links_and_devices() {
    use std::os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    };
    let (folder, golden) = (folder(), golden("mobilenetv2-flgc"));
    let (target, link) = (folder.path().join("target.npy"), folder.path().join("link.npy"));
    fs::write(&target, "").unwrap();
    symlink("target.npy", &link).unwrap();
    let (model, input) = (golden.join("model.flgc"), golden.join("input-0.npy"));
    let args = |output: &Path| [model.clone(), "--tensor".into(), input.clone(), "--output".into(), output.to_owned()];
    run(&args(&link)).expect(0);
    assert_close(&target, &golden.join("output-0.npy"));
    assert!(link.is_symlink());
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o700, 0o600, "an ordinary file");
    let odd = folder.path().join(OsStr::from_bytes(b"\xff.npy"));
    run(&args(&odd)).expect(0);
    assert_close(&odd, &golden.join("output-0.npy"));
    let output = command(RUN, &args(Path::new("/dev/stdout"))).output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), fs::read(&target).unwrap()));
}
