"""From a Relax function to a graph."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.ir import Call, Op

from byoc.frontends.normalise.graph import (
    Graph,
    GraphNode,
    Input,
    NotReadableError,
    Value,
    flat_values,
)
from byoc.ir.decode import items

__all__ = ["read_function"]


def read_function(function: relax.Function, names: dict[Any, str] | None = None) -> Graph:
    """The graph of a function.

    The graph keeps no reference to the function, so that weights which rules replace are freed at
    once.

    Args:
        function: The function to read.
        names: Variable → source name, where the variable's own says less.

    Raises:
        NotReadableError: The function defines functions inside.
    """
    graph = Graph(header=(function.params, function.ret_ty, function.is_pure, function.attrs))
    for param in function.params:
        graph.params.append(Input(param))
        graph.table[param] = graph.params[-1]
    _body(graph, function.body, names or {})
    return graph


def _body(graph: Graph, body: Any, names: dict[Any, str]) -> None:
    if not isinstance(body, relax.SeqExpr):
        body = relax.SeqExpr([], body)
    for block in items(body.blocks):
        for binding in items(block.bindings):
            _binding(graph, binding, names)
    graph.set_result(graph.arg(body.body))


def _binding(graph: Graph, binding: Any, names: dict[Any, str]) -> None:
    var, value = binding.var, binding.value
    name = names.get(var) or var.name
    if isinstance(binding, relax.MatchCast):
        node = graph.add("match_cast", binding, [graph.arg(value)], var, name)
        node.pure = False
    elif isinstance(value, relax.Function):
        raise NotReadableError("a function inside the function")
    elif isinstance(value, relax.If):
        graph.has_control_flow = True
        branches = tuple(_branch(graph, b, names) for b in (value.true_branch, value.false_branch))
        # A branch may return a value of this graph; as an argument it is kept up to date.
        passed = tuple(v for b in branches for v in flat_values((b.result,)) if _foreign(v, b))
        node = graph.add("if", value, [graph.arg(value.cond), passed], var, name)
        node.branches = branches
        node.pure = all(n.pure for b in branches for n in b.nodes)
    elif isinstance(value, relax.TupleGetItem):
        source = graph.arg(value.tuple_value)
        if isinstance(source, tuple):
            graph.table[var] = source[value.index]
        else:
            graph.add("get", value, [source], var, name)
    elif isinstance(value, Call):
        op = value.op
        known = isinstance(op, Op)
        if isinstance(op, relax.Var):
            raise NotReadableError("a call of a closure")
        node = graph.add(
            op.name.removeprefix("relax.") if known else "call",
            value,
            [graph.arg(a) for a in items(value.args)],
            var,
            name,
        )
        node.pure = bool(op.get_attr("FPurity")) if known else _is_pure_callee(op)
    else:  # an alias of a value, a constant, a tuple, a shape
        graph.table[var] = graph.arg(value)


def _branch(outer: Graph, body: Any, names: dict[Any, str]) -> Graph:
    graph = outer.branch()
    _body(graph, body, names)
    return graph


def _foreign(value: Value, graph: Graph) -> bool:
    """True for a value that the graph reads but does not compute."""
    return not (isinstance(value, GraphNode) and value.graph is graph)


def _is_pure_callee(op: Any) -> bool:
    return bool(getattr(getattr(op, "ty", None), "purity", False))
