"""Sorts of every dtype, at the ends of its range, with ties and NaN; by functions of ours."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tvm
from host_runner import Compiled, module
from tvm import relax, te, tirx, topi

from byoc.errors import CompileError
from byoc.host.legalize.runtime_functions import call_runtime_kernels
from byoc.host.lower import lower

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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nan_is_the_greatest_and_the_first_of_equals_comes_first(dtype):
    x = np.array([[1, np.nan, 0, -0.0, np.inf, -np.nan, 1]]).astype(np.dtype(dtype))
    run = Compiled(
        module(
            lambda b, x: b.emit(
                relax.Tuple([b.emit(op.argsort(x, -1, d, "int64")) for d in (False, True)])
            ),
            (x.shape, dtype),
        )
    )
    up, down = run(x)
    np.testing.assert_array_equal(up, [[2, 3, 0, 6, 4, 1, 5]])
    np.testing.assert_array_equal(down, [[1, 5, 4, 0, 6, 2, 3]])


def test_kernels_call_no_function_of_tvm():
    """Whatever sorts: a process without TVM has its functions."""

    def all_that_sort(b, x):
        made = [b.emit(op.sort(x)), b.emit(op.argsort(x)), b.emit(op.topk(x, 2)[0])]
        return b.emit(relax.Tuple([*made, b.emit(op.median(x, [1])[0])]))

    mod = module(all_that_sort, ((2, 5), "float32"))
    kernels = lower(mod).kernels
    text = kernels.script()
    assert "byoc.runtime.kernel.topk" in text
    assert "tvm.contrib" not in text


def test_the_median_of_halves():
    x = values("bfloat16", 2)
    run = Compiled(module(lambda b, x: b.emit(op.median(x, [1])), (x.shape, "bfloat16")))
    middle, places = run(x)
    np.testing.assert_array_equal(places, np.argsort(x, axis=-1)[:, 4])
    np.testing.assert_array_equal(middle, np.median(x.astype("float32"), axis=-1).astype(x.dtype))


def test_numbers_that_are_stored_as_others_are_refused_by_kernels():
    x = te.placeholder((4,), "bfloat16", "x")
    func = te.create_prim_func([x, topi.sort(x)])
    mod = tvm.IRModule({"odd": func.with_attr("global_symbol", "odd")})
    with pytest.raises(CompileError, match="'odd' sorts bfloat16.*cast them to float32"):
        call_runtime_kernels(mod)


def test_a_function_that_only_tvm_has_is_refused():
    x = te.placeholder((4,), "float32", "x")
    y = te.extern((4,), [x], lambda i, o: tirx.call_packed("tvm.contrib.odd", i[0], o[0]))
    func = te.create_prim_func([x, y])
    mod = tvm.IRModule({"odd": func.with_attr("global_symbol", "odd")})
    with pytest.raises(CompileError, match="'odd' calls tvm.contrib.odd, which only a process"):
        call_runtime_kernels(mod)
