//! Inputs and answers: formats, order, lists, folders, names, broken outputs.

use super::*;
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
};

fn with_stdin(args: &[impl AsRef<OsStr>], stdin: &[u8]) -> Ran {
    let mut command = command(RUN, &[reference()]);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap().into()
}

/// A folder with `count` pictures in two folders, and their paths in order.
fn pictures(count: usize) -> (TempDir, Vec<PathBuf>) {
    let folder = folder();
    let classes = ["cat", "dog", "ship"];
    let mut paths = Vec::new();
    for index in 0..count {
        let path = folder.path().join(["a", "b"][index * 2 / count]).join(format!("{index:04}.jpg"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(sample(classes[index % 3]).join(format!("{:04}.jpg", index % 24)), &path).unwrap();
        paths.push(path);
    }
    (folder, paths)
}

#[test]
fn text_for_one_picture_is_a_table() {
    let path = sample("ship/0000.jpg");
    let out = run_reference(&[&path]).expect(0);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], text(&path));
    assert_eq!(lines.len(), 6);
    assert!(lines[1].starts_with("  1  ship ") && lines[1].ends_with(" %"), "{out}");
    let out = run_reference(&[Path::new("--top-k=100"), &path]).expect(0);
    assert_eq!(out.lines().count(), 11);
}

#[test]
fn text_for_several_pictures_is_a_line_each() {
    let (folder, paths) = pictures(4);
    let out = run_reference(&[folder.path()]).expect(0);
    assert_eq!(out.lines().count(), 4);
    for (line, path) in out.lines().zip(&paths) {
        assert!(line.ends_with(text(path)) && line.contains(" %  "), "{line}");
    }
    let tables = run_reference(&[Path::new("--top-k=2"), folder.path()]).expect(0);
    assert_eq!(tables.lines().count(), 4 * 3 + 3);
}

#[test]
fn json_has_the_keys_of_the_contract() {
    let path = sample("ship/0000.jpg");
    let out = run_reference(&[Path::new("--format=json"), &path]).expect(0);
    let lines = json_lines(&out);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&lines[0]), ["input", "top"]);
    assert_eq!(lines[0]["input"], text(&path));
    let top = lines[0]["top"].as_array().unwrap();
    assert_eq!(top.len(), 5);
    assert_eq!(keys(&top[0]), ["index", "label", "probability"]);
    assert_eq!((&top[0]["index"], &top[0]["label"]), (&json!(8), &json!("ship")));
    let all = run_reference(&[Path::new("--format=json"), Path::new("--top-k=10"), &path]).expect(0);
    let probabilities: Vec<f64> = json_lines(&all)[0]["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|class| class["probability"].as_f64().unwrap())
        .collect();
    assert_eq!(probabilities.len(), 10);
    assert!(probabilities.is_sorted_by(|a, b| a >= b));
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5);
}

#[test]
fn csv_has_a_row_for_each_class_and_for_each_failure() {
    let folder = folder();
    let path = folder.path().join("a, \"b\"\n.jpg");
    fs::copy(sample("ship/0000.jpg"), &path).unwrap();
    let ran = run_reference(&["--format=csv", "--top-k=2", text(&path), "missing.jpg"]);
    let out = ran.expect(1);
    let quoted = format!("\"{}\"", text(&path).replace('"', "\"\""));
    let rest = out.strip_prefix("input,rank,index,label,probability,error\n").unwrap();
    let rest = rest.strip_prefix(&format!("{quoted},1,8,ship,0.9")).unwrap();
    assert!(rest.contains(&format!(",\n{quoted},2,")), "{out}");
    assert!(out.contains("\nmissing.jpg,,,,,No such file"), "{out}");
}

#[test]
fn no_labels_are_null() {
    let folder = folder();
    let model = folder.path().join("model.flgc");
    write_model(&model, |graph| {
        graph.as_object_mut().unwrap().remove("labels");
    });
    let path = sample("ship/0000.jpg");
    let out = run(&[text(&model), "--format=json", text(&path)]).expect(0);
    assert_eq!(json_lines(&out)[0]["top"][0]["label"], Value::Null);
    let out = run(&[text(&model), text(&path)]).expect(0);
    assert!(out.contains("  1  class "), "{out}");
    let out = run(&[text(&model), "--format=csv", "--top-k=1", text(&path)]).expect(0);
    assert!(out.lines().nth(1).unwrap().contains(",,"), "{out}");
}

