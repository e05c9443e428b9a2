//! The start from a model: what [`crate::export`] has folded and compacted becomes a network that can be trained on.
//!
//! A model has the weights inside groups with the batch norm folded in, so three things are made up. Masked weights stay those of a fresh network. Each filter
//! gets the length that it has in a fresh network, since in front of a batch norm the length decides only how fast the filter turns. The norms take the
//! statistics of training pictures, with the scale and shift that leave the network the function that it was.

use crate::nn::{Conv, Norm, Param, Sums, Unit, add_sums, groups::Assignment, mobilenet::MobileNet};
use flgc::model::{
    Model, ModelError,
    graph::{self, Op},
};
use std::path::{Path, PathBuf};

/// Why a training can't start from a model.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It can't be read, or is no model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It has another network.
    #[error("{}: it has another network ({layer}: found {found}, expected {expected}): start from a model that was trained with the same --conv, --groups and --width, or give its width with --start-width", path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The layer that differs.
        layer: String,
        /// What it is.
        found: String,
        /// What the network has there.
        expected: String,
    },
}

/// Whether the file to start from is a model; else it is a checkpoint.
#[must_use]
pub fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "flgc")
}

/// The checksum of the model at `path`.
///
/// # Errors
/// If it can't be read, or is no model.
pub fn fingerprint(path: &Path) -> Result<u32, RestoreError> {
    Ok(crc32c::crc32c(Model::open(path)?.as_bytes()))
}

/// Gives a fresh network the weights, groups and biases of the model at `path`. Its norms then have made-up statistics, to be replaced by [`take_statistics`].
///
/// # Errors
/// If it can't be read, is no model, or has another network; `network` may then be partly changed.
pub fn restore(path: &Path, network: &mut MobileNet<f32>) -> Result<(), RestoreError> {
    let model = Model::open(path)?;
    let reader = Reader { path, model: &model };
    for unit in network.units_mut() {
        reader.unit(unit)?;
    }
    let head = &mut network.head;
    let Some(Op::Linear(linear)) = reader.op("scores") else { return Err(reader.missing("scores", "a linear layer")) };
    let features = |count: usize| format!("{count} classes");
    reader.expect("scores", linear.features, head.classes, features)?;
    head.weight.value = reader.floats("scores", &linear.weight, head.weight.value.len())?;
    head.bias.value = reader.floats("scores", linear.bias.as_deref().unwrap_or_default(), head.classes)?;
    network.refresh();
    Ok(())
}

/// Replaces the statistics of every norm by those of these batches, and its scale and shift by those that leave it the function that it was.
pub fn take_statistics(network: &mut MobileNet<f32>, size: [usize; 2], batches: impl Iterator<Item = Vec<Vec<f32>>>) {
    let (mut sums, mut counts) = (Vec::<Sums>::new(), Vec::<usize>::new());
    for parts in batches {
        network.forward(&parts, size, false);
        let seen = network.units().map(Unit::output_sums);
        let (of_batch, counts_of_batch): (Vec<&Sums>, Vec<usize>) = seen.unzip();
        sums = if sums.is_empty() {
            of_batch.into_iter().cloned().collect()
        } else {
            sums.into_iter().zip(of_batch).map(|(so_far, new)| add_sums([so_far, new.clone()])).collect()
        };
        counts.resize(counts_of_batch.len(), 0);
        counts.iter_mut().zip(counts_of_batch).for_each(|(so_far, new)| *so_far += new);
    }
    for (unit, (sums, count)) in network.units_mut().zip(sums.iter().zip(counts)) {
        unit.norm.move_to(sums, count);
    }
}

/// Reads layers of a model by name.
struct Reader<'a> {
    path: &'a Path,
    model: &'a Model,
}

