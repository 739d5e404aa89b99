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