#[test]
fn a_network_that_ends_in_a_softmax_gives_its_probabilities() {
    let folder = folder();
    let (plain, softmax) = (folder.path().join("plain.flgc"), folder.path().join("softmax.flgc"));
    write_model(&plain, |graph| graph["inputs"][0]["image"] = json!({}));
    write_model(&softmax, |graph| {
        graph["inputs"][0]["image"] = json!({});
        let softmax =
            json!({"name": "softmax", "op": {"softmax": {}}, "inputs": ["scores"], "outputs": ["probabilities"]});
        graph["nodes"].as_array_mut().unwrap().push(softmax);
        graph["outputs"] = json!(["probabilities", "scores"]);
    });
    let path = sample("ship/0000.jpg");
    let top = |args: &[&str]| {
        let args = [args, &["--format=json", text(&path)]].concat();
        json_lines(&run(&args).expect(0))[0]["top"].clone()
    };
    let (plain, other) = (top(&[text(&plain)]), top(&[text(&softmax)]));
    for (a, b) in plain.as_array().unwrap().iter().zip(other.as_array().unwrap()) {
        assert_eq!(a["label"], b["label"]);
        assert!((a["probability"].as_f64().unwrap() - b["probability"].as_f64().unwrap()).abs() < 1e-6);
    }
    // Labels are those of the first output.
    let named = top(&[text(&softmax), "--output-name=scores"]);
    assert_eq!((&named[0]["label"], &named[0]["probability"]), (&Value::Null, &plain[0]["probability"]));
    run(&[text(&softmax), "--output-name=nope", text(&path)])
        .expect_error(2, &["\"nope\"", "[\"probabilities\", \"scores\"]"]);
}

#[test]
fn answers_come_in_the_order_of_the_inputs() {
    let (folder, paths) = pictures(40);
    fs::write(folder.path().join("a/0003-bad.jpg"), "no picture").unwrap();
    let mut outs = ["1", "2", "3"]
        .map(|threads| run_reference(&["--format=json", "--threads", threads, text(folder.path())]).expect(1));
    let lines = json_lines(&outs[0]);
    assert_eq!(lines.len(), 41);
    let good: Vec<&str> =
        lines.iter().filter(|line| line["error"].is_null()).map(|line| line["input"].as_str().unwrap()).collect();
    assert_eq!(good, paths.iter().map(|path| text(path)).collect::<Vec<_>>());
    assert!(lines[3]["error"].is_string(), "sorted by name");
    outs.sort();
    assert_eq!(outs[0], outs[2], "the same for any number of threads");
}

#[test]
fn one_picture_uses_all_threads_for_the_same_answer() {
    let path = sample("frog/0000.jpg");
    let outs =
        ["1", "2", "3"].map(|threads| run_reference(&["--format=json", "--threads", threads, text(&path)]).expect(0));
    assert!(outs.iter().all(|out| *out == outs[0]));
}

#[test]
fn lists_on_standard_input() {
    let (folder, paths) = pictures(4);
    let list = format!("{}\r\n\n{}\nmissing.jpg\n{}", text(&paths[2]), text(&paths[0]), text(&folder.path().join("b")));
    let out = with_stdin(&["--format=json", "-"], list.as_bytes()).expect(1);
    let inputs: Vec<Value> = json_lines(&out).iter().map(|line| line["input"].clone()).collect();
    let expected = [&paths[2], &paths[0], Path::new("missing.jpg"), &paths[2], &paths[3]].map(text);
    assert_eq!(inputs, expected);
    assert_eq!(with_stdin(&["-"], b"").expect(0), "");
    // Between others.
    let out =
        with_stdin(&["--format=json", text(&paths[3]), "-", text(&paths[1])], text(&paths[0]).as_bytes()).expect(0);
    assert_eq!(
        json_lines(&out).iter().map(|line| line["input"].as_str().unwrap().to_owned()).collect::<Vec<_>>(),
        [&paths[3], &paths[0], &paths[1]].map(|path| text(path))
    );
}

#[test]
fn a_list_is_answered_as_it_comes() {
    let mut command = command(RUN, &[reference()]);
    let mut child = command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for name in ["ship/0000.jpg", "frog/0001.jpg"] {
        writeln!(stdin, "{}", text(&sample(name))).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with(&name[..4]), "{line}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn folders_that_give_nothing() {
    let folder = folder();
    run_reference(&[folder.path()]).expect_error(1, &[text(folder.path()), "found no files in this folder"]);
    let gone = folder.path().join("gone");
    run_reference(&[&gone]).expect_error(1, &[text(&gone), "No such file"]);
}

#[cfg(unix)]
#[test]
fn places_that_cannot_be_read() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let (folder, paths) = pictures(2);
    symlink("nowhere", folder.path().join("a/dangling.jpg")).unwrap();
    symlink(folder.path(), folder.path().join("b/loop")).unwrap();
    let _socket = UnixListener::bind(folder.path().join("socket.jpg")).unwrap();
    let ran = run_reference(&["--format=json", text(folder.path())]);
    assert_eq!(ran.stderr.lines().count(), 3, "{ran:?}");
    let lines = json_lines(&ran.expect(1));
    let failed = |name: &str| {
        lines.iter().any(|line| line["input"] == text(&folder.path().join(name)) && line["error"].is_string())
    };
    assert!(failed("a/dangling.jpg") && failed("b/loop") && failed("socket.jpg"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line["top"].is_array()).count(), paths.len(), "the others are done");
}

