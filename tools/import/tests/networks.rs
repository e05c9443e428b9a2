//! Trained networks: the reference network of `models`, whose groups are known, and a face detector.

use flgc::{Model, Options, Plan, model::graph::Op};
use flgc_import::{Imported, import_file, report::Kind};
use flgc_run::npy;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn import(name: &str) -> Imported {
    import_file(root().join("models/onnx").join(name), &flgc_import::Options::default()).unwrap()
}

type Sets = BTreeSet<(Vec<usize>, Vec<usize>)>;

/// The groups with both sides of each 1x1 convolution that has several, in the order of the layers.
fn groups(model: &Model) -> Vec<Sets> {
    let of_conv = |op: &Op| {
        let Op::Conv(conv) = op else { return None };
        let learned = conv.learned.as_ref().filter(|_| conv.kernel == [1, 1])?;
        let mut groups: BTreeMap<u16, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        for (channel, group) in model.tensor(&learned.in_group)?.indices().into_iter().enumerate() {
            groups.entry(group).or_default().0.push(channel);
        }
        for (filter, group) in model.tensor(&learned.out_group)?.indices().into_iter().enumerate() {
            groups.entry(group).or_default().1.push(filter);
        }
        Some(groups.into_values().filter(|(channels, filters)| !channels.is_empty() && !filters.is_empty()).collect())
    };
    model.graph().nodes.iter().filter_map(|node| of_conv(&node.op)).collect()
}

#[test]
fn the_reference_network_has_the_groups_that_it_was_trained_with() {
    let Imported { model, report } = import("cifar10-reference.onnx");
    // Made from the training's own lists of groups.
    let trained = groups(&Model::open(root().join("models/cifar10-reference.flgc")).unwrap());
    // Layers whose groups are runs of equal length come out as evenly grouped ones, and need no lists.
    let uneven: Vec<&Sets> = trained.iter().filter(|groups| !is_even(groups)).collect();
    assert!(uneven.len() > 10);
    let found = groups(&model);
    assert!(uneven.into_iter().all(|groups| found.contains(groups)));
    let kinds = report.layers.iter().filter(|layer| matches!(layer.kind, Kind::Uneven | Kind::Grouped)).count();
    assert_eq!(kinds, trained.len());
    assert_eq!(report.macs, 1_665_280);
    assert_eq!(report.moves.len(), 0);
}

/// Whether the groups are runs of equal length on both sides.
fn is_even(groups: &Sets) -> bool {
    let mut next = (0, 0);
    groups.iter().all(|(channels, filters)| {
        let run = |members: &[usize], start: usize| members.iter().copied().eq(start..start + members.len());
        let fits = run(channels, next.0) && run(filters, next.1);
        next = (next.0 + channels.len(), next.1 + filters.len());
        let first = groups.first().unwrap();
        fits && (channels.len(), filters.len()) == (first.0.len(), first.1.len())
    })
}

#[test]
fn the_reference_network_computes_what_onnx_runtime_computes() {
    let golden = root().join("tests/golden/cifar10-reference");
    let (input, expected) =
        (npy::read(&golden.join("input-0.npy")).unwrap(), npy::read(&golden.join("output-0.npy")).unwrap());
    let Imported { model, .. } = import("cifar10-reference.onnx");
    let plan = Plan::new(&model, &Options::default()).unwrap();
    let mut session = plan.session();
    let [pixels, classes]: [usize; 2] =
        [plan.inputs()[0].shape.iter().product(), plan.outputs()[0].shape.iter().product()];
    let largest = expected.data.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    for (input, expected) in input.data.chunks_exact(pixels).zip(expected.data.chunks_exact(classes)) {
        let scores = session.run(input).unwrap();
        assert!(scores.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4 * largest));
    }
}

#[test]
fn a_face_detector_runs_without_moving_data() {
    let Imported { model, report } = import("ultraface-slim-320.onnx");
    let plan = Plan::new(&model, &Options::default()).unwrap();
    let shapes: Vec<(&str, &[usize])> = plan.outputs().iter().map(|port| (&*port.name, &*port.shape)).collect();
    assert_eq!(shapes, [("scores", &[1, 4420, 2][..]), ("boxes", &[1, 4420, 4])]);
    assert_eq!((report.macs, report.moves.len()), (81_410_560, 0));
    let depthwise = report.layers.iter().filter(|layer| layer.kind == Kind::Depthwise).count();
    assert_eq!(depthwise, 19);
}
