"""Apply rules until none applies: one queue of nodes, near-linear in the size of the graph.

A rule looks at one node and answers None, or the value that takes its place::

    rule(graph, add) ──▶ None                 nothing to do
                     ──▶ value                every reader of `add` now reads `value`

After a replacement only the new nodes and the readers are looked at again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from byoc.frontends.normalise.graph import Arg, Graph, GraphNode, Value
from byoc.frontends.normalise.values import same_dims

__all__ = ["Rule", "Rules", "apply", "merge"]

Rule: TypeAlias = Callable[[Graph, GraphNode], "Arg | None"]
Rules: TypeAlias = Mapping[str, Sequence[Rule]]
"""Op → the rules whose root it is, in the order they are tried."""


def merge(tables: Iterable[Rules]) -> Rules:
    """One table of the rules of several; earlier tables are tried first."""
    merged: dict[str, list[Rule]] = {}
    for table in tables:
        for op, rules in table.items():
            merged.setdefault(op, []).extend(rules)
    return merged


def apply(graph: Graph, rules: Rules) -> bool:
    """Apply the rules to the graph and its inner graphs until none applies.

    Args:
        graph: The graph, which is changed in place.
        rules: Op → the rules whose root it is.

    Returns:
        True when any rule did apply.

    Raises:
        AssertionError: The rules undo each other, so that no end is in sight.
    """
    changed = False
    queue = deque(graph.order())
    waiting = set(queue)

    def push(node: GraphNode) -> None:
        if node.graph is graph and node not in waiting:
            waiting.add(node)
            queue.append(node)

    graph.on_new = push
    left = 100 * (len(queue) + 10)
    while queue:
        left -= 1
        if not left:
            raise AssertionError("rules undo each other: the queue does not run empty")
        node = queue.popleft()
        waiting.discard(node)
        if node.dead:
            continue
        if node.pure and not node.users and not graph.is_result(node):
            graph.release(node)
            continue
        for branch in node.branches:
            changed |= apply(branch, rules)
        for rule in rules.get(node.op, ()):
            graph.current = node
            new = rule(graph, node)
            if new is None or new is node:
                continue
            _check(rule, node, new)
            users = list(node.users)
            graph.replace(node, new)
            changed = True
            for user in users:
                push(user)
            break
    graph.current = None
    return changed


def _check(rule: Rule, old: GraphNode, new: Arg) -> None:
    """A rule may not change the type of a value: readers rely on it."""
    if isinstance(new, Value) and old.shape is not None:
        same = same_dims(old.shape, new.shape) and old.dtype == new.dtype
        assert same, (
            f"rule {rule.__module__}.{rule.__name__} replaces {old.op} of type {old.expr.ty} "
            f"by a value of type {new.expr.ty}"
        )
