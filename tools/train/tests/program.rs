//! `flgc-train` as a program, on small made-up pictures.

use flgc::{Model, Options, Plan};
use image::RgbImage;
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_flgc-train");
/// Quick options: a small network, few steps.
const QUICK: [&str; 8] = ["--width", "0.25", "--batch", "16", "--warmup", "2", "--groups", "3"];

/// A picture of `class`: its own colour and stripes, and noise.
fn picture(class: usize, index: usize, [h, w]: [u32; 2]) -> RgbImage {
    let mut state = (class * 1000 + index) as u32;
    RgbImage::from_fn(w, h, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 26) as u8;
        let stripe = if [x, y, x + y][class % 3] % 2 == 0 { 190 } else { 60 };
        let mut pixel = [noise; 3];
        pixel[class % 3] = pixel[class % 3].saturating_add(stripe);
        image::Rgb(pixel)
    })
}

/// A folder with pictures of `classes` classes, 16 of each to train, 6 to test.
fn data(folder: &Path, classes: usize) -> PathBuf {
    let data = folder.join("data");
    for (part, count) in [("train", 16), ("test", 6)] {
        for class in 0..classes {
            let class_folder = data.join(part).join(["apple", "bird", "cup"][class]);
            fs::create_dir_all(&class_folder).unwrap();
            for index in 0..count {
                let index = if part == "train" { index } else { 100 + index };
                picture(class, index, [8, 8]).save(class_folder.join(format!("{index:04}.png"))).unwrap();
            }
        }
    }
    data
}

/// A training with quick options, but for those that are given.
fn command(data: &Path, model: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    let quick = QUICK.chunks(2).filter(|pair| !args.contains(&pair[0])).flatten();
    command.arg(data).arg("-o").arg(model).args(quick).args(args);
    command
}

