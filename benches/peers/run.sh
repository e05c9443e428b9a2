#!/bin/sh
# Times flgc and its peers side by side, on one core; nothing else should run on the machine. It installs the peers from PyPI and crates.io:
#
#     benches/peers/run.sh [options of bench.py]
#
# Everything lands in target/peers; a run that was interrupted or asks for more rounds adds to results.json there. The record, its tables and chart are in benches/record.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work="$root/target/peers"
mkdir -p "$work"
python="$work/venv/bin/python"
if [ ! -x "$python" ]; then python3 -m venv "$work/venv"; fi
"$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
# pnnx asks for PyTorch, which its converter of ONNX files does not need.
"$python" -m pip install --quiet --disable-pip-version-check --no-deps pnnx==20261020
(cd "$root" && cargo build --release --locked -p flgc-run -p flgc-import)
CARGO_TARGET_DIR="$work/rust" cargo build --release --locked --manifest-path "$here/rust/Cargo.toml"
CARGO_TARGET_DIR="$work/rust" cargo build --release --locked --manifest-path "$here/small/Cargo.toml"
mkdir -p "$work/programs"
cp "$root/target/release/flgc-bench" "$root/target/release/flgc-import" "$root/target/release/flgc-run" "$work/rust/release/rust_peers" "$work/rust/release/small" "$work/programs"
if [ ! -e "$work/networks/models.json" ]; then "$python" "$here/gen_models.py" "$work/networks"; fi
"$python" "$here/bench.py" "$work/networks" "$work/programs" "$work/results.json" "$@"
mkdir -p "$root/benches/record"
"$python" "$here/report.py" "$work/results.json" "$root/benches/record"
