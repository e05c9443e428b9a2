//! The graph of a model as it stands in the file. Fields, defaults and units: `docs/model-format.md`.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, SeqAccess, Visitor},
};
use std::{fmt, marker::PhantomData};

/// Most nodes of a graph.
pub const MAX_NODES: usize = 10_000;
/// Most node inputs and outputs of a graph, all together.
pub const MAX_EDGES: usize = 20_000;
/// Most inputs or outputs of one node, or of the graph.
pub const MAX_ARITY: usize = 4_096;
/// Most labels.
pub const MAX_LABELS: usize = 25_000;
/// Most dimensions of a tensor.
pub const MAX_RANK: usize = 6;

/// A network: inputs, nodes in execution order, outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// What it is fed.
    #[serde(deserialize_with = "list::<_, _, MAX_ARITY>")]
    pub inputs: Vec<Input>,
    /// What it computes, in an order in which it can be computed.
    #[serde(deserialize_with = "list::<_, _, MAX_NODES>")]
    pub nodes: Vec<Node>,
    /// Names of the activations that it returns.
    #[serde(deserialize_with = "list::<_, _, MAX_ARITY>")]
    pub outputs: Vec<String>,
    /// A name for each class: each element of the first output's last dimension.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list::<_, _, MAX_LABELS>")]
    pub labels: Vec<String>,
}

/// An input of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// The shape it has unless another one is asked for.
    #[serde(deserialize_with = "list::<_, _, MAX_RANK>")]
    pub shape: Vec<usize>,
    /// Smallest and largest value of each dimension; empty: only `shape`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list::<_, _, MAX_RANK>")]
    pub range: Vec<[usize; 2]>,
    /// How a picture becomes this input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Box<Image>>,
}

/// How a picture becomes an input: `(v * scale - mean[c]) / std[c]` for a pixel value `v` in 0..=255.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Which channels, in which order.
    #[serde(default)]
    pub channels: Channels,
    /// Factor of the pixel value.
    #[serde(default = "one_255th")]
    pub scale: f64,
    /// Subtracted from each channel; empty: 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list::<_, _, 3>")]
    pub mean: Vec<f64>,
    /// Divides each channel; empty: 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list::<_, _, 3>")]
    pub std: Vec<f64>,
    /// How a picture of another size is fitted.
    #[serde(default)]
    pub fit: Fit,
    /// With [`Fit::Crop`]: the pixels that the shorter side is brought to before the middle is cut out; `None`: as few as cover the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<usize>,
}

fn one_255th() -> f64 {
    1.0 / 255.0
}

/// The channels of a picture, in the order of the input's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Luma.
    Grey,
}

impl Channels {
    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }
}

/// How a picture of another size is brought to the input's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Scale each side.
    #[default]
    Stretch,
    /// Scale so that it covers the input, cut the middle out.
    Crop,
    /// Scale so that it fits, centred, the rest zero pixels.
    Pad,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its unique name, for messages and reports.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// The activations it reads.
    #[serde(deserialize_with = "list::<_, _, MAX_ARITY>")]
    pub inputs: Vec<String>,
    /// The activations it makes.
    #[serde(deserialize_with = "list::<_, _, MAX_ARITY>")]
    pub outputs: Vec<String>,
}

