//! A wider network that computes the same: Net2WiderNet (Chen, Goodfellow and Shlens, ICLR 2016, arXiv:1511.05641). Each channel becomes one or more, all
//! of them in its group; whoever reads them shares its weight out among them. The shares are random, so that the copies learn to be different.

use super::{Conv, Float, Norm, Param, Pointwise, Unit, mobilenet::MobileNet};
use rand::RngExt;
use rand_pcg::Pcg64;

/// Which channel each of `wide` channels is a copy of: every one of `narrow` has some.
fn sources(narrow: usize, wide: usize) -> Vec<usize> {
    (0..wide).map(|channel| channel * narrow / wide).collect()
}

/// What tells the shares from the weights of a fresh network with the same seed.
const STREAM: u64 = 0x5a5a;

/// Gives `wide` the function, groups and statistics of `narrow`. Shares are decided by `seed`.
///
/// # Errors
/// If one has layers, classes or groups that the other has not, a layer of `wide` has fewer channels, or groups are not learned; `wide` may then be partly changed.
pub fn widen<F: Float>(narrow: &MobileNet<F>, wide: &mut MobileNet<F>, seed: u64) -> Result<(), String> {
    let mut rng = Pcg64::new(seed.into(), STREAM.into());
    let mut shares = |count: usize| -> Vec<f64> {
        let parts: Vec<f64> = (0..count).map(|_| rng.random_range(0.5..1.5)).collect();
        let total: f64 = parts.iter().sum();
        parts.into_iter().map(|part| part / total).collect()
    };
    let names = |network: &MobileNet<F>| network.units().map(|unit| unit.name.clone()).collect::<Vec<_>>();
    let (found, expected) = (names(narrow), names(wide));
    if let Some(name) = found.iter().find(|name| !expected.contains(name)) {
        return Err(format!("layer {name}: found one in the narrower network, expected none as in the wider"));
    }
    if let Some(name) = expected.iter().find(|name| !found.contains(name)) {
        return Err(format!("layer {name}: found none in the narrower network, expected one as in the wider"));
    }
    if narrow.head.classes != wide.head.classes {
        return Err(format!("found {} classes, expected {}", narrow.head.classes, wide.head.classes));
    }
    for (from, to) in narrow.units().zip(wide.units_mut()) {
        widen_unit(from, to, &mut shares)?;
    }
    let (from, to) = (&narrow.head, &mut wide.head);
    to.weight.value = widen_weights(&from.weight, [from.classes, from.c], [to.classes, to.c], &mut shares);
    to.bias.value.clone_from(&from.bias.value);
    wide.refresh();
    Ok(())
}

fn widen_unit<F: Float>(
    from: &Unit<F>,
    to: &mut Unit<F>,
    shares: &mut impl FnMut(usize) -> Vec<f64>,
) -> Result<(), String> {
    let name = &to.name;
    match (&from.conv, &mut to.conv) {
        (Conv::Pointwise(from), Conv::Pointwise(to)) => widen_pointwise(name, from, to, shares)?,
        (Conv::Depthwise(from), Conv::Depthwise(to)) => {
            to.weight.value = rows(&from.weight.value, from.c, to.c);
        }
        _ => return Err(format!("layer {name} is another kind of convolution")),
    }
    let (Norm { gamma, beta, mean, variance }, norm) = (&from.norm, &mut to.norm);
    let (narrow, wide) = (mean.len(), norm.mean.len());
    norm.gamma.value = rows(&gamma.value, narrow, wide);
    norm.beta.value = rows(&beta.value, narrow, wide);
    norm.mean = rows(mean, narrow, wide);
    norm.variance = rows(variance, narrow, wide);
    Ok(())
}

fn widen_pointwise<F: Float>(
    name: &str,
    from: &Pointwise<F>,
    to: &mut Pointwise<F>,
    shares: &mut impl FnMut(usize) -> Vec<f64>,
) -> Result<(), String> {
    if to.c < from.c || to.n < from.n {
        let (n, c) = (to.n, to.c);
        return Err(format!(
            "layer {name}: found {n} filters of {c} channels, expected at least {} of {}",
            from.n, from.c
        ));
    }
    let dense = from.assignment().groups == 1 && to.assignment().groups == 1;
    match (&from.members, &mut to.members) {
        (Some(from_members), Some(members)) if from_members.groups == members.groups => {
            members.channels.value = rows(&from_members.channels.value, from.c, to.c);
            members.filters.value = rows(&from_members.filters.value, from.n, to.n);
        }
        (None, None) if dense => {}
        _ => {
            return Err(format!(
                "layer {name}: found groups that are not learned, or not as many, expected the same number of learned ones in both"
            ));
        }
    }
    to.weight.value = widen_weights(&from.weight, [from.n, from.c], [to.n, to.c], shares);
    Ok(())
}

