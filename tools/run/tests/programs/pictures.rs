//! Pictures of all kinds, good and bad.

use super::*;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, metadata::Orientation};
use std::{fs, io::Cursor};

/// The best class and its probability for each of `paths`, which must all be read.
#[track_caller]
fn best(paths: &[PathBuf]) -> Vec<(String, f64)> {
    let mut args = vec![PathBuf::from("--format=json")];
    args.extend_from_slice(paths);
    let ran = run_reference(&args);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let best = |line: &Value| {
        (line["top"][0]["label"].as_str().unwrap().to_owned(), line["top"][0]["probability"].as_f64().unwrap())
    };
    let lines = json_lines(&ran.stdout);
    assert_eq!(lines.len(), paths.len());
    lines.iter().map(best).collect()
}

#[test]
fn samples_get_the_labels_that_onnx_runtime_gives() {
    // ONNX Runtime 1.32 on the same files, decoded by libjpeg.
    let expected = [
        ("airplane/0000.jpg", "airplane", 0.9822),
        ("automobile/0001.jpg", "truck", 0.7523),
        ("bird/0005.jpg", "bird", 0.9982),
        ("cat/0003.jpg", "cat", 0.7869),
        ("dog/0001.jpg", "dog", 0.9716),
        ("frog/0003.jpg", "frog", 0.9993),
        ("horse/0000.jpg", "horse", 0.8162),
        ("ship/0000.jpg", "ship", 0.9898),
        ("truck/0002.jpg", "truck", 0.9998),
    ];
    let found = best(&expected.map(|(name, ..)| sample(name)));
    for ((name, label, probability), (found_label, found_probability)) in expected.into_iter().zip(found) {
        assert_eq!(label, found_label, "{name}");
        assert!((probability - found_probability).abs() < 0.02, "{name}: {found_probability}");
    }
}

/// A picture with something in it.
fn ship() -> RgbImage {
    image::open(sample("ship/0000.jpg")).unwrap().into_rgb8()
}

#[test]
fn every_format_gives_the_same_answer() {
    let folder = folder();
    let ship = DynamicImage::from(ship());
    let mut paths = vec![folder.path().join("a.png")];
    ship.save(&paths[0]).unwrap();
    for extension in ["bmp", "tiff", "webp", "ppm"] {
        paths.push(folder.path().join("a").with_extension(extension));
        ship.save(paths.last().unwrap()).unwrap();
    }
    // The content tells the format.
    paths.push(folder.path().join("png-by-content.jpg"));
    fs::copy(&paths[0], paths.last().unwrap()).unwrap();
    // 16 bits.
    paths.push(folder.path().join("16.png"));
    DynamicImage::from(ship.to_rgb16()).save(paths.last().unwrap()).unwrap();
    // Alpha is dropped.
    let mut alpha = ship.to_rgba8();
    for (x, y, pixel) in alpha.enumerate_pixels_mut() {
        pixel[3] = ((x * 8) ^ y) as u8;
    }
    paths.push(folder.path().join("alpha.png"));
    DynamicImage::from(alpha.clone()).save(paths.last().unwrap()).unwrap();
    paths.push(folder.path().join("alpha16.png"));
    DynamicImage::from(DynamicImage::from(alpha).to_rgba16()).save(paths.last().unwrap()).unwrap();
    let found = best(&paths);
    for (path, answer) in paths.iter().zip(&found) {
        assert_eq!(answer, &found[0], "{}", path.display());
    }
}

#[test]
fn grey_is_grey() {
    let folder = folder();
    let grey = DynamicImage::from(ship()).to_luma8();
    let spread = RgbImage::from_fn(32, 32, |x, y| Rgb([grey.get_pixel(x, y)[0]; 3]));
    let paths = ["rgb.png", "8.png", "16.png", "alpha.png", "alpha.tiff", "8.pgm"].map(|name| folder.path().join(name));
    spread.save(&paths[0]).unwrap();
    let grey = DynamicImage::from(grey);
    grey.save(&paths[1]).unwrap();
    DynamicImage::from(grey.to_luma16()).save(&paths[2]).unwrap();
    DynamicImage::from(grey.to_luma_alpha8()).save(&paths[3]).unwrap();
    DynamicImage::from(grey.to_rgba8()).save(&paths[4]).unwrap();
    grey.save(&paths[5]).unwrap();
    let found = best(&paths);
    assert!(found.iter().all(|answer| answer == &found[0]), "{found:?}");
}

#[test]
fn an_animation_gives_its_first_frame() {
    let folder = folder();
    let [still, moving] = ["still.png", "moving.gif"].map(|name| folder.path().join(name));
    let colour = |rgba| image::RgbaImage::from_pixel(32, 32, image::Rgba(rgba));
    let mut encoder = image::codecs::gif::GifEncoder::new(fs::File::create(&moving).unwrap());
    encoder.encode_frames([colour([255, 0, 0, 255]), colour([0, 0, 255, 255])].map(image::Frame::new)).unwrap();
    drop(encoder);
    colour([255, 0, 0, 255]).save(&still).unwrap();
    let found = best(&[still, moving]);
    assert_eq!(found[0], found[1]);
}

