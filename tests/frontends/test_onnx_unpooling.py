"""Places of maxima, MaxUnpool, and norms by a batch's own statistics, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import byoc


def _same(tools, reference, model, dims=None, seeds=(0, 1)):
    executable = byoc.compile(model, vendors=[])
    for seed in seeds:
        feeds = tools.feeds(model, seed, dims or {})
        found, expected = executable.run(feeds), reference(model, feeds)
        for name, value in expected.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "attrs"),
    [
        ([9], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
        ([5, 6], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ([5, 6], {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "storage_order": 1}),
        ([7, 8], {"kernel_shape": [2, 3], "dilations": [2, 2], "strides": [2, 1]}),
        ([6, 6], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ([5, 5], {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER"}),
        ([4, 5, 4], {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}),
    ],
)
def test_places_of_maxima(tools, reference, size, attrs):
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], **attrs)
    shape = ["N", 3, *size]
    outputs = {"y": ("f4", [None] * len(shape)), "i": ("i8", [None] * len(shape))}
    model = tools.model([node], {"x": ("f4", shape)}, outputs)
    _same(tools, reference, model, {"N": 2})


def test_places_of_whole_numbers(tools, reference):
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], pads=[1, 1, 0, 0])
    outputs = {"y": ("u1", [2, 1, 5, 5]), "i": ("i8", [2, 1, 5, 5])}
    _same(tools, reference, tools.model([node], {"x": ("u1", [2, 1, 5, 5])}, outputs))


@pytest.mark.parametrize("batch", [2, "N"])
def test_pool_and_back(tools, reference, batch):
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("MaxPool", ["x"], ["y", "i"], **window),
        helper.make_node("MaxUnpool", ["y", "i"], ["z"], **window),
    ]
    model = tools.model(nodes, {"x": ("f4", [batch, 3, 4, 6])}, {"z": ("f4", [batch, 3, 4, 6])})
    _same(tools, reference, model, {"N": 3})


def test_statistics_of_the_batch(tools, reference):
    node = helper.make_node(
        "BatchNormalization", list("xsbmv"), ["y", "rm", "rv"], training_mode=1, momentum=0.7
    )
    inputs = {"x": ("f4", ["N", 3, 4])} | {name: ("f4", [3]) for name in "sbmv"}
    outputs = {"y": ("f4", ["N", 3, 4]), "rm": ("f4", [3]), "rv": ("f4", [3])}
    _same(tools, reference, tools.model([node], inputs, outputs, opset=15), {"N": 5})
