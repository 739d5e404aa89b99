"""Which functions of a module are partitioned, and in which order.

In: an IRModule. Out: its Relax functions that no earlier pass has claimed. The partitioner,
identities and lock files number ops over all functions, so they must ask the same function.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

__all__ = ["functions_of"]

_LEFT_ALONE = ("Codegen", "Composite", "Primitive")
"""Attributes by which earlier passes mark a function as theirs."""


def functions_of(mod: tvm.IRModule) -> list[tuple[Any, Any]]:
    """List the functions to partition, `main` first, then by name.

    Args:
        mod: any module; functions that are not Relax, or carry the attribute Codegen, Composite
            or Primitive, are left out.

    Returns:
        (GlobalVar, relax.Function) of each.
    """
    found = [
        (symbol, func)
        for symbol, func in mod.functions_items()
        if isinstance(func, relax.Function)
        and not any(func.attrs and key in func.attrs for key in _LEFT_ALONE)
    ]
    return sorted(found, key=lambda item: (item[0].name_hint != "main", str(item[0].name_hint)))
