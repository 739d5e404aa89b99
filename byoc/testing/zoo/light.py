"""The nine `light_*` nets of the onnx package, with weights instead of constant fills."""

from __future__ import annotations

import zlib
from math import prod, sqrt
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from byoc.segment import Array
from byoc.testing.zoo.calibrate import calibrate
from byoc.testing.zoo.inputs import calibration_inputs

__all__ = ["LIGHT", "build_light"]

_FILES = {
    "alexnet": "light_bvlc_alexnet",
    "densenet121": "light_densenet121",
    "inception_v1": "light_inception_v1",
    "inception_v2": "light_inception_v2",
    "resnet50": "light_resnet50",
    "shufflenet": "light_shufflenet",
    "squeezenet": "light_squeezenet",
    "vgg19": "light_vgg19",
    "zfnet512": "light_zfnet512",
}

LIGHT = tuple(_FILES)


def _draw(rng: np.random.Generator, shape: tuple[int, ...], op_type: str, index: int) -> Array:
    """Values for the input `index` of an op: what training leaves there, roughly."""
    noise = rng.standard_normal(shape, np.float32)
    if op_type in ("Conv", "Gemm") and index == 1:
        return noise * np.float32(sqrt(2.0 / prod(shape[1:])))  # He et al. 2015
    if op_type == "BatchNormalization" and index == 4:
        return np.abs(noise) + np.float32(0.5)
    if (op_type == "BatchNormalization" and index == 1) or op_type == "Mul":
        return 1 + noise * np.float32(0.2)
    return noise * np.float32(0.1)  # biases, shifts, means


def build_light(name: str, seed: int = 0) -> onnx.ModelProto:
    """Build a `light_*` net with random weights in place of its constant fills.

    Args:
        name: A name of `LIGHT`.
        seed: Equal seeds draw equal weights.

    Returns:
        The model; its weights are initialisers and not among its inputs.
    """
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    model = onnx.load(folder / f"{_FILES[name]}.onnx")
    graph = model.graph
    graph.name = name
    model.ir_version = 8
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])

    arrays = {init.name: numpy_helper.to_array(init) for init in graph.initializer}
    shapes = {n: a.shape for n, a in arrays.items() if a.dtype == np.float32}
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shapes[node.output[0]] = tuple(int(d) for d in arrays[node.input[0]])

    kept = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    reshaped = [n for n in kept if n.op_type in ("Unsqueeze", "Reshape") and n.input[0] in shapes]
    origin = {node.output[0]: node.input[0] for node in reshaped}
    weights: dict[str, Array] = {}
    for node in kept:
        for index, value in enumerate(node.input):
            if node in reshaped and index == 0:
                continue  # the user of the reshaped weight tells what it is for
            value = origin.get(value, value)
            if value in shapes and value not in weights:
                weights[value] = _draw(rng, shapes[value], node.op_type, index)
            elif value in arrays and value not in weights:
                weights[value] = arrays[value]

    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in weights.items())
    inputs = [i for i in graph.input if i.name not in arrays and i.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    return calibrate(model, calibration_inputs(model, seed), rng)
