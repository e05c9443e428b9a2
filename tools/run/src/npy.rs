//! Tensors as `.npy` files: little-endian f32 in C order.

use crate::file;
use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Elements start at multiples of so many bytes.
const ALIGN: usize = 64;

/// Longest header, in bytes: the limit that `numpy.load` has as well.
const MAX_HEADER: usize = 10_000;

/// A tensor, row-major.
#[derive(Debug, PartialEq)]
pub struct Array {
    /// Its shape, outermost first.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<f32>,
}

/// Why a file gives no tensor.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// It can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something is not what it has to be.
    #[error("found {found}, expected {expected}")]
    Invalid {
        /// The value there.
        found: String,
        /// What it has to be.
        expected: String,
    },
}

fn invalid<T>(found: impl Into<String>, expected: impl Into<String>) -> Result<T, NpyError> {
    Err(NpyError::Invalid { found: found.into(), expected: expected.into() })
}

/// Reads a tensor.
///
/// # Errors
/// If it can't be read or holds something else than little-endian f32 in C order.
pub fn read(path: &Path) -> Result<Array, NpyError> {
    parse(BufReader::new(File::open(path)?))
}

fn parse(mut file: impl Read) -> Result<Array, NpyError> {
    let header = header(&mut file)?;
    let Some(Header { descr, is_fortran, shape }) = std::str::from_utf8(&header).ok().and_then(parse_header) else {
        return invalid("a header that can't be understood", "one as numpy.save writes it");
    };
    if descr != "'<f4'" {
        return invalid(format!("elements of type {descr}"), "'<f4' (array.astype('<f4'))");
    }
    if is_fortran {
        return invalid("Fortran order", "C order (numpy.ascontiguousarray(array))");
    }
    let Some(bytes) = shape.iter().try_fold(4usize, |bytes, &dim| bytes.checked_mul(dim)) else {
        return invalid(format!("shape {shape:?}"), "a tensor that fits into memory");
    };
    // The length in the header is not trusted: memory grows with what is there.
    let mut data = Vec::new();
    file.take(bytes as u64 + 1).read_to_end(&mut data)?;
    if data.len() != bytes {
        let found = if data.len() > bytes { "more".to_owned() } else { data.len().to_string() };
        return invalid(format!("{found} bytes of elements"), format!("{bytes} for shape {shape:?}"));
    }
    let data = data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    Ok(Array { shape, data })
}

/// Reads the text of the header.
fn header(file: &mut impl Read) -> Result<Vec<u8>, NpyError> {
    let mut start = Vec::new();
    file.by_ref().take(8).read_to_end(&mut start)?;
    let length_bytes = match start.strip_prefix(MAGIC) {
        Some([1, _]) => 2,
        Some([2 | 3, _]) => 4,
        Some([major, minor]) => return invalid(format!("version {major}.{minor}"), "1.0, 2.0 or 3.0"),
        _ => return invalid("another kind of file", "a .npy file"),
    };
    let mut length = [0; 4];
    fill(file, &mut length[..length_bytes])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER {
        return invalid(format!("a header of {length} bytes"), format!("at most {MAX_HEADER}"));
    }
    let mut header = vec![0; length];
    fill(file, &mut header)?;
    Ok(header)
}

fn fill(file: &mut impl Read, bytes: &mut [u8]) -> Result<(), NpyError> {
    file.read_exact(bytes).or_else(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("the end of the file", "the rest of its header"),
        _ => Err(error.into()),
    })
}

struct Header<'a> {
    /// The type of the elements, as Python text.
    descr: &'a str,
    is_fortran: bool,
    shape: Vec<usize>,
}

/// A Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse_header(text: &str) -> Option<Header<'_>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let (mut descr, mut is_fortran, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':')?;
        let end = value_end(after);
        let value = after[..end].trim();
        match key.trim() {
            "'descr'" => descr = Some(value),
            "'fortran_order'" => is_fortran = Some(value == "True"),
            "'shape'" => shape = Some(parse_shape(value)?),
            _ => return None,
        }
        rest = after[end..].trim_start_matches(',').trim();
    }
    Some(Header { descr: descr?, is_fortran: is_fortran?, shape: shape? })
}

