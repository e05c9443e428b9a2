//! The shape of every activation: the one place that knows what each operator accepts.

use super::{
    ModelError,
    format::{MAX_DIM, MAX_NAME},
    graph::{Conv, Graph, MAX_EDGES, MAX_RANK, Node, Op, Pool},
    tensor::TensorView,
};
use std::{collections::HashMap, fmt, ops::Deref};

/// Largest kernel size, stride, pad or dilation, in pixels.
const MAX_WINDOW: usize = 4_096;

/// Dimensions, outermost first; small enough to copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The shape with these dimensions; `None` if there are none or more than [`MAX_RANK`], or one is zero or beyond the format's limit.
    #[must_use]
    pub fn new(dims: &[usize]) -> Option<Self> {
        let fine = (1..=MAX_RANK).contains(&dims.len()) && dims.iter().all(|dim| (1..=MAX_DIM).contains(dim));
        fine.then(|| {
            let mut shape = Self { dims: [0; MAX_RANK], rank: dims.len() };
            shape.dims[..dims.len()].copy_from_slice(dims);
            shape
        })
    }

    /// Number of elements; saturates.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim))
    }

    /// `[n, c, h, w]` of a tensor with rank 4, `[n, c, 1, 1]` of one with rank 2.
    #[must_use]
    pub fn nchw(&self) -> Option<[usize; 4]> {
        match **self {
            [n, c, h, w] => Some([n, c, h, w]),
            [n, c] => Some([n, c, 1, 1]),
            _ => None,
        }
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

/// Looks up a tensor of the model by name.
pub(crate) type Find<'f, 't> = &'f dyn Fn(&str) -> Option<TensorView<'t>>;

/// Index of an activation: graph inputs first, then node outputs in order.
pub(crate) type ValueId = u32;

/// Names and shapes of all activations.
pub(crate) struct Values<'a> {
    ids: HashMap<&'a str, ValueId>,
    shapes: Vec<Shape>,
}

impl Values<'_> {
    /// The activation of that name.
    pub(crate) fn id(&self, name: &str) -> Option<ValueId> {
        self.ids.get(name).copied()
    }

    pub(crate) fn shape(&self, id: ValueId) -> Shape {
        self.shapes[id as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.shapes.len()
    }
}

/// The shapes of all activations of `graph` when its inputs have the shapes `inputs`; checks names, references, attributes and the shapes of tensors.
pub(crate) fn infer<'a>(graph: &'a Graph, inputs: &[Shape], tensors: Find<'_, '_>) -> Result<Values<'a>, ModelError> {
    let mut values = Values { ids: HashMap::new(), shapes: Vec::new() };
    let mut edges = 0;
    for (input, &shape) in graph.inputs.iter().zip(inputs) {
        define(&mut values, &input.name, shape, &format_args!("input {:?}", input.name))?;
    }
    for node in &graph.nodes {
        let place = Place(node);
        edges += node.inputs.len() + node.outputs.len();
        if edges > MAX_EDGES {
            return Err(ModelError::invalid(
                place,
                "too many inputs and outputs so far",
                format_args!("at most {MAX_EDGES} in the graph"),
            ));
        }
        let mut shapes = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            let id = values.id(name).ok_or_else(|| {
                let expected =
                    "a graph input or an output of an earlier node: nodes stand in execution order, without cycles";
                ModelError::invalid(place, format_args!("input {name:?}"), expected)
            })?;
            shapes.push(values.shape(id));
        }
        let context = Context { place, inputs: &shapes, outputs: node.outputs.len() };
        let outputs = context.outputs_of(&node.op, tensors)?;
        if outputs.len() != node.outputs.len() {
            return Err(ModelError::invalid(place, format_args!("{} outputs", node.outputs.len()), outputs.len()));
        }
        for (name, shape) in node.outputs.iter().zip(outputs) {
            define(&mut values, name, shape, &place)?;
        }
    }
    for name in &graph.outputs {
        if values.id(name).is_none() {
            return Err(ModelError::invalid(
                "the graph's outputs",
                format_args!("{name:?}"),
                "an activation of the graph",
            ));
        }
    }
    Ok(values)
}

fn define<'a>(
    values: &mut Values<'a>,
    name: &'a str,
    shape: Shape,
    place: &dyn fmt::Display,
) -> Result<(), ModelError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(ModelError::invalid(
            place,
            format_args!("a name of {} bytes", name.len()),
            format_args!("1 to {MAX_NAME}"),
        ));
    }
    let id = values.shapes.len() as ValueId;
    if values.ids.insert(name, id).is_some() {
        return Err(ModelError::invalid(
            place,
            format_args!("output {name:?} again"),
            "a name that nothing before it has",
        ));
    }
    values.shapes.push(shape);
    Ok(())
}

