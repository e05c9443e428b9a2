"""Expected outputs of the reference network, by ONNX Runtime on the network's own ONNX file.

usage: python tools/python/make_reference_golden.py CIFAR_ONNX tests/golden/cifar10-reference

Writes input-0.npy [4, 3, 32, 32] (normal noise, fixed seed, as large as preprocessed pictures are) and output-0.npy [4, 10]. The test runs
models/cifar10-reference.flgc on them.
"""
import os
import sys

import numpy as np
import onnxruntime


def main(onnx_path, folder):
    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(2019).standard_normal((4, 3, 32, 32)).astype(np.float32)
    scores = np.concatenate([session.run(["scores"], {"input": image[None]})[0] for image in images])
    os.makedirs(folder, exist_ok=True)
    np.save(os.path.join(folder, "input-0.npy"), images)
    np.save(os.path.join(folder, "output-0.npy"), scores)
    print(f"{folder}: outputs {scores.shape}, largest magnitude {np.abs(scores).max():.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