fn run(data: &Path, model: &Path, args: &[&str]) -> Output {
    command(data, model, args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_done(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert!(output.stdout.is_empty());
}

/// Status 2, and a last line that says all of `parts`.
#[track_caller]
fn assert_refused(output: &Output, parts: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let last = text.trim_end().lines().last().unwrap_or_default();
    for part in parts {
        assert!(last.contains(part), "expected {part:?} in: {text}");
    }
}

/// The metrics without the times.
fn metrics(run: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(run.join("metrics.csv")).unwrap();
    let times = reader.headers().unwrap().iter().position(|name| name == "seconds").unwrap();
    let row = |record: csv::StringRecord| {
        record.iter().enumerate().filter(|&(i, _)| i != times).map(|(_, value)| value.to_owned()).collect()
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// Share of the test pictures that the exported model classifies rightly.
fn accuracy(model: &Path, data: &Path) -> f64 {
    let model = Model::open(model).unwrap();
    let image = model.graph().inputs[0].image.clone().unwrap();
    let mut session = Plan::new(&model, &Options::default()).unwrap().session();
    let (mut right, mut pictures) = (0, 0);
    for (class, name) in model.graph().labels.iter().enumerate() {
        for entry in fs::read_dir(data.join("test").join(name)).unwrap() {
            let picture = image::open(entry.unwrap().path()).unwrap().into_rgb8();
            let mut input = Vec::new();
            for channel in 0..3 {
                let float = |pixel: &image::Rgb<u8>| {
                    ((f64::from(pixel[channel]) * image.scale - image.mean[channel]) / image.std[channel]) as f32
                };
                input.extend(picture.pixels().map(float));
            }
            let scores = session.run(&input).unwrap();
            let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            right += usize::from(best == Some(class));
            pictures += 1;
        }
    }
    right as f64 / f64::from(pictures)
}

#[test]
fn learns_and_exports() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 3);
    for conv in ["dense", "group", "group-shuffle", "flgc"] {
        let model = folder.path().join(format!("{conv}.flgc"));
        let output = run(
            &data,
            &model,
            &["--conv", conv, "--epochs", "12", "--lr", "0.02", "--crop", "0", "--logit-lr", "0.01", "--dtype", "f32"],
        );
        assert_done(&output);
        let text = stderr(&output);
        assert!(text.contains("48 training and 18 test pictures of 3 classes, 8x8"), "{text}");
        assert!(text.contains("epoch 12/12"), "{text}");
        let rows = metrics(&model.with_extension("run"));
        assert_eq!(rows.len(), 12);
        let loss = |row: &[String]| row[2].parse::<f64>().unwrap();
        assert!(loss(&rows[11]) < 0.8 * loss(&rows[0]), "{conv}: {rows:?}");
        let own: f64 = rows[11][5].parse().unwrap();
        // The model does not round activations: one picture may fall on the other side.
        assert!((accuracy(&model, &data) - own).abs() < 1.5 / 18.0, "{conv}: {own}");
        let report = fs::read_to_string(model.with_extension("run").join("report.html")).unwrap();
        assert!(report.contains("<svg") && report.contains("apple, bird, cup") && report.contains("multiply-adds"));
        assert!(fs::read_to_string(model.with_extension("run").join("accuracy.svg")).unwrap().contains("</svg>"));
        let graph = Model::open(&model).unwrap();
        assert_eq!(graph.graph().labels, ["apple", "bird", "cup"]);
        let learned = graph.graph().nodes.iter().filter(|node| {
            matches!(&node.op, flgc::model::graph::Op::Conv(conv) if conv.learned.as_ref().is_some_and(|of| of.groups == 3))
        });
        assert_eq!(learned.count(), if conv == "dense" { 0 } else { 37 });
    }
}

#[test]
fn threads_and_interruptions_do_not_change_a_bit() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 3);
    // Batches of two parts, which threads share.
    let args = [
        "--batch",
        "32",
        "--epochs",
        "6",
        "--logit-optimizer",
        "adam",
        "--logit-lr",
        "0.2",
        "--fix-groups-from",
        "4",
        "--average",
        "2",
    ];
    let whole = folder.path().join("whole.flgc");
    assert_done(&run(&data, &whole, &[&args[..], &["--threads", "1"]].concat()));
    let rows = metrics(&whole.with_extension("run"));
    assert!(rows[..3].iter().any(|row| row[6] != "0" || row[7] != "0"), "groups move at first: {rows:?}");
    assert!(rows[3..].iter().all(|row| row[6] == "0" && row[7] == "0"), "and are fixed then: {rows:?}");
    let rate = |epoch: usize| rows[epoch - 1][1].parse::<f64>().unwrap();
    assert!(rate(3) > rate(4) && rate(4) > rate(5) && rate(5) == rate(6), "the rate falls before the mean: {rows:?}");
    for threads in ["2", "3"] {
        let model = folder.path().join(format!("{threads}.flgc"));
        assert_done(&run(&data, &model, &[&args[..], &["--threads", threads]].concat()));
        assert_eq!(fs::read(&whole).unwrap(), fs::read(&model).unwrap(), "{threads} threads");
    }
    // Killed again and again, at moments that drift through the work.
    let model = folder.path().join("killed.flgc");
    let mut kills = 0;
    for attempt in 1.. {
        let mut child =
            command(&data, &model, &[&args[..], &["--resume"]].concat()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(60 * attempt));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0);
    assert_eq!(fs::read(&whole).unwrap(), fs::read(&model).unwrap(), "after {kills} kills");
    assert_eq!(rows, metrics(&model.with_extension("run")));
    // Nothing is left to do, and nothing changes.
    assert_done(&run(&data, &model, &[&args[..], &["--resume"]].concat()));
    assert_eq!(fs::read(&whole).unwrap(), fs::read(&model).unwrap());
}

#[test]
fn checkpoints_of_other_trainings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let model = folder.path().join("m.flgc");
    assert_done(&run(&data, &model, &["--epochs", "1"]));
    let checkpoint = model.with_extension("run").join("checkpoint.safetensors");
    let kept = fs::read(&checkpoint).unwrap();
    assert_refused(&run(&data, &model, &["--epochs", "1"]), &["checkpoint.safetensors", "--resume"]);
    let resumed = |args: &[&str]| run(&data, &model, &[&["--resume"], args].concat());
    assert_refused(&resumed(&["--epochs", "2"]), &["another training", "epochs: found 1, expected 2"]);
    assert_refused(&resumed(&["--epochs", "1", "--conv", "dense"]), &["conv: found \"flgc\", expected \"dense\""]);
    assert_refused(&resumed(&["--epochs", "1", "--seed", "2"]), &["seed: found 1, expected 2"]);
    // Another data set: one picture has changed.
    picture(1, 999, [8, 8]).save(data.join("train/apple/0000.png")).unwrap();
    assert_refused(&resumed(&["--epochs", "1"]), &["another training", "train_data"]);
    picture(0, 0, [8, 8]).save(data.join("train/apple/0000.png")).unwrap();
    assert_done(&resumed(&["--epochs", "1"]));
    // Another version, a damaged file, a file cut short, something else.
    let text = String::from_utf8_lossy(&kept);
    assert!(text.contains("version\\\":2,"));
    let replaced = replace(&kept, b"version\\\":2,", b"version\\\":7,");
    let other_figures = replace(&kept, b"train_loss\\\":", b"train_loss\\\":1");
    let mut flipped = kept.clone();
    let last = flipped.len() - 5;
    flipped[last] ^= 0x10;
    let cases: [(&[u8], &[&str]); 6] = [
        (&replaced, &["found a checkpoint of version 7, expected 2"]),
        (&other_figures, &["no whole checkpoint"]),
        (&flipped, &["no whole checkpoint", "checksum"]),
        (&kept[..kept.len() / 2], &["no whole checkpoint"]),
        (b"", &["no whole checkpoint"]),
        (b"hello, I am a poem, not a checkpoint", &["no whole checkpoint"]),
    ];
    for (bytes, parts) in cases {
        fs::write(&checkpoint, bytes).unwrap();
        assert_refused(&resumed(&["--epochs", "1"]), parts);
        assert_eq!(fs::read(&checkpoint).unwrap(), bytes, "left as it is");
    }
}

