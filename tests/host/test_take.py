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


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("bad", [4, 2**40, -1, -(2**40)])
def test_a_bad_index_is_a_named_error(bad, dtype):
    found = lookup(dtype)
    with pytest.raises(byoc.ExecutionError, match="take: an index lies outside axis 0 of size 4"):
        found(np.array([0, 3, bad, 1, 2]))
    np.testing.assert_array_equal(found(np.array([3, 0, 0, 1, 2]))[0], [9, 10, 11])
