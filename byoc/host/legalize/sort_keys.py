"""Sorts of numbers that TVM does not sort, as numbers of another type in the same order.

In: calls of ``relax.sort``, ``argsort`` and ``topk``. Out: the same of a type that TVM sorts::

    uint16 ──▶ int32     uint32 ──▶ int64     bfloat16 ──▶ float32     all exact
    uint64 ──▶ int64     the highest bit turned over: 0 … 2⁶⁴-1 become -2⁶³ … 2⁶³-1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax

__all__ = ["SORTS", "sorted_as"]

SORTS = ("relax.argsort", "relax.sort", "relax.topk")

_AS: Mapping[str, str] = {
    "bfloat16": "float32",
    "int16": "int32",
    "uint16": "int32",
    "uint32": "int64",
    "uint64": "int64",
}


def sorted_as(call: Any, emit: Callable[[Any], Any]) -> Any:
    """Return a sort as one that TVM has.

    Args:
        call: The sort.
        emit: Binds an expression to a variable.

    Returns:
        The call itself where TVM sorts this dtype, else a sort of keys of another type.

    """
    op = relax.op
    x, *rest = call.args
    dtype = str(x.ty.dtype)
    if dtype not in _AS:
        return call

    def turned(values: Any) -> Any:
        return op.bitwise_xor(values, relax.const(np.uint64(1 << 63)))

    def back(values: Any) -> Any:
        values = op.astype(values, dtype)
        return turned(emit(values)) if dtype == "uint64" else values

    keys = emit(turned(x)) if dtype == "uint64" else x
    keys = emit(op.astype(keys, _AS[dtype]))
    made = emit(tvm.ir.Call(call.op, [keys, *rest], call.attrs, call.ty_args))
    if isinstance(made.ty, relax.TupleType):
        values, places = (emit(relax.TupleGetItem(made, i)) for i in range(2))
        return relax.Tuple([emit(back(values)), places])
    indices = call.op.name == "relax.argsort" or getattr(call.attrs, "ret_type", "") == "indices"
    return made if indices else back(made)
