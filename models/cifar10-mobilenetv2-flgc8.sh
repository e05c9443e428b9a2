#!/bin/sh
# Trains models/cifar10-mobilenetv2-flgc8.flgc on CIFAR-10 and evaluates it:
#
#     models/cifar10-mobilenetv2-flgc8.sh DATA
#
# DATA has train/CLASS/PICTURE and test/CLASS/PICTURE. The groups are learned in a first training; a second one starts from its weights, keeps its groups and
# decays weights more; a third one starts from a wider network that computes the same, and a fourth one goes on from there. It takes hours; started again after an interruption, it goes on.
set -eu
data=$(realpath "$1")
cd "$(dirname "$0")/.."
model=models/cifar10-mobilenetv2-flgc8.flgc
groups=target/cifar10-mobilenetv2-flgc8-groups
narrow=target/cifar10-mobilenetv2-flgc8-narrow
wide=target/cifar10-mobilenetv2-flgc8-wide
last=target/cifar10-mobilenetv2-flgc8-last
train() {
    cargo run --release --bin flgc-train -- "$data" --resume --conv flgc --groups 8 --estimator chosen --logit-start scattered "$@"
}
train -o "$groups.flgc" --run "$groups.run" --logit-optimizer adam --logit-lr 0.002 --fix-groups-from 36 \
    --epochs 44 --lr 0.1 --weight-decay 2e-4 --label-smoothing 0 --warmup 400 --seed 1
train -o "$narrow.flgc" --run "$narrow.run" --start-from "$groups.run/checkpoint.safetensors" --fix-groups-from 1 \
    --epochs 36 --lr 0.1 --weight-decay 5e-4 --label-smoothing 0.05 --warmup 400 --seed 2
train -o "$wide.flgc" --run "$wide.run" --width 1.35 --start-from "$narrow.flgc" --start-width 1 --fix-groups-from 1 \
    --epochs 30 --average 4 --lr 0.08 --weight-decay 5e-4 --label-smoothing 0.05 --cutout 10 --warmup 400 --seed 3
train -o "$last.flgc" --run "$last.run" --width 1.35 --start-from "$wide.flgc" --fix-groups-from 1 \
    --epochs 26 --average 7 --lr 0.05 --weight-decay 5e-4 --label-smoothing 0.05 --cutout 10 --warmup 400 --seed 4
cp "$last.flgc" "$model"
cargo run --release --bin flgc-run -- "$model" --evaluate "$data/test"