#[test]
fn cmyk_and_progressive_jpegs() {
    let found = best(&[sample("ship/0000.jpg"), fixture("ship-cmyk.jpg"), fixture("ship-progressive.jpg")]);
    for (label, probability) in &found {
        assert_eq!(label, "ship");
        assert!((probability - found[0].1).abs() < 0.03, "{found:?}");
    }
}

/// A JPEG with an EXIF segment that gives its orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() + 2) as u16;
    [&jpeg[..2], &[0xFF, 0xE1], &length.to_be_bytes(), &exif, &jpeg[2..]].concat()
}

#[test]
fn pictures_are_turned_as_exif_says() {
    let folder = folder();
    let mut jpeg = Vec::new();
    ship().write_to(&mut Cursor::new(&mut jpeg), ImageFormat::Jpeg).unwrap();
    let decoded = image::load_from_memory(&jpeg).unwrap();
    let (mut turned, mut upright) = (Vec::new(), Vec::new());
    for orientation in 0..=9 {
        turned.push(folder.path().join(format!("{orientation}.jpg")));
        fs::write(turned.last().unwrap(), with_orientation(&jpeg, orientation)).unwrap();
        let mut picture = decoded.clone();
        // 0 and 9 mean nothing.
        picture.apply_orientation(Orientation::from_exif(orientation).unwrap_or(Orientation::NoTransforms));
        upright.push(folder.path().join(format!("{orientation}.png")));
        picture.save(upright.last().unwrap()).unwrap();
    }
    let (turned, upright) = (best(&turned), best(&upright));
    assert_eq!(turned, upright);
    assert_ne!(upright[1], upright[6], "turning changes something");
}

#[test]
fn other_sizes_are_fitted() {
    let folder = folder();
    let model = folder.path().join("grey.flgc");
    // Black bars above and below a wide picture, or none.
    for (fit, expected) in [("stretch", 0.9), ("crop", 0.9), ("pad", 0.5)] {
        write_model(&model, |graph| {
            graph["inputs"][0]["image"] = json!({"channels": "bgr", "fit": fit, "mean": [0, 0, 0.5], "std": [1, 1, 2]});
        });
        let picture = folder.path().join("wide.png");
        RgbImage::from_pixel(640, 320, Rgb([255, 0, 0])).save(&picture).unwrap();
        let out = run(&[text(&model), "--format=json", "--top-k=1", text(&picture)]).expect(0);
        let top = &json_lines(&out)[0]["top"];
        // Red is the third channel: (share - 0.5) / 2 against two zeros.
        let score: f64 = if fit == "pad" { 0.0 } else { 0.25 };
        let probability = score.exp() / (score.exp() + 2.0);
        assert!((top[0]["probability"].as_f64().unwrap() - probability).abs() < 1e-5, "{fit}: {top} {expected}");
    }
}

/// PNG, the header only; the rest is not there.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    // CRC-32 of the chunk.
    let crc = !header.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    [
        b"\x89PNG\r\n\x1a\n",
        &13u32.to_be_bytes()[..],
        &header,
        &crc.to_be_bytes(),
        &[0, 0, 0, 0],
        b"IDAT\x35\xaf\x06\x1e",
    ]
    .concat()
}

