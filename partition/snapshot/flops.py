"""How much work an op is: floating-point operations and bytes moved, from types alone.

One multiply-add counts as two operations, as in every datasheet. Element-wise functions count
one per element, whatever they cost; data movement (reshape, concat, gather) counts none. With a
symbolic dimension the figures are None; `OpWork.least` then gives those of dimension 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from byoc.partition.snapshot.graph import OpGraph
from byoc.segment import Attr, Dim, TensorType

__all__ = ["OpWork", "Work", "op_work", "type_bytes"]

# Ops that only move or create data.
_FREE = frozenset(
    {
        "reshape", "flatten", "squeeze", "expand_dims", "permute_dims", "concat", "split", "stack",
        "strided_slice", "dynamic_strided_slice", "take", "gather_nd", "gather_elements", "tile",
        "repeat", "broadcast_to", "flip", "scatter_elements", "scatter_nd", "nn.pad", "nn.dropout",
        "full", "full_like", "zeros", "zeros_like", "ones", "ones_like", "arange", "tril", "triu",
        "eye", "eye_like", "shape_of", "layout_transform", "astype", "wrap_param", "one_hot",
        "nn.batch_flatten", "nn.pixel_shuffle", "slice_scatter", "meshgrid", "where", "nonzero",
        "index_tensor", "index_put", "collapse_sum_like", "match_cast", "tuple_get_item", "if",
        "tensor_to_shape", "shape_to_tensor", "size", "stop_lift_params", "memory.copy",
    }
)  # fmt: skip

# Operations per input element.
_PER_INPUT = {
    "sum": 1, "mean": 1, "max": 1, "min": 1, "prod": 1, "std": 4, "variance": 3, "argmax": 1,
    "argmin": 1, "cumsum": 1, "cumprod": 1, "median": 1, "nn.softmax": 5, "nn.log_softmax": 5,
    "nn.layer_norm": 8, "nn.group_norm": 8, "nn.instance_norm": 8, "nn.rms_norm": 5,
    "nn.batch_norm": 2, "nn.lrn": 5, "nn.adaptive_avg_pool1d": 1, "nn.adaptive_avg_pool2d": 1,
    "nn.adaptive_avg_pool3d": 1, "sort": 1, "argsort": 1, "topk": 1,
}  # fmt: skip

# Operations per output element beyond the default of one.
_PER_OUTPUT = {
    "nn.gelu": 4, "nn.gelu_tanh": 8, "nn.silu": 5, "sigmoid": 4, "nn.softplus": 3, "clip": 2,
    "nn.selu": 3, "nn.leakyrelu": 2, "nn.prelu": 2,
}  # fmt: skip

_CONVS = frozenset({"nn.conv1d", "nn.conv2d", "nn.conv3d"})
_TRANSPOSED = frozenset({"nn.conv1d_transpose", "nn.conv2d_transpose", "nn.conv3d_transpose"})
_POOLS = frozenset(f"nn.{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3))
_ATTENTION = frozenset({"nn.attention", "nn.attention_bias"})
_RECURRENT = "byoc.recurrent"
_USES_ATTRS = _CONVS | _TRANSPOSED | _POOLS
_USED_ATTRS = ("kernel_layout", "pool_size")

Sizes = Sequence[tuple[int, ...]]
Types = Sequence[TensorType | None]


@dataclass(frozen=True, slots=True)
class OpWork:
    """The work of one op.

    Attributes:
        flops: floating-point operations; None when a dimension is symbolic.
        bytes: bytes read and written; None when a dimension is symbolic.
        least: operations when every symbolic dimension is 1.
        text: the type of the result, for reports.
    """

    flops: int | None
    bytes: int | None
    least: int
    text: str


class Work:
    """The work of every op of a graph, by node. Ops of equal kind and types are counted once."""

    def __init__(self, graph: OpGraph) -> None:
        self._graph = graph
        self._known: dict[tuple[object, ...], OpWork] = {}
        self._sizes: dict[int, int | None] = {}
        self._nodes: list[OpWork] = [self._cost(node) for node in range(len(graph))]

    def __getitem__(self, node: int) -> OpWork:
        """The work of an op."""
        return self._nodes[node]

    def size(self, value: int) -> int | None:
        """Bytes of a value; None when it is symbolic or no tensor."""
        kind = self._graph.values.types[value]
        if kind is None:
            return None
        if id(kind) not in self._sizes:
            self._sizes[id(kind)] = type_bytes(kind)
        return self._sizes[id(kind)]

    def _cost(self, node: int) -> OpWork:
        graph, op = self._graph, self._graph.ops.kind[node]
        types, ins, outs = graph.values.types, graph.ops.ins[node], graph.ops.outs[node]
        # Equal types are one object (see Decoder.tensor_type): identity is cheap to hash.
        key: tuple[object, ...] = (
            op,
            len(ins),
            *[id(types[v]) for v in ins],
            *[id(types[v]) for v in outs],
        )
        if op in _USES_ATTRS:
            key = (*key, *map(graph.attrs(node).get, _USED_ATTRS))
        found = self._known.get(key)
        if found is None:
            reads, writes = [types[v] for v in ins], [types[v] for v in outs]
            found = self._known[key] = op_work(op, graph.attrs(node), reads, writes)
        return found


def op_work(op: str, attrs: Mapping[str, Attr], reads: Types, writes: Types) -> OpWork:
    """Count the work of one op.

    Args:
        op: Relax name without prefix.
        attrs: its attributes; kernel layouts and pool sizes matter.
        reads: types of what it reads; None for what is no tensor.
        writes: types of what it writes.
    """
    least = _count(op, attrs, reads, writes)
    texts = ["?" if kind is None else str(kind) for kind in writes]
    known = bool(writes) and all(k is not None and k.is_static for k in (*reads, *writes))
    return OpWork(
        flops=least if known or op in _FREE or op.startswith("call ") else None,
        bytes=_bytes([*reads, *writes]),
        least=least,
        text=texts[0] if len(texts) == 1 else f"({', '.join(texts)})",
    )


def type_bytes(kind: TensorType) -> int | None:
    """Bytes of a tensor of this type; None when a dimension is symbolic."""
    size = kind.size
    if size is None:
        return None
    digits = re.match(r"[a-z]*(\d+)", kind.dtype)
    return (size * (int(digits[1]) if digits else 8) + 7) // 8  # "bool" is a byte


def _bytes(kinds: Types) -> int | None:
    total = 0
    for kind in kinds:
        one = None if kind is None else type_bytes(kind)
        if one is None:
            return None
        total += one
    return total


def _size(dims: Sequence[Dim]) -> tuple[int, ...]:
    return tuple([d if isinstance(d, int) else 1 for d in dims])


def _count(op: str, attrs: Mapping[str, Attr], reads: Types, writes: Types) -> int:
    """Operations of one op, symbolic dimensions taken as 1."""
    if op in _FREE or not writes or op.startswith("call "):
        return 0
    ins = [_size(kind.shape) if kind is not None else () for kind in reads]
    out = _size(writes[0].shape) if writes[0] is not None else ()
    special = _special(op)
    if special is not None:
        return special(attrs, ins, out)
    if op in _PER_INPUT:
        return _PER_INPUT[op] * (prod(ins[0]) if ins else 0)
    return _PER_OUTPUT.get(op, 1) * prod(out)


def _special(op: str) -> Callable[[Mapping[str, Attr], Sizes, tuple[int, ...]], int] | None:
    if op in _CONVS:
        return _conv
    if op in _TRANSPOSED:
        return _conv_transpose
    if op == "matmul":
        return _matmul
    if op in _POOLS:
        return _pool
    if op in _ATTENTION:
        return _attention
    if op == _RECURRENT:
        return _recurrent
    return None


def _kernel(attrs: Mapping[str, Attr], weight: tuple[int, ...]) -> tuple[int, ...]:
    """The weight without its output channels: layouts say where they are ("OIHW", "HWIO")."""
    layout = str(attrs.get("kernel_layout") or "OI")
    at = layout.find("O")
    return weight[:at] + weight[at + 1 :]


def _conv(attrs: Mapping[str, Attr], ins: Sizes, out: tuple[int, ...]) -> int:
    # Every output element sums over input channels of its group and the kernel window.
    return 2 * prod(out) * prod(_kernel(attrs, ins[1]))


def _conv_transpose(attrs: Mapping[str, Attr], ins: Sizes, out: tuple[int, ...]) -> int:
    # Every input element is spread over the output channels of its group and the window.
    weight, layout = ins[1], str(attrs.get("kernel_layout") or "IO")
    at = layout.find("I")
    return 2 * prod(ins[0]) * prod(weight[:at] + weight[at + 1 :])


def _matmul(attrs: Mapping[str, Attr], ins: Sizes, out: tuple[int, ...]) -> int:
    return 2 * prod(out) * (ins[0][-1] if ins[0] else 1)


def _pool(attrs: Mapping[str, Attr], ins: Sizes, out: tuple[int, ...]) -> int:
    window = attrs.get("pool_size") or (1,)
    return prod(out) * prod(_size(window))


def _attention(attrs: Mapping[str, Attr], ins: Sizes, out: tuple[int, ...]) -> int:
    # q [B, S, H, D], k [B, T, H, D], v [B, T, H, E]: two products and a softmax over [B, H, S, T].
    batch, queries, heads, depth = ins[0]
    keys, width = ins[1][1], ins[2][-1]
    return batch * heads * queries * keys * (2 * depth + 2 * width + 5)


def _recurrent(attrs: Mapping[str, Attr], ins: Sizes, out: tuple[int, ...]) -> int:
    # x [T, B, I], w [D, G·H, I], r [D, G·H, P]: two products for each of T·B rows.
    return 2 * prod(ins[0][:2]) * (prod(ins[1]) + prod(ins[2]))