#[test]
fn a_training_starts_from_the_weights_and_groups_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let (first, second) = (folder.path().join("first.flgc"), folder.path().join("second.flgc"));
    // The weights are a mean.
    let args = ["--epochs", "3", "--fix-groups-from", "2", "--average", "2", "--dtype", "f32"];
    assert_done(&run(&data, &first, &args));
    let checkpoint = first.with_extension("run").join("checkpoint.safetensors");
    let from = checkpoint.to_str().unwrap();
    // A rate that changes next to nothing, and groups that stay: the network is that of the first training but for the statistics of batch norm.
    let gentle = ["--epochs", "1", "--lr", "1e-9", "--fix-groups-from", "1", "--dtype", "f32", "--start-from", from];
    assert_done(&run(&data, &second, &gentle));
    let [first, second_model] = [&first, &second].map(|path| Model::open(path).unwrap());
    let groups = first.tensor_names().filter(|name| name.ends_with("_group")).map(str::to_owned).collect::<Vec<_>>();
    assert!(groups.len() > 20);
    for name in &groups {
        assert_eq!(first.tensor(name).unwrap().indices(), second_model.tensor(name).unwrap().indices(), "{name}");
    }
    let weights = |model: &Model| model.tensor("classifier.weight").unwrap().to_vec();
    assert!(weights(&first).iter().zip(weights(&second_model)).all(|(a, b)| (a - b).abs() < 1e-6));
    // It goes on from its own checkpoint, and only as the same training.
    assert_done(&run(&data, &second, &[&gentle[..], &["--resume"]].concat()));
    assert_refused(&run(&data, &second, &[&gentle[..8], &["--resume"]].concat()), &["another training", "from: found"]);
    // Another network, a file that is none.
    let third = folder.path().join("third.flgc");
    assert_refused(
        &run(&data, &third, &[&gentle[..], &["--conv", "dense"]].concat()),
        &["another network", "conv: found"],
    );
    fs::write(folder.path().join("poem"), "no numbers").unwrap();
    let poem = folder.path().join("poem");
    for (from, part) in [(poem.to_str().unwrap(), "no whole checkpoint"), ("no/such/file", "no/such/file")] {
        assert_refused(&run(&data, &third, &["--start-from", from]), &[part]);
    }
}

#[test]
fn a_training_starts_from_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let (first, second) = (folder.path().join("first.flgc"), folder.path().join("second.flgc"));
    assert_done(&run(&data, &first, &["--epochs", "3", "--logit-start", "random"]));
    let from = first.to_str().unwrap();
    // A rate that changes next to nothing.
    let gentle = ["--epochs", "1", "--lr", "1e-9", "--fix-groups-from", "1", "--dtype", "f32", "--start-from", from];
    assert_done(&run(&data, &second, &gentle));
    let [before, after] = [&first, &second].map(|path| Model::open(path).unwrap());
    for name in before.tensor_names() {
        let [before, after] = [&before, &after].map(|model| model.tensor(name).unwrap().to_vec());
        assert_eq!(before.len(), after.len(), "{name}");
        let close = before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-6);
        // What else there is depends on the batches' statistics, too.
        assert!(close || !name.ends_with("_group") && name != "classifier.weight", "{name}");
    }
    // It goes on as the same training, and not from another model.
    assert_done(&run(&data, &second, &[&gentle[..], &["--resume"]].concat()));
    fs::copy(&second, &first).unwrap();
    assert_refused(&run(&data, &second, &[&gentle[..], &["--resume"]].concat()), &["another training", "from: found"]);
    // Another network, a file that is none.
    let third = folder.path().join("third.flgc");
    for (conv, part) in [("dense", "in 1 groups"), ("group", "groups of")] {
        assert_refused(&run(&data, &third, &[&gentle[..], &["--conv", conv]].concat()), &["another network", part]);
    }
    let other = "../../models/cifar10-reference.flgc";
    assert_refused(&run(&data, &third, &["--start-from", other]), &["another network", "stem"]);
    assert_refused(&run(&data, &third, &["--start-from", "no/such.flgc"]), &["no/such.flgc"]);
}

