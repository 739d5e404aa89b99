"""From a graph to a Relax function."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.ir import Call

from byoc.frontends.normalise.graph import Graph, GraphNode, Value, expression

__all__ = ["write_function"]


def write_function(graph: Graph) -> relax.Function:
    """The graph as a Relax function, with parameters and attributes of the one that was read."""
    params, result, pure, attrs = graph.header
    body = _body(graph, {p: p.expr for p in graph.params}, not graph.has_control_flow)
    return relax.Function(params, body, result, pure, attrs)


def _body(graph: Graph, table: dict[Value, Any], dataflow: bool) -> Any:
    dataflow = dataflow and all(n.pure or n.op == "match_cast" for n in graph.nodes)
    order = graph.order()
    returned = isinstance(graph.result, GraphNode)
    bindings = []
    for node in order:
        last = returned and node is graph.result
        make = relax.Var if last or not dataflow else relax.DataflowVar
        var = table[node] = make(node.name, node.expr.ty)
        bindings.append(_binding(node, var, table))
    result = expression(graph.result, table)
    if not returned and bindings and dataflow:
        # What leaves a dataflow block must be a plain variable.
        out = relax.Var("output", graph.typed(result).ty)
        bindings.append(relax.VarBinding(out, result))
        result = out
    block = relax.DataflowBlock if dataflow else relax.BindingBlock
    blocks = [block(bindings)] if bindings else []
    seq = relax.SeqExpr(blocks, result)
    if seq.body.ty is not None:
        relax.expr._update_type(seq, seq.body.ty)
    return seq


def _binding(node: GraphNode, var: Any, table: dict[Value, Any]) -> Any:
    args = [expression(a, table) for a in node.args]
    call = node.call
    if node.op == "match_cast":
        return relax.MatchCast(var, args[0], call.ty)
    if node.op == "if":
        inner = [_body(b, dict(table), False) for b in node.branches]
        value = relax.If(args[0], *inner)
        relax.expr._update_type(value, node.expr.ty)
        return relax.VarBinding(var, value)
    if node.op == "get":
        return relax.VarBinding(var, relax.TupleGetItem(args[0], call.index))
    value = Call(call.op, args, call.attrs, call.ty_args)
    # Rules replace values by values of the same type, so nothing need be inferred again
    # (inference of one convolution takes 0.2 ms).
    relax.expr._update_type(value, call.ty)
    return relax.VarBinding(var, value)
