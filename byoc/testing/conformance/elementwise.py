"""Cases of element-wise ops: every number at the edges, every pair of them.

In: nothing. Out: cases for each op and dtype, their right results by numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import erf, pi, sqrt
from typing import Any

import numpy as np

from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype
from byoc.testing.conformance.claim import Claim
from byoc.testing.conformance.edges import FLOATS, WHOLE, edge_values, small_values

__all__ = ["elementwise_cases", "looseness", "unary_meaning"]

_ANY = (*FLOATS, *WHOLE)

looseness = {"float32": 2e-5, "float64": 1e-10, "float16": 4e-3, "bfloat16": 3e-2}
"""Relative difference that functions and sums may have."""


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(erf, otypes=[np.float64])(x))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _gelu(x: Array) -> Array:
    return np.asarray(x * 0.5 * (1 + _erf(x / sqrt(2))))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))))


_EXACT: dict[str, tuple[tuple[str, ...], Callable[[Array], Array]]] = {
    "abs": (_ANY, np.abs),
    "negative": (_ANY, np.negative),
    "sign": (_ANY, np.sign),
    "ceil": (FLOATS, np.ceil),
    "floor": (FLOATS, np.floor),
    "round": (FLOATS, np.rint),
    "trunc": (FLOATS, np.trunc),
    "square": (_ANY, np.square),
    "nn.relu": (_ANY, lambda x: np.maximum(x, np.zeros((), x.dtype))),
    "logical_not": (("bool",), np.logical_not),
    "bitwise_not": (WHOLE, np.invert),
    "isnan": (FLOATS, np.isnan),
    "isinf": (FLOATS, np.isinf),
    "isfinite": (FLOATS, np.isfinite),
}

_SMOOTH: dict[str, Callable[[Array], Array]] = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": _erf,
    "exp": np.exp,
    "log": np.log,
    "nn.gelu": _gelu,
    "nn.gelu_tanh": _gelu_tanh,
    "nn.silu": lambda x: x * _sigmoid(x),
    "nn.softplus": lambda x: np.logaddexp(x, 0),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": _sigmoid,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}


def unary_meaning(op: str) -> Callable[[Array], Array] | None:
    """Return what an op of one tensor computes, in numpy; None for others.

    Args:
        op: The Relax name without its prefix.

    """
    return _EXACT[op][1] if op in _EXACT else _SMOOTH.get(op)


_LIMIT_OPEN = ("nn.gelu", "nn.gelu_tanh", "nn.silu")
"""x·f(x): at an infinity, a number by the limit and NaN by many a formula."""

_PERIODIC = ("cos", "sin", "tan")
"""Engines reduce arguments above 2¹⁷ or so with few bits left."""

_PAIRS: dict[str, tuple[tuple[str, ...], Callable[[Array, Array], Array]]] = {
    "add": (_ANY, np.add),
    "subtract": (_ANY, np.subtract),
    "multiply": (_ANY, np.multiply),
    "divide": (_ANY, lambda a, b: _divide(a, b)),
    "maximum": (_ANY, np.maximum),
    "minimum": (_ANY, np.minimum),
    "equal": ((*_ANY, "bool"), np.equal),
    "not_equal": ((*_ANY, "bool"), np.not_equal),
    "greater": (_ANY, np.greater),
    "greater_equal": (_ANY, np.greater_equal),
    "less": (_ANY, np.less),
    "less_equal": (_ANY, np.less_equal),
    "logical_and": (("bool",), np.logical_and),
    "logical_or": (("bool",), np.logical_or),
    "logical_xor": (("bool",), np.logical_xor),
    "bitwise_and": (WHOLE, np.bitwise_and),
    "bitwise_or": (WHOLE, np.bitwise_or),
    "bitwise_xor": (WHOLE, np.bitwise_xor),
    "floor_divide": (WHOLE, np.floor_divide),
    "floor_mod": (WHOLE, np.mod),
    "mod": (WHOLE, np.mod),
}

_DIVIDING = ("divide", "floor_divide", "floor_mod", "mod")


def _divide(a: Array, b: Array) -> Array:
    """Whole numbers: towards 0."""
    if np.issubdtype(a.dtype, np.integer):
        quotient = np.floor_divide(a, b)
        return np.asarray(quotient + ((quotient < 0) & (quotient * b != a)).astype(a.dtype))
    return np.asarray(np.divide(a, b))


def elementwise_cases() -> Iterator[Claim]:
    """Yield the cases of functions of one number, of two, of a cast, of a choice."""
    for op, (dtypes, exact) in _EXACT.items():
        yield from (_unary(op, dtype, exact, smooth=False) for dtype in dtypes)
    for op, smooth in _SMOOTH.items():
        yield from (_unary(op, dtype, smooth, smooth=True) for dtype in FLOATS)
    for op, (dtypes, function) in _PAIRS.items():
        for dtype in dtypes:
            yield from _pairs(op, dtype, function)
    yield from _powers()
    yield from _casts()
    yield from _bounds()
    yield from _choices()


def _call(op: str, *extra: Any) -> Callable[..., Any]:
    """The builder of a graph of this op alone."""

    def build(inputs: Sequence[Any]) -> Any:
        from tvm.relax import op as ops

        made: Any = ops
        for part in op.split("."):
            made = getattr(made, part)
        return made(*inputs, *extra)

    return build


def _in_float64(function: Callable[..., Array], *arrays: Array) -> Array:
    """The function in double precision, rounded to the dtype of the first array."""
    dtype = arrays[0].dtype
    found = function(*(a.astype(np.float64) for a in arrays))
    return np.asarray(found if found.dtype == bool else found.astype(dtype))


def _unary(op: str, dtype: str, function: Callable[[Array], Array], *, smooth: bool) -> Claim:
    values = edge_values(dtype)
    if op in _PERIODIC:
        values = values[~(np.abs(values.astype(np.float64)) > 1e4)]
    feeds = ((values,), (np.tile(values, 9)[: 8 * len(values) + 3],))  # with and without a rest
    wide = smooth or dtype == "bfloat16"
    opened: Callable[..., Array] | None = None
    if op in _LIMIT_OPEN:
        opened = np.isinf
    elif op == "sign":
        opened = np.isnan  # NumPy and ONNX Runtime: NaN; PyTorch: 0
    return Claim(
        op,
        dtype,
        _call(op),
        tuple(_sized(feed) for feed in feeds),
        partial(_in_float64, function) if wide else function,
        looseness[dtype] if smooth else 0.0,
        looseness[dtype] * 0.1 if smooth else 0.0,
        open=opened if dtype in FLOATS else None,
    )


def _sized(feed: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(a) for a in feed)


def _pairs(op: str, dtype: str, function: Callable[[Array, Array], Array]) -> Iterator[Claim]:
    """All pairs of the edges, by broadcasting and side by side; the second one constant."""
    values = edge_values(dtype)
    others = values[values != 0] if op in _DIVIDING and dtype in WHOLE else values
    wide = dtype == "bfloat16"
    if wide:
        function = partial(_in_float64, function)
    opened = None
    if op == "divide" and dtype in WHOLE and not dtype.startswith("u"):
        least = np.iinfo(numpy_dtype(dtype)).min  # by -1 it overflows; TVM, NumPy: itself

        def opened(a: Array, b: Array) -> Array:
            return np.asarray((a == least) & (b == -1))

    loose = looseness[dtype] if op == "divide" and dtype in FLOATS else 0.0
    grid = (values[:, None], others[None, :])
    flat = tuple(np.array(a.ravel()) for a in np.broadcast_arrays(*grid))
    for label, feed in (("pairs", grid), ("side by side", flat)):
        feeds = (_sized(feed),)
        yield Claim(op, f"{dtype} {label}", _call(op), feeds, function, loose, open=opened)

    def with_constant(inputs: Sequence[Any]) -> Any:
        from tvm import relax

        from byoc.ir.arrays import from_numpy

        return _call(op)([*inputs, relax.const(from_numpy(np.ascontiguousarray(others)))])

    def against(a: Array) -> Array:
        return function(a, others)

    def opened_against(a: Array) -> Array:
        assert opened is not None
        return opened(a, others)

    yield Claim(
        op,
        f"{dtype} by a constant",
        with_constant,
        (_sized((values[:, None],)),),
        against,
        loose,
        open=None if opened is None else opened_against,
    )
    if op in _DIVIDING and dtype in WHOLE:
        ones = np.ones(3, numpy_dtype(dtype))
        zeros = np.array([1, 0, 2], numpy_dtype(dtype))
        yield Claim(op, f"{dtype} by 0", _call(op), ((ones, zeros),), None, words="0")


def _powers() -> Iterator[Claim]:
    for dtype in ("float32", "float64", "float16", "int32", "int64"):
        kind = numpy_dtype(dtype)
        if dtype in FLOATS:
            base = np.array([0.5, 2, -2, 3, -0.5, 1, 0, -1, np.nan, np.inf, -np.inf], kind)
            power = np.array([0, 1, 2, 3, 0.5, -1, -2, 1.5, np.nan], kind)
        else:
            base = np.array([0, 1, -1, 2, -2, 3, 7, 300001, -46341, 2**31 - 1], kind)
            power = np.array([0, 1, 2, 3], kind)
        loose = looseness.get(dtype, 0.0)
        feed = _sized((base[:, None], power[None, :]))
        yield Claim("power", dtype, _call("power"), (feed,), np.power, loose)


def _casts() -> Iterator[Claim]:
    """Between all dtypes; a float that the target has no number for may give any."""
    dtypes = (*FLOATS, *WHOLE, "bool")
    for source in dtypes:
        for target in dtypes:
            if source != target:
                yield Claim(
                    "astype",
                    f"{source} to {target}",
                    _call("astype", target),
                    (_sized((edge_values(source),)),),
                    partial(_cast, target),
                    open=partial(_beyond, target) if source in FLOATS else None,
                )


def _cast(target: str, x: Array) -> Array:
    return x.astype(numpy_dtype(target))


def _beyond(target: str, x: Array) -> Array:
    """Where a float has no counterpart in the target."""
    if target not in WHOLE:
        return np.zeros(x.shape, bool)
    limits = np.iinfo(numpy_dtype(target))
    wide = np.trunc(x.astype(np.float64))
    return ~((wide >= float(limits.min)) & (wide < float(limits.max) + 1))


_LARGEST = float(np.finfo(np.float32).max)


def _bounds() -> Iterator[Claim]:
    for dtype in _ANY:
        pairs: list[tuple[float, float]] = [(-0.5, 2.0), (0, 6), (-3, 100)]
        if dtype == "float32":  # of infinities they make numbers
            pairs += [(-_LARGEST, _LARGEST), (0, _LARGEST), (-_LARGEST, np.inf)]
        for low, high in pairs:
            if dtype in WHOLE:
                low = int(low)
            if dtype.startswith("u"):
                low = max(low, 0)
            bounds = tuple(np.array(b, numpy_dtype(dtype)) for b in (low, high))

            def want(x: Array, bounds: tuple[Array, ...] = bounds) -> Array:
                return np.minimum(np.maximum(x, bounds[0]), bounds[1])

            feeds = (_sized((edge_values(dtype),)),)
            yield Claim("clip", f"{dtype} {low} to {high}", _call("clip", low, high), feeds, want)
    for dtype in FLOATS:
        values = edge_values(dtype)

        def leaky(x: Array) -> Array:
            return np.where(x < 0, x * 0.2, x)

        yield Claim(
            "nn.leakyrelu",
            dtype,
            _call("nn.leakyrelu", 0.2),
            ((values,),),
            partial(_in_float64, leaky),
            looseness[dtype],
            looseness[dtype] * 0.01,
        )


def _choices() -> Iterator[Claim]:
    for dtype in (*_ANY, "bool"):
        values, others = edge_values(dtype), small_values(dtype)
        feed = (np.arange(len(values)) % 2 == 0, values, np.resize(others, len(values)))
        yield Claim("where", dtype, _call("where"), (_sized(feed),), np.where)
