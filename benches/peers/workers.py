"""One peer, one network, one process: `python workers.py PEER MODEL INPUT REFERENCE SECONDS MIN_RUNS` prints a line of JSON.

`cold_ms` runs from just before the model is loaded, the library already imported, to the first output; `rss_mb` is the process's peak.
"""

import json
import os
import sys
import time

import numpy as np


def peak_rss():
    """In MB. (`ru_maxrss` would survive exec and report the parent's size.)"""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM"))


def onnxruntime(path, x):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3

    def load():
        session = ort.InferenceSession(path + ".onnx", options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": x})[0]

    return load


def openvino(path, x, f32):
    import openvino as ov

    config = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    if f32:
        config["INFERENCE_PRECISION_HINT"] = "f32"

    def load():
        request = ov.Core().compile_model(path + ".onnx", "CPU", config).create_infer_request()
        request.set_input_tensor(ov.Tensor(x, shared_memory=True))

        def run():
            request.infer()
            return request.get_output_tensor(0).data

        return run

    return load


def mnn(path, x):
    import MNN

    def load():
        interpreter = MNN.Interpreter(path + ".mnn")
        session = interpreter.createSession({"backend": "CPU", "numThread": 1, "precision": "high"})
        given, made = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
        planar = MNN.Tensor_DimensionType_Caffe
        host_in = MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, planar)
        host_out = MNN.Tensor((1, 1000), MNN.Halide_Type_Float, np.zeros((1, 1000), np.float32), planar)

        def run():
            given.copyFrom(host_in)
            interpreter.runSession(session)
            made.copyToHostTensor(host_out)
            return host_out

        run.numbers = lambda: np.array(host_out.getData(), np.float32)
        return run

    return load


def ncnn(path, x):
    import ncnn as library

    keep, lists = [], []

    class ChannelGather(library.Layer):
        """ncnn has no gather over channels: the least that a user must write himself."""

        def __init__(self):
            library.Layer.__init__(self)
            self.one_blob_only = True
            keep.append(self)

        def load_param(self, parameters):
            self.channels = lists[parameters.get(0, 0)]
            return 0

        def forward(self, bottom, top, option):
            top.create(w=bottom.w, h=bottom.h, c=len(self.channels), elemsize=4, elempack=1)
            if top.empty():
                return -100
            np.take(np.asarray(bottom), self.channels, axis=0, out=np.asarray(top), mode="clip")
            return 0

    def load():
        net = library.Net()
        net.opt.num_threads = 1
        net.opt.use_vulkan_compute = net.opt.use_bf16_storage = False
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        if os.path.exists(path + ".gather.npz"):
            stored = np.load(path + ".gather.npz")
            lists.extend(stored[f"g{i}"] for i in range(len(stored.files)))
            net.register_custom_layer("ChannelGather", ChannelGather, lambda layer: None)
        net.load_param(path + ".ncnn.param")
        net.load_model(path + ".ncnn.bin")

        def run():
            extractor = net.create_extractor()
            extractor.input("in0", library.Mat(x[0]))
            return np.array(extractor.extract("out0")[1])

        return run

    return load


def litert(path, x):
    from ai_edge_litert.interpreter import Interpreter

    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def load():
        # The XNNPACK delegate is its default.
        interpreter = Interpreter(path + ".tflite", num_threads=1)
        interpreter.allocate_tensors()
        given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def run():
            interpreter.set_tensor(given, channels_last)
            interpreter.invoke()
            return interpreter.get_tensor(made)

        return run

    return load


PEERS = {
    "onnxruntime": onnxruntime,
    "openvino-f32": lambda path, x: openvino(path, x, True),
    "openvino-default": lambda path, x: openvino(path, x, False),
    "litert": litert,
    "mnn": mnn,
    "ncnn": ncnn,
}


def main():
    peer, path, given, reference, seconds, min_runs = sys.argv[1:]
    x = np.fromfile(given, np.float32).reshape(1, 3, 224, 224)
    expected = np.fromfile(reference, np.float32)
    load = PEERS[peer](path, x)
    start = time.perf_counter()
    run = load()
    y = run()
    cold = 1e3 * (time.perf_counter() - start)
    y = run.numbers() if hasattr(run, "numbers") else np.array(y)
    error = float(np.abs(y.reshape(-1) - expected).max() / np.abs(expected).max())
    for _ in range(2):
        run()
    times, start = [], time.perf_counter()
    while len(times) < int(min_runs) or (time.perf_counter() - start < float(seconds) and len(times) < 400):
        begin = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - begin))
    print(json.dumps({"cold_ms": cold, "error": error, "rss_mb": peak_rss(), "times": times}))


if __name__ == "__main__":
    main()
