"""How much work an op is: floating-point operations and bytes moved, from types alone.

One multiply-add counts as two operations, as in every datasheet. Element-wise functions count
one per element, whatever they cost; data movement (reshape, concat, gather) counts none. With a
symbolic dimension the figures are None; `at_least` then gives those of dimension 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from byoc.segment import Dim, Node, TensorType

__all__ = ["at_least", "node_bytes", "node_flops", "type_bytes"]

_BITS = {"bool": 8, "float8": 8, "bfloat16": 16}

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

Sizes = Sequence[tuple[int, ...]]


def type_bytes(kind: TensorType) -> int | None:
    """Bytes of a tensor; None when a dimension is symbolic."""
    size = kind.size
    if size is None:
        return None
    digits = "".join(c for c in kind.dtype if c.isdigit())
    bits = _BITS.get(kind.dtype) or (8 if kind.dtype.startswith("float8") else int(digits or 8))
    return (size * bits + 7) // 8


def node_bytes(
    reads: Sequence[TensorType | None], writes: Sequence[TensorType | None]
) -> int | None:
    """Bytes an op reads and writes; None when a type is symbolic or no tensor."""
    total = 0
    for kind in (*reads, *writes):
        one = None if kind is None else type_bytes(kind)
        if one is None:
            return None
        total += one
    return total


def node_flops(
    node: Node, reads: Sequence[TensorType | None], writes: Sequence[TensorType | None]
) -> int | None:
    """Operations of one op; None when a type is symbolic or no tensor."""
    if node.op in _FREE or node.op.startswith("call "):
        return 0
    if not writes or any(kind is None or not kind.is_static for kind in (*reads, *writes)):
        return None
    return at_least(node, reads, writes)


def _size(dims: Sequence[Dim]) -> tuple[int, ...]:
    return tuple([d if isinstance(d, int) else 1 for d in dims])


def at_least(
    node: Node, reads: Sequence[TensorType | None], writes: Sequence[TensorType | None]
) -> int:
    """Operations of one op when every symbolic dimension is 1."""
    op = node.op
    if op in _FREE or not writes:
        return 0
    ins = [_size(kind.shape) if kind is not None else () for kind in reads]
    out = _size(writes[0].shape) if writes[0] is not None else ()
    special = _special(op)
    if special is not None:
        return special(node, ins, out)
    if op in _PER_INPUT:
        return _PER_INPUT[op] * (prod(ins[0]) if ins else 0)
    return _PER_OUTPUT.get(op, 1) * prod(out)


def _special(op: str) -> Callable[[Node, Sizes, tuple[int, ...]], int] | None:
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
    return None


def _kernel(node: Node, weight: tuple[int, ...]) -> tuple[int, ...]:
    """The weight without its output channels: layouts say where they are ("OIHW", "HWIO")."""
    layout = str(node.attrs.get("kernel_layout") or "OI")
    at = layout.find("O")
    return weight[:at] + weight[at + 1 :]


def _conv(node: Node, ins: Sizes, out: tuple[int, ...]) -> int:
    # Every output element sums over input channels of its group and the kernel window.
    return 2 * prod(out) * prod(_kernel(node, ins[1]))


def _conv_transpose(node: Node, ins: Sizes, out: tuple[int, ...]) -> int:
    # Every input element is spread over the output channels of its group and the window.
    weight, layout = ins[1], str(node.attrs.get("kernel_layout") or "IO")
    at = layout.find("I")
    return 2 * prod(ins[0]) * prod(weight[:at] + weight[at + 1 :])


def _matmul(node: Node, ins: Sizes, out: tuple[int, ...]) -> int:
    return 2 * prod(out) * (ins[0][-1] if ins[0] else 1)


def _pool(node: Node, ins: Sizes, out: tuple[int, ...]) -> int:
    window = node.attrs.get("pool_size") or (1,)
    return prod(out) * prod(_size(window))


def _attention(node: Node, ins: Sizes, out: tuple[int, ...]) -> int:
    # q [B, S, H, D], k [B, T, H, D], v [B, T, H, E]: two products and a softmax over [B, H, S, T].
    batch, queries, heads, depth = ins[0]
    keys, width = ins[1][1], ins[2][-1]
    return batch * heads * queries * keys * (2 * depth + 2 * width + 5)
