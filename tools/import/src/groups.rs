//! Group discovery: filters and channels that share a non-zero weight belong together; the connected components are the groups.

use crate::net::{Group, Lane};
use std::collections::HashMap;

/// The groups of a convolution, and the lanes that each reads, one group behind the other.
pub(crate) struct Found {
    pub(crate) groups: Vec<Group>,
    pub(crate) lanes: Vec<Lane>,
}

/// Finds the groups of a convolution with `even` equal groups over the channels `lanes`; `weight` is `[filters][lanes / even][taps]`.
///
/// The components are looked for inside each of the file's own groups, so none ever grows; a lane that a group reads several times (padding that repeats a
/// channel) becomes one channel with the sum of its weights. Filters of zeros form one group without channels; channels that meet only zeros are not read.
/// Cost: a pass over the weights.
pub(crate) fn discover(weight: &[f32], lanes: &[Lane], filters: usize, even: usize, taps: usize) -> Found {
    let (channels, filters) = (lanes.len() / even, filters / even);
    let mut found = Found { groups: Vec::new(), lanes: Vec::new() };
    let mut empty = Vec::new();
    for g in 0..even {
        let weight = &weight[g * filters * channels * taps..][..filters * channels * taps];
        let lanes = &lanes[g * channels..][..channels];
        let column = merged_columns(lanes);
        for (members, columns) in components(weight, &column, filters, taps) {
            let number = |filter: &usize| (g * filters + filter) as u32;
            if columns.is_empty() {
                empty.extend(members.iter().map(number));
                continue;
            }
            let place: HashMap<usize, usize> = columns.iter().enumerate().map(|(i, &column)| (column, i)).collect();
            let mut weights = vec![0.0f32; members.len() * columns.len() * taps];
            for (row, &filter) in members.iter().enumerate() {
                for (channel, of) in column.iter().enumerate() {
                    let Some(place) = place.get(of) else { continue };
                    let from = &weight[(filter * channels + channel) * taps..][..taps];
                    let to = &mut weights[(row * columns.len() + place) * taps..][..taps];
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
            found.lanes.extend(columns.iter().map(|&column| lanes[column]));
            found.groups.push(Group {
                channels: columns.len(),
                filters: members.iter().map(number).collect(),
                weights,
            });
        }
    }
    if !empty.is_empty() {
        empty.sort_unstable();
        found.groups.push(Group { channels: 0, filters: empty, weights: Vec::new() });
    }
    found
}

/// For each channel the first channel with the same lane.
fn merged_columns(lanes: &[Lane]) -> Vec<usize> {
    let mut first = HashMap::with_capacity(lanes.len());
    lanes.iter().enumerate().map(|(channel, &lane)| *first.entry(lane).or_insert(channel)).collect()
}

/// The components of one of the file's groups: filters and columns, both ascending, in the order of their first filters. A filter of zeros comes alone.
fn components(weight: &[f32], column: &[usize], filters: usize, taps: usize) -> Vec<(Vec<usize>, Vec<usize>)> {
    let channels = column.len();
    let mut sets = Sets::new(filters + channels);
    let mut read = vec![false; channels];
    for (filter, row) in weight.chunks_exact((channels * taps).max(1)).take(filters).enumerate() {
        for (channel, kernel) in row.chunks_exact(taps).enumerate() {
            // Minus zero is zero; what is no number is for the validator to refuse.
            if kernel.iter().any(|&w| w != 0.0) {
                sets.join(filter, filters + column[channel]);
                read[column[channel]] = true;
            }
        }
    }
    let mut index = HashMap::new();
    let mut components: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    for filter in 0..filters {
        let next = components.len();
        let at = *index.entry(sets.root(filter)).or_insert(next);
        if at == next {
            components.push((Vec::new(), Vec::new()));
        }
        components[at].0.push(filter);
    }
    for channel in (0..channels).filter(|&channel| read[channel]) {
        if let Some(&at) = index.get(&sets.root(filters + channel)) {
            components[at].1.push(channel);
        }
    }
    components
}

/// Disjoint sets.
struct Sets(Vec<u32>);

impl Sets {
    fn new(count: usize) -> Self {
        Self((0..count as u32).collect())
    }

    fn root(&mut self, mut of: usize) -> usize {
        while self.0[of] as usize != of {
            // Halves the path for the next one who walks it.
            self.0[of] = self.0[self.0[of] as usize];
            of = self.0[of] as usize;
        }
        of
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(channels: &[u32]) -> Vec<Lane> {
        channels.iter().map(|&channel| Lane { value: 0, channel }).collect()
    }

    fn shape(found: &Found) -> Vec<(Vec<u32>, Vec<u32>)> {
        let mut lanes = found.lanes.iter().map(|lane| lane.channel);
        let mut group = |group: &Group| (group.filters.clone(), lanes.by_ref().take(group.channels).collect());
        found.groups.iter().map(&mut group).collect()
    }

    #[test]
    fn a_masked_weight_falls_into_its_groups() {
        // Filters 0 and 2 see channels 1 and 3, filter 1 sees channel 0, filter 3 sees none, nobody sees channel 2.
        let weight = [0., 1., 0., 0., 5., -0., 0., 0., 0., 2., 0., 3., 0., 0., -0., 0.];
        let found = discover(&weight, &lanes(&[0, 1, 2, 3]), 4, 1, 1);
        assert_eq!(shape(&found), [(vec![0, 2], vec![1, 3]), (vec![1], vec![0]), (vec![3], vec![])]);
        assert_eq!(found.groups[0].weights, [1., 0., 2., 3.]);
        assert_eq!(found.groups[1].weights, [5.]);
    }

    #[test]
    fn components_join_along_chains() {
        let weight = [1., 1., 0., 0., 1., 1.];
        let found = discover(&weight, &lanes(&[4, 5, 6]), 2, 1, 1);
        assert_eq!(shape(&found), [(vec![0, 1], vec![4, 5, 6])]);
        assert_eq!(found.groups[0].weights, weight);
    }

    #[test]
    fn repeated_channels_become_one_with_the_sum_of_their_weights() {
        // Two groups of two filters; the second one reads channel 0 twice as padding.
        let weight = [1., 2., 3., 4., 5., 0., 6., 7.];
        let found = discover(&weight, &lanes(&[1, 2, 0, 0]), 4, 2, 1);
        assert_eq!(shape(&found), [(vec![0, 1], vec![1, 2]), (vec![2, 3], vec![0])]);
        assert_eq!(found.groups[1].weights, [5., 13.]);
    }

    #[test]
    fn groups_of_the_file_never_merge_through_a_shared_channel() {
        let weight = [1., 2., 3., 4.];
        let found = discover(&weight, &lanes(&[0, 1, 1, 2]), 2, 2, 1);
        assert_eq!(shape(&found), [(vec![0], vec![0, 1]), (vec![1], vec![1, 2])]);
    }

    #[test]
    fn a_kernel_counts_as_a_whole() {
        let weight = [0., 0., 0., 1., 0., 0., 0., 0.];
        let found = discover(&weight, &lanes(&[0, 1]), 2, 1, 2);
        assert_eq!(shape(&found), [(vec![0], vec![1]), (vec![1], vec![])]);
        assert_eq!(found.groups[0].weights, [0., 1.]);
    }
}