fn bmp_header(width: i32, height: i32) -> Vec<u8> {
    let mut header = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    header.extend(width.to_le_bytes());
    header.extend(height.to_le_bytes());
    header.extend(b"\x01\0\x18\0");
    header.resize(54, 0);
    header
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    ship().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// Bad pictures: name, bytes, what the message must contain.
fn bad_pictures() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let jpeg = fs::read(sample("cat/0000.jpg")).unwrap();
    let png = encoded(ImageFormat::Png);
    let mut corrupt_png = png.clone();
    corrupt_png[png.len() / 2] ^= 0x55;
    let mut corrupt_jpeg = jpeg.clone();
    corrupt_jpeg[4..40].fill(0xA5);
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    // The size of the screen.
    let gif = |width: u16, height: u16| {
        let mut gif = encoded(ImageFormat::Gif);
        gif[6..8].copy_from_slice(&width.to_le_bytes());
        gif[8..10].copy_from_slice(&height.to_le_bytes());
        gif
    };
    // The size in a lossless picture, less one: 14 bits each.
    let mut webp = encoded(ImageFormat::WebP);
    let signature = webp.windows(4).position(|bytes| bytes == b"VP8L").unwrap() + 8;
    webp[signature + 1..signature + 4].copy_from_slice(&[0xFE, 0xBF, 0xFF]);
    webp[signature + 4] |= 0x0F;
    // The entries of width and height: tag, type, count, value.
    let mut tiff = encoded(ImageFormat::Tiff);
    for tag in [0u16, 1] {
        let entry = [&(256 + tag).to_le_bytes()[..], &4u16.to_le_bytes(), &1u32.to_le_bytes()].concat();
        let at = tiff.windows(8).position(|bytes| bytes == entry).unwrap() + 8;
        tiff[at..at + 4].copy_from_slice(&60_000u32.to_le_bytes());
    }
    vec![
        ("empty.png", Vec::new(), "empty file"),
        ("text.jpg", b"This is not a picture.".to_vec(), "no picture"),
        ("one-byte.png", vec![0x89], "no picture"),
        ("corrupt.png", corrupt_png, "Png"),
        ("corrupt.jpg", corrupt_jpeg, ""),
        ("cut.png", half(&png), "cut short"),
        ("cut.jpg", half(&jpeg), "Jpeg"),
        ("cut-at-the-end.jpg", jpeg[..jpeg.len() - 9].to_vec(), "cut short"),
        ("cut.gif", half(&encoded(ImageFormat::Gif)), ""),
        ("cut.bmp", half(&encoded(ImageFormat::Bmp)), "cut short"),
        ("cut.tiff", half(&encoded(ImageFormat::Tiff)), "cut short"),
        ("cut.webp", half(&encoded(ImageFormat::WebP)), ""),
        ("cut.ppm", half(&encoded(ImageFormat::Pnm)), "cut short"),
        ("zero.png", png_header(0, 10), "dimensions"),
        ("zero.bmp", bmp_header(10, 0), "10x0"),
        ("zero.ppm", b"P6 0 10 255\n".to_vec(), "found 0x10 pixels"),
        ("zero.gif", gif(0, 0), "found 0x0 pixels"),
        ("enormous.png", png_header(100_000, 100_000), "100000x100000"),
        ("enormous-16.png", png_header(65_535, 65_535), "65535x65535"),
        ("largest.png", png_header(i32::MAX as u32, i32::MAX as u32), "at most 65535 pixels a side"),
        ("enormous.bmp", bmp_header(60_000, 60_000), "60000x60000"),
        ("enormous.ppm", b"P6 4000000000 4000000000 255\n".to_vec(), ""),
        ("enormous-2.ppm", b"P6 60000 60000 255\n".to_vec(), "60000x60000"),
        ("enormous.gif", gif(65_535, 65_535), "found 65535x65535 pixels"),
        ("enormous.webp", webp, "found 16383x16383 pixels"),
        ("enormous.tiff", tiff, "Tiff"),
    ]
}

#[test]
fn bad_pictures_fail_alone() {
    let folder = folder();
    let bad = bad_pictures();
    let good = sample("ship/0000.jpg");
    let mut paths = vec![good.clone()];
    for (name, bytes, _) in &bad {
        paths.push(folder.path().join(name));
        fs::write(paths.last().unwrap(), bytes).unwrap();
    }
    paths.extend([folder.path().join("missing.png"), good]);
    for threads in ["--threads=1", "--threads=2"] {
        let mut args = vec![PathBuf::from("--format=json"), threads.into()];
        args.extend_from_slice(&paths);
        let ran = run_reference(&args);
        assert_eq!(ran.status, Some(1), "{ran:?}");
        let lines = json_lines(&ran.stdout);
        assert_eq!(lines.len(), paths.len());
        let notes: Vec<&str> = ran.stderr.lines().collect();
        assert_eq!(notes.len(), paths.len() - 2, "a line for each: {}", ran.stderr);
        for (line, path) in lines.iter().zip(&paths) {
            assert_eq!(line["input"], text(path));
        }
        for (((name, _, part), line), note) in bad.iter().zip(&lines[1..]).zip(&notes) {
            let message = line["error"].as_str().unwrap();
            assert!(message.contains(part) && message.trim() == message, "{name}: {message:?}");
            assert!(!message.is_empty() && note.starts_with("flgc-run: ") && note.contains(name), "{note}");
            assert_eq!(line.as_object().unwrap().len(), 2);
        }
        assert!(lines[lines.len() - 2]["error"].as_str().unwrap().contains("No such file"));
        assert_eq!(lines[0], lines[lines.len() - 1], "the good ones are done");
        assert_eq!(lines[0]["top"][0]["label"], "ship");
    }
}

#[test]
fn a_bad_picture_in_text_is_a_note() {
    let folder = folder();
    let path = folder.path().join("bad.png");
    fs::write(&path, "no").unwrap();
    run_reference(&[&path]).expect_error(1, &["flgc-run: ", text(&path), "found no picture, expected JPEG"]);
}

#[test]
fn all_jpegs_cut_anywhere_are_refused() {
    let folder = folder();
    let jpeg = fs::read(sample("truck/0000.jpg")).unwrap();
    let cuts: Vec<usize> = (1..jpeg.len()).step_by(jpeg.len() / 25).chain([jpeg.len() - 2, jpeg.len() - 1]).collect();
    for cut in &cuts {
        fs::write(folder.path().join(format!("{cut}.jpg")), &jpeg[..*cut]).unwrap();
    }
    let ran = run_reference(&[folder.path()]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), cuts.len());
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_when_it_is_named() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    if !Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        eprintln!("not tested: there is no mkfifo");
        return;
    }
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, fs::read(sample("ship/0000.jpg")).unwrap()).unwrap()
    });
    assert_eq!(best(&[pipe])[0].0, "ship");
    writer.join().unwrap();
}
