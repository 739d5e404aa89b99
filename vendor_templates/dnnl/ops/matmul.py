"""Matrix products and scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

from byoc.segment import Dim, Node
from byoc.vendor import Reject
from byoc.vendor_templates.dnnl.checks import Tensors, check_float, check_one_of, check_rank, first
from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.ops.calls import call, constant, either, something
from byoc.vendor_templates.dnnl.ops.rule import Idiom, OpRule, Spelling

__all__ = ["IDIOMS", "RULES"]


def _check_matmul(node: Node, tensors: Tensors) -> Reject | None:
    return first(
        check_float(node, tensors),
        check_one_of(node, "out_dtype", (None, "", "float32", "void")),
        *(check_rank(node, tensors, v, 1) for v in node.inputs),
    )


def _lower_matmul(graph: DnnlGraph, node: Node) -> None:
    """As numpy: a vector on the left is a row, on the right a column."""
    a, b = node.inputs
    out = node.outputs[0]
    shape: list[Dim] = list(graph.shape(out))
    if graph.rank(b) == 1:
        b = graph.emit("reshape", [b], [*graph.shape(b), 1])
        shape.append(1)
    if graph.rank(a) == 1:
        a = graph.emit("reshape", [a], [1, *graph.shape(a)])
        shape.insert(len(shape) - 1, 1)
    attrs: dict[str, Any] = {"transpose_a": False, "transpose_b": False}
    if len(shape) == graph.rank(out):
        graph.emit("matmul", [a, b], out=out, **attrs)
        return
    product = graph.emit("matmul", [a, b], shape, **attrs)
    graph.emit("reshape", [product], out=out)


def _check_attention(node: Node, tensors: Tensors) -> Reject | None:
    query, key = (tensors.type(v).shape for v in node.inputs[:2])
    causal = node.attrs.get("causal_mask")
    if node.attrs.get("window_size") is not None:
        return Reject(f"{node.op}: sliding windows are not supported")
    if causal not in (None, "TopLeft", "BottomRight"):
        return Reject(f"{node.op}: causal_mask {causal!r} is not supported")
    if causal == "TopLeft" and query[1] != key[1]:
        return Reject(
            f"{node.op}: causal_mask 'TopLeft' needs as many queries as keys, "
            f"found {query[1]} and {key[1]}"
        )
    if causal and isinstance(query[1], int) and isinstance(key[1], int) and query[1] > key[1]:
        return Reject(
            f"{node.op}: causal_mask {causal!r} leaves queries without keys, "
            f"found {query[1]} queries and {key[1]} keys"
        )
    if node.attrs.get("scale") is None and not isinstance(query[3], int):
        return Reject(f"{node.op}: the head size {query[3]!r} is symbolic and no scale is given")
    return check_float(node, tensors)


def _lower_attention(graph: DnnlGraph, node: Node) -> None:
    scale = node.attrs.get("scale")
    if scale is None:
        scale = 1.0 / math.sqrt(int(graph.shape(node.inputs[0])[3]))
    graph.emit(
        "attention",
        node.inputs,
        out=node.outputs[0],
        scale=float(scale),
        causal=node.attrs.get("causal_mask") is not None,
        layout="bshd",
    )


def _spell_attention() -> Spelling:
    """softmax(q @ k * scale + mask) @ v"""
    q, k, v, mask = something(), something(), something(), something()
    scores = call("matmul", q, k)
    scaled = either(
        call("multiply", scores, constant()), call("divide", scores, constant()), scores
    )
    masked = either(call("add", scaled, mask), scaled)
    root = call("matmul", call("nn.softmax", masked), v)
    return Spelling(root, {"query": q, "key": k, "value": v})


RULES = (
    OpRule(
        "matmul",
        _check_matmul,
        _lower_matmul,
        "float32; batched, broadcast, any constness",
        role="anchor",
    ),
    OpRule("nn.attention", _check_attention, _lower_attention, "float32; no sliding window"),
    OpRule("nn.attention_bias", _check_attention, _lower_attention, "float32; no sliding window"),
)

IDIOMS = (Idiom("attention_spelled", _spell_attention),)  # rewritten by passes/attention.py