/// Each of `wide` rows: that of the channel it is a copy of.
fn rows<T: Copy>(values: &[T], narrow: usize, wide: usize) -> Vec<T> {
    let len = values.len() / narrow;
    sources(narrow, wide).into_iter().flat_map(|row| &values[row * len..(row + 1) * len]).copied().collect()
}

/// Weights `[n][c]` of a wider layer: rows are copied, columns shared out.
fn widen_weights<F: Float>(
    from: &Param<F>,
    [n, c]: [usize; 2],
    [wide_n, wide_c]: [usize; 2],
    shares: &mut impl FnMut(usize) -> Vec<f64>,
) -> Vec<F> {
    let columns = sources(c, wide_c);
    let mut copies = vec![0; c];
    columns.iter().for_each(|&column| copies[column] += 1);
    let mut weights = Vec::with_capacity(wide_n * wide_c);
    for row in sources(n, wide_n) {
        let row = &from.value[row * c..(row + 1) * c];
        for (&weight, &copies) in row.iter().zip(&copies) {
            weights.extend(shares(copies).into_iter().map(|share| F::of(weight.f64() * share)));
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{
        LANES,
        groups::{Estimator, Start},
        mobilenet::{Config, Grouping},
    };
    use rand::SeedableRng;

    fn config(grouping: Grouping, width: f64) -> Config {
        Config {
            width,
            size: [8, 8],
            classes: 3,
            grouping,
            groups: 3,
            start: Start::Random { scale: 1.0 },
            estimator: Estimator::Chosen,
            seed: 5,
        }
    }

    #[test]
    fn every_channel_has_copies_next_to_each_other() {
        assert_eq!(sources(3, 5), [0, 0, 1, 1, 2]);
        assert_eq!(sources(4, 4), [0, 1, 2, 3]);
    }

    #[test]
    fn a_wider_network_computes_the_same() {
        let mut rng = Pcg64::seed_from_u64(3);
        let pictures = [(0..3 * 64 * LANES).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f64>>()];
        for grouping in [Grouping::Flgc, Grouping::Dense] {
            let mut narrow = MobileNet::<f64>::new(&config(grouping, 1.0));
            // Running statistics of its own.
            narrow.forward(&pictures, [8, 8], true);
            let mut wide = MobileNet::<f64>::new(&config(grouping, 1.3));
            widen(&narrow, &mut wide, 1).unwrap();
            let expected = narrow.forward(&pictures, [8, 8], false);
            let found = wide.forward(&pictures, [8, 8], false);
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert!((found - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{found} {expected}");
            }
            let weights = &wide.last.conv;
            let Conv::Pointwise(last) = weights else { panic!("a 1x1 convolution") };
            assert_ne!(last.weight.value[..last.c], last.weight.value[last.c..2 * last.c], "copies learn apart");
        }
    }

    #[test]
    fn what_cannot_become_wider_is_refused() {
        let mut wide = MobileNet::<f64>::new(&config(Grouping::Flgc, 1.3));
        let dense = MobileNet::new(&config(Grouping::Dense, 1.0));
        assert!(widen(&dense, &mut wide, 1).unwrap_err().contains("not learned"));
        let wider = MobileNet::new(&config(Grouping::Flgc, 1.5));
        assert!(widen(&wider, &mut wide, 1).unwrap_err().contains("expected at least"));
        let more = MobileNet::new(&Config { groups: 4, ..config(Grouping::Flgc, 1.0) });
        assert!(widen(&more, &mut wide, 1).unwrap_err().contains("not as many"));
        let classes = MobileNet::new(&Config { classes: 4, ..config(Grouping::Flgc, 1.0) });
        assert!(widen(&classes, &mut wide, 1).unwrap_err().contains("found 4 classes, expected 3"));
        let mut shuffled = MobileNet::<f64>::new(&config(Grouping::GroupShuffle, 1.3));
        let narrow = MobileNet::new(&config(Grouping::GroupShuffle, 1.0));
        assert!(widen(&narrow, &mut shuffled, 1).unwrap_err().contains("not learned"));
    }
}
