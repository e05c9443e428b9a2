//! A picture file to the floats of an input: decoded within limits, turned upright, fitted, normalised.
//!
//! The format is told by the content, never by the name. Sixteen-bit and float samples are brought to eight bits and alpha is dropped, as most training
//! pipelines do (Pillow's `convert("RGB")`); luma is that of ITU-R BT.601, as theirs. An animation gives its first frame.

use flgc::model::graph::{Channels, Fit, Image};
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
    imageops::{self, FilterType},
    metadata::Orientation,
};
use std::{
    fs::File,
    io::{self, Cursor, Read},
    panic,
    path::Path,
};

/// Most pixels of a side.
const MAX_SIDE: u32 = 65_535;
/// Most bytes of a file, and of its pixels.
const MAX_BYTES: u64 = 512 << 20;

/// Why a file gives no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// It can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nothing is in it.
    #[error("found an empty file, expected a picture")]
    Empty,
    /// It does not begin like a picture of a known format.
    #[error("found no picture, expected JPEG, PNG, BMP, GIF, PNM, TIFF or WebP")]
    Unknown,
    /// The file is too large.
    #[error("found more than {MAX_BYTES} bytes, expected at most that for a picture")]
    TooLong,
    /// A side or the pixels are too large.
    #[error("found {width}x{height} pixels in {bytes} bytes, expected at most {MAX_SIDE} a side and {MAX_BYTES} bytes")]
    TooLarge {
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes of the decoded picture.
        bytes: u64,
    },
    /// The decoder would need too much memory.
    #[error(
        "found a picture that takes more memory to decode, expected at most {MAX_SIDE} pixels a side and {MAX_BYTES} bytes"
    )]
    Limits,
    /// There are no pixels.
    #[error("found {width}x{height} pixels, expected at least one")]
    NoPixels {
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The file ends before the picture does.
    #[error("found the end of the file, expected the rest of the picture: it is cut short")]
    CutShort,
    /// The decoder refuses it.
    #[error("{0}")]
    Decode(String),
    /// The decoder fails where it should not.
    #[error("the decoder failed; the file is probably damaged")]
    Panic,
}

impl From<ImageError> for PictureError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::Limits,
            ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::CutShort,
            // Some messages end with an empty line.
            _ => Self::Decode(error.to_string().trim_end().to_owned()),
        }
    }
}

/// Turns pictures into inputs.
#[derive(Debug)]
pub struct Preparer {
    height: u32,
    width: u32,
    fit: Fit,
    /// With [`Fit::Crop`], what the shorter side is brought to.
    resize: Option<u32>,
    channels: Channels,
    /// The float of each pixel value, for each channel.
    floats: Vec<[f32; 256]>,
}

impl Preparer {
    /// For inputs of `height` x `width` pixels, prepared as `image` says. `None` if they are larger than a picture can be.
    #[must_use]
    pub fn new(image: &Image, height: usize, width: usize) -> Option<Self> {
        let side = |pixels| u32::try_from(pixels).ok().filter(|&pixels| pixels <= MAX_SIDE);
        let table = |channel: usize| {
            let mean = image.mean.get(channel).copied().unwrap_or(0.0);
            let std = image.std.get(channel).copied().unwrap_or(1.0);
            std::array::from_fn(|value| ((value as f64 * image.scale - mean) / std) as f32)
        };
        let floats = (0..image.channels.count()).map(table).collect();
        Some(Self {
            height: side(height)?,
            width: side(width)?,
            fit: image.fit,
            resize: image.resize.map(|pixels| pixels.min(MAX_SIDE as usize) as u32),
            channels: image.channels,
            floats,
        })
    }

    /// Reads the picture at `path` and writes the input, `[c][h][w]`, to `input`.
    ///
    /// # Errors
    /// If it is no picture, or one that is damaged or too large.
    pub fn prepare(&self, path: &Path, input: &mut Vec<f32>) -> Result<(), PictureError> {
        let picture = load(path)?;
        self.normalise(&self.fit(picture), input);
        Ok(())
    }

    /// Brings a picture to the size of the input.
    fn fit(&self, picture: RgbImage) -> RgbImage {
        let (width, height) = (self.width, self.height);
        if picture.dimensions() == (width, height) && self.resize.is_none() {
            return picture;
        }
        match self.fit {
            Fit::Stretch => resize(&picture, width, height),
            Fit::Crop => {
                // Cutting first gives the same picture, but never one that is larger than both.
                let (w, h) = match self.resize {
                    None => inside(picture.dimensions(), (width, height)),
                    Some(side) => middle(picture.dimensions(), (width, height), side),
                };
                let (x, y) = ((picture.width() - w) / 2, (picture.height() - h) / 2);
                resize(&imageops::crop_imm(&picture, x, y, w, h).to_image(), width, height)
            }
            Fit::Pad => {
                let (w, h) = inside((width, height), picture.dimensions());
                let mut canvas = RgbImage::new(width, height);
                imageops::replace(
                    &mut canvas,
                    &resize(&picture, w, h),
                    ((width - w) / 2).into(),
                    ((height - h) / 2).into(),
                );
                canvas
            }
        }
    }

