"""Sorts of bfloat16 and of 8-bit floats, as sorts of float32, which holds them exactly.

In: calls of ``relax.sort``, ``argsort``, ``topk``, ``median``. Out: the same of casts to float32.
TVM computes with such floats as float32 and stores them as whole numbers: what a function of the
runtime were told of an array in a kernel would be another dtype than what lies there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax

__all__ = ["SORTS", "is_stored_otherwise", "sorted_as"]

SORTS = ("relax.argsort", "relax.median", "relax.sort", "relax.topk")


def is_stored_otherwise(dtype: str) -> bool:
    """Return whether TVM stores numbers of a dtype as those of another."""
    return dtype.startswith(("bfloat16", "float8_", "float6_", "float4_"))


def sorted_as(call: Any, emit: Callable[[Any], Any]) -> Any:
    """Return a sort as one of a dtype that functions of the runtime are told rightly.

    Args:
        call: The sort.
        emit: Binds an expression to a variable.

    Returns:
        The call itself where that is so already, else a sort of float32.

    """
    op = relax.op
    x, *rest = call.args
    dtype = str(x.ty.dtype)
    if not is_stored_otherwise(dtype):
        return call
    keys = emit(op.astype(x, "float32"))
    made = emit(tvm.ir.Call(call.op, [keys, *rest], call.attrs, call.ty_args))
    if isinstance(made.ty, relax.TupleType):
        values, places = (emit(relax.TupleGetItem(made, i)) for i in range(2))
        return relax.Tuple([emit(op.astype(values, dtype)), places])
    return made if str(made.ty.dtype) != "float32" else op.astype(made, dtype)
