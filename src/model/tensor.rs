//! Tensors of a model: weights, biases, group indices.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use std::ops::Range;

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
        let words = self.bytes.as_chunks::<2>().0.iter();
        match self.dtype {
            DType::F32 => self.bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            DType::F16 => words.map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
            DType::BF16 => words.map(|&bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
            DType::U8 => self.bytes.iter().map(|&byte| byte.into()).collect(),
            DType::U16 => words.map(|&bytes| u16::from_le_bytes(bytes).into()).collect(),
        }
    }

    /// All elements as indices; floats are cut.
    #[must_use]
    pub fn indices(&self) -> Vec<u16> {
        self.iter().map(|x| x as u16).collect()
    }
}
