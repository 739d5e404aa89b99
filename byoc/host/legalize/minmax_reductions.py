"""Maximum and minimum over axes, with infinity as the start.

In: calls of ``relax.max`` and ``relax.min``. Out: TE. TOPI starts a maximum at the smallest finite
number, so that a row of -inf has the maximum -3.4e38: attention that masks a whole row with -inf
then divides by a sum of the wrong things.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tvm import te, tirx, topi

__all__ = ["MINMAX_REDUCTIONS", "maximum", "widely"]

maximum = te.comm_reducer(
    lambda a, b: tirx.max(a, b),  # it looks at the arguments of a Python function
    lambda dtype: tirx.const(-float("inf"), dtype),
)
"""The largest of floats: TE's reducer, from -inf on."""

_minimum = te.comm_reducer(
    lambda a, b: tirx.min(a, b),
    lambda dtype: tirx.const(float("inf"), dtype),
)


def widely(compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`compute` in float32 for bfloat16, of which TVM has no infinity."""

    def function(x: Any) -> Any:
        dtype = str(x.dtype)
        return (
            topi.cast(compute(topi.cast(x, "float32")), dtype)
            if dtype == "bfloat16"
            else compute(x)
        )

    return function


def _reduce(x: Any, axes: tuple[int, ...], keepdims: bool, largest: bool) -> Any:
    rank = len(x.shape)
    reducer = maximum if largest else _minimum
    loops = {a: te.reduce_axis((0, x.shape[a]), name=f"k{a}") for a in axes}
    kept = [a for a in range(rank) if keepdims or a not in loops]
    shape = [1 if a in loops else x.shape[a] for a in kept]

    def element(*index: Any) -> Any:
        free = dict(zip(kept, index, strict=True))
        at = [loops[a] if a in loops else free[a] for a in range(rank)]
        return reducer(x(*at), axis=list(loops.values()))

    return te.compute(shape, element, name="max" if largest else "min")


def _emit(builder: Any, call: Any, *, largest: bool) -> Any:
    (x,) = call.args
    dtype, rank = str(x.ty.dtype), x.ty.ndim
    if dtype not in ("bfloat16", "float16", "float32", "float64") or rank < 1:
        return None
    given = call.attrs.axis
    axes = range(rank) if given is None else sorted(int(a) % rank for a in given)
    reduce = partial(_reduce, axes=tuple(axes), keepdims=bool(call.attrs.keepdims), largest=largest)
    compute = widely(reduce)
    return builder.call_te(compute, x, primfunc_name_hint="max" if largest else "min")


MINMAX_REDUCTIONS: Mapping[str, Callable[[Any, Any], Any]] = {  # None for other types
    "relax.max": partial(_emit, largest=True),
    "relax.min": partial(_emit, largest=False),
}
