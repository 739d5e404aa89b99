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
from byoc.partition.snapshot.topological import topological_order
from byoc.partition.snapshot.walk import take_snapshot
from byoc.vendor import Match, Pattern

__all__ = ["match_bindings"]


def match_bindings(bindings: Mapping[Any, Any], pattern: Pattern, vendor: str) -> Match | None:
    """Match a pattern over exactly the bindings that a stock pass would fuse.

    Args:
        bindings: variable → value, as TVM's `PatternCheckContext` gives them.
        pattern: the vendor's pattern.
        vendor: its name.

    Returns:
        The match, or None when the pattern ends elsewhere, covers other ops, or when the bindings
        hold something that is no op.
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
    pairs = list(bindings.items())
    at = {var: k for k, (var, _) in enumerate(pairs)}
    needs = {
        k: [at[used] for used in free_vars(value) if used in at]
        for k, (_, value) in enumerate(pairs)
    }
    return [pairs[k] for k in topological_order(needs)]