#[test]
fn a_training_starts_from_a_narrower_network() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let narrow = folder.path().join("narrow.flgc");
    assert_done(&run(&data, &narrow, &["--epochs", "2", "--logit-start", "random", "--dtype", "f32"]));
    let checkpoint = narrow.with_extension("run").join("checkpoint.safetensors");
    let wide = |name: &str, from: &Path, width: &str, args: &[&str]| -> (PathBuf, Output) {
        let model = folder.path().join(name);
        let mut command = Command::new(PROGRAM);
        command.arg(&data).arg("-o").arg(&model).args(["--width", width]).args(&QUICK[2..]);
        command.args(["--epochs", "1", "--lr", "1e-9", "--fix-groups-from", "1", "--dtype", "f32"]);
        command.arg("--start-from").arg(from).args(["--start-width", "0.25"]).args(args);
        (model, command.output().unwrap())
    };
    let open = |path: &Path| Model::open(path).unwrap();
    // Which narrow channel each wide one is a copy of.
    let source = |channel: usize, narrow: usize, wide: usize| channel * narrow / wide;
    for (name, from) in [("of-checkpoint.flgc", &checkpoint), ("of-model.flgc", &narrow)] {
        let (model, output) = wide(name, from, "0.35", &[]);
        assert_done(&output);
        let [narrow, wide] = [&narrow, &model].map(|path| open(path));
        for name in narrow.tensor_names().filter(|name| name.ends_with("_group")) {
            let [narrow, wide] = [&narrow, &wide].map(|model| model.tensor(name).unwrap().indices());
            let expected = (0..wide.len()).map(|i| narrow[source(i, narrow.len(), wide.len())]);
            assert!(wide.iter().copied().eq(expected), "{name}");
        }
        let [narrow, wide] = [&narrow, &wide].map(|model| model.tensor("classifier.weight").unwrap().to_vec());
        let [few, many] = [narrow.len() / 2, wide.len() / 2];
        assert!(many > few);
        let mut sums = vec![0.0; narrow.len()];
        wide.iter().enumerate().for_each(|(i, weight)| sums[i / many * few + source(i % many, few, many)] += weight);
        assert!(sums.iter().zip(&narrow).all(|(a, b)| (a - b).abs() < 1e-6), "copies share a weight");
    }
    // It goes on as the same training, and not as another.
    let (own, output) = wide("of-model.flgc", &narrow, "0.35", &["--resume"]);
    assert_done(&output);
    let own = own.with_extension("run").join("checkpoint.safetensors");
    assert_refused(&wide("of-checkpoint.flgc", &narrow, "0.35", &["--resume"]).1, &["another training", "from: found"]);
    // Other layers, a narrower network, one of another width, groups that are not learned, nothing to start from.
    assert_refused(
        &wide("x.flgc", &narrow, "0.5", &[]).1,
        &["can't grow from --start-width 0.25 to --width 0.5", "block1.shortcut"],
    );
    assert_refused(&wide("x.flgc", &narrow, "0.2", &[]).1, &["--start-width: found 0.25, expected at most the 0.2"]);
    assert_refused(&wide("x.flgc", &own, "0.35", &[]).1, &["another network", "width: found 0.35, expected 0.25"]);
    let grouped = folder.path().join("grouped.flgc");
    assert_done(&run(&data, &grouped, &["--epochs", "1", "--conv", "group"]));
    assert_refused(&wide("x.flgc", &grouped, "0.35", &["--conv", "group"]).1, &["groups that are not learned"]);
    let output = run(&data, &folder.path().join("x.flgc"), &["--start-width", "0.25"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--start-from"), "{}", stderr(&output));
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let model = folder.path().join("m.flgc");
    // Decay that overshoots: weights grow by half in each step, until their squares are beyond all numbers.
    let args = ["--epochs", "90", "--lr", "0.001", "--momentum", "0", "--weight-decay", "2500", "--logit-lr", "0"];
    let output = run(&data, &model, &args);
    assert_refused(&output, &["found a loss of NaN at step", "the checkpoint of epoch", "is kept"]);
    let checkpoint = model.with_extension("run").join("checkpoint.safetensors");
    let kept = fs::read(&checkpoint).unwrap();
    assert!(Model::open(&model).is_ok(), "the model of the last good epoch is there");
    // It stops at the same step again.
    let again = run(&data, &model, &[&args[..], &["--resume"]].concat());
    assert_eq!(stderr(&again).lines().last(), stderr(&output).lines().last());
    assert_eq!(fs::read(&checkpoint).unwrap(), kept);
}

#[test]
fn logits_that_are_not_finite_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let model = folder.path().join("m.flgc");
    // The loss does not show them.
    let output = run(&data, &model, &["--epochs", "2", "--logit-scale", "1e39"]);
    assert_refused(&output, &["in block1.expand", "after epoch 1", "no epoch was finished", "--logit-scale"]);
    assert!(
        !model.exists() && fs::read_dir(model.with_extension("run")).unwrap().next().is_none(),
        "nothing is written"
    );
}

