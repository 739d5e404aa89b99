"""Cases of reductions: sums that overflow, NaN, infinities, axes of size 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from byoc.segment import Array
from byoc.testing.conformance.claim import Claim
from byoc.testing.conformance.edges import FLOATS, WHOLE, edge_values, filled
from byoc.testing.conformance.elementwise import looseness

__all__ = ["reduction_cases"]

_AXES: tuple[tuple[Any, bool], ...] = ((1, False), ([0, 2], True), (-1, True), (None, False))


def _mean(x: Array, axis: Any, keepdims: bool) -> Array:
    """Whole numbers: the sum in their dtype, divided towards 0."""
    if np.issubdtype(x.dtype, np.integer):
        total = x.sum(axis, dtype=x.dtype, keepdims=keepdims)
        count = x.size // max(total.size, 1)
        return np.asarray(np.trunc(total / count).astype(x.dtype))
    return np.asarray(x.mean(axis, keepdims=keepdims))


_NUMERIC: dict[str, Callable[[Array, Any, bool], Array]] = {
    "sum": lambda x, axis, keep: x.sum(axis, dtype=x.dtype, keepdims=keep),
    "prod": lambda x, axis, keep: x.prod(axis, dtype=x.dtype, keepdims=keep),
    "max": lambda x, axis, keep: x.max(axis, keepdims=keep),
    "min": lambda x, axis, keep: x.min(axis, keepdims=keep),
    "mean": _mean,
}
_SPREAD: dict[str, Callable[[Array, Any, bool], Array]] = {
    "variance": lambda x, axis, keep: x.var(axis, keepdims=keep),
    "std": lambda x, axis, keep: x.std(axis, keepdims=keep),
}


def reduction_cases() -> Iterator[Claim]:
    """Yield the cases of all reductions."""
    for op, function in _NUMERIC.items():
        for dtype in (*FLOATS, *WHOLE):
            for axis, keep in _AXES:
                yield _case(op, dtype, function, axis, keep)
    for op, function in _SPREAD.items():
        for dtype in FLOATS:
            for axis, keep in _AXES:
                yield _case(op, dtype, function, axis, keep)
    for op in ("argmax", "argmin"):
        for dtype in (*FLOATS, *WHOLE):
            for axis in (1, -1):
                yield _arg(op, dtype, axis)


def _case(
    op: str, dtype: str, function: Callable[[Array, Any, bool], Array], axis: Any, keep: bool
) -> Claim:
    chosen = tuple(axis) if isinstance(axis, list) else axis

    def want(x: Array) -> Array:
        wide = x.astype(np.float64) if dtype in FLOATS else x
        return np.asarray(np.asarray(function(wide, chosen, keep)).astype(x.dtype))

    def build(inputs: Sequence[Any]) -> Any:
        from tvm.relax import op as ops

        return getattr(ops, op)(*inputs, axis, keep)

    feeds = tuple((x,) for x in _numbers(op, dtype))
    loose = looseness.get(dtype, 0.0)
    exact = op in ("max", "min") or dtype in WHOLE
    place = "all axes" if axis is None else f"axis {axis}"
    return Claim(
        op,
        f"{dtype} {place}{' kept' if keep else ''}",
        build,
        feeds,
        want,
        0.0 if exact else loose,
        0.0 if exact else loose,
    )


def _numbers(op: str, dtype: str) -> list[Array]:
    shape = (3, 5, 7)
    if dtype in WHOLE:
        values = edge_values(dtype)
        if op == "mean":  # what the sum must not overflow is open: engines sum in wider ones
            values = values[np.abs(values.astype(np.float64)) <= np.iinfo(dtype).max // 200]
        return [np.resize(values, shape), filled(dtype, shape, 2), filled(dtype, (1, 1, 1), 3)]
    special = [np.nan, np.inf, -np.inf]
    several = [filled(dtype, shape, k, special=[v], share=0.03) for k, v in enumerate(special)]
    return [
        filled(dtype, shape, 4),
        *several,
        np.full(shape, -np.inf).astype(several[0].dtype),
        filled(dtype, (1, 1, 1), 5),
    ]


def _arg(op: str, dtype: str, axis: int) -> Claim:
    def build(inputs: Sequence[Any]) -> Any:
        from tvm.relax import op as ops

        return getattr(ops, op)(*inputs, axis)

    def want(x: Array) -> Array:
        return np.asarray(getattr(np, op)(x, axis).astype(np.int64))

    feeds: list[tuple[Array, ...]] = [(x,) for x in _numbers("max", dtype)]
    lonely = partial(filled, dtype, (2, 1, 1))
    return Claim(op, f"{dtype} axis {axis}", build, (*feeds, (lonely(6),)), want)
