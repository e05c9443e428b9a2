//! Where the pixels of a resized axis come from: the rules of ONNX' operator Resize.

/// One axis of a resize: output `i` is `x[from[i]] + weight[i] * (x[to[i]] - x[from[i]])`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// The nearer to the start of the two inputs of each output.
    pub from: Vec<u32>,
    /// The other one: equal to `from` or the next.
    pub to: Vec<u32>,
    /// The share of `to`, from 0 to 1.
    pub weight: Vec<f32>,
}

/// How the position of an output becomes one in the input: `coordinate_transformation_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// `(i + 0.5) / scale - 0.5`
    HalfPixel,
    /// The same, but 0 if the output has one element.
    PytorchHalfPixel,
    /// `i * (input - 1) / (output - 1)`, 0 if the output has one element.
    AlignCorners,
    /// `i / scale`
    Asymmetric,
}

/// How a position becomes an index: `nearest_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, halves down.
    PreferFloor,
    /// To the nearest, halves up.
    PreferCeil,
    /// Down.
    Floor,
    /// Up.
    Ceil,
}

impl Coordinates {
    /// In f32, step by step like ONNX Runtime: the last bit can decide between two pixels.
    fn position(self, i: usize, input: usize, output: usize, scale: f32) -> f32 {
        // Without scaling the positions stay what they are, whatever the rule.
        if scale == 1.0 {
            return i as f32;
        }
        match self {
            Self::PytorchHalfPixel | Self::AlignCorners if output == 1 => 0.0,
            Self::HalfPixel | Self::PytorchHalfPixel => (i as f32 + 0.5) / scale - 0.5,
            Self::AlignCorners => i as f32 * (input - 1) as f32 / (output - 1) as f32,
            Self::Asymmetric => i as f32 / scale,
        }
    }
}

impl Rounding {
    fn round(self, x: f32) -> f32 {
        match self {
            Self::PreferFloor if x - x.floor() == 0.5 => x.floor(),
            Self::PreferFloor | Self::PreferCeil => x.round(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
        }
    }
}

impl Axis {
    /// `output` elements from `input`, each a copy of one. `scale` is the given factor, or `output / input` where sizes were given.
    ///
    /// # Panics
    /// If `input` is zero or more than a `u32` holds.
    #[must_use]
    pub fn nearest(input: usize, output: usize, scale: f32, coordinates: Coordinates, rounding: Rounding) -> Self {
        let last = last(input);
        // A cast takes what is negative to zero.
        let index = |i| (rounding.round(coordinates.position(i, input, output, scale)) as u32).min(last);
        let from: Vec<u32> = (0..output).map(index).collect();
        Self { to: from.clone(), from, weight: vec![0.0; output] }
    }

    /// `output` elements from `input`, each between two neighbours. `scale` as for [`Axis::nearest`].
    ///
    /// # Panics
    /// If `input` is zero or more than a `u32` holds.
    #[must_use]
    pub fn bilinear(input: usize, output: usize, scale: f32, coordinates: Coordinates) -> Self {
        let last = last(input);
        let mut axis = Self::default();
        for i in 0..output {
            let position = coordinates.position(i, input, output, scale).clamp(0.0, last as f32);
            let from = (position as u32).min(last);
            axis.from.push(from);
            axis.to.push((from + 1).min(last));
            axis.weight.push(position - from as f32);
        }
        axis
    }

    /// The number of outputs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.from.len()
    }

    /// Whether there is no output.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from.is_empty()
    }
}

fn last(input: usize) -> u32 {
    let last = input.checked_sub(1).expect("an axis to resize has an element");
    u32::try_from(last).expect("an axis fits the arena")
}

#[cfg(test)]
mod tests {
    use super::*;
    use {Coordinates::*, Rounding::*};

    fn nearest(input: usize, output: usize, coordinates: Coordinates, rounding: Rounding) -> Vec<u32> {
        let axis = Axis::nearest(input, output, output as f32 / input as f32, coordinates, rounding);
        assert_eq!(axis.from, axis.to);
        assert_eq!(axis.weight, vec![0.0; output]);
        axis.from
    }

    fn bilinear(input: usize, output: usize, coordinates: Coordinates) -> Vec<f32> {
        let axis = Axis::bilinear(input, output, output as f32 / input as f32, coordinates);
        assert!(axis.from.iter().zip(&axis.to).all(|(from, to)| to - from <= 1 && (*to as usize) < input));
        axis.from.iter().zip(&axis.weight).map(|(&from, weight)| from as f32 + weight).collect()
    }

    #[test]
    fn nearest_follows_the_onnx_rules() {
        assert_eq!(nearest(2, 4, HalfPixel, PreferFloor), [0, 0, 1, 1]);
        assert_eq!(nearest(2, 4, Asymmetric, Floor), [0, 0, 1, 1]);
        // Positions 0, 0.5, 1, 1.5.
        assert_eq!(nearest(2, 4, Asymmetric, PreferFloor), [0, 0, 1, 1]);
        assert_eq!(nearest(2, 4, Asymmetric, PreferCeil), [0, 1, 1, 1]);
        assert_eq!(nearest(2, 4, Asymmetric, Ceil), [0, 1, 1, 1]);
        // Positions 0, 3/7, ..., 3.
        assert_eq!(nearest(4, 8, AlignCorners, Floor), [0, 0, 0, 1, 1, 2, 2, 3]);
        // Positions 0.5, 2.5.
        assert_eq!(nearest(4, 2, HalfPixel, PreferFloor), [0, 2]);
        assert_eq!(nearest(4, 2, HalfPixel, PreferCeil), [1, 3]);
        assert_eq!(nearest(5, 1, AlignCorners, PreferFloor), [0]);
        assert_eq!(nearest(5, 1, PytorchHalfPixel, PreferFloor), [0]);
        assert_eq!(nearest(5, 1, HalfPixel, PreferFloor), [2]);
        // A given scale that is not the ratio of the sizes.
        assert_eq!(Axis::nearest(4, 6, 1.6, Asymmetric, Floor).from, [0, 0, 1, 1, 2, 3]);
        // Beyond the edges.
        assert_eq!(Axis::nearest(2, 4, 0.5, HalfPixel, Floor).from, [0, 1, 1, 1]);
    }

    #[test]
    fn bilinear_follows_the_onnx_rules() {
        assert_eq!(bilinear(2, 4, HalfPixel), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(bilinear(2, 4, Asymmetric), [0.0, 0.5, 1.0, 1.0]);
        assert_eq!(bilinear(3, 5, AlignCorners), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(bilinear(4, 2, HalfPixel), [0.5, 2.5]);
        assert_eq!(bilinear(4, 1, PytorchHalfPixel), [0.0]);
        assert_eq!(bilinear(3, 3, AlignCorners), [0.0, 1.0, 2.0]);
        assert_eq!(bilinear(1, 3, HalfPixel), [0.0, 0.0, 0.0]);
    }
}
