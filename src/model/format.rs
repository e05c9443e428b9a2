//! The container: a safetensors file with a checksum. Bytes to header and back; knows nothing of graphs.

use super::{
    ModelError,
    graph::MAX_RANK,
    tensor::{DType, TensorInfo},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, collections::BTreeMap, fmt, ops::Range};

/// Most bytes of a header.
pub(super) const MAX_HEADER: usize = 64 << 20;
/// Most tensors of a file.
pub(super) const MAX_TENSORS: usize = 40_000;
/// Longest name, in bytes.
pub(super) const MAX_NAME: usize = 256;
/// Largest dimension: counts stay exact in f32 and products of two fit u64 with room.
pub(super) const MAX_DIM: usize = (1 << 24) - 1;

const LENGTH_BYTES: usize = 8;
const CHECKSUM_DIGITS: &[u8; 8] = b"00000000";

/// A parsed and checked container.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) graph: Cow<'a, str>,
    /// By name; ranges are places in the file.
    pub(super) tensors: BTreeMap<String, TensorInfo>,
}

/// Parses `file` and checks lengths, offsets and the checksum.
pub(super) fn parse(file: &[u8]) -> Result<Container<'_>, ModelError> {
    let Some(length) = file.first_chunk::<LENGTH_BYTES>() else {
        return Err(ModelError::invalid(
            "the file",
            format_args!("{} bytes", file.len()),
            "a .flgc model, which has more than 8",
        ));
    };
    let length = u64::from_le_bytes(*length);
    let rest = file.len() - LENGTH_BYTES;
    let header_len = usize::try_from(length).ok().filter(|&length| length <= rest && length <= MAX_HEADER);
    let Some(header_len) = header_len else {
        let expected = format!(
            "at most {} (the file has {rest} bytes after it; is it cut short, or no .flgc file?)",
            rest.min(MAX_HEADER)
        );
        return Err(ModelError::invalid("the length of the header", length, expected));
    };
    let header_end = LENGTH_BYTES + header_len;
    let text = std::str::from_utf8(&file[LENGTH_BYTES..header_end]).map_err(|error| {
        ModelError::invalid("the header", format_args!("bytes that are not UTF-8 ({error})"), "JSON text")
    })?;
    let header: Header<'_> =
        serde_json::from_str(text).map_err(|source| ModelError::Json { place: "the header", source })?;
    let metadata = header.metadata.ok_or_else(|| {
        ModelError::invalid(
            "the header",
            "no __metadata__",
            "a .flgc model, which has it (is this a plain safetensors file?)",
        )
    })?;
    if metadata.format != "flgc" {
        return Err(ModelError::invalid("format", format_args!("{:?}", metadata.format), "\"flgc\""));
    }
    if metadata.version != "1" {
        let expected = "\"1\", the only version that this reader knows: make the file again, or use a newer flgc";
        return Err(ModelError::invalid("version", format_args!("{:?}", metadata.version), expected));
    }
    check_checksum(file, text, metadata.checksum)?;
    let tensors = check_tensors(header.tensors, file.len(), header_end)?;
    Ok(Container { graph: metadata.graph, tensors })
}

/// Compares the stored checksum with the one of `file` in which its digits, found at `digits` in `header`, read as zeros.
fn check_checksum(file: &[u8], header: &str, digits: &str) -> Result<(), ModelError> {
    let stored = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == CHECKSUM_DIGITS.len());
    let Some(stored) = stored else {
        return Err(ModelError::invalid("checksum", format_args!("{digits:?}"), "eight hex digits"));
    };
    // The digits are a part of the header's text, so the difference of their addresses is their place in it.
    let at = LENGTH_BYTES + (digits.as_ptr().addr() - header.as_ptr().addr());
    let computed = checksum(file, at);
    if stored != computed {
        let expected = format!("{stored:08x}, as stored: the file is damaged, fetch or make it again");
        return Err(ModelError::invalid("the checksum of the file", format_args!("{computed:08x}"), expected));
    }
    Ok(())
}

/// CRC-32C of `file`, the eight digits at `at` read as zeros.
fn checksum(file: &[u8], at: usize) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&file[..at]), CHECKSUM_DIGITS);
    crc32c::crc32c_append(crc, &file[at + CHECKSUM_DIGITS.len()..])
}