/// How messages name a node.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a>(pub(crate) &'a Node);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {:?} ({})", self.0.name, self.0.op.name())
    }
}

/// A node's surroundings.
struct Context<'a> {
    place: Place<'a>,
    inputs: &'a [Shape],
    outputs: usize,
}

impl Context<'_> {
    fn error(&self, found: impl fmt::Display, expected: impl fmt::Display) -> ModelError {
        ModelError::invalid(self.place, found, expected)
    }

    fn check(&self, fine: bool, found: impl fmt::Display, expected: impl fmt::Display) -> Result<(), ModelError> {
        if fine { Ok(()) } else { Err(self.error(found, expected)) }
    }

    /// The only input.
    fn input(&self) -> Result<Shape, ModelError> {
        match self.inputs {
            [shape] => Ok(*shape),
            _ => Err(self.error(format_args!("{} inputs", self.inputs.len()), "one")),
        }
    }

    /// `[n, c, h, w]` of the only input, which has rank 4.
    fn map(&self) -> Result<[usize; 4], ModelError> {
        let shape = self.input()?;
        shape
            .nchw()
            .filter(|_| shape.len() == 4)
            .ok_or_else(|| self.error(format_args!("an input of shape {shape}"), "[n, c, h, w]"))
    }

    /// `[n, c, h, w]` of the only input, which has rank 2 or 4.
    fn channels(&self) -> Result<[usize; 4], ModelError> {
        let shape = self.input()?;
        shape.nchw().ok_or_else(|| self.error(format_args!("an input of shape {shape}"), "[n, c] or [n, c, h, w]"))
    }

    fn shape(&self, dims: &[usize]) -> Result<Shape, ModelError> {
        Shape::new(dims).ok_or_else(|| {
            self.error(
                format_args!("an output of shape {dims:?}"),
                format_args!("1 to {MAX_RANK} dimensions from 1 to {MAX_DIM}"),
            )
        })
    }

    fn axis(&self, axis: i64, rank: usize) -> Result<usize, ModelError> {
        let index = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        let index = index.and_then(|index| usize::try_from(index).ok()).filter(|&index| index < rank);
        index.ok_or_else(|| self.error(format_args!("axis {axis}"), format_args!("-{rank}..{rank}")))
    }

    fn tensor<'t>(
        &self,
        role: &str,
        name: &str,
        shape: &[usize],
        float: bool,
        tensors: Find<'_, 't>,
    ) -> Result<TensorView<'t>, ModelError> {
        let tensor = tensors(name).ok_or_else(|| {
            self.error(format_args!("{role} {name:?}, which the file does not hold"), "a tensor of the file")
        })?;
        self.check(
            tensor.shape == shape,
            format_args!("{role} {name:?} of shape {:?}", tensor.shape),
            format_args!("{shape:?}"),
        )?;
        let kind = if float { "F32, F16 or BF16" } else { "U8 or U16" };
        self.check(tensor.dtype.is_float() == float, format_args!("{role} {name:?} of type {:?}", tensor.dtype), kind)?;
        Ok(tensor)
    }

    /// A tensor of per-channel values, which are stored in full precision.
    fn per_channel<'t>(
        &self,
        role: &str,
        name: &str,
        count: usize,
        tensors: Find<'_, 't>,
    ) -> Result<TensorView<'t>, ModelError> {
        let tensor = self.tensor(role, name, &[count], true, tensors)?;
        self.check(
            tensor.dtype == super::DType::F32,
            format_args!("{role} {name:?} of type {:?}", tensor.dtype),
            "F32",
        )?;
        Ok(tensor)
    }

    fn outputs_of(&self, op: &Op, tensors: Find<'_, '_>) -> Result<Vec<Shape>, ModelError> {
        let one = |shape| Ok(vec![shape]);
        match op {
            Op::Conv(conv) => one(self.conv(conv, tensors)?),
            Op::Linear(linear) => {
                let shape = self.input()?;
                let [n, c] = *shape else {
                    return Err(self.error(format_args!("an input of shape {shape}"), "[n, c] (use flatten before it)"));
                };
                self.tensor("weight", &linear.weight, &[linear.features, c], true, tensors)?;
                if let Some(bias) = &linear.bias {
                    self.per_channel("bias", bias, linear.features, tensors)?;
                }
                one(self.shape(&[n, linear.features])?)
            }
            Op::BatchNorm(norm) => {
                let [_, c, ..] = self.channels()?;
                let fine = norm.epsilon.is_finite() && norm.epsilon >= 0.0;
                self.check(fine, format_args!("epsilon {}", norm.epsilon), "zero or more")?;
                for (role, name) in [("scale", &norm.scale), ("shift", &norm.shift), ("mean", &norm.mean)] {
                    self.per_channel(role, name, c, tensors)?;
                }
                let variance = self.per_channel("variance", &norm.variance, c, tensors)?;
                if let Some(x) = variance.iter().find(|&x| f64::from(x) + norm.epsilon <= 0.0) {
                    return Err(self.error(
                        format_args!("a variance of {x} in {:?}", norm.variance),
                        "more than zero with epsilon",
                    ));
                }
                one(self.input()?)
            }
            Op::Add | Op::Multiply => {
                let [a, b] = *self.inputs else {
                    return Err(self.error(format_args!("{} inputs", self.inputs.len()), "two"));
                };
                one(self.broadcast(a, b)?)
            }
            Op::Concat(concat) => one(self.concat(concat.axis)?),
            Op::Split(split) => self.split(split.axis, &split.sizes),
            Op::Slice(slice) => {
                let shape = self.input()?;
                let axis = self.axis(slice.axis, shape.len())?;
                let fine = slice.begin < slice.end && slice.end <= shape[axis];
                self.check(
                    fine,
                    format_args!("{}..{}", slice.begin, slice.end),
                    format_args!("a range inside 0..{}", shape[axis]),
                )?;
                one(self.with_dim(shape, axis, slice.end - slice.begin)?)
            }
            Op::GatherChannels(gather) => {
                let shape = self.input()?;
                let c = shape.get(1).copied();
                let c = c.ok_or_else(|| self.error(format_args!("an input of shape {shape}"), "[n, c, ...]"))?;
                let outside = gather.order.iter().find(|&&channel| channel as usize >= c);
                if let Some(channel) = outside {
                    return Err(self.error(format_args!("channel {channel} in the order"), format_args!("0..{c}")));
                }
                one(self.with_dim(shape, 1, gather.order.len())?)
            }
            Op::ShuffleChannels(shuffle) => {
                let [_, c, ..] = self.channels()?;
                let fine = shuffle.groups > 0 && c.is_multiple_of(shuffle.groups);
                self.check(fine, format_args!("{} groups", shuffle.groups), format_args!("a divisor of {c}"))?;
                one(self.input()?)
            }
            Op::MaxPool(pool) => one(self.pool(pool, false)?),
            Op::AveragePool(pool) => one(self.pool(pool, true)?),
            Op::GlobalMaxPool | Op::GlobalAveragePool => {
                let [n, c, ..] = self.map()?;
                one(self.shape(&[n, c, 1, 1])?)
            }
            Op::PRelu(prelu) => {
                let [_, c, ..] = self.channels()?;
                let count = tensors(&prelu.slope).map_or(c, |slope| slope.len());
                self.check(count == c || count == 1, format_args!("{count} slopes"), format_args!("{c} or 1"))?;
                self.per_channel("slope", &prelu.slope, count, tensors)?;
                one(self.input()?)
            }
            Op::LeakyRelu(leaky) => {
                self.check(leaky.slope.is_finite(), format_args!("slope {}", leaky.slope), "a number")?;
                one(self.input()?)
            }
            Op::HardSigmoid(hard) => {
                let fine = hard.alpha.is_finite() && hard.beta.is_finite();
                self.check(fine, format_args!("alpha {} and beta {}", hard.alpha, hard.beta), "numbers")?;
                one(self.input()?)
            }
            Op::Clamp(clamp) => {
                let (min, max) = (clamp.min.unwrap_or(f32::MIN), clamp.max.unwrap_or(f32::MAX));
                let fine = min.is_finite() && max.is_finite() && min <= max;
                self.check(fine, format_args!("bounds {min} and {max}"), "numbers, the smaller first")?;
                one(self.input()?)
            }
            Op::Relu | Op::Relu6 | Op::HardSwish | Op::Sigmoid | Op::Silu => one(self.input()?),
            Op::Softmax(softmax) => {
                let shape = self.input()?;
                self.axis(softmax.axis, shape.len())?;
                one(shape)
            }
            Op::Flatten(flatten) => {
                let shape = self.input()?;
                // An axis one past the last is allowed here; those from the end count from the last.
                let axis = self.axis(flatten.axis, shape.len() + usize::from(flatten.axis >= 0))?;
                let product = |dims: &[usize]| dims.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim));
                one(self.shape(&[product(&shape[..axis]), product(&shape[axis..])])?)
            }
            Op::Reshape(reshape) => one(self.reshape(&reshape.shape)?),
            Op::Transpose(transpose) => {
                let shape = self.input()?;
                let mut sorted = transpose.axes.clone();
                sorted.sort_unstable();
                let fine = sorted.iter().copied().eq(0..shape.len());
                self.check(
                    fine,
                    format_args!("axes {:?}", transpose.axes),
                    format_args!("each of 0..{} once", shape.len()),
                )?;
                let dims: Vec<usize> = transpose.axes.iter().map(|&axis| shape[axis]).collect();
                one(self.shape(&dims)?)
            }
            Op::Resize(resize) => {
                let [n, c, h, w] = self.map()?;
                let size = match (resize.size, resize.scale) {
                    (Some(size), None) => size,
                    (None, Some(scale)) => {
                        let fine = scale.iter().all(|&factor| factor.is_finite() && factor > 0.0);
                        self.check(fine, format_args!("scale {scale:?}"), "two factors above zero")?;
                        // Beyond the largest dimension the cast saturates and the check below refuses it.
                        [(h as f64 * scale[0]) as usize, (w as f64 * scale[1]) as usize]
                    }
                    _ => return Err(self.error("both or neither of size and scale", "one of them")),
                };
                one(self.shape(&[n, c, size[0], size[1]])?)
            }
        }
    }

    fn with_dim(&self, shape: Shape, axis: usize, dim: usize) -> Result<Shape, ModelError> {
        let mut dims = shape.dims;
        dims[axis] = dim;
        self.shape(&dims[..shape.rank])
    }

    fn conv(&self, conv: &Conv, tensors: Find<'_, '_>) -> Result<Shape, ModelError> {
        let [n, c, h, w] = self.map()?;
        let size = self.window([h, w], conv.kernel, conv.stride, conv.pad, conv.dilation, false)?;
        let groups = conv.groups;
        let fine = groups > 0 && c.is_multiple_of(groups) && conv.filters.is_multiple_of(groups);
        self.check(
            fine,
            format_args!("{groups} groups"),
            format_args!("a divisor of {c} channels and {} filters", conv.filters),
        )?;
        let [k_h, k_w] = conv.kernel;
        match &conv.learned {
            None => {
                self.tensor("weight", &conv.weight, &[conv.filters, c / groups, k_h, k_w], true, tensors)?;
            }
            Some(learned) => {
                self.check(groups == 1, format_args!("groups {groups} beside learned groups"), "one of the two")?;
                let fine = (1..=usize::from(u16::MAX)).contains(&learned.groups);
                self.check(fine, format_args!("{} learned groups", learned.groups), "1 to 65535")?;
                let mut sizes = vec![[0u64; 2]; learned.groups];
                for (side, name, count) in [(0, &learned.in_group, c), (1, &learned.out_group, conv.filters)] {
                    let role = ["in_group", "out_group"][side];
                    let tensor = self.tensor(role, name, &[count], false, tensors)?;
                    for index in 0..count {
                        let group = tensor.get(index) as usize;
                        let size = sizes.get_mut(group).ok_or_else(|| {
                            self.error(
                                format_args!("group {group} at index {index} of {role} {name:?}"),
                                format_args!("below {}", learned.groups),
                            )
                        })?;
                        size[side] += 1;
                    }
                }
                let taps = (k_h as u64).saturating_mul(k_w as u64);
                let weights = sizes.iter().fold(0u64, |sum, [c, f]| sum.saturating_add((c * f).saturating_mul(taps)));
                self.tensor("weight", &conv.weight, &[usize::try_from(weights).unwrap_or(usize::MAX)], true, tensors)?;
            }
        }
        if let Some(bias) = &conv.bias {
            self.per_channel("bias", bias, conv.filters, tensors)?;
        }
        self.shape(&[n, conv.filters, size[0], size[1]])
    }

    fn pool(&self, pool: &Pool, average: bool) -> Result<Shape, ModelError> {
        let [n, c, h, w] = self.map()?;
        self.check(
            !average || pool.dilation == [1, 1],
            format_args!("dilation {:?}", pool.dilation),
            "[1, 1] for averages",
        )?;
        let [top, left, bottom, right] = pool.pad;
        let fine = top.max(bottom) < pool.kernel[0] && left.max(right) < pool.kernel[1];
        self.check(fine, format_args!("pad {:?}", pool.pad), format_args!("less than the kernel, {:?}", pool.kernel))?;
        let [h, w] = self.window([h, w], pool.kernel, pool.stride, pool.pad, pool.dilation, pool.ceil)?;
        self.shape(&[n, c, h, w])
    }

    /// The output size of a sliding window.
    fn window(
        &self,
        size: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 4],
        dilation: [usize; 2],
        ceil: bool,
    ) -> Result<[usize; 2], ModelError> {
        let windows = [("kernel", kernel), ("stride", stride), ("dilation", dilation)];
        for (what, values) in windows {
            let fine = values.iter().all(|value| (1..=MAX_WINDOW).contains(value));
            self.check(fine, format_args!("{what} {values:?}"), format_args!("1 to {MAX_WINDOW}"))?;
        }
        self.check(
            pad.iter().all(|&pad| pad <= MAX_WINDOW),
            format_args!("pad {pad:?}"),
            format_args!("0 to {MAX_WINDOW}"),
        )?;
        let mut output = [0; 2];
        for axis in 0..2 {
            let (before, after) = (pad[axis], pad[axis + 2]);
            let reach = dilation[axis] * (kernel[axis] - 1) + 1;
            let padded = size[axis] + before + after;
            let room = padded.checked_sub(reach).ok_or_else(|| {
                self.error(
                    format_args!("a kernel that spans {reach} pixels"),
                    format_args!("at most the padded input's {padded}"),
                )
            })?;
            output[axis] = room / stride[axis] + 1;
            if ceil && !room.is_multiple_of(stride[axis]) && output[axis] * stride[axis] < size[axis] + before {
                output[axis] += 1;
            }
        }
        Ok(output)
    }

    fn broadcast(&self, a: Shape, b: Shape) -> Result<Shape, ModelError> {
        let over_space =
            |big: Shape, small: Shape| matches!((&*big, &*small), ([n, c, _, _], [m, d, 1, 1]) if n == m && c == d);
        if a == b || over_space(a, b) {
            Ok(a)
        } else if over_space(b, a) {
            Ok(b)
        } else {
            Err(self.error(
                format_args!("inputs of shapes {a} and {b}"),
                "equal shapes, or one of them [n, c, 1, 1] with the other's n and c",
            ))
        }
    }

    fn concat(&self, axis: i64) -> Result<Shape, ModelError> {
        let Some(&first) = self.inputs.first() else {
            return Err(self.error("no input", "one or more"));
        };
        let axis = self.axis(axis, first.len())?;
        let mut total = 0usize;
        for &shape in self.inputs {
            let same = shape.len() == first.len() && self.with_dim(shape, axis, 1)? == self.with_dim(first, axis, 1)?;
            self.check(
                same,
                format_args!("inputs of shapes {first} and {shape}"),
                format_args!("shapes that differ only along axis {axis}"),
            )?;
            total += shape[axis];
        }
        self.with_dim(first, axis, total)
    }

    fn split(&self, axis: i64, sizes: &[usize]) -> Result<Vec<Shape>, ModelError> {
        let shape = self.input()?;
        let axis = self.axis(axis, shape.len())?;
        let total = sizes.iter().fold(0usize, |sum, &size| sum.saturating_add(size));
        self.check(total == shape[axis], format_args!("sizes that add up to {total}"), shape[axis])?;
        self.check(
            sizes.len() == self.outputs,
            format_args!("{} outputs", self.outputs),
            format_args!("{}, one for each size", sizes.len()),
        )?;
        sizes.iter().map(|&size| self.with_dim(shape, axis, size)).collect()
    }

    fn reshape(&self, to: &[i64]) -> Result<Shape, ModelError> {
        let shape = self.input()?;
        let mut dims = Vec::with_capacity(to.len());
        let mut inferred = None;
        for (index, &dim) in to.iter().enumerate() {
            dims.push(match dim {
                -1 if inferred.replace(index).is_none() => 1,
                0 if index < shape.len() => shape[index],
                1.. => usize::try_from(dim).unwrap_or(usize::MAX),
                _ => {
                    return Err(self.error(
                        format_args!("shape {to:?}"),
                        "sizes from 1, at most one -1, and 0 where the input has that dimension",
                    ));
                }
            });
        }
        let known = dims.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim));
        if let Some(index) = inferred
            && shape.elements().is_multiple_of(known)
        {
            dims[index] = shape.elements() / known;
        }
        let output = self.shape(&dims)?;
        self.check(
            output.elements() == shape.elements(),
            format_args!("shape {to:?} for {} elements", shape.elements()),
            "as many elements",
        )?;
        Ok(output)
    }
}
