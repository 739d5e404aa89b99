"""Look-ups with indices from users: never a read outside the table."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

import byoc


def lookup(dtype: str) -> byoc.Executable:
    table = np.arange(12).reshape(4, 3).astype(dtype)
    index = relax.Var("index", relax.TensorType((5,), "int64"))
    bb = relax.BlockBuilder()
    with bb.function("main", [index]):
        with bb.dataflow():
            out = bb.emit_output(relax.op.take(relax.const(table), index, axis=0))
        bb.emit_func_output(out)
    return byoc.compile(bb.get(), [])


@pytest.mark.parametrize("bad", [4, 2**40, -(2**40)])
def test_a_bad_index_gives_nan(bad):
    found = lookup("float32")(np.array([0, 3, bad, 1, 2]))
    assert np.isnan(found[2]).all()
    np.testing.assert_array_equal(
        found[[0, 1, 3, 4]], [[0, 1, 2], [9, 10, 11], [3, 4, 5], [6, 7, 8]]
    )


def test_integers_have_no_nan_and_give_the_nearest_row():
    found = lookup("int32")(np.array([0, 3, 2**40, -7, 2]))
    np.testing.assert_array_equal(found[2:4], [[9, 10, 11], [0, 1, 2]])