#[test]
fn what_an_interrupted_write_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let model = folder.path().join("m.flgc");
    let run_folder = model.with_extension("run");
    fs::create_dir(&run_folder).unwrap();
    fs::write(run_folder.join(".flgc-abc"), "half a checkpoint").unwrap();
    fs::write(run_folder.join("notes"), "mine").unwrap();
    assert_done(&run(&data, &model, &["--epochs", "1"]));
    assert!(!run_folder.join(".flgc-abc").exists() && run_folder.join("notes").exists());
}

#[test]
fn data_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.flgc");
    let epochs = ["--epochs", "1"];
    let refused = |data: &Path, parts: &[&str]| {
        assert_refused(&run(data, &model, &epochs), parts);
        assert!(!model.exists() && !model.with_extension("run").exists(), "nothing is written");
    };
    refused(&folder.path().join("missing"), &["missing"]);
    let one = data(&folder.path().join("one"), 1);
    refused(&one, &["found 1 classes, expected 2"]);
    // A picture of another size and one that is none: named, left out up to a share.
    let many = data(&folder.path().join("many"), 2);
    for index in 200..400 {
        picture(0, index, [8, 8]).save(many.join(format!("train/apple/{index}.png"))).unwrap();
    }
    picture(0, 1, [8, 9]).save(many.join("train/apple/wide.png")).unwrap();
    fs::write(many.join("train/bird/text.png"), "no picture").unwrap();
    let output = run(&many, &model, &epochs);
    assert_done(&output);
    let text = stderr(&output);
    assert!(text.contains("wide.png: found 9x8 pixels, expected 8x8"), "{text}");
    assert!(text.contains("text.png") && text.contains("2 left out"), "{text}");
    fs::remove_dir_all(model.with_extension("run")).unwrap();
    fs::remove_file(&model).unwrap();
    fs::write(many.join("train/bird/text2.png"), "no picture").unwrap();
    let output = run(&many, &model, &epochs);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("found 3 of 235 pictures (1.3 %)") && text.contains("text2.png"), "{text}");
    // The binary files of CIFAR-10.
    let binary = folder.path().join("binary");
    fs::create_dir(&binary).unwrap();
    let records = |count: usize| -> Vec<u8> {
        (0..count * 3073).map(|i| if i % 3073 == 0 { (i / 3073 % 10) as u8 } else { (i % 251) as u8 }).collect()
    };
    fs::write(binary.join("data_batch_1.bin"), records(32)).unwrap();
    refused(&binary, &["test_batch.bin"]);
    fs::write(binary.join("test_batch.bin"), &records(20)[..3073 * 20 - 1]).unwrap();
    refused(&binary, &["test_batch.bin", "61459"]);
    fs::write(binary.join("test_batch.bin"), records(20)).unwrap();
    assert_done(&run(&binary, &model, &epochs));
}

