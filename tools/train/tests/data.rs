//! Data sets of both layouts, everything that can be wrong with them, and the batches made of them.

use flgc_train::data::{
    Data, DataError, Dataset,
    batches::{self, Augment, Batch, LANES, Normalise},
};
use image::{Rgb, RgbImage};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

// Folders of pictures.

/// A picture that is told from others by `id`.
fn picture(id: u8, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([id, x as u8, y as u8]))
}

fn save(path: PathBuf, picture: &RgbImage) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

/// Classes `cat` and `dog`: three pictures each to learn from, one to be tested on; 5 x 4 pixels.
fn folders() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (c, class) in ["cat", "dog"].into_iter().enumerate() {
        for i in 0..3 {
            let path = folder.path().join(format!("train/{class}/{i}.png"));
            save(path, &picture((10 * c + i) as u8, 5, 4));
        }
        save(folder.path().join(format!("test/{class}/x.png")), &picture(100 + c as u8, 5, 4));
    }
    folder
}

/// Adds pictures to train until one that is bad is less than the most that may be skipped.
fn fill(folder: &TempDir) {
    for i in 0..100 {
        save(folder.path().join(format!("train/dog/more/{i}.png")), &picture(i, 5, 4));
    }
}

fn error(folder: &TempDir) -> String {
    Data::open(folder.path(), None).unwrap_err().to_string()
}

