"""NonMaxSuppression against ONNX Runtime: ties, counts, thresholds, symbolic sizes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import byoc
from byoc.errors import ModelError


def _model(tools, sizes, weights, inputs="bsmit", **attrs):
    images, classes, count = sizes
    given = {
        "b": ("f4", [images, count, 4]),
        "s": ("f4", [images, classes, count]),
        "m": ("i8", [1]),
        "i": ("f4", [1]),
        "t": ("f4", [1]),
    }
    node = helper.make_node("NonMaxSuppression", list(inputs), ["y"], **attrs)
    ports = {name: given[name] for name in inputs if name not in weights}
    return tools.model([node], ports, {"y": ("i8", [None, 3])}, weights, opset=11)


def _feeds(rng, sizes):
    images, classes, count = sizes
    return {
        "b": rng.random((images, count, 4)).astype("f4"),
        "s": (rng.integers(-3, 10, (images, classes, count)) / 10).astype("f4"),  # ties
    }


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize(
    ("most", "overlap", "least"),
    [(3, 0.5, None), (10**9, 0.0, 0.4), (1, 1.0, -5.0), (0, 0.5, 0.0)],
)
def test_constants(tools, reference, rng, center, most, overlap, least):
    sizes = (2, 3, 20)
    weights = {"m": np.array([most]), "i": np.float32([overlap])}
    if least is not None:
        weights["t"] = np.float32([least])
    inputs = "bsmi" if least is None else "bsmit"
    model = _model(tools, sizes, weights, inputs, center_point_box=center)
    executable = byoc.compile(model, vendors=[])
    for _ in range(3):
        feeds = _feeds(rng, sizes)
        np.testing.assert_array_equal(executable.run(feeds)["y"], reference(model, feeds)["y"])


def test_all_at_run_time(tools, reference, rng):
    model = _model(tools, ("B", "C", "N"), {})
    executable = byoc.compile(model, vendors=[])
    for sizes, most in (((1, 2, 5), 2), ((2, 1, 30), 100), ((1, 1, 1), 0)):
        feeds = _feeds(rng, sizes) | {"m": np.array([most]), "i": np.float32([0.3])}
        feeds["t"] = np.float32([0.2])
        np.testing.assert_array_equal(executable.run(feeds)["y"], reference(model, feeds)["y"])


def test_a_threshold_that_is_none(tools):
    weights = {"m": np.array([3]), "i": np.float32([1.5])}
    with pytest.raises(ModelError, match=r"iou_threshold is 1.5; legal are 0 to 1"):
        byoc.compile(_model(tools, (1, 1, 4), weights, "bsmi"), vendors=[])
