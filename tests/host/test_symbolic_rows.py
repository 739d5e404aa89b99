"""Rows of symbolic length: whole vectors, a tail, either of them empty."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax, tirx

import byoc


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_rows_of_any_length(name):
    n = tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((3, n), "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(getattr(relax.op.nn, name)(x, -1))
        bb.emit_func_output(out)
    executable = byoc.compile(bb.get(), [])
    for length in (1, 7, 15, 16, 17, 32, 64, 65):
        # Values far below zero: a row maximum that starts at 0 would be seen.
        array = np.random.default_rng(length).normal(-50, 3, (3, length)).astype("float32")
        shifted = np.exp(array - array.max(-1, keepdims=True))
        expected = shifted / shifted.sum(-1, keepdims=True)
        expected = np.log(expected) if name == "log_softmax" else expected
        np.testing.assert_allclose(executable(array), expected, rtol=3e-5, atol=1e-6)


def test_storage_is_as_large_as_a_tensor_not_as_its_bound():
    n = tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((n, 3), "float32"))
    far = 1 << 44
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            cut = bb.emit(relax.op.strided_slice(x, [0], [0], [tirx.min(n, far)], [1]))
            turned = bb.emit(relax.op.flip(cut, 0))
            out = bb.emit_output(relax.op.nn.softmax(turned, 0))
        bb.emit_func_output(out)
    array = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    expected = np.exp(array[::-1]) / np.exp(array).sum(0)
    np.testing.assert_allclose(byoc.compile(bb.get(), [])(array), expected, rtol=3e-5)


def test_a_length_that_can_only_be_0_has_a_kernel():
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    x = relax.Var("x", relax.TensorType((n, m, 2), "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            nothing = tirx.floordiv(tirx.min(m, 1), 2)
            cut = bb.emit(relax.op.strided_slice(x, [1], [0], [nothing], [1], assume_inbound=True))
            kept = bb.emit_output(relax.op.exp(cut))
            total = bb.emit_output(relax.op.sum(kept, [1]))
        bb.emit_func_output(relax.Tuple([kept, total]))
    kept, total = byoc.compile(bb.get(), [])(np.ones((3, 4, 2), "float32"))
    assert kept.shape == (3, 0, 2)
    np.testing.assert_array_equal(total, np.zeros((3, 2), "float32"))
