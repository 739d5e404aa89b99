"""Graph bindings that branches share.

``%1 = …`` names a node of a function's graph rather than a variable of a block. TVM prints it where
it is met first, which may be one branch of an `if`, and the other branch reads it::

    if (%0) { %1 = add(%x, 1f); multiply(%1, 2f) } else { multiply(%1, 1f) }
                └──────────── the same node ─────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from byoc.frontends.relay.syntax import (
    Call,
    Expr,
    Function,
    If,
    LetBinding,
    LetBlock,
    Project,
    Tuple,
)

__all__ = ["graph_bindings"]


def graph_bindings(function: Function) -> Mapping[str, LetBinding]:
    """Return the graph bindings of a function, branches included, functions inside it left out.

    Args:
        function: The function.

    Returns:
        Name → its first binding.
    """
    found: dict[str, LetBinding] = {}
    pending: list[Expr] = [function.body]
    while pending:
        expr = pending.pop()
        if isinstance(expr, LetBlock):
            for binding in expr.bindings:
                known = found.get(binding.name)
                if binding.once and binding.name and (known is None or binding.at < known.at):
                    found[binding.name] = binding
        pending.extend(_parts(expr))
    return found


def _parts(expr: Expr) -> Iterator[Expr]:
    if isinstance(expr, LetBlock):
        yield from (binding.value for binding in expr.bindings)
        yield expr.result
    elif isinstance(expr, If):
        yield from (expr.condition, expr.then, expr.other)
    elif isinstance(expr, Call):
        yield expr.callee
        yield from expr.args
    elif isinstance(expr, Tuple):
        yield from expr.fields
    elif isinstance(expr, Project):
        yield expr.value
