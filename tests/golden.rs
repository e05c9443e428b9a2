//! Networks whose expected outputs were made by ONNX Runtime (`tests/golden/README.md`): every operator, every instruction set of this CPU.

use flgc::{Isa, Model, Options, Plan};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A tensor of a `.npy` file.
struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
}

fn read(path: &Path) -> Array {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    let shape = file.shape().iter().map(|&dim| dim as usize).collect();
    Array { shape, values: file.into_vec().unwrap() }
}

/// `input-0.npy`, `input-1.npy`, ...
fn read_all(folder: &Path, what: &str) -> Vec<Array> {
    let path = |index: usize| folder.join(format!("{what}-{index}.npy"));
    (0..).map(path).take_while(|path| path.exists()).map(|path| read(&path)).collect()
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The model of a golden folder: its own, or the shipped one of that name.
fn model_of(folder: &Path) -> PathBuf {
    let own = folder.join("model.flgc");
    if own.exists() {
        return own;
    }
    let name = folder.file_name().unwrap();
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).with_extension("flgc")
}

/// The largest difference to the expected outputs, relative to each output's largest magnitude.
fn worst_difference(folder: &Path, isa: Isa) -> f64 {
    let model = Model::open(model_of(folder)).unwrap_or_else(|error| panic!("{error}"));
    let (inputs, expected) = (read_all(folder, "input"), read_all(folder, "output"));
    let mut options = Options { isa: Some(isa), ..Options::default() };
    for (input, array) in model.graph().inputs.iter().zip(&inputs) {
        options.input_shapes.insert(input.name.clone(), array.shape.clone());
    }
    let plan = Plan::new(&model, &options).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut outputs: Vec<Vec<f32>> = expected.iter().map(|array| vec![f32::NAN; array.values.len()]).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(|array| &array.values[..]).collect();
    let mut session = plan.session();
    // Twice: a run must not depend on what the one before it left in the arena.
    for _ in 0..2 {
        let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        session.run_with(&inputs, &mut slices).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
    let mut worst = 0f64;
    for ((output, expected), port) in outputs.iter().zip(&expected).zip(plan.outputs()) {
        assert_eq!(port.shape, expected.shape, "{}, output {:?}", folder.display(), port.name);
        let largest = expected.values.iter().fold(0f32, |max, x| max.max(x.abs()));
        for (&got, &want) in output.iter().zip(&expected.values) {
            assert!(got.is_finite(), "{}, output {:?} holds {got}", folder.display(), port.name);
            worst = worst.max(f64::from((got - want).abs()) / f64::from(largest.max(1e-30)));
        }
    }
    worst
}

#[test]
fn outputs_agree_with_onnx_runtime() {
    let folders = folders();
    let wide = folders.iter().find(|folder| folder.ends_with("conv-3x3-wide")).expect("a folder");
    let plan = Plan::new(&Model::open(model_of(wide)).unwrap(), &Options::default()).unwrap();
    let by_tiles = plan.report().layers.iter().filter(|layer| layer.kernel.contains("winograd")).count();
    assert_eq!(by_tiles, 5, "every layer of {}", wide.display());
    for shipped in ["cifar10-mobilenetv2-flgc8", "cifar10-reference"] {
        assert!(folders.iter().any(|folder| folder.ends_with(shipped)));
    }
    assert!(folders.len() >= 12, "{} golden networks", folders.len());
    for isa in Isa::ALL {
        if !isa.is_available() {
            eprintln!("not tested: this CPU has no {isa}");
            continue;
        }
        let differences: Vec<(f64, &PathBuf)> =
            folders.iter().map(|folder| (worst_difference(folder, isa), folder)).collect();
        let (worst, folder) = differences.iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        eprintln!("{isa}: {} networks, worst relative difference {worst:.1e} ({})", folders.len(), folder.display());
        let wrong: Vec<_> = differences.iter().filter(|(difference, _)| *difference > 1e-4).collect();
        assert!(wrong.is_empty(), "{isa}: {wrong:?}");
    }
}
