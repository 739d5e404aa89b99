"""Functions that compiled kernels call: sorts, places that are not zero, distinct numbers.

Checked against numpy, over sizes on both sides of every change of algorithm, with NaNs of both
signs, both zeros, infinities and many ties. What numpy calls equal stays in the order it came in.
"""

from __future__ import annotations

import numpy as np
import pytest
import tvm_ffi

from byoc.runtime.native import function

DTYPES = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES += ["float16", "float32", "float64", "bool"]
SIZES = [0, 1, 2, 7, 100, 383, 385, 1000, 5000]


def numbers(rng, shape, dtype):
    """Numbers with ties and, of floats, with all that is no number."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape))
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind in "iu":
        info = np.iinfo(kind)
        if rng.random() < 0.3:
            few = rng.integers(0, 5, shape, dtype=kind)
        else:
            few = rng.integers(info.min, info.max, shape, dtype=kind, endpoint=True)
        return few
    x = rng.standard_normal(size) * 10.0 ** rng.integers(-3, 4)
    if rng.random() < 0.5:
        x = np.round(x)  # ties
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0])
    where = rng.random(size) < rng.choice([0, 0.1, 0.9])
    x[where] = rng.choice(odd, where.sum())
    with np.errstate(over="ignore"):
        return x.astype(kind).reshape(shape)


def order_of(x, axis, ascending):
    """The order by the rules: NaN is the greatest, the first of equal numbers comes first."""
    if ascending:
        return np.argsort(x, axis=axis, kind="stable")
    length = x.shape[axis]
    backwards = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return np.flip(length - 1 - backwards, axis)


def call(name, *args):
    """Call a kernel's function; arrays are passed as they are."""
    given = [tvm_ffi.from_dlpack(a) if isinstance(a, np.ndarray) else a for a in args]
    return function(f"kernel.{name}")(*given)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sorts_are_those_of_numpy(dtype):
    rng = np.random.default_rng(DTYPES.index(dtype))
    for length in SIZES:
        for shape, axis in (((length,), 0), ((2, length), -1), ((2, length, 3), 1)):
            x, ascending = numbers(rng, shape, dtype), bool(rng.integers(2))
            want = order_of(x, axis, ascending)
            places, values = np.empty(shape, "int64"), np.empty_like(x)
            call("argsort", x, places, axis, ascending)
            np.testing.assert_array_equal(places, want)
            call("sort", x, values, axis, ascending)
            assert values.tobytes() == np.take_along_axis(x, want, axis).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_k_are_those_of_a_whole_sort(dtype):
    rng = np.random.default_rng(DTYPES.index(dtype))
    for length in SIZES[1:]:
        for k in sorted({1, 2, length // 10, length // 3, length // 2 + 1, length} - {0}):
            k = min(k, length)
            for shape, axis in (((2, length), 1), ((length, 3), 0)):
                x, ascending = numbers(rng, shape, dtype), bool(rng.integers(2))
                want = np.take(order_of(x, axis, ascending), range(k), axis)
                places, values = np.empty(want.shape, "int32"), np.empty(want.shape, x.dtype)
                call("topk", x, values, places, k, axis, "both", ascending)
                np.testing.assert_array_equal(places, want)
                assert values.tobytes() == np.take_along_axis(x, want, axis).tobytes()


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64", "uint8", "int16"])
def test_places_may_have_other_dtypes(dtype):
    x = np.array([[3.0, 1.0, 2.0]], "float32")
    places = np.empty(x.shape, dtype)
    call("argsort", x, places, 1, True)
    np.testing.assert_array_equal(places, np.array([[1, 2, 0]], dtype))


def test_only_valid_numbers_are_sorted_for_suppression():
    rng = np.random.default_rng(0)
    x = numbers(rng, (5, 20), "float32")
    valid = np.array([0, 1, 7, 20, 30], "int32")
    places = np.empty(x.shape, "int32")
    call("argsort_nms", x, valid, places, 1, False)
    for row, count, found in zip(x, np.minimum(valid, 20), places, strict=True):
        want = [*order_of(row[:count], 0, False), *range(count, 20)]
        np.testing.assert_array_equal(found, want)


def test_threads_share_lines():
    x = np.random.default_rng(0).standard_normal((64, 500)).astype("float32")
    places = np.empty(x.shape, "int64")
    call("argsort", x, places, 1, True)
    np.testing.assert_array_equal(places, order_of(x, 1, True))


def test_another_shape_is_refused():
    x = np.zeros((2, 3), "float32")
    with pytest.raises(ValueError, match="compiled for other shapes"):
        call("sort", x, np.zeros((2, 2), "float32"), 1, True)
    with pytest.raises(ValueError, match="compiled for other shapes"):
        call("topk", x, np.zeros((2, 4), "float32"), 4, 1, "values", True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_places_that_are_not_zero(dtype):
    rng = np.random.default_rng(DTYPES.index(dtype))
    for shape in ((), (1,), (0,), (50,), (3, 4), (2, 0, 3), (2, 3, 4, 5)):
        x = np.where(rng.random(shape) < 0.5, numbers(rng, shape, dtype), np.zeros((), dtype))
        found = np.from_dlpack(call("nonzero", x))
        np.testing.assert_array_equal(found, np.stack(np.atleast_1d(x).nonzero()))
        assert found.dtype == np.int64


def unique_of(x, axis, in_order):
    """numpy's distinct parts, and their order of appearance where that is asked for."""
    values, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if in_order:
        return values, first, inverse, counts
    by = np.argsort(first)
    place = np.argsort(by)
    values = np.take(values, by, 0 if axis is None else axis)
    return values, first[by], place[inverse], counts[by]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("in_order", [True, False])
def test_distinct_parts_are_those_of_numpy(dtype, in_order):
    rng = np.random.default_rng(DTYPES.index(dtype))
    for shape, axes in (
        ((40,), (None, 0)),
        ((6, 3), (None, 0, 1)),
        ((2, 12, 2), (1, 2)),
        ((0,), (0,)),
    ):
        for axis in axes:
            x = numbers(rng, shape, dtype)
            if axis is not None and x.dtype.kind == "f":
                x = np.nan_to_num(x)  # of slices with NaNs numpy makes no equals
            if rng.random() < 0.5:
                x = (x > 0).astype(x.dtype)
            found = call("unique", x, in_order, True, True, True, *([] if axis is None else [axis]))
            want = unique_of(x, axis, in_order)
            for got, expected in zip(found, want, strict=True):
                np.testing.assert_array_equal(np.from_dlpack(got), expected)


def test_distinct_numbers_alone():
    x = np.array([2, 1, 2, 3], "int32")
    np.testing.assert_array_equal(np.from_dlpack(call("unique", x, 1, 0, 0, 0)), [1, 2, 3])


def recurrent(kind="rnn", operands="x r", functions="tanh:0:0", **changes):
    """A layer of 4 steps, 2 rows and 3 numbers; `changes` are other arrays by name."""
    arrays = {"x": np.ones((4, 2, 3), "f4"), "r": np.ones((1, 3, 3), "f4")} | changes
    results = [np.empty((4, 2, 3), "f4"), np.empty((1, 2, 3), "f4")]
    given = [arrays[name] for name in operands.split()]
    call("recurrent", kind, "forward", operands, functions, 0.0, 0, 0, *given, *results)
    return results


def test_steps_of_a_recurrent_layer():
    y, h = recurrent()
    expected = np.zeros((2, 3), "f4")
    for step in y:
        expected = np.tanh(1 + expected.sum(1, keepdims=True) * np.ones(3, "f4"))
        np.testing.assert_allclose(step, expected, atol=1e-6)
    np.testing.assert_array_equal(h[0], y[-1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r": np.ones((1, 3, 2), "f4")}, "tensor r is float32.1, 3, 2., expected"),
        ({"x": np.ones((4, 3), "f4")}, "have 2 dimensions, expected 3"),
        ({"x": np.ones((4, 2, 3), "i4")}, "float32 and float64, found int32"),
        ({"kind": "lstm"}, "lacks tensors"),
        ({"operands": "x"}, "lacks its tensor x or r"),
        ({"functions": "sine:0:0"}, "'sine' is no activation"),
        ({"functions": "tanh:x:0"}, "'x' is no parameter of an activation"),
        ({"functions": "tanh:0:0 tanh:0:0"}, "has 2 activations, expected 1"),
        ({"operands": "x r lengths", "lengths": np.array([4, 5], "i4")}, "has the length 5"),
    ],
)
def test_a_recurrent_layer_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        recurrent(**changes)