#[cfg(unix)]
#[test]
fn folders_and_files_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, paths) = pictures(4);
    let closed = folder.path().join("a");
    if make_unreadable(&closed) && make_unreadable(&paths[3]) {
        let ran = run_reference(&[folder.path()]);
        assert_eq!((ran.stdout.lines().count(), ran.stderr.lines().count()), (1, 2), "{ran:?}");
        assert!(ran.stderr.contains(text(&closed)) && ran.stderr.contains(text(&paths[3])));
        ran.expect(1);
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
#[test]
fn names_need_not_be_utf8_or_harmless() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let odd = folder.path().join(OsStr::from_bytes(b"\xff\xfe ship.jpg"));
    let escape = folder.path().join("\x1b[31m\n.jpg");
    fs::copy(sample("ship/0000.jpg"), &odd).unwrap();
    fs::copy(sample("ship/0000.jpg"), &escape).unwrap();
    for stdout in [run_reference(&[&odd]).expect(0), with_stdin(&["-"], odd.as_os_str().as_bytes()).expect(0)] {
        assert!(stdout.contains("\u{fffd}\u{fffd} ship.jpg"), "{stdout:?}");
    }
    // A folder with an odd name, and one given with the model.
    let odd_folder = folder.path().join(OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd_folder).unwrap();
    fs::copy(sample("ship/0000.jpg"), odd_folder.join("x.jpg")).unwrap();
    fs::copy(reference(), odd_folder.join("x.flgc")).unwrap();
    let out = run(&[
        odd_folder.join("x.flgc").as_os_str(),
        OsStr::new("--format=json"),
        odd_folder.join("x.jpg").as_os_str(),
    ])
    .expect(0);
    assert!(json_lines(&out)[0]["input"].as_str().unwrap().ends_with("\u{fffd}/x.jpg"));
    fs::remove_file(odd_folder.join("x.flgc")).unwrap();
    // Text is one line, without what a terminal would obey.
    let out = run_reference(&[folder.path()]).expect(0);
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(!out.contains('\x1b') && out.contains("\\u{1b}[31m\\n.jpg"), "{out:?}");
    let json = run_reference(&[OsStr::new("--format=json"), escape.as_os_str()]).expect(0);
    assert_eq!(json_lines(&json)[0]["input"], text(&escape));
    // A missing one.
    let missing = folder.path().join(OsStr::from_bytes(b"\xff\n.jpg"));
    run_reference(&[&missing]).expect_error(1, &["\u{fffd}\\n.jpg: "]);
}

#[test]
fn a_reader_may_leave_early() {
    let (folder, _) = pictures(60);
    for threads in ["1", "2"] {
        let mut command = command(RUN, &[reference()]);
        command.args(["--threads", threads]).args([folder.path(); 20]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.ends_with(".jpg\n"));
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_error() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let samples = sample("ship");
    for format in ["text", "json", "csv"] {
        let mut command = command(RUN, &[reference()]);
        let ran = Ran::from(command.args(["--format", format, text(&samples)]).stdout(full()).output().unwrap());
        ran.expect_error(2, &["flgc-run: standard output: No space left"]);
    }
    let mut evaluate = command(RUN, &[reference()]);
    let ran = Ran::from(evaluate.args(["--evaluate", text(&sample(""))]).stdout(full()).output().unwrap());
    ran.expect_error(2, &["standard output: No space left"]);
    // Notes that can't be written are lost; the status is not.
    let mut command = command(RUN, &[reference()]);
    let status = command
        .args(["missing.jpg", text(&sample("ship/0000.jpg"))])
        .stderr(full())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

#[cfg(unix)]
#[test]
fn a_closed_standard_output_is_no_crash() {
    let script = "exec \"$0\" \"$@\" >&-";
    let mut command = Command::new("sh");
    let ran =
        Ran::from(command.args(["-c", script, RUN]).arg(reference()).arg(sample("ship/0000.jpg")).output().unwrap());
    assert!(ran.status == Some(0) || ran.status == Some(2), "{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
}
