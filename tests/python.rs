//! A model written from Python, by the very snippet of `docs/model-format.md` and the safetensors package.
//!
//! Needs a Python with numpy and safetensors: the one in the environment variable `FLGC_PYTHON`, which must then work, or `python3` if that has them.

use flgc::{Model, Options, Plan};
use std::{env, fs, path::Path, process::Command};

/// The interpreter to use; `None` if there is none, which is reported.
fn python() -> Option<String> {
    let named = env::var("FLGC_PYTHON").ok();
    let program = named.clone().unwrap_or_else(|| "python3".to_owned());
    let works =
        Command::new(&program).args(["-c", "import numpy, safetensors"]).output().is_ok_and(|o| o.status.success());
    assert!(works || named.is_none(), "FLGC_PYTHON={program} can't import numpy and safetensors");
    if !works {
        eprintln!(
            "not tested: no python3 with numpy and safetensors (pip install -r tools/python/requirements-test.txt)"
        );
    }
    works.then_some(program)
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap()
}

#[test]
fn a_file_written_by_the_documented_snippet_runs() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [model, input, output] = ["model.flgc", "input.npy", "output.npy"].map(|name| folder.path().join(name));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_writer.py");
    let done = Command::new(python).arg(script).args([&model, &input, &output]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let plan = Plan::new(&Model::open(&model).unwrap(), &Options::default()).unwrap();
    let (expected, mut session) = (floats(&output), plan.session());
    let scores = session.run(&floats(&input)).unwrap();
    assert_eq!(scores.len(), expected.len());
    let largest = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
    for (got, want) in scores.iter().zip(&expected) {
        assert!((got - want).abs() <= 1e-5 * largest, "{scores:?}, expected {expected:?}");
    }
}
