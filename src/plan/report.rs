//! What a plan consists of, for people and tools.

use super::{layout::Layout, net::Kind, order::sort_by_key, regroup::Step, value::Lane};
use flgc_kernels::Isa;

/// A plan, described.
#[derive(Clone, Debug)]
pub struct Report {
    /// The instruction set of all kernels.
    pub isa: Isa,
    /// How many steps a run takes.
    pub steps: usize,
    /// How many of them only move data.
    pub moves: usize,
    /// Multiply-adds that the network needs: weights inside groups times output pixels.
    pub macs: u64,
    /// Weights and biases in the file, nothing outside groups.
    pub parameters: u64,
    /// Memory, in bytes.
    pub memory: Memory,
    /// The layers that compute something, in the order of execution.
    pub layers: Vec<LayerReport>,
}

/// Where a plan's memory goes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Packed weights, shared by all sessions.
    pub weights: u64,
    /// Activations of one session.
    pub arena: u64,
    /// The model's file, mapped while the plan was made.
    pub mapped: u64,
}

/// A layer of a plan, with what was folded into it.
#[derive(Clone, Debug)]
pub struct LayerReport {
    /// The name of its node.
    pub name: String,
    /// The operator of its node, or `move`.
    pub op: &'static str,
    /// The kernels that run it, joined by `+`; `none` if nothing reads what it would compute.
    pub kernel: String,
    /// The shape of its output.
    pub shape: Vec<usize>,
    /// Multiply-adds.
    pub macs: u64,
    /// The sizes of its groups, of convolutions with more than one.
    pub groups: Vec<GroupReport>,
    /// Who is in which group, of convolutions with more than one, those of one channel each left out, as depthwise ones are.
    pub membership: Option<Membership>,
    /// The channel in each slot of its output, those that are not computed left out.
    pub order: Vec<u32>,
    /// Whether it only moves data.
    pub moves_data: bool,
    /// Whether it runs in bands of rows together with the next layer.
    pub fused_with_next: bool,
}

/// The members of the groups of a convolution.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The group of each input channel.
    pub channels: Vec<u32>,
    /// The group of each filter.
    pub filters: Vec<u32>,
    /// Where each input channel lies: its storage, and its slot there.
    places: Vec<(u32, u32)>,
}

impl Membership {
    /// The input channels in the order in which their planes lie, storage by storage; of the filters, [`LayerReport::order`].
    #[must_use]
    pub fn channel_order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.places.len() as u32).collect();
        sort_by_key(&mut order, |channel| {
            let (storage, slot) = self.places[channel as usize];
            u64::from(storage) << 32 | u64::from(slot)
        });
        order
    }
}

/// The size of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupReport {
    /// Input channels.
    pub channels: usize,
    /// Filters.
    pub filters: usize,
}

pub(super) fn layer(step: &Step<'_>, layouts: &[Layout], kernel: String, fused_with_next: bool) -> LayerReport {
    let shape = step.output.shape;
    let [n, _, h, w] = shape.nchw().unwrap_or([1, 1, 1, 1]);
    let (macs, groups) = match &step.layer.kind {
        Kind::Conv(conv) => {
            let sizes =
                conv.groups.iter().map(|g| GroupReport { channels: g.channels.len(), filters: g.filters.len() });
            let groups = if conv.groups.len() > 1 { sizes.collect() } else { Vec::new() };
            (conv.weights() * (n * h * w) as u64, groups)
        }
        Kind::Linear(linear) => ((linear.weight.len() * n) as u64, Vec::new()),
        _ => (0, Vec::new()),
    };
    LayerReport {
        name: step.layer.name.clone(),
        op: step.layer.op,
        kernel,
        shape: shape.to_vec(),
        macs,
        groups,
        membership: membership(step, layouts),
        order: layouts[step.storage as usize].channels(),
        moves_data: matches!(step.layer.kind, Kind::Move),
        fused_with_next,
    }
}

fn membership(step: &Step<'_>, layouts: &[Layout]) -> Option<Membership> {
    let Kind::Conv(conv) = &step.layer.kind else { return None };
    let lanes = step.inputs[0].lanes().filter(|_| conv.groups.len() > 1 && !conv.groups.are_of_one_channel())?;
    let (mut channels, mut filters) = (vec![0; lanes.len()], vec![0; conv.filters]);
    for (index, group) in (0..).zip(conv.groups.iter()) {
        group.channels.iter().for_each(|&channel| channels[channel as usize] = index);
        group.filters.iter().for_each(|&filter| filters[filter as usize] = index);
    }
    let place = |lane: &Lane| (lane.storage, layouts[lane.storage as usize].slots[lane.channel as usize]);
    Some(Membership { channels, filters, places: lanes.iter().map(place).collect() })
}
