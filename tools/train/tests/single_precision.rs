//! A block in single precision, whose activations and gradients are stored as bf16, against the same block in double precision. Rounding an output to eight
//! significant bits puts some inputs of a ReLU on the other side of its bend, so a whole network's gradients differ more the deeper it is; those of one block
//! have to agree.

use flgc_train::nn::{
    Act, Block, Buffers, Conv, Depthwise, Float, Kind, LANES, Param, Pointwise, Shortcut, Source, Unit, Vector,
    groups::Assignment,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const PARTS: usize = 2;

/// A stored number.
trait Stored {
    fn of(x: f64) -> Self;
    fn f64(&self) -> f64;
}

impl Stored for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn f64(&self) -> f64 {
        *self
    }
}

impl Stored for half::bf16 {
    fn of(x: f64) -> Self {
        Self::from_f64(x)
    }
    fn f64(&self) -> f64 {
        self.to_f64()
    }
}

/// Random numbers that both can store.
fn numbers(rng: &mut Pcg64, count: usize, least: f64, most: f64) -> Vec<f64> {
    (0..count).map(|_| half::bf16::from_f64(rng.random_range(least..most)).to_f64()).collect()
}

/// What a block computes, as doubles: its output, the gradient of its input, and those of everything learned.
fn run<F: Float>([c, wide, n]: [usize; 3], stride: usize, [h, w]: [usize; 2]) -> Vec<(String, Vec<f64>)>
where
    <F as Vector>::Stored: Stored,
{
    let rng = &mut Pcg64::seed_from_u64(11);
    let mut unit = |name: &str, shape: [usize; 2], stride: Option<usize>| {
        let mut list = |count, least, most| numbers(rng, count, least, most).into_iter().map(F::of).collect::<Vec<F>>();
        let [c, n] = shape;
        let mut weight = |count| Param::new(name.into(), Kind::Weight, list(count, -1.0, 1.0));
        let conv = match stride {
            Some(stride) => Conv::Depthwise(Depthwise::new(c, stride, weight(9 * c))),
            None => {
                let scattered = |count: usize| (0..count).map(|i| i * 5 % 7 % 3).collect();
                let groups = Assignment { groups: 3, of_channel: scattered(c), of_filter: scattered(n) };
                Conv::Pointwise(Pointwise::fixed(weight(n * c), groups).into())
            }
        };
        let mut unit = Unit::new(name.into(), conv);
        unit.norm.gamma.value = list(n, 0.5, 1.5);
        unit.norm.beta.value = list(n, -0.3, 0.3);
        unit
    };
    let (expand, depthwise) = (unit("expand", [c, wide], None), unit("depthwise", [wide, wide], Some(stride)));
    let project = unit("project", [wide, n], None);
    let shortcut = match (stride, c == n) {
        (1, true) => Shortcut::Identity,
        (1, false) => Shortcut::Unit(unit("shortcut", [c, n], None).into()),
        _ => Shortcut::None,
    };
    let mut block = Block::new(expand, depthwise, project, shortcut);
    let mut act = |c: usize, h: usize, w: usize| -> Act<F> {
        let mut part = || numbers(rng, c * h * w * LANES, -1.0, 1.0).into_iter().map(Stored::of).collect();
        Act { c, h, w, parts: (0..PARTS).map(|_| part()).collect() }
    };
    let (x, g) = (act(c, h, w), act(n, h.div_ceil(stride), w.div_ceil(stride)));
    let buffers = Buffers::default();
    let doubles = |act: &Act<F>| act.parts.iter().flatten().map(Stored::f64).collect::<Vec<f64>>();
    block.forward(Source::plain(&x), true, &buffers);
    let mut results = vec![("output".to_owned(), doubles(block.source().raw))];
    let dx = block.backward(Source::plain(&x), g, &buffers);
    results.push(("gradient of the input".to_owned(), doubles(&dx)));
    for unit in block.units_mut() {
        for param in unit.params_mut() {
            results.push((param.name.clone(), param.grad.iter().map(|grad| grad.f64()).collect()));
        }
    }
    results
}

#[test]
fn a_block_in_16_bits_agrees_with_one_in_64() {
    let length = |list: &mut dyn Iterator<Item = f64>| list.map(|x| x * x).sum::<f64>().sqrt();
    for (channels, stride, size) in [([7, 20, 7], 1, [5, 9]), ([6, 11, 8], 1, [16, 16]), ([9, 24, 13], 2, [7, 6])] {
        let (single, double) = (run::<f32>(channels, stride, size), run::<f64>(channels, stride, size));
        assert_eq!(single.len(), double.len());
        for ((name, found), (_, expected)) in single.iter().zip(&double) {
            assert_eq!(found.len(), expected.len());
            let error = length(&mut found.iter().zip(expected).map(|(x, y)| x - y));
            let error = error / length(&mut expected.iter().copied());
            // Gradients are sums of many terms that cancel.
            let limit = if name == "output" { 0.01 } else { 0.2 };
            assert!(error < limit, "{channels:?}, stride {stride}: {name}: found a relative error of {error:.4}");
        }
    }
}
