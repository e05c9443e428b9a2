//! The programs, run as a user runs them.

mod answers;
mod bench;
mod evaluate;
mod inspect;
mod models;
mod pictures;
mod tensors;

use flgc::{
    Model,
    model::{DType, Graph, Tensor},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const RUN: &str = env!("CARGO_BIN_EXE_flgc-run");
const BENCH: &str = env!("CARGO_BIN_EXE_flgc-bench");
const INSPECT: &str = env!("CARGO_BIN_EXE_flgc-inspect");

/// What a program left behind.
#[derive(Debug)]
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Checks the exit status and gives standard output.
    #[track_caller]
    fn expect(self, status: i32) -> String {
        assert_eq!(self.status, Some(status), "{self:?}");
        self.stdout
    }

    /// Checks the exit status, that nothing is on standard output, and that standard error is one line with all of `parts` in it.
    #[track_caller]
    fn expect_error(self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing: {self:?}");
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("programs write UTF-8");
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

fn command(program: &str, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[impl AsRef<OsStr>]) -> Ran {
    command(RUN, args).output().unwrap().into()
}

/// `flgc-run` with the reference model before `args`.
fn run_reference(args: &[impl AsRef<OsStr>]) -> Ran {
    command(RUN, &[reference()]).args(args).output().unwrap().into()
}

fn bench(args: &[impl AsRef<OsStr>]) -> Ran {
    command(BENCH, args).output().unwrap().into()
}

fn inspect(args: &[impl AsRef<OsStr>]) -> Ran {
    command(INSPECT, args).output().unwrap().into()
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The model that the README runs.
fn shipped() -> PathBuf {
    root().join("models/cifar10-mobilenetv2-flgc8.flgc")
}

fn reference() -> PathBuf {
    root().join("models/cifar10-reference.flgc")
}

fn sample(name: &str) -> PathBuf {
    root().join("models/samples").join(name)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The lines of `--format json`.
#[track_caller]
fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Writes a model that averages each channel of a picture of 8x8 pixels and gives the averages as scores: `graph` changes the graph first.
fn write_model(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut graph = json!({
        "inputs": [{"name": "picture", "shape": [1, 3, 8, 8], "image": {"scale": 1.0}}],
        "nodes": [
            {"name": "pool", "op": "global_average_pool", "inputs": ["picture"], "outputs": ["means"]},
            {"name": "flat", "op": {"flatten": {}}, "inputs": ["means"], "outputs": ["flat"]},
            {"name": "head", "op": {"linear": {"features": 3, "weight": "w"}}, "inputs": ["flat"], "outputs": ["scores"]},
        ],
        "outputs": ["scores"],
        "labels": ["red", "green", "blue"],
    });
    change(&mut graph);
    let graph: Graph = serde_json::from_value(graph).unwrap();
    let identity = Tensor::floats(DType::F32, &[3, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    Model::new(&graph, &BTreeMap::from([("w".to_owned(), identity)])).unwrap().save(path).unwrap();
}

/// A run of the program that must not depend on permissions can't be tested as root, whom they do not bind.
#[cfg(unix)]
fn make_unreadable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let is_unreadable = std::fs::read_dir(path).is_err() && std::fs::read(path).is_err();
    if !is_unreadable {
        eprintln!("not tested: permissions do not bind this user (root?)");
    }
    is_unreadable
}
