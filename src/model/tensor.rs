//! Tensors of a model: weights, biases, group indices.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, ops::Range};

/// The type of a tensor's elements, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DType {
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    BF16,
    /// Unsigned byte: a group.
    U8,
    /// Unsigned 16-bit integer: a group.
    U16,
}

impl DType {
    /// The size of an element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 | Self::U16 => 2,
            Self::U8 => 1,
        }
    }

    /// Whether the elements are numbers with a fraction.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }
}

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Type of the elements.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements, little-endian.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// Floats, rounded to `dtype`.
    ///
    /// # Panics
    /// If `dtype` is not a float type.
    #[must_use]
    pub fn floats(dtype: DType, shape: &[usize], values: &[f32]) -> Self {
        let bytes = match dtype {
            DType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            DType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            DType::BF16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            DType::U8 | DType::U16 => panic!("{dtype:?} is no float type"),
        };
        Self { dtype, shape: shape.to_vec(), bytes }
    }

    /// Group indices, as u8 up to 256 `groups`, as u16 above.
    #[must_use]
    pub fn groups(groups: usize, of: &[u16]) -> Self {
        let (dtype, bytes) = if groups <= 256 {
            (DType::U8, of.iter().map(|&g| g as u8).collect())
        } else {
            (DType::U16, of.iter().flat_map(|g| g.to_le_bytes()).collect())
        };
        Self { dtype, shape: vec![of.len()], bytes }
    }
}

/// Type, shape and place in the file.
#[derive(Clone, Debug)]
pub(super) struct TensorInfo {
    pub(super) dtype: DType,
    pub(super) shape: Box<[usize]>,
    pub(super) range: Range<usize>,
}

/// A tensor of a model, still in the file's form.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Type of the elements.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    pub(super) fn new(info: &'a TensorInfo, file: &'a [u8]) -> Self {
        Self { dtype: info.dtype, shape: &info.shape, bytes: &file[info.range.clone()] }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.bytes()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Element `index` as a number.
    ///
    /// # Panics
    /// If there is no such element.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> f32 {
        let word = |bytes: &[u8]| [bytes[2 * index], bytes[2 * index + 1]];
        match self.dtype {
            DType::F32 => {
                let bytes = &self.bytes[4 * index..4 * index + 4];
                f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
            }
            DType::F16 => f16::from_le_bytes(word(self.bytes)).to_f32(),
            DType::BF16 => bf16::from_le_bytes(word(self.bytes)).to_f32(),
            DType::U8 => self.bytes[index].into(),
            DType::U16 => u16::from_le_bytes(word(self.bytes)).into(),
        }
    }

    /// All elements as numbers.
    pub fn iter(self) -> impl Iterator<Item = f32> + 'a {
        (0..self.len()).map(move |index| self.get(index))
    }

    /// All elements as numbers, in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.read(0, &mut values);
        values
    }

    /// All elements as numbers: those of the file where it holds f32 at a multiple of four on a little-endian machine, else a copy.
    #[must_use]
    pub fn numbers(&self) -> Cow<'a, [f32]> {
        if self.dtype == DType::F32
            && cfg!(target_endian = "little")
            && let Ok(numbers) = bytemuck::try_cast_slice(self.bytes)
        {
            return Cow::Borrowed(numbers);
        }
        Cow::Owned(self.to_vec())
    }

    /// The first element that is infinite or not a number, with its index.
    #[must_use]
    pub fn first_not_finite(&self) -> Option<(usize, f32)> {
        let exponent = match self.dtype {
            DType::F32 => 0x7F80_0000_7F80_0000,
            DType::F16 => 0x7C00_7C00_7C00_7C00,
            DType::BF16 => 0x7F80_7F80_7F80_7F80,
            DType::U8 | DType::U16 => return None,
        };
        // A block may be one: its floats tell.
        let blocks = self.bytes.chunks(BLOCK).enumerate().filter(|(_, block)| has_exponent(block, exponent));
        let floats = BLOCK / self.dtype.bytes();
        let indices = blocks.flat_map(|(block, _)| block * floats..self.len().min((block + 1) * floats));
        indices.map(|index| (index, self.get(index))).find(|(_, x)| !x.is_finite())
    }

    /// The elements from `begin` on as numbers, as many as `out` takes.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn read(&self, begin: usize, out: &mut [f32]) {
        let bytes = &self.bytes[begin * self.dtype.bytes()..(begin + out.len()) * self.dtype.bytes()];
        let words = bytes.as_chunks().0;
        match self.dtype {
            DType::F32 => fill(out, bytes.as_chunks().0, |&bytes| f32::from_le_bytes(bytes)),
            DType::F16 => fill(out, words, |&bytes| f16::from_le_bytes(bytes).to_f32()),
            DType::BF16 => fill(out, words, |&bytes| bf16::from_le_bytes(bytes).to_f32()),
            DType::U8 => fill(out, bytes, |&byte| byte.into()),
            DType::U16 => fill(out, words, |&bytes| u16::from_le_bytes(bytes).into()),
        }
    }

    /// All elements as indices; floats are cut.
    #[must_use]
    pub fn indices(&self) -> Vec<u16> {
        match self.dtype {
            DType::U8 => self.bytes.iter().map(|&byte| byte.into()).collect(),
            DType::U16 => self.bytes.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes)).collect(),
            DType::F32 | DType::F16 | DType::BF16 => self.iter().map(|x| x as u16).collect(),
        }
    }
}