/// An operator with its attributes. Fields that hold a name of a tensor say so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Convolution.
    Conv(Box<Conv>),
    /// `y = W x + b` on `[n, c]`.
    Linear(Box<Linear>),
    /// Batch normalisation with stored statistics.
    BatchNorm(Box<BatchNorm>),
    /// Sum of two activations.
    Add,
    /// Product of two activations.
    Multiply,
    /// Joins activations along an axis.
    Concat(Axis),
    /// Cuts an activation along an axis.
    Split(Box<Split>),
    /// A range along an axis.
    Slice(Slice),
    /// Output channel `i` is input channel `order[i]`.
    GatherChannels(Box<GatherChannels>),
    /// `[n, g, c/g, ...]` transposed to `[n, c/g, g, ...]`.
    ShuffleChannels(ShuffleChannels),
    /// Largest value of each window.
    MaxPool(Box<Pool>),
    /// Mean of each window.
    AveragePool(Box<Pool>),
    /// Largest value of each plane.
    GlobalMaxPool,
    /// Mean of each plane.
    GlobalAveragePool,
    /// `max(0, x)`
    Relu,
    /// `max(0, min(6, x))`
    Relu6,
    /// `max(min, min(max, x))`
    Clamp(Clamp),
    /// `x` where positive, `slope * x` elsewhere.
    LeakyRelu(LeakyRelu),
    /// `LeakyRelu` with a slope for each channel.
    #[serde(rename = "prelu")]
    PRelu(PRelu),
    /// `x * max(0, min(1, x / 6 + 0.5))`
    HardSwish,
    /// `max(0, min(1, alpha * x + beta))`
    HardSigmoid(HardSigmoid),
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x * sigmoid(x)`
    Silu,
    /// `exp(x_i) / sum over j of exp(x_j)` along an axis.
    Softmax(SoftmaxAxis),
    /// Dimensions before `axis` become one, the others too.
    Flatten(FlattenAxis),
    /// Another shape for the same elements.
    Reshape(Box<Reshape>),
    /// Reordered dimensions.
    Transpose(Box<Transpose>),
    /// Another height and width.
    Resize(Box<Resize>),
}

impl Op {
    /// Its name in the file and in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "conv",
            Self::Linear(_) => "linear",
            Self::BatchNorm(_) => "batch_norm",
            Self::Add => "add",
            Self::Multiply => "multiply",
            Self::Concat(_) => "concat",
            Self::Split(_) => "split",
            Self::Slice(_) => "slice",
            Self::GatherChannels(_) => "gather_channels",
            Self::ShuffleChannels(_) => "shuffle_channels",
            Self::MaxPool(_) => "max_pool",
            Self::AveragePool(_) => "average_pool",
            Self::GlobalMaxPool => "global_max_pool",
            Self::GlobalAveragePool => "global_average_pool",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Clamp(_) => "clamp",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::PRelu(_) => "prelu",
            Self::HardSwish => "hard_swish",
            Self::HardSigmoid(_) => "hard_sigmoid",
            Self::Sigmoid => "sigmoid",
            Self::Silu => "silu",
            Self::Softmax(_) => "softmax",
            Self::Flatten(_) => "flatten",
            Self::Reshape(_) => "reshape",
            Self::Transpose(_) => "transpose",
            Self::Resize(_) => "resize",
        }
    }
}

/// Attributes of a convolution. Sizes are `[h, w]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Number of filters (output channels).
    pub filters: usize,
    /// Size of the kernel.
    #[serde(default = "ones")]
    pub kernel: [usize; 2],
    /// Step between outputs, in pixels.
    #[serde(default = "ones")]
    pub stride: [usize; 2],
    /// Zero pixels `[top, left, bottom, right]`.
    #[serde(default)]
    pub pad: [usize; 4],
    /// Distance between taps, in pixels.
    #[serde(default = "ones")]
    pub dilation: [usize; 2],
    /// Number of equal groups; 1 with learned groups.
    #[serde(default = "one")]
    pub groups: usize,
    /// Learned groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Learned>,
    /// Tensor: the weights.
    pub weight: String,
    /// Tensor: the biases, `[filters]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<String>,
}

/// Learned groups: FLGC, Wang et al., CVPR 2019, arXiv:1904.00346.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// How many groups.
    pub groups: usize,
    /// Tensor: the group of each input channel.
    pub in_group: String,
    /// Tensor: the group of each filter.
    pub out_group: String,
}

/// Attributes of a fully connected layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Number of outputs.
    pub features: usize,
    /// Tensor: `[features, c]`.
    pub weight: String,
    /// Tensor: `[features]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<String>,
}

/// Attributes of a batch normalisation: names of tensors `[c]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Tensor: factor after normalisation.
    pub scale: String,
    /// Tensor: summand after normalisation.
    pub shift: String,
    /// Tensor: mean.
    pub mean: String,
    /// Tensor: variance.
    pub variance: String,
    /// Added to the variance.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

/// An axis, negative from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Which.
    pub axis: i64,
}

/// The axis of a softmax.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftmaxAxis {
    /// Which; the last by default.
    #[serde(default = "last_axis")]
    pub axis: i64,
}

/// The axis of a flatten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlattenAxis {
    /// The first dimension of the second part.
    #[serde(default = "one_axis")]
    pub axis: i64,
}

