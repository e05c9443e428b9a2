//! What is learned.

use super::Float;

/// Which rules of the optimiser apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Weights of a convolution or of the last layer: decayed.
    Weight,
    /// Scales, shifts and biases: not decayed.
    Offset,
    /// Logits of group membership: rules of their own.
    Logits,
}

/// A list of numbers that are learned together, with their gradient and the state of their optimiser.
#[derive(Clone, Debug)]
pub struct Param<F> {
    /// Unique in the network.
    pub name: String,
    /// Which rules apply.
    pub kind: Kind,
    /// The numbers.
    pub value: Vec<F>,
    /// Derivative of the loss by each of them.
    pub grad: Vec<F>,
    /// Momentum; first moment for Adam.
    pub first: Vec<F>,
    /// Second moment for Adam; empty until it is used.
    pub second: Vec<F>,
}

impl<F: Float> Param<F> {
    /// With these numbers to start from.
    #[must_use]
    pub fn new(name: String, kind: Kind, value: Vec<F>) -> Self {
        let zeros = vec![F::zero(); value.len()];
        Self { name, kind, grad: zeros.clone(), first: zeros, second: Vec::new(), value }
    }
}

/// Adds lists up in order, into `sum`.
pub(super) fn add_in_order<F: Float>(sum: &mut [F], lists: &[Vec<F>]) {
    sum.fill(F::zero());
    for list in lists {
        for (sum, &value) in sum.iter_mut().zip(list) {
            *sum += value;
        }
    }
}