impl<'a> Reader<'a> {
    fn op(&self, name: &str) -> Option<&'a Op> {
        self.model.graph().nodes.iter().find(|node| node.name == name).map(|node| &node.op)
    }

    fn missing(&self, layer: &str, expected: &str) -> RestoreError {
        self.differs(layer, "none".to_owned(), expected.to_owned())
    }

    fn differs(&self, layer: &str, found: String, expected: String) -> RestoreError {
        RestoreError::OtherNetwork { path: self.path.to_owned(), layer: layer.to_owned(), found, expected }
    }

    fn expect<T: PartialEq>(
        &self,
        layer: &str,
        found: T,
        expected: T,
        text: impl Fn(T) -> String,
    ) -> Result<(), RestoreError> {
        if found == expected { Ok(()) } else { Err(self.differs(layer, text(found), text(expected))) }
    }

    fn floats(&self, layer: &str, tensor: &str, count: usize) -> Result<Vec<f32>, RestoreError> {
        let values = self.model.tensor(tensor).map(|tensor| tensor.to_vec()).unwrap_or_default();
        self.expect(layer, values.len(), count, |count| format!("{count} weights or biases"))?;
        Ok(values)
    }

    fn groups(&self, learned: &graph::Learned) -> Assignment {
        let list = |tensor: &str| {
            let groups = self.model.tensor(tensor).map(|tensor| tensor.indices()).unwrap_or_default();
            groups.into_iter().map(usize::from).collect()
        };
        Assignment { groups: learned.groups, of_channel: list(&learned.in_group), of_filter: list(&learned.out_group) }
    }

    /// A convolution, and its bias as the shift of its norm.
    fn unit(&self, unit: &mut Unit<f32>) -> Result<(), RestoreError> {
        let name = unit.name.clone();
        let Some(Op::Conv(conv)) = self.op(&name) else { return Err(self.missing(&name, "a convolution")) };
        let filters = unit.norm.mean.len();
        self.expect(&name, conv.filters, filters, |filters| format!("{filters} filters"))?;
        let scale = match &mut unit.conv {
            Conv::Depthwise(layer) => {
                self.expect(&name, conv.stride, [layer.stride; 2], |stride| format!("stride {stride:?}"))?;
                let found = self.floats(&name, &conv.weight, layer.weight.value.len())?;
                take_filters(&mut layer.weight, &found, filters, |index| index / 9, 0..found.len())
            }
            Conv::Pointwise(layer) => {
                let expected = layer.assignment().clone();
                let found = conv.learned.as_ref().map_or_else(
                    || Assignment::dense(expected.of_channel.len(), expected.of_filter.len()),
                    |learned| self.groups(learned),
                );
                let shape = |groups: &Assignment| [groups.groups, groups.of_channel.len(), groups.of_filter.len()];
                let text = |[groups, c, n]: [usize; 3]| format!("{n} filters of {c} channels in {groups} groups");
                self.expect(&name, shape(&found), shape(&expected), text)?;
                match &mut layer.members {
                    Some(members) => members.choose(&found),
                    None => self.expect(&name, &found, &expected, |groups| {
                        format!("groups of {:?} channels and {:?} filters", groups.of_channel, groups.of_filter)
                    })?,
                }
                layer.refresh();
                let inside: Vec<usize> = layer.inside().collect();
                let (weights, c) = (self.floats(&name, &conv.weight, inside.len())?, layer.c);
                let scale = take_filters(&mut layer.weight, &weights, filters, |index| index / c, inside.into_iter());
                layer.refresh();
                scale
            }
        };
        let bias = self.floats(&name, conv.bias.as_deref().unwrap_or_default(), filters)?;
        unit.norm = Norm::function(&name, scale, bias);
        Ok(())
    }
}

