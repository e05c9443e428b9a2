//! The mean of the weights after each of the last epochs: stochastic weight averaging (Izmailov et al., UAI 2018, arXiv:1803.05407). Weights that are learned at a
//! constant rate wander around a place where the loss is lower, and flatter, than anywhere they come by; their mean lies nearer to it.

use crate::nn::{Kind, Running, mobilenet::MobileNet};
use std::collections::BTreeMap;

/// The mean so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Average {
    /// Everything but logits, by name, and the running statistics that belong to it; nothing before the first epoch that counts.
    pub values: BTreeMap<String, Vec<f32>>,
}

/// What is averaged, by name.
pub(crate) fn lists(network: &mut MobileNet<f32>) -> impl Iterator<Item = (String, &mut Vec<f32>)> {
    let (params, norms) = network.state_mut();
    let learned = params.into_iter().filter(|param| param.kind != Kind::Logits);
    learned.map(|param| (param.name.clone(), &mut param.value)).chain(norms.into_iter().flat_map(Running::lists))
}

impl Average {
    /// Takes the weights of `network` in as the `count`-th; the first is 1.
    pub fn add(&mut self, network: &mut MobileNet<f32>, count: u64) {
        for (name, list) in lists(network) {
            let mean = self.values.entry(name).or_insert_with(|| list.clone());
            for (mean, &value) in mean.iter_mut().zip(&*list) {
                let (old, value) = (f64::from(*mean), f64::from(value));
                *mean = (old + (value - old) / count as f64) as f32;
            }
        }
    }

    /// Does `work` with the network whose weights are the mean; without one, with the network as it is. Afterwards it has its own weights again, and the
    /// running statistics that `work` has left belong to the mean.
    pub fn with<T>(&mut self, network: &mut MobileNet<f32>, work: impl FnOnce(&mut MobileNet<f32>) -> T) -> T {
        self.swap(network);
        let result = work(network);
        self.swap(network);
        result
    }

    fn swap(&mut self, network: &mut MobileNet<f32>) {
        for (name, list) in lists(network) {
            if let Some(mean) = self.values.get_mut(&name) {
                std::mem::swap(mean, list);
            }
        }
        network.refresh();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{
        groups::{Estimator, Start},
        mobilenet::{Config, Grouping},
    };

    #[test]
    fn the_mean_takes_the_place_of_the_weights_for_a_while() {
        let mut network = MobileNet::new(&Config {
            width: 0.25,
            size: [8, 8],
            classes: 3,
            grouping: Grouping::Flgc,
            groups: 2,
            start: Start::Balanced { scale: 0.1 },
            estimator: Estimator::Chosen,
            seed: 1,
        });
        let set = |network: &mut MobileNet<f32>, x: f32| lists(network).for_each(|(_, list)| list.fill(x));
        let all = |network: &mut MobileNet<f32>, x: f32| lists(network).all(|(_, list)| list.iter().all(|&y| y == x));
        let logits = |network: &mut MobileNet<f32>| -> Vec<Vec<f32>> {
            let params = network.params_mut().into_iter().filter(|param| param.kind == Kind::Logits);
            params.map(|param| param.value.clone()).collect()
        };
        let before = logits(&mut network);
        assert!(!before.is_empty());
        let mut average = Average::default();
        set(&mut network, 1.0);
        assert!(average.with(&mut network, |network| all(network, 1.0)), "there is no mean yet");
        for (count, value) in [(1, 1.0), (2, 3.0), (3, 8.0)] {
            set(&mut network, value);
            average.add(&mut network, count);
        }
        assert!(average.with(&mut network, |network| all(network, 4.0)));
        assert!(all(&mut network, 8.0));
        average.with(&mut network, |network| {
            network.state_mut().1.into_iter().flat_map(Running::lists).for_each(|(_, list)| list.fill(5.0));
        });
        assert!(all(&mut network, 8.0));
        assert!(average.values["stem.mean"].iter().all(|&x| x == 5.0));
        assert!(average.values["stem.gamma"].iter().all(|&x| x == 4.0));
        assert_eq!(logits(&mut network), before);
    }
}
