//! Activations as views: which element of which storage each one is. Concat, split, slice, shuffle, reshape and transpose happen here, once, on paper.

use super::net::View;
use crate::model::Shape;

/// Index of a storage: the planes that one layer writes, or that hold one input.
pub(super) type StorageId = u32;

/// A channel of a storage, in all images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) storage: StorageId,
    pub(super) channel: u32,
}

/// An element of a storage, counted as `[n][c][h][w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) storage: StorageId,
    pub(super) index: u32,
}

/// What an activation consists of.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Whole planes: rank 2 or 4.
    Lanes(Vec<Lane>),
    /// Anything else, element by element.
    Elements(Vec<Element>),
}

/// An activation: a shape and what it consists of.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) shape: Shape,
    pub(super) content: Content,
}

/// `[n, c, h, w]` of each storage.
pub(super) type Dims = [usize; 4];

impl Value {
    /// All of a storage with dimensions `dims`, as an activation of another shape with as many elements.
    pub(super) fn whole(storage: StorageId, dims: Dims, shape: Shape) -> Self {
        let [_, c, ..] = dims;
        if shape.nchw() == Some(dims) {
            let lanes = (0..c as u32).map(|channel| Lane { storage, channel }).collect();
            return Self { shape, content: Content::Lanes(lanes) };
        }
        let elements = (0..shape.elements() as u32).map(|index| Element { storage, index }).collect();
        Self { shape, content: Content::Elements(elements) }
    }

    /// The planes, if it consists of planes.
    pub(super) fn lanes(&self) -> Option<&[Lane]> {
        match &self.content {
            Content::Lanes(lanes) => Some(lanes),
            Content::Elements(_) => None,
        }
    }

    /// Every element, in order.
    pub(super) fn elements(&self, storages: &[Dims]) -> Vec<Element> {
        match &self.content {
            Content::Elements(elements) => elements.clone(),
            Content::Lanes(lanes) => {
                let n = self.shape[0];
                let mut elements = Vec::with_capacity(self.shape.elements());
                for image in 0..n {
                    for lane in lanes {
                        let [_, c, h, w] = storages[lane.storage as usize];
                        let start = (image * c + lane.channel as usize) * h * w;
                        elements
                            .extend((start..start + h * w).map(|i| Element { storage: lane.storage, index: i as u32 }));
                    }
                }
                elements
            }
        }
    }

    /// A value of these elements: as planes, if they are whole planes.
    fn new(shape: Shape, elements: Vec<Element>, storages: &[Dims]) -> Self {
        let lanes = shape.nchw().and_then(|dims| as_lanes(dims, &elements, storages));
        Self { shape, content: lanes.map_or(Content::Elements(elements), Content::Lanes) }
    }

    /// The storage of the first element.
    pub(super) fn first_storage(&self) -> Option<StorageId> {
        match &self.content {
            Content::Lanes(lanes) => lanes.first().map(|lane| lane.storage),
            Content::Elements(elements) => elements.first().map(|element| element.storage),
        }
    }

    /// The storages it reads, each once.
    pub(super) fn storages(&self) -> Vec<StorageId> {
        let mut storages = Vec::new();
        let mut add = |storage| {
            // Most often it is that of the lane before.
            if storages.last() != Some(&storage) && !storages.contains(&storage) {
                storages.push(storage);
            }
        };
        match &self.content {
            Content::Lanes(lanes) => lanes.iter().for_each(|lane| add(lane.storage)),
            Content::Elements(elements) => elements.iter().for_each(|element| add(element.storage)),
        }
        storages
    }
}

/// The planes that `elements` are, if they are whole planes of `[n, c, h, w]`, image by image.
fn as_lanes([n, c, h, w]: Dims, elements: &[Element], storages: &[Dims]) -> Option<Vec<Lane>> {
    let pixels = h * w;
    let plane = |image: usize, channel: usize| {
        let run = &elements[(image * c + channel) * pixels..][..pixels];
        let Element { storage, index } = run[0];
        let [images, channels, sh, sw] = storages[storage as usize];
        let (at, start) = (index as usize / pixels, index as usize % pixels);
        let whole = [images, sh, sw] == [n, h, w] && start == 0 && at / channels == image;
        let in_order = || run.iter().enumerate().all(|(i, e)| e.storage == storage && e.index == index + i as u32);
        (whole && in_order()).then(|| Lane { storage, channel: (at % channels) as u32 })
    };
    let lanes: Vec<Lane> = (0..c).map(|channel| plane(0, channel)).collect::<Option<_>>()?;
    let same = (1..n).all(|image| lanes.iter().enumerate().all(|(channel, &lane)| plane(image, channel) == Some(lane)));
    same.then_some(lanes)
}

/// The outputs, of the shapes `shapes`, of a view of `inputs`.
pub(super) fn view(view: &View, inputs: &[&Value], shapes: &[Shape], storages: &[Dims]) -> Vec<Value> {
    let input = inputs[0];
    match view {
        View::Concat { axis } => vec![concat(*axis, inputs, shapes[0], storages)],
        View::Split { axis, sizes } => {
            let mut begin = 0;
            let ranges = sizes.iter().zip(shapes).map(|(size, &shape)| {
                let range = begin..begin + size;
                begin += size;
                (range, shape)
            });
            ranges.map(|(range, shape)| slice(input, *axis, range, shape, storages)).collect()
        }
        View::Slice { axis, begin, end } => vec![slice(input, *axis, *begin..*end, shapes[0], storages)],
        View::Channels { order } => vec![match &input.content {
            Content::Lanes(lanes) => {
                let lanes = order.iter().map(|&channel| lanes[channel as usize]).collect();
                Value { shape: shapes[0], content: Content::Lanes(lanes) }
            }
            Content::Elements(elements) => {
                let (outer, inner) = (input.shape[0], input.shape[2..].iter().product::<usize>());
                let channels = input.shape[1];
                let planes =
                    (0..outer).flat_map(|image| order.iter().map(move |&c| (image * channels + c as usize) * inner));
                let elements = planes.flat_map(|start| elements[start..start + inner].iter().copied()).collect();
                Value::new(shapes[0], elements, storages)
            }
        }],
        View::Reshape if *shapes[0] == *input.shape => vec![input.clone()],
        View::Reshape => vec![Value::new(shapes[0], input.elements(storages), storages)],
        View::Transpose { axes } => {
            let elements = input.elements(storages);
            vec![Value::new(shapes[0], transpose(&input.shape, axes, &elements), storages)]
        }
    }
}

