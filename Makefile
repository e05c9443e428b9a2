# The checks that every change passes, and what is made rarely.

.PHONY: check test doc bench golden train-reference fuzz

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

golden: ## expected outputs, by ONNX Runtime (needs tools/python/requirements.txt)
	python3 tools/python/make_golden.py tests/golden
# The reference network's: python3 tools/python/make_reference_golden.py CIFAR_ONNX tests/golden/cifar10-reference

train-reference: ## one training step by PyTorch (needs tools/python/requirements-train.txt)
	python3 tools/python/train_step_reference.py tools/train/tests/data/train_step.safetensors

fuzz: ## ten minutes each (needs cargo-fuzz); seeds are the golden networks
	mkdir -p fuzz/corpus/load fuzz/corpus/load_plan_run
	for d in tests/golden/*/; do n=$$(basename $$d); cp $$d/model.flgc fuzz/corpus/load/$$n; cp $$d/model.flgc fuzz/corpus/load_plan_run/$$n; done
	RUSTC_BOOTSTRAP=1 cargo fuzz run load -- -max_total_time=600 -max_len=65536
	RUSTC_BOOTSTRAP=1 cargo fuzz run load_plan_run -- -max_total_time=600 -max_len=65536