/// Asserts that `message` names `path` and has all of `parts`.
#[track_caller]
fn assert_says(message: &str, path: &Path, parts: &[&str]) {
    assert!(message.starts_with(&path.display().to_string()), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn a_folder_per_class() {
    let folder = folders();
    for ignored in ["train/.cache/x.png", "train/cat/.hidden.png", "train/readme.txt"] {
        let path = folder.path().join(ignored);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "no picture").unwrap();
    }
    let data = Data::open(folder.path(), None).unwrap();
    assert!(data.skipped.is_empty(), "{:?}", data.skipped);
    for dataset in [&data.train, &data.test] {
        assert_eq!(dataset.classes(), ["cat", "dog"]);
        assert_eq!((dataset.height(), dataset.width()), (4, 5));
    }
    assert_eq!((data.train.len(), data.test.len(), data.test.is_empty()), (6, 2, false));
    for (i, (id, label)) in [(0, 0), (1, 0), (2, 0), (10, 1), (11, 1), (12, 1)].into_iter().enumerate() {
        let planar: Vec<_> =
            (0..3).flat_map(|c| picture(id, 5, 4).pixels().map(|pixel| pixel[c]).collect::<Vec<_>>()).collect();
        assert_eq!(data.train.picture(i), planar);
        assert_eq!(data.train.label(i), label);
    }
    let again = Data::open(folder.path(), Some((4, 5))).unwrap();
    assert_eq!(again.train, data.train);
    assert_ne!(data.train.fingerprint(), data.test.fingerprint());
    save(folder.path().join("train/cat/0.png"), &picture(77, 5, 4));
    let changed = Data::open(folder.path(), None).unwrap();
    assert_ne!(changed.train.fingerprint(), data.train.fingerprint());
    assert_eq!(changed.test.fingerprint(), data.test.fingerprint());
}

#[test]
fn odd_pictures_are_skipped() {
    let folder = folders();
    fill(&folder);
    let bad = folder.path().join("train/cat/1.png");
    let expected = Data::open(folder.path(), None).unwrap().train;
    let whole = fs::read(&bad).unwrap();
    let cut: &[u8] = &whole[..whole.len() - 20];
    let mut jpeg = Vec::new();
    picture(1, 5, 4).write_to(&mut std::io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg).unwrap();
    let mut odd = Vec::new();
    picture(1, 31, 4).write_to(&mut std::io::Cursor::new(&mut odd), image::ImageFormat::Png).unwrap();
    for (bytes, message) in [
        (&odd[..], "found 31x4 pixels, expected 5x4"),
        (b"", "found an empty file, expected a picture"),
        (b"text, not pixels", "found no picture, expected JPEG, PNG"),
        (cut, ""),
        (&jpeg[..jpeg.len() - 2], "cut short"),
    ] {
        fs::write(&bad, bytes).unwrap();
        for size in [None, Some((4, 5))] {
            let data = Data::open(folder.path(), size).unwrap();
            assert_eq!(data.skipped.len(), 1);
            assert_eq!(data.skipped[0].path, bad);
            assert!(data.skipped[0].message.contains(message), "{}", data.skipped[0]);
            assert_eq!(data.train.len(), expected.len() - 1);
            // The others move up.
            for (i, j) in (0..expected.len()).filter(|&j| j != 1).enumerate() {
                assert_eq!(data.train.picture(i), expected.picture(j));
                assert_eq!(data.train.label(i), expected.label(j));
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn links() {
    use std::os::unix::fs::symlink;
    let folder = folders();
    fill(&folder);
    let place = |name: &str| folder.path().join(name);
    symlink(place("nowhere"), place("train/cat/link.png")).unwrap();
    let data = Data::open(folder.path(), None).unwrap();
    assert_eq!(data.skipped.len(), 1);
    assert_eq!(data.skipped[0].path, place("train/cat/link.png"));
    symlink(place("train/cat"), place("train/cat/loop")).unwrap();
    assert_says(&error(&folder), &place("train/cat/loop"), &["link"]);
}

#[test]
fn too_many_odd_pictures() {
    let folder = folders();
    for i in 0..4 {
        save(folder.path().join(format!("train/dog/odd{i}.png")), &picture(i, 6, 4));
    }
    let message = error(&folder);
    assert_says(
        &message,
        &folder.path().join("train"),
        &["4 of 10 pictures (40.0 %)", "at most 1 %", "odd0.png", "odd2.png: found 6x4 pixels, expected 5x4"],
    );
    assert!(!message.contains("odd3.png"), "{message}");

    // None of a size that was asked for, and none that is a picture at all.
    let message = Data::open(folder.path(), Some((8, 8))).unwrap_err().to_string();
    assert_says(&message, &folder.path().join("train"), &["10 of 10 pictures (100.0 %)", "expected 8x8"]);
    for file in fs::read_dir(folder.path().join("train/cat"))
        .unwrap()
        .chain(fs::read_dir(folder.path().join("train/dog")).unwrap())
    {
        fs::write(file.unwrap().path(), "text, not pixels").unwrap();
    }
    assert_says(&error(&folder), &folder.path().join("train"), &["10 of 10", "found no picture"]);

    // Many good ones to learn from do not make up for a bad one to be tested on.
    let folder = folders();
    for i in 0..200 {
        save(folder.path().join(format!("train/dog/{i}.png")), &picture(i, 5, 4));
    }
    save(folder.path().join("test/dog/x.png"), &picture(0, 4, 4));
    assert_says(&error(&folder), &folder.path().join("test"), &["1 of 2 pictures"]);
}

#[test]
fn classes_that_are_empty_or_missing() {
    let folder = folders();
    fs::create_dir(folder.path().join("train/eel")).unwrap();
    assert_says(&error(&folder), &folder.path().join("train/eel"), &["no picture", "at least one"]);
    save(folder.path().join("train/eel/x.png"), &picture(0, 5, 4));
    assert_says(&error(&folder), &folder.path().join("test/eel"), &["train/eel"]);
    save(folder.path().join("test/eel/x.png"), &picture(0, 5, 4));
    assert!(Data::open(folder.path(), None).is_ok());
    save(folder.path().join("test/fox/x.png"), &picture(0, 5, 4));
    assert_says(&error(&folder), &folder.path().join("train/fox"), &["test/fox"]);

    // A class whose only picture is skipped.
    let folder = folders();
    fill(&folder);
    for i in [1, 2] {
        fs::remove_file(folder.path().join(format!("train/cat/{i}.png"))).unwrap();
    }
    fs::write(folder.path().join("train/cat/0.png"), "").unwrap();
    assert_says(&error(&folder), &folder.path().join("train/cat"), &["no picture"]);

    let folder = folders();
    for half in ["train", "test"] {
        fs::remove_dir_all(folder.path().join(half).join("dog")).unwrap();
    }
    assert_says(&error(&folder), &folder.path().join("train"), &["found 1 classes, expected 2 to 25000"]);
}

#[test]
fn places_that_are_missing() {
    let folder = folders();
    fs::remove_dir_all(folder.path().join("test")).unwrap();
    assert_says(&error(&folder), &folder.path().join("test"), &["found nothing there", "tested on"]);
    fs::remove_dir_all(folder.path().join("train")).unwrap();
    assert_says(&error(&folder), folder.path(), &["found nothing;", "train and test", "data_batch_1.bin"]);
    fs::write(folder.path().join("pictures.zip"), "").unwrap();
    assert_says(&error(&folder), folder.path(), &["found pictures.zip;"]);
    fs::create_dir(folder.path().join("test")).unwrap();
    assert_says(&error(&folder), &folder.path().join("train"), &["found nothing there", "learn from"]);
    fs::write(folder.path().join("train"), "").unwrap();
    assert!(matches!(Data::open(folder.path(), None), Err(DataError::Io { path, .. }) if path.ends_with("train")));

    let nowhere = folder.path().join("nowhere");
    assert_says(&Data::open(&nowhere, None).unwrap_err().to_string(), &nowhere, &["No such file"]);
    for size in [(0, 5), (4, 0)] {
        assert!(
            matches!(Data::open(folder.path(), Some(size)), Err(DataError::NoPixels { size: found }) if found == size)
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = folders();
    fs::create_dir(folder.path().join("train").join(OsStr::from_bytes(b"\xFFx"))).unwrap();
    assert_says(&error(&folder), &folder.path().join("train"), &["not UTF-8"]);
}

#[test]
fn data_sets_larger_than_memory() {
    let folder = folders();
    let message = Data::open(folder.path(), Some((65_535, 65_535))).unwrap_err().to_string();
    assert_says(&message, folder.path(), &["8 pictures of 65535x65535 pixels", "at most 17179869184 bytes"]);
}

// The files of CIFAR-10.

const RECORD: usize = 1 + 3 * 32 * 32;

fn record(label: u8, id: u8) -> Vec<u8> {
    let mut record: Vec<_> = (0..RECORD).map(|i| (i / 1024) as u8 ^ id ^ i as u8).collect();
    record[0] = label;
    record
}

/// Eleven files to learn from, two pictures each, and three pictures to be tested on.
fn cifar() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for i in 1..=11 {
        let path = folder.path().join(format!("data_batch_{i}.bin"));
        fs::write(path, [record(i % 10, i), record(0, 100 + i)].concat()).unwrap();
    }
    let test = [record(7, 50), record(8, 51), record(9, 52)].concat();
    fs::write(folder.path().join("test_batch.bin"), test).unwrap();
    fs::write(folder.path().join("readme.html"), "").unwrap();
    folder
}

#[test]
fn cifar_10() {
    let folder = cifar();
    let data = Data::open(folder.path(), Some((32, 32))).unwrap();
    assert_eq!(data.train.classes().len(), 10);
    assert_eq!(data.train.classes()[9], "truck");
    assert_eq!((data.train.height(), data.train.width(), data.train.len()), (32, 32, 22));
    for i in 1..=11 {
        // In order of numbers, not of names.
        let at = usize::from(i - 1) * 2;
        assert_eq!(data.train.picture(at), &record(0, i)[1..]);
        assert_eq!([data.train.label(at), data.train.label(at + 1)], [usize::from(i % 10), 0]);
    }
    assert_eq!(data.test.picture(1), &record(0, 51)[1..]);
    assert_eq!([0, 1, 2].map(|i| data.test.label(i)), [7, 8, 9]);

    let names = folder.path().join("batches.meta.txt");
    fs::write(&names, "a\nb\r\nc\nd\ne\nf\ng\nh\ni\nj\n\n").unwrap();
    let named = Data::open(folder.path(), None).unwrap();
    assert_eq!(named.train.classes(), ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    assert_ne!(named.train.fingerprint(), data.train.fingerprint());

    fs::write(&names, "a\nb\nc\n").unwrap();
    assert_says(
        &error(&folder),
        &folder.path().join("data_batch_3.bin"),
        &["record 0: found label 3, expected one below 3"],
    );
    fs::write(&names, "a\n").unwrap();
    assert_says(&error(&folder), &names, &["found 1 classes"]);
    fs::write(&names, "a\n".repeat(25_001)).unwrap();
    assert_says(&error(&folder), &names, &["found 25001 classes, expected 2 to 25000"]);
    fs::write(&names, b"a\n\xFF\n").unwrap();
    assert_says(&error(&folder), &names, &["not UTF-8"]);
}

#[test]
fn damaged_cifar_10() {
    let folder = cifar();
    let place = |name: &str| folder.path().join(name);
    let message = Data::open(folder.path(), Some((64, 48))).unwrap_err().to_string();
    assert_says(&message, folder.path(), &["found pictures of 32x32 pixels, expected 48x64"]);

    let test = fs::read(place("test_batch.bin")).unwrap();
    for length in [0, 1, RECORD - 1, RECORD + 1] {
        fs::write(place("test_batch.bin"), &test[..length]).unwrap();
        let found = format!("found {length} bytes");
        assert_says(&error(&folder), &place("test_batch.bin"), &[&found, "multiple of 3073", "truncated"]);
    }
    fs::write(place("test_batch.bin"), [record(9, 0), record(10, 0)].concat()).unwrap();
    assert_says(&error(&folder), &place("test_batch.bin"), &["record 1: found label 10, expected one below 10"]);

    fs::remove_file(place("test_batch.bin")).unwrap();
    assert_says(&error(&folder), &place("test_batch.bin"), &["found nothing there"]);
    fs::create_dir(place("test_batch.bin")).unwrap();
    assert_says(&error(&folder), &place("test_batch.bin"), &["no regular file"]);
    fs::remove_file(place("data_batch_4.bin")).unwrap();
    assert_says(&error(&folder), &place("data_batch_4.bin"), &["found nothing there"]);
    for i in [1, 2, 3, 5, 6, 7, 8, 9, 10, 11] {
        fs::remove_file(place(&format!("data_batch_{i}.bin"))).unwrap();
    }
    assert_says(&error(&folder), &place("data_batch_1.bin"), &["found nothing there"]);
}

// Batches.

const NORMALISE: Normalise = Normalise { mean: [0.25, 0.5, 0.75], std: [0.5, 0.25, 2.0] };

/// Pictures of pixels that do not repeat, `i` the first one of picture `i`; labels from 0 to 6.
fn dataset(n: usize, height: usize, width: usize) -> Arc<Dataset> {
    let length = 3 * height * width;
    let pixel = |i: usize| if i.is_multiple_of(length) { i / length } else { i.wrapping_mul(2_654_435_761) >> 13 };
    let pixels = (0..n * length).map(|i| pixel(i) as u8).collect();
    let classes = (0..7).map(|i| i.to_string()).collect();
    Arc::new(Dataset::new(classes, height, width, pixels, (0..n).map(|i| (i % 7) as u16).collect()))
}

/// Float `(c, y, x)` of picture `i` of a batch.
fn float(batch: &Batch, (h, w): (usize, usize), i: usize, (c, y, x): (usize, usize, usize)) -> f32 {
    batch.parts[i / LANES][((c * h + y) * w + x) * LANES + i % LANES]
}

/// Picture `i` moved and mirrored, from the definition.
fn view(dataset: &Dataset, i: usize, (down, right): (isize, isize), flip: bool) -> Vec<u32> {
    let (h, w) = (dataset.height(), dataset.width());
    let mut floats = Vec::new();
    for c in 0..3 {
        for y in 0..h as isize {
            for x in 0..w as isize {
                let x = if flip { w as isize - 1 - x } else { x };
                let (y, x) = (y + down, x + right);
                let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&x);
                floats.push(if inside {
                    let value = dataset.picture(i)[(c * h + y as usize) * w + x as usize];
                    let value = f64::from(value) * (1.0 / 255.0);
                    ((value - NORMALISE.mean[c]) / NORMALISE.std[c]) as f32
                } else {
                    0.0
                });
            }
        }
    }
    floats.into_iter().map(f32::to_bits).collect()
}

/// Picture `i` of a batch as `[c][h][w]`.
fn taken(batch: &Batch, (h, w): (usize, usize), i: usize) -> Vec<u32> {
    let at = |j: usize| float(batch, (h, w), i, (j / (h * w), j / w % h, j % w)).to_bits();
    (0..3 * h * w).map(at).collect()
}

#[test]
fn in_order_keeps_every_picture() {
    for (n, batch) in [(40, 32), (40, 7), (40, 64), (32, 16), (1, 1), (0, 16)] {
        let dataset = dataset(n, 3, 5);
        let batches = batches::in_order(dataset.clone(), NORMALISE, batch);
        assert_eq!(batches.len(), n.div_ceil(batch));
        let batches: Vec<_> = batches.collect();
        assert_eq!(batches.len(), n.div_ceil(batch));
        for (b, found) in batches.iter().enumerate() {
            let pictures = batch.min(n - b * batch);
            assert_eq!(found.labels.len(), pictures);
            assert_eq!(found.parts.len(), pictures.div_ceil(LANES));
            for i in 0..found.parts.len() * LANES {
                assert_eq!(found.parts[i / LANES].len(), 3 * 3 * 5 * LANES);
                if i < pictures {
                    assert_eq!(usize::from(found.labels[i]), dataset.label(b * batch + i));
                    assert_eq!(taken(found, (3, 5), i), view(&dataset, b * batch + i, (0, 0), false));
                } else {
                    assert!(taken(found, (3, 5), i).iter().all(|&bits| bits == 0), "an unused lane is zeros");
                }
            }
        }
    }
}

#[test]
fn an_epoch_takes_each_picture_once() {
    let dataset = dataset(100, 4, 4);
    let epoch = |n| batches::epoch(dataset.clone(), NORMALISE, Augment::none(), 32, 3, n).collect::<Vec<_>>();
    let mut ever = [false; 100];
    let mut orders = Vec::new();
    for n in 0..30 {
        let batches = epoch(n);
        assert_eq!(batches.len(), 3);
        let mut order = Vec::new();
        for batch in &batches {
            assert_eq!((batch.parts.len(), batch.labels.len()), (2, 32));
            for i in 0..32 {
                let found = taken(batch, (4, 4), i);
                let picture = (0..100).find(|&j| view(&dataset, j, (0, 0), false) == found).unwrap();
                assert_eq!(usize::from(batch.labels[i]), dataset.label(picture));
                ever[picture] = true;
                order.push(picture);
            }
        }
        orders.push(order.clone());
        order.sort_unstable();
        order.dedup();
        assert_eq!(order.len(), 96, "no picture twice");
    }
    orders.sort_unstable();
    orders.dedup();
    assert_eq!(orders.len(), 30, "another order each epoch");
    assert_eq!(ever, [true; 100], "nobody misses out");
}

#[test]
fn augmented_pictures_are_moved_and_mirrored() {
    let size @ (h, w) = (5, 6);
    let dataset = dataset(64, h, w);
    for augment in [
        Augment { crop: 2, flip: true, cutout: 0 },
        Augment { crop: 2, flip: false, cutout: 0 },
        Augment { crop: 0, flip: true, cutout: 0 },
        // More than there is of a picture.
        Augment { crop: 9, flip: true, cutout: 0 },
    ] {
        let crop = augment.crop as isize;
        let (mut shifts, mut flips, mut pictures) = (Vec::new(), 0, 0);
        let epochs = if crop == 9 { 2 } else { 6 };
        for batch in (0..epochs).flat_map(|n| batches::epoch(dataset.clone(), NORMALISE, augment, 32, 1, n)) {
            for i in 0..32 {
                let found = taken(&batch, size, i);
                let label = usize::from(batch.labels[i]);
                let views = (0..64).filter(|&j| dataset.label(j) == label).flat_map(|j| {
                    let shifts = (-crop..=crop).flat_map(move |y| (-crop..=crop).map(move |x| (y, x)));
                    shifts.flat_map(move |shift| [false, true].map(|flip| (j, shift, flip)))
                });
                let (_, shift, flip) = { views }
                    .find(|&(j, shift, flip)| view(&dataset, j, shift, flip) == found)
                    .expect("a view of a picture of this class");
                shifts.push(shift);
                flips += usize::from(flip);
                pictures += 1;
            }
        }
        if crop <= 2 {
            shifts.sort_unstable();
            shifts.dedup();
            assert_eq!(shifts.len(), (2 * augment.crop + 1).pow(2), "every shift happens");
            let share = flips as f64 / f64::from(pictures);
            assert_eq!((0.4..0.6).contains(&share), augment.flip, "{share}");
            assert_eq!(flips == 0, !augment.flip);
        }
    }
}

/// The rest of a picture is as without; the squares are everywhere, whole in the middle.
#[test]
fn squares_are_cut_out() {
    let size @ (h, w) = (6, 7);
    let dataset = dataset(64, h, w);
    for side in [1, 2, 3, 6] {
        let (mut holes, mut largest) = (Vec::new(), 0);
        let augment = Augment { cutout: side, ..Augment::none() };
        for batch in (0..40).flat_map(|n| batches::epoch(dataset.clone(), NORMALISE, augment, 32, 1, n)) {
            for i in 0..32 {
                let found = taken(&batch, size, i);
                let is_hole = |at: usize| (0..3).all(|c| found[c * h * w + at] == 0);
                let hole: Vec<usize> = (0..h * w).filter(|&at| is_hole(at)).collect();
                let label = usize::from(batch.labels[i]);
                let rest = |j: usize| {
                    let whole = view(&dataset, j, (0, 0), false);
                    (0..3 * h * w).all(|at| hole.contains(&(at % (h * w))) || whole[at] == found[at])
                };
                assert!((0..64).any(|j| dataset.label(j) == label && rest(j)), "a picture of this class with a hole");
                let (first, last) = (hole[0], hole[hole.len() - 1]);
                let (rows, columns) = (last / w - first / w + 1, last % w - first % w + 1);
                assert_eq!(hole.len(), rows * columns, "a rectangle");
                assert!(
                    (side.div_ceil(2)..=side).contains(&rows) && (side.div_ceil(2)..=side).contains(&columns),
                    "{side}: {rows}x{columns}"
                );
                largest = largest.max(hole.len());
                holes.extend(hole);
            }
        }
        holes.sort_unstable();
        holes.dedup();
        assert_eq!(holes.len(), h * w, "every pixel is cut out at some time");
        assert_eq!(largest, side * side, "whole squares");
    }
}

#[test]
fn an_epoch_can_be_repeated() {
    let dataset = dataset(64, 4, 4);
    let augment = Augment { crop: 1, flip: true, cutout: 2 };
    let all = |seed, epoch| batches::epoch(dataset.clone(), NORMALISE, augment, 16, seed, epoch).collect::<Vec<_>>();
    let first = all(5, 1);
    assert_eq!(first, all(5, 1));
    for (seed, epoch) in [(5, 0), (5, 2), (4, 1), (6, 1), (1, 5), (5 + (1 << 40), 1), (5, 1 + (1 << 40))] {
        assert_ne!(first, all(seed, epoch), "{seed} {epoch}");
    }
}

#[test]
fn batches_that_are_dropped_early_end_their_thread() {
    let dataset = dataset(1_600, 4, 4);
    let mut batches = batches::epoch(dataset.clone(), NORMALISE, Augment::none(), 16, 0, 0);
    assert_eq!(batches.len(), 100);
    assert!(batches.next().is_some());
    assert_eq!(batches.len(), 99);
    drop(batches);
    drop(batches::in_order(dataset.clone(), NORMALISE, 16));
    assert_eq!(Arc::strong_count(&dataset), 1, "no thread holds the pictures");
}

#[test]
fn fewer_pictures_than_a_batch() {
    let mut batches = batches::epoch(dataset(15, 2, 2), NORMALISE, Augment::none(), 16, 0, 0);
    assert_eq!(batches.len(), 0);
    assert!(batches.next().is_none());
}

#[test]
#[should_panic(expected = "found a batch of 24, expected a positive multiple of 16")]
fn batches_of_half_parts() {
    let _ = batches::epoch(dataset(32, 2, 2), NORMALISE, Augment::none(), 24, 0, 0);
}
