"""Element-wise ops become post-ops of what feeds them.

::

    conv ── add(r) ── relu        relu takes over:  conv  post [add r, relu]

The op that is absorbed has one reader, the absorbing one; so its position, where all operands
exist, is right, and no other value is delayed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp, PostOp

__all__ = ["fuse_post_ops"]

MAX_POST_OPS = 12
"""oneDNN takes up to 32; long chains only make the code of a primitive large."""

_ANCHORS: Mapping[str, int] = {
    "convolution": 3,
    "deconvolution": 3,
    "matmul": 3,
    "qconvolution": 3,
    "qmatmul": 3,
    "pooling": 2,
    "global_pooling": 2,
    "batch_norm": 2,
    "binary": 1,
    "eltwise": 1,
}
"""Kinds that take post-ops; of two operands the heavier one absorbs the binary op."""

_PLAIN = frozenset({"erf", "floor", "ceil", "sin", "cos"})
_ARITHMETIC = frozenset({"add", "sub", "mul", "div", "max", "min"})
_COMMUTES = frozenset({"add", "mul", "max", "min"})


def fuse_post_ops(graph: DnnlGraph) -> None:
    """Fuse chains in one walk: each op joins what feeds it, which may be fused already."""
    position: dict[int, int] = {}
    for place, op in enumerate(graph.walk()):
        if op.kind == "eltwise" and op.attrs["alg"] not in _PLAIN and not op.post:
            _fuse_eltwise(graph, op)
        elif op.kind == "binary" and op.attrs["alg"] in _ARITHMETIC and not op.post:
            _fuse_binary(graph, op, position)
        for value in op.outputs:
            position[value] = place


def _anchor(graph: DnnlGraph, value: int, room: int) -> DnnlOp | None:
    """The op that makes a value nobody else reads, when it can take `room` more post-ops."""
    op = graph.producer.get(value)
    if op is None or op.kind not in _ANCHORS or graph.uses(value) != 1:
        return None
    if len(op.post) + room > MAX_POST_OPS:
        return None
    if op.kind == "binary" and op.attrs["alg"] not in _ARITHMETIC:
        return None
    if op.kind == "eltwise" and op.attrs["alg"] in _PLAIN:
        return None
    return op


def _join(graph: DnnlGraph, op: DnnlOp, anchor: DnnlOp, *posts: PostOp) -> None:
    graph.morph(op, anchor.kind, anchor.inputs, anchor.attrs, [*anchor.post, *posts], [anchor])


def _fuse_eltwise(graph: DnnlGraph, op: DnnlOp) -> None:
    anchor = _anchor(graph, op.inputs[0], 1)
    if anchor is not None:
        attrs = op.attrs
        _join(graph, op, anchor, PostOp(attrs["alg"], attrs["alpha"], attrs["beta"]))


def _fuse_binary(graph: DnnlGraph, op: DnnlOp, position: Mapping[int, int]) -> None:
    alg, (a, b) = op.attrs["alg"], op.inputs
    if a == b:
        return
    options = [(a, b, False)]
    if alg in _COMMUTES or alg == "sub":
        options.append((b, a, alg == "sub"))
    best: tuple[tuple[int, int], DnnlOp, int, bool] | None = None
    for value, other, flipped in options:
        anchor = _anchor(graph, value, 2 if flipped else 1)
        if anchor is None or graph.shape(value) != graph.shape(op.out):
            continue
        weight = (_ANCHORS[anchor.kind], position.get(value, -1))
        if best is None or weight > best[0]:
            best = (weight, anchor, other, flipped)
    if best is None:
        _full_first(graph, op)
        return
    _, anchor, other, flipped = best
    other = _aligned(graph, other, graph.rank(op.out))
    # x - conv = -conv + x
    negate = [PostOp("linear", -1.0)] if flipped else []
    posts = [*negate, PostOp("add" if flipped else alg, value=other)]
    _join(graph, op, anchor, *posts)


def _full_first(graph: DnnlGraph, op: DnnlOp) -> None:
    """Primitives broadcast their second operand best: put the one of full shape first."""
    a, b = op.inputs
    full = graph.shape(op.out)
    if op.attrs["alg"] in _COMMUTES and graph.shape(a) != full and graph.shape(b) == full:
        graph.morph(op, "binary", [b, a], op.attrs)


def _aligned(graph: DnnlGraph, value: int, rank: int) -> int:
    """The value with leading 1s up to `rank`."""
    missing = rank - graph.rank(value)
    if missing == 0:
        return value
    shape = (*[1] * missing, *graph.shape(value))
    array = graph.constants.get(value)
    if array is not None:
        return graph.constant(np.asarray(array).reshape((1,) * missing + array.shape))
    return graph.emit("reshape", [value], shape, graph.type(value).dtype)
