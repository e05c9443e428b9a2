//! A picture file to its pixels, prepared as `flgc-run` does: the format is told by the content, and EXIF says which way is up.

use super::by;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, metadata::Orientation,
};
use std::{
    fs::{self, File},
    io::{self, Cursor, Read},
    panic,
    path::Path,
};

/// Most bytes of a file, and of its pixels.
const MAX_BYTES: u64 = 512 << 20;

/// Height and width of the picture at `path`.
pub(super) fn size(path: &Path) -> Result<(usize, usize), String> {
    let bytes = read(path)?;
    guarded(|| Ok(open(&bytes)?.size()))
}

/// The picture at `path`, of height and width `size`.
pub(super) fn decode(path: &Path, size: (usize, usize)) -> Result<RgbImage, String> {
    let bytes = read(path)?;
    guarded(|| {
        let opened = open(&bytes)?;
        match opened.size() {
            found if found == size => opened.decode(),
            found => Err(format!("found {} pixels, expected {}", by(found), by(size))),
        }
    })
}

/// Decoders are other people's code on hostile data: one that panics must not take the training along.
fn guarded<T>(decode: impl FnOnce() -> Result<T, String> + panic::UnwindSafe) -> Result<T, String> {
    panic::catch_unwind(decode).unwrap_or_else(|_| Err("the decoder failed; the file is probably damaged".to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let text = |error: io::Error| error.to_string();
    // Opening a pipe would wait for somebody who writes to it.
    if !fs::metadata(path).map_err(text)?.is_file() {
        return Err("found no regular file, expected a picture".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(text)?;
    match bytes.len() as u64 {
        0 => Err("found an empty file, expected a picture".to_owned()),
        length if length > MAX_BYTES => Err(format!("found more than {MAX_BYTES} bytes, expected at most that")),
        _ => Ok(bytes),
    }
}

/// A picture whose header is read.
struct Opened<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    orientation: Orientation,
    is_whole: bool,
}

fn open(bytes: &[u8]) -> Result<Opened<'_>, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let Some(format) = reader.format() else {
        return Err("found no picture, expected JPEG, PNG, BMP, GIF, PNM, TIFF or WebP".to_owned());
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(message)?;
    let ((width, height), bytes_decoded) = (decoder.dimensions(), decoder.total_bytes());
    if width == 0 || height == 0 || bytes_decoded > MAX_BYTES {
        return Err(format!("found {width}x{height} pixels, expected at least one and at most {MAX_BYTES} bytes"));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    // The decoder would fill what is missing with grey, and that would be learned.
    let is_whole = format != ImageFormat::Jpeg || is_whole_jpeg(bytes);
    Ok(Opened { decoder: Box::new(decoder), orientation, is_whole })
}

impl Opened<'_> {
    /// Height and width of the upright picture.
    fn size(&self) -> (usize, usize) {
        use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        let (width, height) = self.decoder.dimensions();
        match self.orientation {
            Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (width as usize, height as usize),
            _ => (height as usize, width as usize),
        }
    }

    fn decode(self) -> Result<RgbImage, String> {
        if !self.is_whole {
            return Err("found the end of the file, expected the rest of the picture: it is cut short".to_owned());
        }
        let mut picture = DynamicImage::from_decoder(self.decoder).map_err(message)?;
        picture.apply_orientation(self.orientation);
        Ok(picture.into_rgb8())
    }
}

fn message(error: ImageError) -> String {
    match error {
        ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "found the end of the file, expected the rest of the picture: it is cut short".to_owned()
        }
        // Some messages end with an empty line.
        _ => error.to_string().trim_end().to_owned(),
    }
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
    use image::{ImageEncoder, Rgb, codecs::png::PngEncoder};

    #[test]
    fn pictures_are_turned_upright() {
        // TIFF header and one entry: orientation 6, a quarter turn clockwise.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let picture = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 0]));
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut encoder = PngEncoder::new(file.as_file());
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        picture.write_with_encoder(encoder).unwrap();
        assert_eq!(size(file.path()), Ok((3, 2)));
        assert_eq!(decode(file.path(), (3, 2)), Ok(image::imageops::rotate90(&picture)));
        assert_eq!(decode(file.path(), (2, 3)), Err("found 2x3 pixels, expected 3x2".to_owned()));
    }

    #[test]
    fn a_decoder_that_panics_is_an_error() {
        let found: Result<(), _> = guarded(|| panic!("a bug of the decoder"));
        assert!(found.unwrap_err().contains("probably damaged"));
    }
}
