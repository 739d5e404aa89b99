"""Types of calls that TVM infers slowly, kept for calls like them.

    conv2d(x: [1, 8, 4, 4], w: [8, 8, 1, 1], strides=1)   inferred: [1, 8, 4, 4], in 0.5 ms
    conv2d(y: [1, 8, 4, 4], v: [8, 8, 1, 1], strides=1)   the same type, in 20 µs

In: calls over static shapes. Out: those of ops that know layouts with their type; to infer one, TVM
builds maps between layouts. Other ops are inferred within a microsecond or two. Deep networks ask
for few different types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax
from tvm.ir import Call, GenericConst
from tvm_ffi import structural_equal, structural_hash

from byoc.ir.decode import items

__all__ = ["InferredTypes"]

_LAYOUTS = ("data_layout", "layout")  # names of the attribute that makes inference slow


class InferredTypes:
    """The types of the calls that one builder has seen.

    Args:
        infer: Gives a call its type.
    """

    def __init__(self, infer: Callable[[Any], Any]) -> None:
        self._infer = infer
        self._known: dict[Any, list[tuple[Any, list[Any], Any]]] = {}

    def typed(self, call: Any) -> Any:
        """Return the call, with its type where that is slow to infer.

        Args:
            call: Of an op; its arguments have types, without symbolic dimensions.
        """
        attrs = call.attrs
        if attrs is None or not any(hasattr(attrs, name) for name in _LAYOUTS):
            return call
        args = items(call.args)
        if not all(isinstance(arg, (relax.Var, GenericConst)) for arg in args):
            return call
        kinds = [arg.ty for arg in args]
        # Hashes may be equal where types are not: what they find is compared.
        key = (call.op.name, structural_hash(attrs), *map(structural_hash, kinds))
        known = self._known.setdefault(key, [])
        for other, others, result in known:
            if structural_equal(other, attrs) and all(map(structural_equal, others, kinds)):
                return Call(call.op, args, attrs, call.ty_args, call.span, result)
        found = self._infer(call)
        known.append((attrs, kinds, found.ty))  # without the arguments: weights are to be freed
        return found
