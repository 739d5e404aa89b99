"""Common subexpressions: two pure nodes of one op, equal arguments and attributes are one.

    a = exp(x); b = exp(x); a · b  →  a = exp(x); a · a

One walk with a hash table; equal small constants count as equal arguments.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi

from byoc.frontends.normalise.graph import Const, Graph, GraphNode
from byoc.frontends.normalise.values import Leaf, plain

__all__ = ["merge_equal"]

_SMALL = 4096
"""Constants up to this many bytes are compared by their contents, larger ones by identity."""


def merge_equal(graph: Graph) -> bool:
    """Merge equal nodes of the graph and its inner graphs; True when there were any."""
    changed = False
    seen: dict[Any, list[GraphNode]] = {}
    for node in graph.order():
        for branch in node.branches:
            changed |= merge_equal(branch)
        if not node.pure or node.branches or node.op.startswith(("call", "match_cast")):
            continue
        key = (node.op, node.dtype, tuple(_key(a) for a in node.args))
        known = seen.setdefault(key, [])
        duplicate = next((t for t in known if _same_attributes(t, node)), None)
        if duplicate is None:
            known.append(node)
        else:
            graph.replace(node, duplicate)
            changed = True
    return changed


def _key(arg: Any) -> Any:
    if isinstance(arg, tuple):
        return tuple(_key(a) for a in arg)
    if isinstance(arg, Const):
        array = arg.array
        if array.nbytes <= _SMALL:
            return arg.dtype, arg.static_shape, array.tobytes()
        return id(arg)
    if isinstance(arg, Leaf):
        value = plain(arg)
        simple = isinstance(value, (int, float, str))
        return value if simple else tvm_ffi.structural_hash(arg.expr)
    return id(arg)


def _same_attributes(a: GraphNode, b: GraphNode) -> bool:
    if not all(map(_same_leaves, a.args, b.args)):
        return False
    if a.op == "get":
        return bool(a.call.index == b.call.index)
    if a.call.attrs is None or b.call.attrs is None:
        return a.call.attrs is b.call.attrs
    return bool(tvm_ffi.structural_equal(a.call.attrs, b.call.attrs))


def _same_leaves(a: Any, b: Any) -> bool:
    """The hash of a shape is not the shape."""
    if isinstance(a, tuple):
        return all(map(_same_leaves, a, b))
    if not isinstance(a, Leaf):
        return True
    return bool(tvm_ffi.structural_equal(a.expr, b.expr))
