#!/bin/sh
# Trains models/cifar10-mobilenetv2-flgc8.flgc on CIFAR-10 and evaluates it:
#
#     models/cifar10-mobilenetv2-flgc8.sh DATA
#
# DATA has train/CLASS/PICTURE and test/CLASS/PICTURE. It takes hours; started again after an interruption, it goes on.
set -eu
data=$(realpath "$1")
cd "$(dirname "$0")/.."
model=models/cifar10-mobilenetv2-flgc8.flgc
cargo run --release --bin flgc-train -- "$data" -o "$model" --run target/cifar10-mobilenetv2-flgc8.run --resume \
    --conv flgc --groups 8 --estimator chosen --logit-start scattered --logit-optimizer adam --logit-lr 0.002 \
    --fix-groups-from 36 \
    --epochs 44 --lr 0.1 --weight-decay 2e-4 --label-smoothing 0 --warmup 400 --seed 1
cargo run --release --bin flgc-run -- "$model" --evaluate "$data/test"
