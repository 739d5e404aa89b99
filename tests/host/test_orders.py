"""Sorts of every dtype, at the ends of its range."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from host_runner import Compiled, module
from tvm import relax

op = relax.op
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = ["float16", "float32", "float64", "bfloat16"]


def values(dtype, seed=0):
    """Rows without ties, the least and the largest number among them."""
    rng = np.random.default_rng(seed)
    if dtype in INTEGERS:
        info = np.iinfo(dtype)
        row = np.linspace(float(info.min), float(info.max) * (1 - 2**-52), 9).astype(dtype)
        row[0], row[-1] = info.min, info.max
    else:
        kind = np.dtype(dtype)
        info = ml_dtypes.finfo(kind)
        row = np.array([info.min, -3, -0.5, 0, 0.25, 1, 2, 7, info.max]).astype(kind)
    assert len(set(row.tolist())) == 9
    return np.stack([rng.permutation(row) for _ in range(3)])


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_topk(dtype, largest):
    x = values(dtype)
    run = Compiled(
        module(lambda b, x: b.emit(op.topk(x, 4, -1, "both", largest, "int64")), (x.shape, dtype))
    )
    found, places = run(x)
    order = np.argsort(x, axis=-1)
    want = (order[:, ::-1] if largest else order)[:, :4]
    np.testing.assert_array_equal(places, want)
    np.testing.assert_array_equal(found, np.take_along_axis(x, want, -1))
    assert found.dtype == x.dtype


@pytest.mark.parametrize("dtype", ["uint16", "uint64", "bfloat16"])
def test_sort_and_argsort(dtype):
    x = values(dtype, 1)
    run = Compiled(
        module(
            lambda b, x: b.emit(
                relax.Tuple([b.emit(op.sort(x, 0)), b.emit(op.argsort(x, -1, True, "int32"))])
            ),
            (x.shape, dtype),
        )
    )
    ordered, places = run(x)
    np.testing.assert_array_equal(ordered, np.sort(x, axis=0))
    np.testing.assert_array_equal(places, np.argsort(x, axis=-1)[:, ::-1])