fn concat(axis: usize, inputs: &[&Value], shape: Shape, storages: &[Dims]) -> Value {
    let lanes: Option<Vec<&[Lane]>> = inputs.iter().map(|value| value.lanes()).collect();
    if axis == 1
        && let Some(lanes) = lanes
    {
        return Value { shape, content: Content::Lanes(lanes.concat()) };
    }
    let parts: Vec<(usize, Vec<Element>)> =
        inputs.iter().map(|value| (value.shape[axis..].iter().product(), value.elements(storages))).collect();
    let outer: usize = shape[..axis].iter().product();
    let mut elements = Vec::with_capacity(shape.elements());
    for i in 0..outer {
        for (run, part) in &parts {
            elements.extend_from_slice(&part[i * run..(i + 1) * run]);
        }
    }
    Value::new(shape, elements, storages)
}

fn slice(input: &Value, axis: usize, range: std::ops::Range<usize>, shape: Shape, storages: &[Dims]) -> Value {
    if axis == 1
        && let Content::Lanes(lanes) = &input.content
    {
        return Value { shape, content: Content::Lanes(lanes[range].to_vec()) };
    }
    let inner: usize = input.shape[axis + 1..].iter().product();
    let run = input.shape[axis] * inner;
    let elements = input.elements(storages);
    let parts = elements.chunks_exact(run).flat_map(|chunk| &chunk[range.start * inner..range.end * inner]);
    Value::new(shape, parts.copied().collect(), storages)
}

fn transpose(shape: &[usize], axes: &[usize], elements: &[Element]) -> Vec<Element> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let mut indices = vec![0usize];
    for &axis in axes {
        let stride = strides[axis];
        indices = indices.iter().flat_map(|&at| (0..shape[axis]).map(move |i| at + i * stride)).collect();
    }
    indices.into_iter().map(|index| elements[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORAGES: &[Dims] = &[[2, 6, 2, 3], [2, 4, 2, 3]];

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    fn whole(storage: StorageId) -> Value {
        let dims = STORAGES[storage as usize];
        Value::whole(storage, dims, shape(&dims))
    }

    fn channels(value: &Value) -> Vec<(u32, u32)> {
        value.lanes().expect("planes").iter().map(|lane| (lane.storage, lane.channel)).collect()
    }

    #[test]
    fn concat_and_split_of_channels_are_lists_of_planes() {
        let both =
            view(&View::Concat { axis: 1 }, &[&whole(0), &whole(1)], &[shape(&[2, 10, 2, 3])], STORAGES).remove(0);
        let sizes = vec![5, 5];
        let shapes = [shape(&[2, 5, 2, 3]); 2];
        let parts = view(&View::Split { axis: 1, sizes }, &[&both], &shapes, STORAGES);
        assert_eq!(channels(&parts[1]), [(0, 5), (1, 0), (1, 1), (1, 2), (1, 3)]);
    }

    #[test]
    fn a_shuffle_written_as_reshape_and_transpose_is_a_list_of_planes() {
        let a = view(&View::Reshape, &[&whole(0)], &[shape(&[2, 2, 3, 2, 3])], STORAGES).remove(0);
        assert!(a.lanes().is_none());
        let axes = vec![0, 2, 1, 3, 4];
        let b = view(&View::Transpose { axes }, &[&a], &[shape(&[2, 3, 2, 2, 3])], STORAGES).remove(0);
        let c = view(&View::Reshape, &[&b], &[shape(&[2, 6, 2, 3])], STORAGES).remove(0);
        assert_eq!(channels(&c), [(0, 0), (0, 3), (0, 1), (0, 4), (0, 2), (0, 5)]);
    }

    #[test]
    fn a_transpose_of_space_is_no_list_of_planes() {
        let axes = vec![0, 1, 3, 2];
        let t = view(&View::Transpose { axes }, &[&whole(0)], &[shape(&[2, 6, 3, 2])], STORAGES).remove(0);
        let elements = t.elements(STORAGES);
        assert!(t.lanes().is_none());
        assert_eq!(elements[..6].iter().map(|e| e.index).collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn images_are_not_mixed_up_with_channels() {
        let merged = view(&View::Reshape, &[&whole(0)], &[shape(&[1, 12, 2, 3])], STORAGES).remove(0);
        assert!(merged.lanes().is_none(), "planes of the second image are no planes of the first");
    }

    #[test]
    fn slices_in_space_keep_their_elements() {
        let s =
            view(&View::Slice { axis: 3, begin: 1, end: 2 }, &[&whole(0)], &[shape(&[2, 6, 2, 1])], STORAGES).remove(0);
        assert_eq!(s.elements(STORAGES)[..4].iter().map(|e| e.index).collect::<Vec<_>>(), [1, 4, 7, 10]);
    }
}
