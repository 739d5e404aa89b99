"""Places of the largest and the smallest element, NaN before every number.

In: calls of ``relax.argmax`` and ``argmin`` of floats. Out: TE. TOPI starts with the place -1 and
the least finite number, so that a row of -inf has its maximum at -1, and takes whatever compares
with a NaN. Here, as in numpy and PyTorch, the first NaN wins, and among equals the first::

    (place, value) ⊕ (place', value'):   the one whose value is NaN, or beats, or is equal and first
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tvm import te, tirx

__all__ = ["ARG_REDUCTIONS"]

_FLOATS = ("float16", "float32", "float64")


def _reducer(largest: bool) -> Any:
    def combine(left: Any, right: Any) -> Any:
        (i, a), (j, b) = left, right
        beats = a > b if largest else a < b
        earlier = i < j
        equal = tirx.And(a.equal(b), earlier)
        lost = tirx.And(tirx.isnan(a), tirx.Or(earlier, tirx.Not(tirx.isnan(b))))
        first = tirx.Or(tirx.Or(beats, equal), lost)
        return tirx.Select(first, i, j), tirx.Select(first, a, b)

    def start(place: str, value: str) -> Any:
        # Loses every tie.
        end = -float("inf") if largest else float("inf")
        return tirx.max_value(place), tirx.const(end, value)

    return te.comm_reducer(combine, start, name="argmax" if largest else "argmin")


def _reduce(x: Any, axes: list[int], keepdims: bool, largest: bool, dtype: str) -> Any:
    rank = len(x.shape)
    loops = {a: te.reduce_axis((0, x.shape[a]), name=f"k{a}") for a in axes}
    kept = [a for a in range(rank) if keepdims or a not in loops]
    shape = [1 if a in loops else x.shape[a] for a in kept]
    reducer = _reducer(largest)

    def pair(*index: Any) -> Any:
        free = dict(zip(kept, index, strict=True))
        at = [loops[a] if a in loops else free[a] for a in range(rank)]
        place: Any = tirx.const(0, dtype)
        for a in axes:
            place = place * x.shape[a].astype(dtype) + loops[a].astype(dtype)
        return reducer((place, x(*at)), axis=list(loops.values()))

    places, _ = te.compute(shape, pair, name="arg_pair")
    return te.compute(shape, lambda *i: places(*i), name="arg")


def _emit(builder: Any, call: Any, *, largest: bool) -> Any:
    (x,) = call.args
    rank = x.ty.ndim
    if str(x.ty.dtype) not in _FLOATS or rank < 1:
        return None
    axis = call.attrs.axis
    compute = partial(
        _reduce,
        axes=list(range(rank)) if axis is None else [int(axis) % rank],
        keepdims=bool(call.attrs.keepdims),
        largest=largest,
        dtype=str(call.ty.dtype),
    )
    return builder.call_te(compute, x, primfunc_name_hint="argmax" if largest else "argmin")


ARG_REDUCTIONS: Mapping[str, Callable[[Any, Any], Any]] = {  # None for other types
    "relax.argmax": partial(_emit, largest=True),
    "relax.argmin": partial(_emit, largest=False),
}
