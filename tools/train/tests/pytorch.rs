//! Two training steps of a small network against PyTorch's in double precision, from `tools/python/train_step_reference.py`.

use flgc_train::{
    nn::{
        Float, LANES, Running,
        groups::{Assignment, Estimator, Start},
        mobilenet::{Config, Grouping, MobileNet},
    },
    optim::{self, LogitRule, Logits, Sgd},
};
use safetensors::{Dtype, SafeTensors};

/// As in the script.
const SIZE: [usize; 2] = [8, 8];
const SMOOTHING: f64 = 0.1;
const RATES: [f64; 2] = [0.1, 0.5];
const SGD: Sgd = Sgd { momentum: 0.9, decay: 1e-4 };
const LOGITS: Logits = Logits { rule: LogitRule::Sgd, rate: RATES[1], decay: 1e-3 };
/// Of long lists every so many numbers are in the file.
const EVERY: usize = 17;
/// The length of a list, by which errors are measured, counts as at least this: the shift of a norm without a ReLU has no effect through the next
/// norm, so that its gradient is nothing but rounding.
const LEAST_LENGTH: f64 = 1e-3;

/// What PyTorch started from and came to.
struct Reference(SafeTensors<'static>);

impl Reference {
    fn new() -> Self {
        Self(SafeTensors::deserialize(include_bytes!("data/train_step.safetensors")).expect("a safetensors file"))
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        let view = self.0.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let data = view.data();
        match view.dtype() {
            Dtype::U8 => data.iter().map(|&value| f64::from(value)).collect(),
            Dtype::BF16 => {
                data.as_chunks().0.iter().map(|&[low, high]| f32::from_le_bytes([0, 0, low, high]).into()).collect()
            }
            Dtype::F64 => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
            other => panic!("{name}: found {other:?}"),
        }
    }

    /// The pictures, cut into parts of `[3][h][w][LANES]`.
    fn pictures<F: Float>(&self) -> Vec<Vec<F>> {
        let (pictures, picture) = (self.numbers("pictures"), 3 * SIZE[0] * SIZE[1]);
        let part = |part: &[f64]| (0..part.len()).map(|i| F::of(part[i % LANES * picture + i / LANES])).collect();
        pictures.chunks_exact(LANES * picture).map(part).collect()
    }

    fn labels(&self) -> Vec<u16> {
        self.numbers("labels").into_iter().map(|label| label as u16).collect()
    }

    /// The network at the start.
    fn network<F: Float>(&self) -> MobileNet<F> {
        let config = Config {
            width: 0.25,
            size: SIZE,
            classes: 5,
            grouping: Grouping::Flgc,
            groups: 3,
            start: Start::Random { scale: 1.0 },
            estimator: Estimator::Row,
            seed: 1,
        };
        let mut network = MobileNet::new(&config);
        for param in network.params_mut() {
            let start = self.numbers(&format!("start.{}", param.name));
            assert_eq!(start.len(), param.value.len(), "{}", param.name);
            param.value = start.into_iter().map(F::of).collect();
        }
        network.refresh();
        network
    }

    /// Holds a list to the one in the file: the length of the difference to that of the list, and the sums.
    fn check<F: Float>(&self, name: &str, found: &[F], tolerance: f64) {
        let found: Vec<f64> = found.iter().map(|value| value.f64()).collect();
        let expected = self.numbers(name);
        let step = if expected.len() == found.len() { 1 } else { EVERY };
        assert_eq!(expected.len(), found.len().div_ceil(step), "{name}");
        let differences: Vec<f64> = found.iter().step_by(step).zip(&expected).map(|(x, y)| x - y).collect();
        let error = length(&differences) / length(&expected).max(LEAST_LENGTH);
        assert!(error <= tolerance, "{name}: found a relative error of {error:.1e}, differences {differences:?}");
        if step > 1 {
            let total = |of: fn(f64) -> f64| found.iter().map(|&value| of(value)).sum::<f64>();
            let expected = self.numbers(&format!("sums.{name}"));
            assert_close(&format!("sum of {name}"), total(|x| x), expected[0], tolerance * total(f64::abs));
            let squares = total(|x| x * x);
            assert_close(&format!("squares of {name}"), squares, expected[1], 2.0 * tolerance * squares);
        }
    }
}

fn length(list: &[f64]) -> f64 {
    list.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn assert_close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: found {found}, expected {expected} within {tolerance:.1e}");
}

fn assignments<F: Float>(network: &MobileNet<F>) -> Vec<Assignment> {
    network.assignments().map(|(_, assignment)| assignment.clone()).collect()
}

#[test]
fn two_steps() {
    const TOLERANCE: f64 = 1e-10;
    let reference = Reference::new();
    let (pictures, labels, losses) = (reference.pictures(), reference.labels(), reference.numbers("losses"));
    let mut network = reference.network::<f64>();
    let start = assignments(&network);
    for (step, expected) in losses.into_iter().enumerate() {
        let score = network.learn(&pictures, &labels, SIZE, SMOOTHING);
        let loss = score.loss / score.pictures as f64;
        assert_close(&format!("loss of step {}", step + 1), loss, expected, TOLERANCE * expected);
        for param in network.params_mut() {
            if step == 0 {
                reference.check(&format!("gradient.{}", param.name), &param.grad, TOLERANCE);
            }
            optim::update(param, RATES, SGD, LOGITS, step as u64);
        }
        network.refresh();
        assert_ne!(assignments(&network), start, "the second step is one with other groups");
    }
    let (params, norms) = network.state_mut();
    for param in params {
        reference.check(&format!("after.{}", param.name), &param.value, TOLERANCE);
    }
    for Running { name: unit, mean, variance } in norms {
        reference.check(&format!("after.{unit}.mean"), mean, TOLERANCE);
        reference.check(&format!("after.{unit}.variance"), variance, TOLERANCE);
    }
}

/// Activations are stored in 16 bits, which this network, small and untrained, feels in its loss; `single_precision.rs` looks at gradients.
#[test]
fn loss_in_single_precision() {
    let reference = Reference::new();
    let mut network = reference.network::<f32>();
    let score = network.learn(&reference.pictures(), &reference.labels(), SIZE, SMOOTHING);
    let expected = reference.numbers("losses")[0];
    assert_close("loss", score.loss / score.pictures as f64, expected, 0.02 * expected);
}
