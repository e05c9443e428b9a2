//! How numbers follow their gradients.

use crate::nn::{Float, Kind, Param};
use serde::{Deserialize, Serialize};

/// Decay of the moments of Adam, and what keeps its quotient finite.
const ADAM: [f64; 3] = [0.9, 0.999, 1e-8];

/// Rules for weights, scales, shifts and biases: SGD with momentum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sgd {
    /// Share of the last change that is made again.
    pub momentum: f64,
    /// Added to the gradient of a weight, times the weight. Scales, shifts and biases are not decayed.
    pub decay: f64,
}

/// How logits of groups follow their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogitRule {
    /// With the momentum of the weights.
    Sgd,
    /// Adam (Kingma and Ba, 2015).
    Adam,
}

/// Rules for logits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logits {
    /// Which.
    pub rule: LogitRule,
    /// Learning rate, before the schedule's factor.
    pub rate: f64,
    /// Added to the gradient, times the logit.
    pub decay: f64,
}

/// The factor of all learning rates at a step: a straight line up, then half a cosine down to 0.
#[must_use]
pub fn schedule(step: u64, warm_up: u64, steps: u64) -> f64 {
    if step < warm_up {
        return (step + 1) as f64 / warm_up as f64;
    }
    let share = (step - warm_up) as f64 / (steps - warm_up).max(1) as f64;
    (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
}

/// Moves `param` along its gradient. `rates` are those of weights and of logits at this step, `step` counts from 0.
pub fn update<F: Float>(param: &mut Param<F>, [rate, logit_rate]: [f64; 2], sgd: Sgd, logits: Logits, step: u64) {
    match (param.kind, logits.rule) {
        (Kind::Weight, _) => descend(param, rate, sgd.momentum, sgd.decay),
        (Kind::Offset, _) => descend(param, rate, sgd.momentum, 0.0),
        (Kind::Logits, LogitRule::Sgd) => descend(param, logit_rate, sgd.momentum, logits.decay),
        (Kind::Logits, LogitRule::Adam) => adam(param, logit_rate, logits.decay, step),
    }
}

fn descend<F: Float>(param: &mut Param<F>, rate: f64, momentum: f64, decay: f64) {
    let [rate, momentum, decay] = [rate, momentum, decay].map(F::of);
    for ((value, &grad), velocity) in param.value.iter_mut().zip(&param.grad).zip(&mut param.first) {
        *velocity = momentum * *velocity + (grad + decay * *value);
        *value -= rate * *velocity;
    }
}

fn adam<F: Float>(param: &mut Param<F>, rate: f64, decay: f64, step: u64) {
    let [keep_first, keep_second, epsilon] = ADAM;
    param.second.resize(param.value.len(), F::zero());
    let unbiased = |keep: f64| 1.0 - keep.powf((step + 1) as f64);
    let (first_scale, second_scale) = (1.0 / unbiased(keep_first), 1.0 / unbiased(keep_second));
    let moments = param.first.iter_mut().zip(&mut param.second);
    for ((value, &grad), (first, second)) in param.value.iter_mut().zip(&param.grad).zip(moments) {
        let grad = grad.f64() + decay * value.f64();
        let moved = keep_first * first.f64() + (1.0 - keep_first) * grad;
        let squared = keep_second * second.f64() + (1.0 - keep_second) * grad * grad;
        (*first, *second) = (F::of(moved), F::of(squared));
        *value = F::of(value.f64() - rate * moved * first_scale / ((squared * second_scale).sqrt() + epsilon));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_then_fall_to_zero() {
        let rates: Vec<f64> = (0..=10).map(|step| schedule(step, 2, 10)).collect();
        assert_eq!(rates[..3], [0.5, 1.0, 1.0]);
        assert!(rates[2..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[10].abs() < 1e-12 && (rates[6] - 0.5).abs() < 1e-12);
        assert_eq!(schedule(0, 0, 1), 1.0);
    }

    #[test]
    fn updates_by_hand() {
        let mut param = Param::new("w".into(), Kind::Weight, vec![1.0f64]);
        let (sgd, mut logits) =
            (Sgd { momentum: 0.5, decay: 0.1 }, Logits { rule: LogitRule::Adam, rate: 0.01, decay: 0.0 });
        param.grad = vec![0.4];
        update(&mut param, [0.2, 0.01], sgd, logits, 0);
        assert!((param.value[0] - 0.9).abs() < 1e-12); // velocity 0.5
        update(&mut param, [0.2, 0.01], sgd, logits, 1);
        assert!((param.value[0] - (0.9 - 0.2 * (0.25 + 0.4 + 0.09))).abs() < 1e-12);
        let mut param = Param::new("s".into(), Kind::Logits, vec![1.0f64]);
        param.grad = vec![-0.4];
        update(&mut param, [0.2, 0.01], sgd, logits, 0);
        assert!((param.value[0] - 1.01).abs() < 1e-8, "the first step of Adam is as long as the rate");
        logits.rule = LogitRule::Sgd;
        let mut param = Param::new("s".into(), Kind::Logits, vec![1.0f64]);
        param.grad = vec![-0.4];
        update(&mut param, [0.2, 0.01], sgd, logits, 0);
        assert!((param.value[0] - 1.004).abs() < 1e-12);
    }
}