/// Puts the weights `found` to the places `at`, each filter with the length that it had before; returns for each filter what brings it back to its own length.
fn take_filters(
    weight: &mut Param<f32>,
    found: &[f32],
    filters: usize,
    filter_of: impl Fn(usize) -> usize,
    at: impl Iterator<Item = usize> + Clone,
) -> Vec<f32> {
    let (mut before, mut now) = (vec![0.0; filters], vec![0.0; filters]);
    for (index, &value) in at.clone().zip(found) {
        before[filter_of(index)] += f64::from(weight.value[index]).powi(2);
        now[filter_of(index)] += f64::from(value).powi(2);
    }
    // A filter of zeros stays one.
    let scale = |(&before, &now): (&f64, &f64)| if before > 0.0 && now > 0.0 { (now / before).sqrt() } else { 1.0 };
    let scale: Vec<f64> = before.iter().zip(&now).map(scale).collect();
    for (index, &value) in at.zip(found) {
        weight.value[index] = (f64::from(value) / scale[filter_of(index)]) as f32;
    }
    scale.into_iter().map(|scale| scale as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::batches::LANES, export, settings::Settings};
    use flgc::model::DType;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;
    use serde_json::json;

    const SIZE: [usize; 2] = [8, 8];

    fn settings(seed: u64, conv: &str) -> Settings {
        serde_json::from_value(json!({
            "conv": conv, "groups": 3, "width": 0.5, "estimator": "row", "start": { "scattered": { "scale": 0.1 } }, "fix_groups_from": null,
            "epochs": 1, "batch": 32, "rate": 0.1, "sgd": { "momentum": 0.9, "decay": 0.0 }, "logits": { "rule": "sgd", "rate": 0.1, "decay": 0.0 },
            "warm_up": 0, "smoothing": 0.0, "crop": 0, "flip": false, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "seed": seed,
            "size": SIZE, "classes": ["a", "b", "c"], "train_data": 0, "test_data": 0
        }))
        .unwrap()
    }

    fn pictures(rng: &mut Pcg64) -> Vec<Vec<f32>> {
        let mut part = || (0..3 * SIZE[0] * SIZE[1] * LANES).map(|_| rng.random_range(-2.0..2.0)).collect();
        vec![part(), part()]
    }

    #[test]
    fn a_restored_network_is_the_same_function() {
        for conv in ["dense", "group", "group-shuffle", "flgc"] {
            let mut rng = Pcg64::seed_from_u64(7);
            let [mut network, mut other] = [1, 2].map(|seed| MobileNet::<f32>::new(&settings(seed, conv).network()));
            for param in network.params_mut() {
                param.value.iter_mut().for_each(|value| *value += rng.random_range(-0.3..0.3));
            }
            network.refresh();
            // Statistics of batch norm that are not those of a fresh network.
            network.forward(&pictures(&mut rng), SIZE, true);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.flgc");
            export::model(&network, &settings(1, conv), DType::F32).unwrap().save(&path).unwrap();
            restore(&path, &mut other).unwrap();
            let picture = pictures(&mut rng);
            let expected = network.forward(&picture, SIZE, false).concat();
            let agrees = |other: &mut MobileNet<f32>| {
                let found = other.forward(&picture, SIZE, false).concat();
                let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                // Filters have other lengths, so that outputs are rounded elsewhere when they are stored.
                found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 0.03 * largest)
            };
            assert!(agrees(&mut other), "{conv}: as it is restored");
            let batch = pictures(&mut rng);
            take_statistics(&mut other, SIZE, vec![batch.clone(); 3].into_iter());
            assert!(agrees(&mut other), "{conv}: with statistics of its own");
            // They are those of the batches, three times the same.
            other.forward(&batch, SIZE, false);
            for unit in other.units() {
                let (sums, count) = unit.output_sums();
                let mean = sums[0][0] / count as f64;
                let variance = sums[0][1] / count as f64 - mean * mean;
                let off = [f64::from(unit.norm.mean[0]) - mean, f64::from(unit.norm.variance[0]) - variance];
                assert!(off[0].abs() <= 5e-2 * variance.sqrt() + 1e-4, "{conv}: {}: mean {off:?}", unit.name);
                assert!(off[1].abs() <= 5e-2 * variance + 1e-6, "{conv}: {}: variance {off:?}", unit.name);
            }
            for (mine, theirs) in network.assignments().zip(other.assignments()) {
                assert_eq!(mine, theirs);
            }
        }
    }
}
