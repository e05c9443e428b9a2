//! Constants of a network: what a file's tensors hold, and what can be computed from them before the first run.

use crate::{error::NodeError, proto, proto::data_type};
use bytes::Bytes;
use half::{bf16, f16};
use ndarray::{ArcArray, ArrayD, IxDyn};

/// Most elements of one constant: more than any network's largest weight needs, little enough to hold.
pub(crate) const MAX_ELEMENTS: usize = 1 << 28;

/// An array that is cheap to clone.
pub(crate) type Array<T> = ArcArray<T, IxDyn>;

/// A constant. All float types are brought to f32, all integer types to i64.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant {
    Float(Array<f32>),
    Int(Array<i64>),
    Bool(Array<bool>),
}

impl From<ArrayD<f32>> for Constant {
    fn from(array: ArrayD<f32>) -> Self {
        Self::Float(array.into_shared())
    }
}

impl From<ArrayD<i64>> for Constant {
    fn from(array: ArrayD<i64>) -> Self {
        Self::Int(array.into_shared())
    }
}

impl From<ArrayD<bool>> for Constant {
    fn from(array: ArrayD<bool>) -> Self {
        Self::Bool(array.into_shared())
    }
}

impl Constant {
    /// Integers in one dimension.
    pub(crate) fn ints(values: Vec<i64>) -> Self {
        ArrayD::from(ndarray::Array1::from(values).into_dyn()).into()
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::Float(array) => array.shape(),
            Self::Int(array) => array.shape(),
            Self::Bool(array) => array.shape(),
        }
    }

    /// How messages name the type of the elements.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Int(_) => "integer",
            Self::Bool(_) => "bool",
        }
    }

    pub(crate) fn as_float(&self) -> Result<&Array<f32>, NodeError> {
        match self {
            Self::Float(array) => Ok(array),
            _ => Err(NodeError::invalid(format_args!("a constant of type {}", self.type_name()), "float")),
        }
    }

    pub(crate) fn as_int(&self) -> Result<&Array<i64>, NodeError> {
        match self {
            Self::Int(array) => Ok(array),
            _ => Err(NodeError::invalid(format_args!("a constant of type {}", self.type_name()), "integer")),
        }
    }

    pub(crate) fn as_bool(&self) -> Result<&Array<bool>, NodeError> {
        match self {
            Self::Bool(array) => Ok(array),
            _ => Err(NodeError::invalid(format_args!("a constant of type {}", self.type_name()), "bool")),
        }
    }

    /// All floats, in order.
    pub(crate) fn to_floats(&self) -> Result<Vec<f32>, NodeError> {
        Ok(self.as_float()?.iter().copied().collect())
    }

    /// All integers, in order.
    pub(crate) fn to_ints(&self) -> Result<Vec<i64>, NodeError> {
        Ok(self.as_int()?.iter().copied().collect())
    }
}

/// An array of that shape; the elements are as many as the shape says.
fn array<T: Clone>(shape: &[usize], elements: Vec<T>) -> Result<Array<T>, NodeError> {
    let found = elements.len();
    Array::from_shape_vec(IxDyn(shape), elements)
        .map_err(|_| NodeError::invalid(format_args!("{found} elements"), format_args!("those of the shape {shape:?}")))
}

/// The constant that `tensor` holds; `external` are the bytes that it has outside of the file.
pub(crate) fn decode(tensor: &proto::Tensor, external: Option<Bytes>) -> Result<Constant, NodeError> {
    let shape = shape_of(&tensor.dims)?;
    let raw = external.as_ref().or(tensor.raw_data.as_ref());
    let elements: usize = shape.iter().product();
    match tensor.data_type {
        data_type::FLOAT => floats(&shape, raw, tensor.float_data.iter().copied(), f32::from_le_bytes),
        data_type::DOUBLE => {
            let typed = tensor.double_data.iter().map(|&x| x as f32);
            floats(&shape, raw, typed, |bytes| f64::from_le_bytes(bytes) as f32)
        }
        data_type::FLOAT16 => {
            let typed = tensor.int32_data.iter().map(|&bits| f16::from_bits(bits as u16).to_f32());
            floats(&shape, raw, typed, |bytes| f16::from_le_bytes(bytes).to_f32())
        }
        data_type::BFLOAT16 => {
            let typed = tensor.int32_data.iter().map(|&bits| bf16::from_bits(bits as u16).to_f32());
            floats(&shape, raw, typed, |bytes| bf16::from_le_bytes(bytes).to_f32())
        }
        data_type::INT64 => ints(&shape, raw, tensor.int64_data.iter().copied(), i64::from_le_bytes),
        data_type::INT32 => ints(&shape, raw, int32s(tensor), |bytes| i32::from_le_bytes(bytes).into()),
        data_type::INT16 => ints(&shape, raw, int32s(tensor), |bytes| i16::from_le_bytes(bytes).into()),
        data_type::INT8 => ints(&shape, raw, int32s(tensor), |bytes| i8::from_le_bytes(bytes).into()),
        data_type::UINT32 => ints(&shape, raw, uint64s(tensor), |bytes| u32::from_le_bytes(bytes).into()),
        // What is beyond the signed range is no index and no size.
        data_type::UINT64 => ints(&shape, raw, uint64s(tensor), |bytes| signed(u64::from_le_bytes(bytes))),
        data_type::UINT16 => ints(&shape, raw, int32s(tensor), |bytes| u16::from_le_bytes(bytes).into()),
        data_type::UINT8 => ints(&shape, raw, int32s(tensor), |bytes| u8::from_le_bytes(bytes).into()),
        data_type::BOOL => {
            let elements_of = words::<1, bool>(raw, elements, |[byte]| byte != 0)
                .unwrap_or_else(|| Ok(tensor.int32_data.iter().map(|&x| x != 0).collect()))?;
            Ok(Constant::Bool(array(&shape, elements_of)?))
        }
        other => Err(NodeError::unsupported(format_args!("a constant of type {}", data_type::name(other)))),
    }
}

