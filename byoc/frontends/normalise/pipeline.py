"""The passes, in order.

1  rules      identities, folding, Einstein sums, shapes, arithmetic, BatchNorm, padding,
              activations, norms, all from one queue: each makes room for others
2  duplicates equal nodes merged; again from 1 until nothing changes
3  attention  it needs transposes and scales in their final form; then 1 and 2 again
4  quantised  each reader gets its own dequantize; last, as 2 would undo it
"""

from __future__ import annotations

import tvm
from tvm import relax

from byoc.frontends.normalise import (
    activations,
    arithmetic,
    attention,
    batchnorm,
    einsum,
    fold,
    identities,
    norms,
    pads,
    shapes,
)
from byoc.frontends.normalise.cse import merge_equal
from byoc.frontends.normalise.engine import Rules, apply, merge
from byoc.frontends.normalise.graph import Graph, NotReadableError
from byoc.frontends.normalise.quantised import spread_dequantize
from byoc.frontends.normalise.reading import read_function
from byoc.frontends.normalise.writing import write_function

__all__ = ["RULES", "normalise_function", "normalise_graph", "normalise_module"]

RULES: Rules = merge(
    module.RULES
    for module in (
        fold,
        einsum,
        activations,
        norms,
        identities,
        batchnorm,
        shapes,
        pads,
        arithmetic,
    )
)

_ROUNDS = 10
"""More than any model needs (three); ends a game of two rules that undo each other slowly."""


def normalise_graph(graph: Graph) -> None:
    """Bring a graph into normal form, in place."""
    _settle(graph)
    if apply(graph, attention.RULES):
        _settle(graph)
    spread_dequantize(graph)
    graph.sweep()


def _settle(graph: Graph) -> None:
    for _ in range(_ROUNDS):
        apply(graph, RULES)
        if not merge_equal(graph):
            return


def normalise_function(function: relax.Function) -> relax.Function:
    """The function in normal form.

    A function that defines functions inside is returned as it is: it is partitioned already, or
    not flat.
    """
    try:
        graph = read_function(function)
    except NotReadableError:
        return function
    normalise_graph(graph)
    return write_function(graph)


def normalise_module(mod: tvm.IRModule) -> tvm.IRModule:
    """The module with every Relax function in normal form; the given one is not changed.

    Functions that already belong to a vendor (attribute "Codegen") or to a composite stay.
    """
    functions = {}
    for var, function in mod.functions_items():
        taken = function.attrs is not None and (
            "Codegen" in function.attrs or "Composite" in function.attrs
        )
        plain = isinstance(function, relax.Function) and not taken
        functions[var] = normalise_function(function) if plain else function
    return tvm.IRModule(functions, attrs=mod.attrs)