    fn normalise(&self, picture: &RgbImage, input: &mut Vec<f32>) {
        input.clear();
        let order: &[usize] = match self.channels {
            Channels::Rgb => &[0, 1, 2],
            Channels::Bgr => &[2, 1, 0],
            Channels::Grey => {
                input.extend(picture.pixels().map(|pixel| self.floats[0][usize::from(luma(pixel.0))]));
                return;
            }
        };
        for (floats, &channel) in self.floats.iter().zip(order) {
            input.extend(picture.pixels().map(|pixel| floats[usize::from(pixel[channel])]));
        }
    }
}

/// Luma of ITU-R BT.601, rounded; that of a grey pixel is the pixel itself.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

/// The largest size inside `outer` with the ratio of sides of `ratio`, rounded, at least one pixel a side.
fn inside(outer: (u32, u32), ratio: (u32, u32)) -> (u32, u32) {
    let scaled = |side: u32, numerator: u32, denominator: u32, max: u32| {
        let exact = f64::from(side) * f64::from(numerator) / f64::from(denominator);
        (exact.round() as u32).clamp(1, max)
    };
    if u64::from(outer.0) * u64::from(ratio.1) > u64::from(outer.1) * u64::from(ratio.0) {
        (scaled(outer.1, ratio.0, ratio.1, outer.0), outer.1)
    } else {
        (outer.0, scaled(outer.0, ratio.1, ratio.0, outer.1))
    }
}

/// The part of a picture of size `outer` that is `size` once the shorter side has `side` pixels; rounded, at least one pixel a side.
fn middle(outer: (u32, u32), size: (u32, u32), side: u32) -> (u32, u32) {
    let scale = f64::from(outer.0.min(outer.1)) / f64::from(side);
    let scaled = |pixels: u32, max: u32| ((f64::from(pixels) * scale).round() as u32).clamp(1, max);
    (scaled(size.0, outer.0), scaled(size.1, outer.1))
}

/// Linear interpolation, widened when it shrinks, so that every pixel counts.
fn resize(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    imageops::resize(picture, width, height, FilterType::Triangle)
}

/// The picture at `path`, turned as it says, in eight bits.
///
/// # Errors
/// If it is no picture, or one that is damaged or too large.
pub fn load(path: &Path) -> Result<RgbImage, PictureError> {
    let bytes = read(path)?;
    // Decoders are other people's code on hostile data: one that panics must not take the other pictures along.
    panic::catch_unwind(|| decode(&bytes)).unwrap_or(Err(PictureError::Panic))
}

/// The bytes of the file at `path`, which may be a pipe.
fn read(path: &Path) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        0 => Err(PictureError::Empty),
        length if length > MAX_BYTES => Err(PictureError::TooLong),
        _ => Ok(bytes),
    }
}

