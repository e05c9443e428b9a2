# The checks that every change passes, and what is made rarely.

.PHONY: check test doc bench peers zoo import-cases golden train-reference fuzz

check: ## formatting, lints as errors, tests, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

test:
	cargo test --workspace

doc:
	cargo doc --workspace --no-deps --open

bench: ## latency of whole networks and of kernels; nothing else should run meanwhile
	cargo bench -p flgc-benches

peers: ## flgc and other runtimes side by side on one core; nothing else should run meanwhile
	benches/peers/run.sh

zoo: ## the importer on whole networks (needs tools/python/zoo/requirements.txt); ZOO is a folder for their files
	cargo build --release -p flgc-import -p flgc-run
	python3 tools/python/zoo/make_zoo.py $(ZOO)
	python3 tools/python/zoo/check_import.py target/release models/onnx/*.onnx $(ZOO)/*.onnx

import-cases: ## the importer's test cases, by ONNX Runtime (needs tools/python/requirements.txt)
	python3 tools/python/import_cases.py tools/import/tests/cases

golden: ## expected outputs, by ONNX Runtime (needs tools/python/requirements.txt)
	python3 tools/python/make_golden.py tests/golden
# A trained model's: python3 tools/python/make_model_golden.py models/cifar10-mobilenetv2-flgc8.flgc tests/golden/cifar10-mobilenetv2-flgc8
# The reference network's: python3 tools/python/make_reference_golden.py CIFAR_ONNX tests/golden/cifar10-reference

train-reference: ## one training step by PyTorch (needs tools/python/requirements-train.txt)
	python3 tools/python/train_step_reference.py tools/train/tests/data/train_step.safetensors

fuzz: ## ten minutes each (needs cargo-fuzz); seeds are the golden networks and the importer's cases
	mkdir -p fuzz/corpus/load fuzz/corpus/load_plan_run fuzz/corpus/import
	for d in tools/import/tests/cases/*/; do cp $$d/model.onnx fuzz/corpus/import/$$(basename $$d); done
	for d in tests/golden/*/; do n=$$(basename $$d); cp $$d/model.flgc fuzz/corpus/load/$$n; cp $$d/model.flgc fuzz/corpus/load_plan_run/$$n; done
	RUSTC_BOOTSTRAP=1 cargo fuzz run load -- -max_total_time=600 -max_len=65536
	RUSTC_BOOTSTRAP=1 cargo fuzz run load_plan_run -- -max_total_time=600 -max_len=65536
	RUSTC_BOOTSTRAP=1 cargo fuzz run import -- -max_total_time=600 -max_len=65536
