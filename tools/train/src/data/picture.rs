//! A picture file to its pixels, prepared as `flgc-run` does: the format is told by the content, and EXIF says which way is up.

use super::by;
use flgc_run::picture::load;
use image::RgbImage;
use std::{fs, path::Path};

/// Height and width of the picture at `path`.
pub(super) fn size(path: &Path) -> Result<(usize, usize), String> {
    let picture = regular(path)?;
    Ok((picture.height() as usize, picture.width() as usize))
}

/// The picture at `path`, of height and width `size`.
pub(super) fn decode(path: &Path, size: (usize, usize)) -> Result<RgbImage, String> {
    let picture = regular(path)?;
    let found = (picture.height() as usize, picture.width() as usize);
    if found == size { Ok(picture) } else { Err(format!("found {} pixels, expected {}", by(found), by(size))) }
}

fn regular(path: &Path) -> Result<RgbImage, String> {
    // Opening a pipe would wait for somebody who writes to it.
    if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("found no regular file, expected a picture".to_owned());
    }
    load(path).map_err(|error| error.to_string())
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
}