/// Attributes of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Along which axis.
    pub axis: i64,
    /// The size of each output along it.
    #[serde(deserialize_with = "list::<_, _, MAX_ARITY>")]
    pub sizes: Vec<usize>,
}

/// Attributes of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Along which axis.
    pub axis: i64,
    /// First index.
    pub begin: usize,
    /// One past the last index.
    pub end: usize,
}

/// Attributes of a gather of channels: a permutation, a selection, a repetition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatherChannels {
    /// The input channel of each output channel.
    #[serde(deserialize_with = "list::<_, _, 65536>")]
    pub order: Vec<u32>,
}

/// Attributes of a channel shuffle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShuffleChannels {
    /// Number of groups.
    pub groups: usize,
}

/// Attributes of a pool. Sizes are `[h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Step between outputs, in pixels.
    #[serde(default = "ones")]
    pub stride: [usize; 2],
    /// Padding `[top, left, bottom, right]`.
    #[serde(default)]
    pub pad: [usize; 4],
    /// Distance between the pixels of a window; for averages 1.
    #[serde(default = "ones")]
    pub dilation: [usize; 2],
    /// Round the output size up.
    #[serde(default)]
    pub ceil: bool,
    /// Averages count padding as zero pixels.
    #[serde(default)]
    pub count_pad: bool,
}

/// Attributes of a leaky `ReLU`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakyRelu {
    /// Factor of negative values.
    #[serde(default = "leaky_slope")]
    pub slope: f32,
}

/// Attributes of a parametric `ReLU`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PRelu {
    /// Tensor: `[c]` or `[1]`.
    pub slope: String,
}

/// Attributes of a hard sigmoid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardSigmoid {
    /// Slope.
    #[serde(default = "one_sixth")]
    pub alpha: f32,
    /// Value at zero.
    #[serde(default = "one_half")]
    pub beta: f32,
}

/// Attributes of a clamp; a bound that is left out does not bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clamp {
    /// Smallest output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f32>,
    /// Largest output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
}

/// Attributes of a reshape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    /// The new shape: at most one -1 (inferred), 0 keeps the input's dimension.
    #[serde(deserialize_with = "list::<_, _, MAX_RANK>")]
    pub shape: Vec<i64>,
}

/// Attributes of a transpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transpose {
    /// The input dimension of each output dimension.
    #[serde(deserialize_with = "list::<_, _, MAX_RANK>")]
    pub axes: Vec<usize>,
}

/// Attributes of a resize.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// How pixels between pixels are made.
    pub mode: ResizeMode,
    /// The new `[h, w]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// The factors of `[h, w]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<[f64; 2]>,
    /// How output places map to input places.
    #[serde(default)]
    pub coordinates: Coordinates,
    /// How [`ResizeMode::Nearest`] rounds.
    #[serde(default)]
    pub rounding: Rounding,
}

/// How a resize makes pixels between pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// The nearest pixel.
    Nearest,
    /// Linear between the four around it.
    Bilinear,
}

/// How the places of a resize's output map to places of its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coordinates {
    /// Pixel centres at half-integers.
    #[default]
    HalfPixel,
    /// The corner pixels' centres map to each other.
    AlignCorners,
    /// Place divided by scale.
    Asymmetric,
}

/// How a nearest resize rounds a place to a pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// To the nearest, halves down.
    #[default]
    RoundPreferFloor,
    /// To the nearest, halves up.
    RoundPreferCeil,
    /// Down.
    Floor,
    /// Up.
    Ceil,
}

fn one() -> usize {
    1
}
fn ones() -> [usize; 2] {
    [1, 1]
}
fn epsilon() -> f64 {
    1e-5
}
fn last_axis() -> i64 {
    -1
}
fn one_axis() -> i64 {
    1
}
fn leaky_slope() -> f32 {
    0.01
}
fn one_sixth() -> f32 {
    1.0 / 6.0
}
fn one_half() -> f32 {
    0.5
}

/// A list of at most `MAX` elements: a hostile file can't make the reader allocate without bound.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MAX: usize>(from: D) -> Result<Vec<T>, D::Error> {
    struct Bounded<T, const MAX: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                if items.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                items.push(item);
            }
            items.shrink_to_fit();
            Ok(items)
        }
    }
    from.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}
