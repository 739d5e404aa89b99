"""The passes, in order."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from byoc.frontends.normalise.graph import Graph, NotReadable

__all__ = ["normalise_function", "normalise_module"]


def normalise_function(
    function: relax.Function, names: dict[Any, str] | None = None
) -> relax.Function:
    """The function in normal form.

    names: variable → source name, where the variable's own name says less.
    """
    try:
        graph = Graph.read(function, names)
    except NotReadable:
        return function
    graph.sweep()
    return graph.write(function)


def normalise_module(mod: tvm.IRModule) -> tvm.IRModule:
    """The module with every Relax function in normal form; the given one is not changed."""
    functions = {
        var: normalise_function(function) if isinstance(function, relax.Function) else function
        for var, function in mod.functions_items()
    }
    return tvm.IRModule(functions, attrs=mod.attrs)