/// Bytes that are looked at together, without a jump for each float.
const BLOCK: usize = 4096;

/// Whether the bits of `exponent` are all set in one of its lanes of these bytes: then one more in the last of them carries into the sign. In words of eight bytes, whatever
/// the lanes: a compiler that saves on code makes no vectors, and a float of its own takes seven instructions.
fn has_exponent(bytes: &[u8], exponent: u64) -> bool {
    let signs = (exponent << 1) & !exponent;
    let last = exponent & !(exponent << 1);
    let carry = |&bytes: &[u8; 8]| (u64::from_le_bytes(bytes) & exponent).wrapping_add(last);
    let (words, rest) = bytes.as_chunks();
    let (lists, words) = words.as_chunks();
    let mut all = 0;
    for [a, b, c, d] in lists {
        all |= carry(a) | carry(b) | carry(c) | carry(d);
    }
    let mut end = [0; 8];
    end[..rest.len()].copy_from_slice(rest);
    all |= words.iter().fold(carry(&end), |all, word| all | carry(word));
    all & signs != 0
}

fn fill<T>(out: &mut [f32], from: &[T], number: impl Fn(&T) -> f32) {
    for (out, from) in out.iter_mut().zip(from) {
        *out = number(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_depend_on_where_they_lie() {
        let values = [0.5f32, -1.0, 3.0e-5, f32::MAX];
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let tensor = Tensor::floats(dtype, &[4], &values);
            let view = TensorView { dtype, shape: &[4], bytes: &tensor.bytes };
            let expected: Vec<f32> = (0..4).map(|i| view.get(i)).collect();
            // One place, and so one alignment to begin from.
            let mut bytes = vec![0; tensor.bytes.len() + 3];
            let mut borrowed = 0;
            for skip in 0..4 {
                let place = &mut bytes[skip..skip + tensor.bytes.len()];
                place.copy_from_slice(&tensor.bytes);
                let numbers = TensorView { bytes: place, ..view }.numbers();
                assert_eq!(numbers, expected, "{dtype:?}, {skip}");
                borrowed += usize::from(matches!(numbers, Cow::Borrowed(_)));
            }
            // One of four places in a row is a float's.
            let lies_as_such = dtype == DType::F32 && cfg!(target_endian = "little");
            assert_eq!(borrowed, usize::from(lies_as_such), "{dtype:?}");
        }
    }

    #[test]
    fn the_first_that_is_not_finite() {
        // Bits of finite numbers, then of others: infinities, NaN with the first and with the last bit of its fraction.
        let cases: [(DType, &[u32], &[u32]); 3] = [
            (
                DType::F32,
                &[0, 1, 1 << 31, 0x7F7F_FFFF, 0xFF7F_FFFF],
                &[0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0xFF80_0001],
            ),
            (DType::F16, &[0, 1, 1 << 15, 0x7BFF, 0xFBFF], &[0x7C00, 0xFC00, 0x7E00, 0xFC01]),
            (DType::BF16, &[0, 1, 1 << 15, 0x7F7F, 0xFF7F], &[0x7F80, 0xFF80, 0x7FC0, 0xFF81]),
        ];
        for (dtype, finite, others) in cases {
            let mut bits: Vec<u32> = finite.iter().copied().cycle().take(3001).collect();
            let first = |bits: &[u32]| {
                let bytes: Vec<u8> = bits.iter().flat_map(|x| x.to_le_bytes()[..dtype.bytes()].to_vec()).collect();
                TensorView { dtype, shape: &[3001], bytes: &bytes }
                    .first_not_finite()
                    .map(|(index, x)| (index, x.is_finite()))
            };
            assert_eq!(first(&bits), None, "{dtype:?}");
            for &other in others {
                for at in [3000, 2999, 2048, 1024, 1023, 0] {
                    let before = std::mem::replace(&mut bits[at], other);
                    assert_eq!(first(&bits), Some((at, false)), "{dtype:?} {other:x}");
                    bits[at] = before;
                }
                (bits[1500], bits[2500]) = (other, other);
                assert_eq!(first(&bits), Some((1500, false)), "{dtype:?} {other:x}");
                (bits[1500], bits[2500]) = (0, 0);
            }
        }
    }
}
