//! Step 7 for the first input: whether it stays where the caller has it.
//!
//! If nothing but dealing reads it ([`super::deal`]), which goes through it once, block by block, a copy with a border costs more than it saves. A network's first
//! layer most often has a stride.

use super::{
    deal::{Deal, Phases},
    fuse::{Head, Run},
    net::Kind,
    prune::Live,
    regroup::{Net, Step},
    value::{StorageId, Value},
};
use std::collections::BTreeMap;

/// The storage of the first input.
pub(super) const INPUT: StorageId = 0;

/// Whether one layer alone reads the first input.
pub(super) fn has_one_reader(net: &Net<'_>, live: &Live) -> bool {
    let readers = net.steps.iter().filter(|step| live.any(step.storage) && step.operands().any(reads)).count();
    readers == 1 && !net.outputs.iter().any(|output| reads(output))
}

/// Whether the first input is read where the caller has it.
pub(super) fn is_direct(net: &Net<'_>, live: &Live, runs: &[Run], deals: &BTreeMap<StorageId, Deal>) -> bool {
    let begins_run = |index: usize| runs.iter().any(|run| run.first == index && matches!(run.head, Head::Strided(_)));
    let deals_it = |(index, step): (usize, &Step<'_>)| {
        let is_dealt = deals.contains_key(&step.storage) || begins_run(index);
        let mut others = step.operands().skip(usize::from(is_dealt && takes_pairs(step)));
        !live.any(step.storage) || !others.any(reads)
    };
    net.inputs > 0 && net.steps.iter().enumerate().all(deals_it) && !net.outputs.iter().any(|output| reads(output))
}

fn reads(value: &Value) -> bool {
    value.storages().contains(&INPUT)
}

/// Whether a convolution reads planes of the first input alone, whose columns are dealt in pairs.
pub(super) fn takes_pairs(step: &Step<'_>) -> bool {
    let Kind::Conv(conv) = &step.layer.kind else { return false };
    let input = &step.inputs[0];
    input.lanes().is_some() && input.storages() == [INPUT] && Phases::of(conv).are_pairs()
}
