"""bfloat16 between ops: which values are stored in 16 bits, and which products compute with them.

::

    x ── conv ══ relu ══ conv ── max_pool ── conv ══ conv ── mean ── softmax ── y    ── float32
                                                                                     ══ bfloat16

Products (convolutions, matrix products, attention) read bfloat16 and sum float32. A value is stored
as bfloat16 where a product reads it, perhaps by way of element-wise ops, averages, joins and moves,
which keep the dtype that comes in. Norms and softmax compute float32 and read and write either: so
the sums of residuals that only norms read stay float32, at no cost that shows. All others read and
write float32: a cast stands in front of them. Inputs, outputs and constants stay float32; weights
are rounded when they are packed.
"""

from __future__ import annotations

from collections.abc import Collection

from byoc.segment import TensorType
from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp

__all__ = ["narrow"]

_PRODUCTS = ("convolution", "deconvolution", "matmul", "attention")
_ADAPTERS = ("layer_norm", "rms_norm", "softmax")
_FOLLOWERS = ("eltwise", "binary", "pooling", "global_pooling", "concat")
_MOVES = ("reshape", "transpose", "slice", "split", "broadcast")
_WIDE_ALGS = ("max", "min", "pow", "ge", "gt", "le", "lt", "eq", "ne")
"""Of pools and of binary ops: their loops are for float32."""


def narrow(graph: DnnlGraph, keep: Collection[str] = ()) -> None:
    """Store values between ops as bfloat16 and let products compute with them.

    Args:
        graph: what is left after all other passes; changed in place.
        keep: names, in the user's model, of ops whose products stay in float32.
    """
    products = [op for op in graph.ops if op.kind in _PRODUCTS and not set(op.source) & set(keep)]
    for op in products:
        op.attrs = {**op.attrs, "bf16": True}
    for value in _stored_narrow(graph, products):
        graph.values[value] = TensorType(graph.shape(value), "bfloat16")
    _cast_for_others(graph)


def _stored_narrow(graph: DnnlGraph, products: Collection[DnnlOp]) -> set[int]:
    """The values to store as bfloat16."""
    computed = set(map(id, products))
    able: set[int] = set()
    for op in graph.ops:
        follows = _follows(op) or op.kind in _MOVES
        converts = id(op) in computed or op.kind in _ADAPTERS
        if converts or (follows and able & set(_data(op))):
            able.update(op.outputs)
    able = {v for v in able if graph.type(v).dtype == "float32"}
    groups = _Groups(graph)
    barred = {groups.of(v) for v in range(len(graph.values)) if v not in able or v in graph.outputs}
    chosen: set[int] = set()
    for op in reversed(graph.ops):
        stored = groups.of(op.outputs[0]) in chosen
        reads: list[int] = []
        if id(op) in computed or (_follows(op) and stored):
            reads += _data(op)
        if stored:
            reads += (post.value for post in op.post if post.value is not None)
        chosen |= {groups.of(v) for v in reads} - barred
    return {v for v in able if groups.of(v) in chosen}


def _follows(op: DnnlOp) -> bool:
    return op.kind in _FOLLOWERS and op.attrs.get("alg") not in _WIDE_ALGS


def _data(op: DnnlOp) -> list[int]:
    """Operands that may be bfloat16, but for those of post-ops."""
    if op.kind in _ADAPTERS:
        return op.inputs[:1]
    if op.kind in _PRODUCTS:
        return op.inputs[: 3 if op.kind == "attention" else 2]
    return op.inputs if _follows(op) or op.kind in _MOVES else []


class _Groups:
    """Values that moves connect: they have one dtype."""

    def __init__(self, graph: DnnlGraph) -> None:
        self._leader: dict[int, int] = {}
        for op in graph.ops:
            if op.kind in _MOVES:
                for value in op.outputs:
                    self._leader[value] = self.of(op.inputs[0])

    def of(self, value: int) -> int:
        """The value that stands for the group."""
        return self._leader.get(value, value)


def _cast_for_others(graph: DnnlGraph) -> None:
    """Put a cast in front of operands that have to be float32, one for each value."""
    wide: dict[int, int] = {}
    for op in graph.walk():
        taken = set(_data(op))
        for value in dict.fromkeys(op.inputs):
            kind = graph.type(value)
            if kind.dtype != "bfloat16" or value in taken or _takes_any(op, value):
                continue
            if value not in wide:
                wide[value] = graph.emit("cast", [value], kind.shape)
            inputs = [wide[value] if v == value else v for v in op.inputs]
            graph.morph(op, op.kind, inputs, op.attrs, op.post)


def _takes_any(op: DnnlOp, value: int) -> bool:
    """Bias and mask: converted where they are read."""
    return op.kind in _PRODUCTS or op.kind == "cast"
