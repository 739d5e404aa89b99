"""DeformConv against ONNX Runtime: groups, offset groups, masks, windows, a symbolic batch."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import byoc
from byoc.errors import ModelError

_CASES = [
    ({}, [3, 3], 1, "xwo"),
    ({"pads": [1, 1, 1, 1], "strides": [2, 1]}, [3, 2], 1, "xwobm"),
    (
        {"pads": [2, 0, 1, 1], "dilations": [2, 1], "group": 2, "offset_group": 2},
        [2, 2],
        2,
        "xwobm",
    ),
]


def _model(tools, attrs, kernel, groups, inputs, outs, batch="N"):
    taps = kernel[0] * kernel[1]
    given = {
        "x": ("f4", [batch, 4, 6, 5]),
        "w": ("f4", [6, 4 // attrs.get("group", 1), *kernel]),
        "o": ("f4", [batch, groups * taps * 2, *outs]),
        "b": ("f4", [6]),
        "m": ("f4", [batch, groups * taps, *outs]),
    }
    node = helper.make_node("DeformConv", list(inputs), ["y"], kernel_shape=kernel, **attrs)
    ports = {name: given[name] for name in inputs}
    return tools.model([node], ports, {"y": ("f4", [batch, 6, *outs])}, opset=19)


def _outs(attrs, kernel):
    pads, strides = attrs.get("pads", [0] * 4), attrs.get("strides", [1, 1])
    steps = attrs.get("dilations", [1, 1])
    return [
        (n + pads[i] + pads[i + 2] - (kernel[i] - 1) * steps[i] - 1) // strides[i] + 1
        for i, n in enumerate((6, 5))
    ]


@pytest.mark.parametrize(("attrs", "kernel", "groups", "inputs"), _CASES)
def test_taps_that_move(tools, reference, attrs, kernel, groups, inputs):
    model = _model(tools, attrs, kernel, groups, inputs, _outs(attrs, kernel))
    executable = byoc.compile(model, vendors=[])
    for seed in (0, 1):
        feeds = tools.feeds(model, seed, {"N": 1 + seed})
        feeds["o"] = feeds["o"] * 3  # far outside, too
        found, expected = executable.run(feeds)["y"], reference(model, feeds)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_offsets_that_do_not_fit(tools):
    with pytest.raises(ModelError, match=r"its offsets are .* expected .* for 1 groups"):
        byoc.compile(_model(tools, {}, [3, 3], 1, "xwo", [2, 2]), vendors=[])
