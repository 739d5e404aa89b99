"""Ops of types that LLVM has no code for, through a type that it has.

In: calls of Relax ops. Out: TE that casts, computes and casts back::

    atan(x) of float16 = float16(atan(float32(x)))      a == b of booleans = int8(a) == int8(b)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tvm import topi

__all__ = ["PROMOTED"]


def _emit(builder: Any, call: Any, *, types: Mapping[str, str]) -> Any:
    through = types.get(str(call.args[0].ty.dtype))
    name = call.op.name.removeprefix("relax.")
    if through is None:
        return None
    function: Callable[..., Any] = getattr(topi, name)

    def compute(*inputs: Any) -> Any:
        result = function(*(topi.cast(x, through) for x in inputs))
        wanted = str(call.ty.dtype)
        return result if str(result.dtype) == wanted else topi.cast(result, wanted)

    return builder.call_te(compute, *call.args, primfunc_name_hint=name)


_TRIGONOMETRY = {"float16": "float32"}
_COMPARISONS = {"bool": "int8"}
_FINITENESS = {"bfloat16": "float32"}
_UNSIGNED = {"uint8": "int16", "uint16": "int32", "uint32": "int64", "uint64": "int64"}


def _emit_abs(builder: Any, call: Any) -> Any:
    """An unsigned number is its own absolute value."""
    if str(call.args[0].ty.dtype) not in _UNSIGNED:
        return None
    return builder.call_te(topi.identity, call.args[0], primfunc_name_hint="abs")


PROMOTED: Mapping[str, Callable[[Any, Any], Any]] = {  # None for other types
    "relax.abs": _emit_abs,
    **{
        f"relax.{name}": partial(_emit, types=types)
        for types, names in (
            (_TRIGONOMETRY, ("acos", "asin", "atan")),
            (
                _COMPARISONS,
                ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
            ),
            (_COMPARISONS, ("maximum", "minimum")),
            (_FINITENESS, ("isfinite", "isinf", "isnan")),
            (_UNSIGNED, ("negative",)),
        )
        for name in names
    },
}