fn int32s(tensor: &proto::Tensor) -> impl Iterator<Item = i64> {
    tensor.int32_data.iter().map(|&x| x.into())
}

fn uint64s(tensor: &proto::Tensor) -> impl Iterator<Item = i64> {
    tensor.uint64_data.iter().map(|&x| signed(x))
}

fn signed(x: u64) -> i64 {
    i64::try_from(x).unwrap_or(i64::MAX)
}

/// The bytes of an element of that type; `None` if it is not known.
pub(crate) fn element_bytes(data_type: i32) -> Option<u64> {
    Some(match data_type {
        data_type::FLOAT | data_type::INT32 | data_type::UINT32 => 4,
        data_type::DOUBLE | data_type::INT64 | data_type::UINT64 => 8,
        data_type::FLOAT16 | data_type::BFLOAT16 | data_type::INT16 | data_type::UINT16 => 2,
        data_type::INT8 | data_type::UINT8 | data_type::BOOL => 1,
        _ => return None,
    })
}

/// Sizes from 0, with a product of at most [`MAX_ELEMENTS`].
pub(crate) fn shape_of(dims: &[i64]) -> Result<Vec<usize>, NodeError> {
    let shape: Option<Vec<usize>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let shape =
        shape.ok_or_else(|| NodeError::invalid(format_args!("dimensions {dims:?}"), "none that is negative"))?;
    check_size(&shape)?;
    Ok(shape)
}

/// Refuses shapes with too many elements, before anything of their size is allocated.
pub(crate) fn check_size(shape: &[usize]) -> Result<(), NodeError> {
    // Also beside a zero no dimension may be absurd.
    let elements = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim.max(1)));
    if shape.len() > 16 || elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
        return Err(NodeError::invalid(
            format_args!("a constant of shape {shape:?}"),
            format_args!("at most {MAX_ELEMENTS} elements in 16 dimensions"),
        ));
    }
    Ok(())
}

/// The elements of raw bytes, `N` each; `None` without raw bytes.
fn words<const N: usize, T>(
    raw: Option<&Bytes>,
    elements: usize,
    convert: impl Fn([u8; N]) -> T,
) -> Option<Result<Vec<T>, NodeError>> {
    let raw = raw?;
    if raw.len() != elements * N {
        return Some(Err(NodeError::invalid(
            format_args!("{} bytes of elements", raw.len()),
            format_args!("{}", elements * N),
        )));
    }
    Some(Ok(raw.as_chunks::<N>().0.iter().map(|&bytes| convert(bytes)).collect()))
}

fn floats<const N: usize>(
    shape: &[usize],
    raw: Option<&Bytes>,
    typed: impl Iterator<Item = f32>,
    convert: impl Fn([u8; N]) -> f32,
) -> Result<Constant, NodeError> {
    let elements = words(raw, shape.iter().product(), convert).unwrap_or_else(|| Ok(typed.collect()))?;
    Ok(Constant::Float(array(shape, elements)?))
}

fn ints<const N: usize>(
    shape: &[usize],
    raw: Option<&Bytes>,
    typed: impl Iterator<Item = i64>,
    convert: impl Fn([u8; N]) -> i64,
) -> Result<Constant, NodeError> {
    let elements = words(raw, shape.iter().product(), convert).unwrap_or_else(|| Ok(typed.collect()))?;
    Ok(Constant::Int(array(shape, elements)?))
}
