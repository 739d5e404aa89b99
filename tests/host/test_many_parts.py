"""Splits into many tensors and concatenations of many: trees of small kernels, the same values."""

from __future__ import annotations

import numpy as np
import pytest
from host_runner import module
from tvm import relax, tirx

import byoc
from byoc import host


@pytest.mark.parametrize(("count", "rows", "axis"), [(49, "n", 1), (70, 3, -1), (270, 3, 1)])
def test_what_is_split_and_joined_backward(count, rows, axis):
    rng = np.random.default_rng(count)
    sizes = rng.integers(1, 4, count)
    shape = [3, 2, 2]
    shape[axis] = int(sizes.sum())
    ends = [int(end) for end in np.cumsum(sizes)[:-1]]
    symbolic = [tirx.Var("n", "int64") if isinstance(rows, str) else rows, *shape[1:]]

    def build(builder, x):
        parts = builder.emit(relax.op.split(x, ends, axis))
        negated = [builder.emit(relax.op.negative(parts[i])) for i in reversed(range(count))]
        return relax.op.concat(negated, axis)

    x = rng.standard_normal(shape).astype("float32")
    expected = np.concatenate([-part for part in np.split(x, ends, axis)][::-1], axis)
    found = byoc.compile(module(build, (symbolic, "float32")), [])(x)
    np.testing.assert_array_equal(found, expected)


def test_no_kernel_of_a_tree_has_many_arguments():
    def build(builder, x):
        parts = builder.emit(relax.op.split(x, 300, 1))
        return relax.op.concat([parts[i] for i in range(300)], 1)

    kernels = host.lower(module(build, ((2, 600), "float32")), threads=1).kernels
    for _, kernel in kernels.functions_items():
        assert len(kernel.params) <= 40
