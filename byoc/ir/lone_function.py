"""The function of a segment as a module of its own."""

from __future__ import annotations

from typing import Any

import tvm

__all__ = ["as_main"]


def as_main(function: Any) -> tvm.IRModule:
    """Return a module whose main is a segment's function, no vendor's any more.

    Args:
        function: A `relax.Function` that a vendor was to compile; it is not changed.
    """
    for attribute in ("Codegen", "Primitive", "Composite"):
        if function.attrs is not None and attribute in function.attrs:
            function = function.without_attr(attribute)
    return tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
