"""Stock pattern checks: from `PatternCheckContext` to the `Match` a vendor's check looks at.

The stock matcher hands over the bindings it would fuse. They are read as a small function of
their own, whose parameters are the variables they use from outside, and matched again: the same
snapshot, the same matcher, the same check as in `partition_module`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax
from tvm.relax.analysis import free_vars

from byoc.ir.decode import Decoder
from byoc.partition.matching.compile_pattern import compile_pattern
from byoc.partition.matching.match import GraphMatch
from byoc.partition.matching.matcher import MatchState
from byoc.partition.snapshot.walk import take_snapshot
from byoc.vendor import Match, Pattern

__all__ = ["match_bindings"]


def match_bindings(bindings: Mapping[Any, Any], pattern: Pattern, vendor: str) -> Match | None:
    """The match of `pattern` over exactly these bindings (variable → value), or None.

    None also when the pattern ends elsewhere, or when the bindings hold something that is no op.
    """
    ordered = _topological(dict(bindings.items()))
    if not ordered:
        return None
    body = relax.SeqExpr(
        [relax.BindingBlock([relax.VarBinding(var, value) for var, value in ordered])],
        ordered[-1][0],
    )
    function = relax.Function(free_vars(body), body, ordered[-1][0].ty, is_pure=True)
    graph = take_snapshot(function, pattern.name, Decoder())
    if not len(graph) or any(graph.ops.opaque):
        return None
    compiled = compile_pattern(pattern.name, pattern.expr, pattern.parts, vendor)
    state = MatchState(graph, [-1] * len(graph))
    if not compiled.match(state, len(graph) - 1):
        return None
    nodes = compiled.nodes(state)
    if len(nodes) != len(graph):
        return None
    return GraphMatch(graph, pattern.name, nodes, compiled.parts(state), vendor)


def _topological(bindings: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """Bindings in an order in which each uses only earlier ones."""
    ordered: dict[Any, Any] = {}

    def visit(var: Any) -> None:
        if var in ordered or var not in bindings:
            return
        for used in free_vars(bindings[var]):
            visit(used)
        ordered[var] = bindings[var]

    for var in bindings:
        visit(var)
    return list(ordered.items())