#[test]
fn full_disks_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let (model, whole) = (folder.path().join("m.flgc"), folder.path().join("whole.flgc"));
    let args = ["--epochs", "2", "--resume"];
    assert_done(&run(&data, &whole, &args));
    // Files of up to so many kilobytes can be written.
    let limited = |kilobytes: u64| {
        let script = "ulimit -f $0; trap '' XFSZ; exec \"$@\"";
        let mut limited = Command::new("bash");
        limited.args(["-c", script, &kilobytes.to_string(), PROGRAM]).args(command(&data, &model, &args).get_args());
        limited.output().unwrap()
    };
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(model.with_extension("run")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_refused(&limited(50), &["checkpoint.safetensors", "File too large"]);
    assert!(names().is_empty(), "no half-written files: {:?}", names());
    // Killed once the first epoch is written whole; then no checkpoint can be written any more.
    let checkpoint = model.with_extension("run").join("checkpoint.safetensors");
    let mut child = command(&data, &model, &args).stderr(Stdio::null()).spawn().unwrap();
    while !model.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = [&checkpoint, &model].map(|path| fs::read(path).unwrap());
    let is_done = metrics(&model.with_extension("run")).len() == 2;
    let before = names();
    if !is_done {
        assert_refused(&limited(50), &["checkpoint.safetensors", "File too large"]);
        assert_eq!([&checkpoint, &model].map(|path| fs::read(path).unwrap()), kept, "what was there stays");
        assert!(names().len() <= before.len(), "no half-written files: {:?}", names());
    }
    // With room again it goes on, with the same bits.
    assert_done(&run(&data, &model, &args));
    assert_eq!(fs::read(&model).unwrap(), fs::read(&whole).unwrap());
    // A place where nothing can be written.
    let output =
        run(&data, &folder.path().join("no/such/folder/m.flgc"), &[&args[..], &["--run", "/dev/null/run"]].concat());
    assert_refused(&output, &["/dev/null/run"]);
    let run_folder = folder.path().join("run");
    let to = folder.path().join("no/such/folder/m.flgc");
    let output = run(&data, &to, &[&args[..], &["--run", run_folder.to_str().unwrap()]].concat());
    assert_refused(&output, &["no/such/folder"]);
}

#[test]
fn nonsense_options() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let model = folder.path().join("m.flgc");
    let cases: [(&[&str], &str); 22] = [
        (&["--batch", "17"], "--batch: found 17, expected a multiple of 16"),
        (&["--batch", "0"], "--batch"),
        (&["--batch", "48"], "at most the 32 training pictures"),
        (&["--groups", "0"], "--groups"),
        (&["--groups", "321"], "--groups: found 321, expected at most the 320 channels"),
        (&["--width", "0"], "--width"),
        (&["--width", "NaN"], "--width"),
        (&["--width", "100"], "--width: found 100"),
        (&["--lr", "-1"], "--lr"),
        (&["--momentum", "1"], "--momentum"),
        (&["--label-smoothing", "1.5"], "--label-smoothing"),
        (&["--mean", "1,2"], "--mean: found 2 numbers"),
        (&["--std", "1,0,1"], "--std"),
        (&["--crop", "9"], "--crop: found 9"),
        (&["--warmup", "1000"], "--warmup: found 1000"),
        (&["--conv", "round"], "--conv"),
        (&["--average", "3"], "--average: found 3 epochs, expected at most the 2"),
        (&["--average", "1"], "add --fix-groups-from 2"),
        (&["--epochs", "0"], "--epochs"),
        (&["--epochs", "18446744073709551615"], "--epochs: found 18446744073709551615, expected at most 1000000"),
        (&["--fix-groups-from", "3"], "--fix-groups-from: found epoch 3, expected at most the 2"),
        (&["--cutout", "9"], "--cutout: found 9"),
    ];
    for (args, part) in cases {
        let epochs: &[&str] = if args[0] == "--epochs" { &[] } else { &["--epochs", "2"] };
        let output = run(&data, &model, &[epochs, args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(part), "{args:?}: {}", stderr(&output));
        assert!(!model.exists() && !model.with_extension("run").exists(), "{args:?}");
    }
    let output = Command::new(PROGRAM).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn closed_standard_error_is_no_reason_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 2);
    let model = folder.path().join("m.flgc");
    let mut child = command(&data, &model, &["--epochs", "1"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = child.stderr.take().unwrap();
    let _ = reader.read(&mut [0; 1]);
    drop(reader);
    assert!(child.wait().unwrap().success());
    assert!(model.exists());
}
