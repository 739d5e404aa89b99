"""Bits of numbers read as other numbers, and numbers of eight bits as wider ones."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import helper

import byoc
from byoc.errors import ModelError

_EIGHT = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")


def _kind(name):
    return np.dtype(getattr(ml_dtypes, name, name))


@pytest.mark.parametrize("source", _EIGHT)
def test_every_number_of_eight_bits(tools, source):
    everyone = np.arange(256, dtype=np.uint8).view(_kind(source)).reshape(2, 128)
    targets = ("float32", "float16", "bfloat16")
    nodes = [
        helper.make_node("Cast", ["x"], [t], to=helper.np_dtype_to_tensor_dtype(_kind(t)))
        for t in targets
    ]
    outputs = {t: (_kind(t), [2, 128]) for t in targets}
    model = tools.model(nodes, {"x": (_kind(source), [2, 128])}, outputs, opset=24)
    found = byoc.compile(model, vendors=[]).run({"x": everyone})
    for target in targets:
        expected = everyone.astype(_kind(target))
        assert found[target].dtype == expected.dtype
        np.testing.assert_array_equal(found[target].astype(np.float64), expected.astype(np.float64))


def _bit_cast(tools, source, target, shape, weights=None):
    kind = helper.np_dtype_to_tensor_dtype(_kind(target))
    node = helper.make_node("BitCast", ["x"], ["y"], to=kind)
    inputs = {} if weights else {"x": (_kind(source), shape)}
    return tools.model([node], inputs, {"y": (_kind(target), shape)}, weights or (), opset=26)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("float32", "int32"),
        ("uint32", "float32"),
        ("float64", "int64"),
        ("int64", "uint64"),
        ("float16", "uint16"),
        ("bfloat16", "int16"),
        ("uint16", "bfloat16"),
        ("uint8", "float8_e5m2"),
        ("int8", "uint8"),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_bits_as_others(tools, source, target, stored, rng):
    x = rng.integers(0, 256, (3, 5 * _kind(source).itemsize)).astype(np.uint8)
    x = x.view(_kind(source))
    model = _bit_cast(tools, source, target, ["N", 5] if not stored else [3, 5], None)
    if stored:
        model = _bit_cast(tools, source, target, [3, 5], {"x": x})
    found = byoc.compile(model, vendors=[]).run({} if stored else {"x": x})["y"]
    assert found.dtype == _kind(target)
    assert found.tobytes() == x.tobytes()


def test_other_widths_are_refused(tools):
    with pytest.raises(ModelError, match=r"float32 of 32 bits as int64 of 64; legal .* 32 bits"):
        byoc.compile(_bit_cast(tools, "float32", "int64", [2, 3]), vendors=[])