/// Where a value ends: at the first comma outside brackets.
fn value_end(text: &str) -> usize {
    let mut depth = 0i32;
    let is_end = |char: char| {
        match char {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        char == ',' && depth == 0
    };
    text.find(is_end).unwrap_or(text.len())
}

/// A Python tuple of numbers.
fn parse_shape(text: &str) -> Option<Vec<usize>> {
    let dims = text.strip_prefix('(')?.strip_suffix(')')?.trim();
    let dims = dims.strip_suffix(',').unwrap_or(dims);
    if dims.is_empty() {
        return Some(Vec::new());
    }
    dims.split(',').map(|dim| dim.trim().parse().ok()).collect()
}

/// Writes a tensor as [`file::replace`] does.
///
/// # Errors
/// If it can't be written; a file at `path` is then as it was.
pub fn write(path: &Path, shape: &[usize], data: &[f32]) -> io::Result<()> {
    file::replace(path, &encode(shape, data))
}

fn encode(shape: &[usize], data: &[f32]) -> Vec<u8> {
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    let dims = if shape.len() == 1 { dims.trim_end() } else { dims.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    // Blanks and a line end, so that the elements are aligned; six dimensions are far from the 65,535 bytes that version 1.0 allows.
    let unaligned = MAGIC.len() + 4 + header.len() + 1;
    header += &" ".repeat(unaligned.next_multiple_of(ALIGN) - unaligned);
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn round_trip() {
        let folder = tempfile::tempdir().unwrap();
        for (shape, len) in [(vec![], 1), (vec![3], 3), (vec![2, 0, 3], 0), (vec![2, 3, 4], 24)] {
            let path = folder.path().join("x.npy");
            let data: Vec<f32> = (0..len).map(|i| i as f32 * 0.1 - 1.0).collect();
            write(&path, &shape, &data).unwrap();
            assert_eq!(read(&path).unwrap(), Array { shape, data });
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn npyz_reads_and_writes_the_same() {
        use npyz::WriterBuilder;
        for shape in [vec![], vec![24], vec![2, 3, 4], vec![1, 3, 8, 1]] {
            let data: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32 * 0.1 - 1.0).collect();
            let ours = encode(&shape, &data);
            let file = npyz::NpyFile::new(&ours[..]).unwrap();
            let dims: Vec<u64> = shape.iter().map(|&dim| dim as u64).collect();
            assert_eq!(file.shape(), dims);
            assert_eq!(file.into_vec::<f32>().unwrap(), data);
            let mut theirs = Vec::new();
            let mut writer =
                npyz::WriteOptions::new().default_dtype().shape(&dims).writer(&mut theirs).begin_nd().unwrap();
            writer.extend(&data).unwrap();
            writer.finish().unwrap();
            assert_eq!(parse(&theirs[..]).unwrap(), Array { shape, data });
        }
    }

    #[test]
    fn other_files_are_refused() {
        let cases = [
            (Vec::new(), "another kind of file"),
            (b"\x93NUMPY\x04\x00".to_vec(), "version 4.0"),
            (b"\x93NUMPY\x01\x00\xff".to_vec(), "end of the file"),
            (with_header("{'descr': '<f4', 'fortran_order': False, }", &[]), "header that can't be understood"),
            (
                with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", &[]),
                "header that can't be understood",
            ),
            (
                with_header(
                    "{'descr': [('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape': (1,), }",
                    &[0; 8],
                ),
                "[('a', '<f4'), ('b', '<f4')]",
            ),
            (b"\x93NUMPY".to_vec(), "another kind of file"),
            (b"PK\x03\x04 a zip file".to_vec(), "another kind of file"),
            (with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", &[0; 8]), "'<f8'"),
            (with_header("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]), "'>f4'"),
            (with_header("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }", &[0; 4]), "Fortran order"),
            (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[0; 4]), "found 4 bytes"),
            (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[0; 9]), "more bytes"),
            (
                with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 3), }", &[]),
                "shape",
            ),
            (with_header(&"(".repeat(MAX_HEADER), &[]), "header that can't be understood"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec(), "header of 4294967295 bytes"),
        ];
        for (file, expected) in cases {
            let error = parse(&file[..]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} / {expected}");
            assert!(error.len() < 200);
        }
        // A length that is not there asks for no memory.
        let lie = with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", &[]);
        assert!(parse(&lie[..]).unwrap_err().to_string().contains("found 0 bytes"));
    }
}