/// Decodes a picture and turns it as it says.
fn decode(bytes: &[u8]) -> Result<RgbImage, PictureError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let Some(format) = reader.format() else { return Err(PictureError::Unknown) };
    // What decoders may take beside the pixels, which are limited below.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let ((width, height), bytes_decoded) = (decoder.dimensions(), decoder.total_bytes());
    if width == 0 || height == 0 {
        return Err(PictureError::NoPixels { width, height });
    }
    if width > MAX_SIDE || height > MAX_SIDE || bytes_decoded > MAX_BYTES {
        return Err(PictureError::TooLarge { width, height, bytes: bytes_decoded });
    }
    // The decoder would fill what is missing with grey, and that would be classified.
    if format == ImageFormat::Jpeg && !is_whole_jpeg(bytes) {
        return Err(PictureError::CutShort);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

/// Whether the marker that ends a JPEG picture is there. Segments are skipped by their lengths: a preview inside one has an end of its own.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    const END: u8 = 0xD9;
    let mut at = 2;
    loop {
        // The next marker, over entropy-coded data: there, 0xFF is followed by 0, by a restart marker or by another 0xFF.
        let marker = loop {
            match bytes.get(at..at + 2) {
                Some(&[0xFF, marker]) if !matches!(marker, 0 | 0x01 | 0xD0..=0xD7 | 0xFF) => break marker,
                Some(_) => at += 1,
                None => return false,
            }
        };
        if marker == END {
            return true;
        }
        let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn spec(channels: Channels, fit: Fit) -> Image {
        Image { channels, scale: 1.0, mean: Vec::new(), std: Vec::new(), fit, resize: None }
    }

    fn pixels(image: &Image, (height, width): (usize, usize), picture: &RgbImage) -> Vec<f32> {
        let preparer = Preparer::new(image, height, width).unwrap();
        let mut input = Vec::new();
        preparer.normalise(&preparer.fit(picture.clone()), &mut input);
        input
    }

    #[test]
    fn channels_and_normalisation() {
        let picture = RgbImage::from_fn(2, 1, |x, _| if x == 0 { Rgb([255, 128, 0]) } else { Rgb([1, 2, 3]) });
        assert_eq!(pixels(&spec(Channels::Rgb, Fit::Stretch), (1, 2), &picture), [255.0, 1.0, 128.0, 2.0, 0.0, 3.0]);
        assert_eq!(pixels(&spec(Channels::Bgr, Fit::Stretch), (1, 2), &picture), [0.0, 3.0, 128.0, 2.0, 255.0, 1.0]);
        assert_eq!(pixels(&spec(Channels::Grey, Fit::Stretch), (1, 2), &picture), [151.0, 2.0]);
        for grey in 0..=255 {
            assert_eq!(luma([grey; 3]), grey);
        }
        let mean_std = Image {
            scale: 1.0 / 255.0,
            mean: vec![0.5, 0.25, 0.0],
            std: vec![0.5, 1.0, 2.0],
            ..spec(Channels::Rgb, Fit::Stretch)
        };
        let found = pixels(&mean_std, (1, 2), &picture);
        let expected = [1.0, (1.0 / 255.0 - 0.5) / 0.5, 128.0 / 255.0 - 0.25, 2.0 / 255.0 - 0.25, 0.0, 3.0 / 510.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }

    /// Three columns: red, green, blue.
    fn columns() -> RgbImage {
        RgbImage::from_fn(90, 30, |x, _| match x {
            0..30 => Rgb([200, 0, 0]),
            30..60 => Rgb([0, 200, 0]),
            _ => Rgb([0, 0, 200]),
        })
    }

    #[test]
    fn fits() {
        let at = |fit, x: usize, y: usize| {
            let input = pixels(&spec(Channels::Rgb, fit), (30, 30), &columns());
            [0, 1, 2].map(|c| input[(c * 30 + y) * 30 + x])
        };
        let (red, green, blue) = ([200.0, 0.0, 0.0], [0.0, 200.0, 0.0], [0.0, 0.0, 200.0]);
        assert_eq!([at(Fit::Stretch, 2, 0), at(Fit::Stretch, 15, 29), at(Fit::Stretch, 27, 15)], [red, green, blue]);
        assert_eq!([at(Fit::Crop, 0, 0), at(Fit::Crop, 15, 15), at(Fit::Crop, 29, 29)], [green; 3]);
        assert_eq!([at(Fit::Pad, 2, 15), at(Fit::Pad, 15, 15), at(Fit::Pad, 27, 15)], [red, green, blue]);
        assert_eq!([at(Fit::Pad, 15, 9), at(Fit::Pad, 15, 20)], [[0.0; 3]; 2]);
        assert_eq!([at(Fit::Pad, 15, 10), at(Fit::Pad, 15, 19)], [green; 2]);
    }

    #[test]
    fn sizes_inside_sizes() {
        assert_eq!(inside((90, 30), (30, 30)), (30, 30));
        assert_eq!(inside((30, 30), (90, 30)), (30, 10));
        assert_eq!(inside((30, 90), (2, 3)), (30, 45));
        assert_eq!(inside((65_535, 1), (1, 224)), (1, 1));
        assert_eq!(inside((224, 224), (65_535, 1)), (224, 1));
        assert_eq!(inside((5, 5), (7, 7)), (5, 5));
    }

    #[test]
    fn crops_of_a_larger_size_leave_the_border_out() {
        // The columns become 135x45 pixels; the middle 30x30 of those is 20x20 of theirs.
        let image = Image { resize: Some(45), ..spec(Channels::Rgb, Fit::Crop) };
        let input = pixels(&image, (30, 30), &columns());
        let red_and_blue = |x: usize| [input[15 * 30 + x], input[(60 + 15) * 30 + x]];
        assert_eq!([red_and_blue(0), red_and_blue(29)], [[0.0; 2]; 2], "only the green column is as wide");
        assert_eq!(middle((90, 30), (30, 30), 45), (20, 20));
        assert_eq!(middle((640, 480), (224, 224), 256), (420, 420));
        assert_eq!(middle((3, 2), (224, 224), 60_000), (1, 1));
        // A picture of the input's size is cut, too.
        let edge = RgbImage::from_fn(30, 30, |x, _| if x == 0 { Rgb([9, 9, 9]) } else { Rgb([1, 1, 1]) });
        assert_eq!(pixels(&Image { resize: Some(40), ..spec(Channels::Grey, Fit::Crop) }, (30, 30), &edge), [1.0; 900]);
    }

    #[test]
    fn extreme_ratios_stay_small() {
        let line = RgbImage::new(60_000, 1);
        for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
            assert_eq!(pixels(&spec(Channels::Grey, fit), (32, 32), &line).len(), 32 * 32);
        }
    }

    #[test]
    fn jpegs_without_their_end_are_cut_short() {
        let mut bytes = Vec::new();
        columns().write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg).unwrap();
        assert!(decode(&bytes).is_ok());
        for length in 3..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
            assert!(!is_whole_jpeg(&bytes[..length]), "{length}");
        }
        bytes.extend([0; 100]);
        assert!(decode(&bytes).is_ok(), "trailing bytes do no harm");
    }

    #[test]
    fn damaged_pictures_never_panic() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff] {
            let mut bytes = Vec::new();
            columns().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
            for at in (0..bytes.len()).step_by(bytes.len().div_ceil(200)) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                let _ = decode(&damaged);
            }
        }
    }
}
