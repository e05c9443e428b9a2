//! Small networks with the outputs that ONNX Runtime gives (`tools/python/import_cases.py`): every operator, every encoding of learned groups.

use flgc::{Model, Options, Plan};
use flgc_import::{Imported, import_file, report::Kind};
use flgc_run::npy;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

fn import(folder: &Path) -> Imported {
    import_file(folder.join("model.onnx"), &flgc_import::Options::default())
        .unwrap_or_else(|error| panic!("{}: {error}", name(folder)))
}

/// `input-0.npy`, `input-1.npy`, ...
fn arrays(folder: &Path, what: &str) -> Vec<npy::Array> {
    let path = |index: usize| folder.join(format!("{what}-{index}.npy"));
    (0..).map(path).take_while(|path| path.exists()).map(|path| npy::read(&path).unwrap()).collect()
}

/// The largest difference to the expected outputs, relative to each output's largest magnitude.
fn worst_difference(model: &Model, folder: &Path) -> f64 {
    let plan = Plan::new(model, &Options::default()).unwrap();
    let (inputs, expected) = (arrays(folder, "input"), arrays(folder, "output"));
    let shapes: Vec<&Vec<usize>> = plan.outputs().iter().map(|port| &port.shape).collect();
    assert_eq!(shapes, expected.iter().map(|array| &array.shape).collect::<Vec<_>>(), "{}", name(folder));
    let mut outputs: Vec<Vec<f32>> = expected.iter().map(|array| vec![f32::NAN; array.data.len()]).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(|array| &array.data[..]).collect();
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    plan.session().run_with(&inputs, &mut slices).unwrap();
    let difference = |(found, expected): (&Vec<f32>, &npy::Array)| {
        let largest = expected.data.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        let off = found.iter().zip(&expected.data).map(|(a, b)| if a.is_nan() { f32::INFINITY } else { (a - b).abs() });
        f64::from(off.fold(0.0, f32::max)) / f64::from(largest)
    };
    outputs.iter().zip(&expected).map(difference).fold(0.0, f64::max)
}

#[test]
fn all_cases_compute_what_onnx_runtime_computes() {
    let folders = folders();
    assert!(folders.len() >= 27, "{} cases", folders.len());
    for folder in folders {
        let Imported { model, .. } = import(&folder);
        let worst = worst_difference(&model, &folder);
        assert!(worst < 1e-4, "{}: off by {worst:e} of the largest output", name(&folder));
    }
}

#[test]
fn all_encodings_of_a_network_come_out_the_same() {
    let mut networks: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for folder in folders() {
        if let Some((network, _)) = name(&folder).rsplit_once("__") {
            networks.entry(network.to_owned()).or_default().push(folder);
        }
    }
    assert_eq!(networks["flgc"].len(), 8);
    for folders in networks.values() {
        let found = |folder: &PathBuf| {
            let report = import(folder).report;
            let layers: Vec<_> = report
                .layers
                .iter()
                .map(|layer| {
                    let mut sizes: Vec<_> = layer.groups.iter().map(|size| (size.channels, size.filters)).collect();
                    sizes.sort_unstable();
                    (layer.kind, layer.macs, sizes)
                })
                .collect();
            (layers, report.macs, report.parameters, report.moves.len())
        };
        let first = found(&folders[0]);
        for folder in &folders[1..] {
            assert_eq!(found(folder), first, "{} and {}", name(folder), name(&folders[0]));
        }
    }
}

#[test]
fn the_groups_that_were_written_are_found() {
    // The sizes in tools/python/import_cases.py; channels of the group without filters are not read, its filters without channels are constants.
    let masked = folders().into_iter().find(|folder| name(folder) == "flgc__masked").unwrap();
    let report = import(&masked).report;
    let sizes = |index: usize| {
        let mut sizes: Vec<_> = report.layers[index].groups.iter().map(|size| (size.channels, size.filters)).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(0), [(0, 3), (3, 6), (5, 2)]);
    assert_eq!(report.layers[1].kind, Kind::Depthwise);
    assert_eq!(sizes(2), [(2, 4), (4, 8), (5, 3)]);
    assert_eq!(sizes(3), [(2, 2), (6, 9), (7, 1)]);
    let pixels = [72, 72, 20, 20];
    let inside = [3 * 6 + 5 * 2, 11 * 9, 2 * 4 + 5 * 3 + 4 * 8, 7 + 6 * 9 + 2 * 2];
    let macs: u64 = pixels.iter().zip(inside).map(|(pixels, weights)| pixels * weights).sum();
    assert_eq!(report.macs, macs + 12 * 5);
}

#[test]
fn only_what_rearranges_pixels_moves_data() {
    for folder in folders() {
        let report = import(&folder).report;
        let rearranges = matches!(name(&folder), "strided_slices" | "traps" | "rows_and_columns");
        assert!(rearranges || report.moves.is_empty(), "{}: {:?}", name(&folder), report.moves);
    }
}

#[test]
fn branches_become_one_layer_where_that_saves_a_concatenation() {
    let folder = folders().into_iter().find(|folder| name(folder) == "branches").unwrap();
    let Imported { model, report } = import(&folder);
    let nodes: Vec<usize> = report.layers.iter().map(|layer| layer.nodes).collect();
    // Three branches with norm and slopes, two dense ones, and three of which two are not alike.
    assert_eq!(nodes, [3, 2, 1, 2]);
    assert_eq!(report.layers[0].groups.len(), 3);
    assert_eq!(report.layers[1].kind, Kind::Dense);
    assert!(model.graph().nodes.len() <= 9, "{:#?}", model.graph().nodes);
}

#[test]
fn weights_of_half_the_size_keep_half_their_digits() {
    let folder = folders().into_iter().find(|folder| name(folder) == "flgc__split").unwrap();
    let path = folder.join("model.onnx");
    let mut sizes = Vec::new();
    for (dtype, limit) in
        [(flgc::model::DType::F32, 1e-4), (flgc::model::DType::F16, 2e-3), (flgc::model::DType::BF16, 2e-2)]
    {
        let options = flgc_import::Options { dtype, ..Default::default() };
        let Imported { model, .. } = import_file(&path, &options).unwrap();
        let worst = worst_difference(&model, &folder);
        assert!(worst < limit, "{dtype:?}: {worst:e}");
        sizes.push(model.tensor_names().map(|name| model.tensor(name).unwrap().len()).sum::<usize>());
    }
    assert!(sizes.iter().all(|&size| size == sizes[0]));
}
