"""Element-wise ops whose kernels of TVM's make a number of NaN.

In: calls of Relax ops on floats. Out: TE::

    sign(NaN) = NaN, not 0          bool(NaN) = true, as for all that is not 0
    x · 0     = NaN for x = NaN or ±inf, not 0: TVM simplifies a product with the number 0
    0 / x     likewise, for x = 0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax, te, tirx, topi
from tvm.ir import GenericConst

from byoc.host.legalize.minmax_reductions import widely

__all__ = ["NOT_NUMBERS"]

_FLOATS = ("bfloat16", "float16", "float32", "float64")


def _sign(builder: Any, call: Any) -> Any:
    (x,) = call.args
    dtype = str(x.ty.dtype)
    if dtype not in _FLOATS:
        return None

    def compute(x: Any) -> Any:
        zero, one = tirx.const(0, x.dtype), tirx.const(1, x.dtype)

        def element(*i: Any) -> Any:
            rest = tirx.Select(x(*i) < zero, -one, x(*i))  # 0, -0 and NaN are their own
            return tirx.Select(x(*i) > zero, one, rest)

        return te.compute(x.shape, element, name="sign")

    return builder.call_te(widely(compute), x, primfunc_name_hint="sign")


def _cast(builder: Any, call: Any) -> Any:
    (x,) = call.args
    dtype = str(x.ty.dtype)
    if str(call.attrs.dtype) != "bool" or dtype not in _FLOATS:
        return None

    def compute(x: Any) -> Any:
        zero = tirx.const(0, dtype)
        return te.compute(x.shape, lambda *i: tirx.NE(x(*i), zero), name="cast")

    return builder.call_te(compute, x, primfunc_name_hint="cast")


def _with_zero(builder: Any, call: Any) -> Any:
    """A zero as a tensor of one element, whose value TIR does not see."""
    if str(call.ty.dtype) not in _FLOATS or not any(map(_is_zero, call.args)):
        return None
    args = [_tensor(a) if _is_zero(a) else a for a in call.args]
    name = call.op.name.removeprefix("relax.")
    made = builder.call_te(getattr(topi, name), *args, primfunc_name_hint=name)
    return made if call.ty.ndim else relax.op.reshape(builder.emit(made), [])


def _is_zero(arg: Any) -> bool:
    return (
        isinstance(arg, GenericConst)
        and arg.ty.ndim == 0
        and not np.any(arg.value.numpy().astype("float64"))
    )


def _tensor(arg: Any) -> Any:
    return relax.const(arg.value.numpy().reshape(1), str(arg.ty.dtype))


NOT_NUMBERS: Mapping[str, Callable[[Any, Any], Any]] = {  # None for what TVM does right
    "relax.astype": _cast,
    "relax.divide": _with_zero,
    "relax.multiply": _with_zero,
    "relax.sign": _sign,
}