/// Checks that the tensors fill the rest of the file without gaps or overlaps, and turns their offsets into places in the file.
fn check_tensors(
    entries: Vec<(String, Entry)>,
    file_len: usize,
    header_end: usize,
) -> Result<BTreeMap<String, TensorInfo>, ModelError> {
    let data_len = file_len - header_end;
    let mut ranges: Vec<(usize, usize, u32)> = Vec::with_capacity(entries.len());
    for (index, (name, entry)) in entries.iter().enumerate() {
        let place = || format!("tensor {name:?}");
        let [begin, end] = entry.data_offsets;
        if begin > end || end > data_len as u64 {
            let expected = format!("an ascending pair up to {data_len}, where the file ends");
            return Err(ModelError::invalid(place() + ", data_offsets", format_args!("{begin}..{end}"), expected));
        }
        let elements = entry.shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim as u64));
        let bytes = elements.and_then(|elements| elements.checked_mul(entry.dtype.bytes() as u64));
        if bytes != Some(end - begin) {
            let expected = bytes.map_or("a shape that fits a file".to_owned(), |bytes| {
                format!("{bytes} for {:?} {:?}", entry.dtype, entry.shape)
            });
            return Err(ModelError::invalid(place() + ", bytes", end - begin, expected));
        }
        ranges.push((begin as usize, end as usize, index as u32));
    }
    ranges.sort_unstable();
    let mut covered = 0;
    for &(begin, end, index) in &ranges {
        if begin != covered {
            let place = format!("tensor {:?}, begin", entries[index as usize].0);
            return Err(ModelError::invalid(
                place,
                begin,
                format_args!("{covered}: tensors leave no gap and do not overlap"),
            ));
        }
        covered = end;
    }
    if covered != data_len {
        let expected =
            format!("{covered}, where the last tensor ends (is the file cut short, or is something appended?)");
        return Err(ModelError::invalid("bytes after the header", data_len, expected));
    }
    drop(ranges);
    Ok(entries
        .into_iter()
        .map(|(name, Entry { dtype, shape, data_offsets: [begin, end] })| {
            let range = Range { start: header_end + begin as usize, end: header_end + end as usize };
            (name, TensorInfo { dtype, shape: shape.into(), range })
        })
        .collect())
}

/// The file of a graph and tensors: header keys sorted, padded to a multiple of eight bytes, tensors in the order of their names.
pub(super) fn write<'a>(
    graph: &str,
    tensors: impl Iterator<Item = (&'a str, DType, &'a [usize], &'a [u8])> + Clone,
) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Value<'a> {
        Metadata(BTreeMap<&'a str, &'a str>),
        Tensor { dtype: DType, shape: &'a [usize], data_offsets: [usize; 2] },
    }
    const ZEROS: &str = "00000000";
    let mut metadata = BTreeMap::new();
    metadata.extend([("format", "flgc"), ("version", "1"), ("checksum", ZEROS), ("graph", graph)]);
    let mut header = BTreeMap::new();
    header.insert("__metadata__", Value::Metadata(metadata));
    let mut data_len = 0;
    for (name, dtype, shape, bytes) in tensors.clone() {
        let data_offsets = [data_len, data_len + bytes.len()];
        header.insert(name, Value::Tensor { dtype, shape, data_offsets });
        data_len = data_offsets[1];
    }
    let mut text = serde_json::to_vec(&header).expect("strings and numbers are JSON");
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = Vec::with_capacity(LENGTH_BYTES + text.len() + data_len);
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(&text);
    for (_, _, _, bytes) in tensors {
        file.extend(bytes);
    }
    // The metadata comes first but for tensors whose names sort before it, and "checksum" first in it; a graph's text has its quotes escaped.
    let key = br#""__metadata__":{"checksum":""#;
    let at = file.windows(key.len()).position(|window| window == key).expect("just written") + key.len();
    let digits = format!("{:08x}", checksum(&file, at));
    file[at..at + digits.len()].copy_from_slice(digits.as_bytes());
    file
}

struct Header<'a> {
    metadata: Option<Metadata<'a>>,
    tensors: Vec<(String, Entry)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    checksum: &'a str,
    #[serde(borrow)]
    graph: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: DType,
    #[serde(deserialize_with = "dims")]
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

impl<'de: 'a, 'a> Deserialize<'de> for Header<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Entries<'a> {
            type Value = Header<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors and __metadata__")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'a>, A::Error> {
                let mut header = Header { metadata: None, tensors: Vec::new() };
                let mut names = std::collections::HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        if header.metadata.replace(map.next_value()?).is_some() {
                            return Err(A::Error::custom("__metadata__ stands twice"));
                        }
                        continue;
                    }
                    if name.is_empty() || name.len() > MAX_NAME {
                        return Err(A::Error::custom(format_args!(
                            "a tensor's name has {} bytes, expected 1 to {MAX_NAME}",
                            name.len()
                        )));
                    }
                    if header.tensors.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
                    }
                    // A hash instead of another copy of the name: two names with equal hashes would be refused, which the 64 bits make a matter of luck
                    // that nobody has.
                    let hash = std::hash::BuildHasher::hash_one(
                        &std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default(),
                        &name,
                    );
                    if !names.insert(hash) {
                        return Err(A::Error::custom(format_args!("tensor {name:?} stands twice")));
                    }
                    header.tensors.push((name, map.next_value()?));
                }
                Ok(header)
            }
        }
        from.deserialize_map(Entries(std::marker::PhantomData))
    }
}

/// A shape of at most [`MAX_RANK`] dimensions up to [`MAX_DIM`].
fn dims<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<usize>, D::Error> {
    struct Dims;
    impl<'de> Visitor<'de> for Dims {
        type Value = Vec<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_RANK} dimensions up to {MAX_DIM}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<usize>, A::Error> {
            let mut dims = Vec::with_capacity(MAX_RANK);
            while let Some(dim) = seq.next_element::<u64>()? {
                if dims.len() == MAX_RANK || dim > MAX_DIM as u64 {
                    return Err(A::Error::custom(format_args!(
                        "a tensor's shape has {} or more dimensions or one of {dim}, expected at most {MAX_RANK} up to {MAX_DIM}",
                        dims.len() + 1
                    )));
                }
                dims.push(dim as usize);
            }
            dims.shrink_to_fit();
            Ok(dims)
        }
    }
    from.deserialize_seq(Dims)
}
