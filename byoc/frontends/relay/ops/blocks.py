"""Space, depth and batch: dimensions cut into blocks and moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.helpers import dims, integers, list_of, rank, static_dims, transpose

__all__ = ["BLOCKS"]

op = relax.op


def _blocks(data: Any, layout: str) -> tuple[Any, list[int], bool]:
    last = layout == "NHWC"
    if layout not in ("NCHW", "NHWC"):
        raise ValueError(f"layout {layout!r} is neither NCHW nor NHWC")
    data = transpose(data, [0, 3, 1, 2]) if last else data
    return data, [], last


def depth_to_space(c: RelayContext, data: Any, *, block_size: int, layout: str = "NCHW",
                   mode: str = "DCR") -> Any:  # fmt: skip
    """nn.depth_to_space."""
    data, _, last = _blocks(data, layout)
    n, depth, h, w = dims(c.typed(data))
    (b,) = integers(block_size, 1, "block_size")
    if mode == "DCR":
        cut = op.reshape(data, [n, b, b, depth // (b * b), h, w])
        moved = op.permute_dims(cut, [0, 3, 4, 1, 5, 2])
    elif mode == "CDR" or mode == "CRD":
        cut = op.reshape(data, [n, depth // (b * b), b, b, h, w])
        moved = op.permute_dims(cut, [0, 1, 4, 2, 5, 3])
    else:
        raise ValueError(f"mode {mode!r} is neither DCR nor CDR")
    result = op.reshape(moved, [n, depth // (b * b), h * b, w * b])
    return op.permute_dims(result, [0, 2, 3, 1]) if last else result


def space_to_depth(c: RelayContext, data: Any, *, block_size: int, layout: str = "NCHW") -> Any:
    """nn.space_to_depth."""
    data, _, last = _blocks(data, layout)
    n, depth, h, w = dims(c.typed(data))
    (b,) = integers(block_size, 1, "block_size")
    cut = op.reshape(data, [n, depth, h // b, b, w // b, b])
    moved = op.permute_dims(cut, [0, 3, 5, 1, 2, 4])
    result = op.reshape(moved, [n, depth * b * b, h // b, w // b])
    return op.permute_dims(result, [0, 2, 3, 1]) if last else result


def _pairs(value: Any, count: int, what: str) -> list[list[int]]:
    found = [[int(v) for v in pair] for pair in value]
    if len(found) != count or any(len(pair) != 2 for pair in found):
        raise ValueError(f"{what} {found} do not fit {count} dimensions")
    return found


def space_to_batch_nd(c: RelayContext, data: Any, *, block_shape: Any, paddings: Any,
                      pad_value: float = 0.0) -> Any:  # fmt: skip
    """nn.space_to_batch_nd."""
    blocks = list_of(block_shape, "block_shape")
    pads = _pairs(paddings, len(blocks), "paddings")
    rest = rank(data) - 1 - len(blocks)
    width = [0, 0, *(v for pair in pads for v in pair), *[0, 0] * rest]
    if any(width):
        data = c.typed(op.nn.pad(data, width, "constant", float(pad_value)))
    n, *sizes = dims(data)
    inner, tail = sizes[: len(blocks)], sizes[len(blocks) :]
    cut: list[Any] = [n]
    for size, block in zip(inner, blocks, strict=True):
        cut += [size // block, block]
    m = len(blocks)
    order = [*(2 + 2 * i for i in range(m)), 0, *(1 + 2 * i for i in range(m)),
             *range(1 + 2 * m, 1 + 2 * m + rest)]  # fmt: skip
    moved = op.permute_dims(op.reshape(data, [*cut, *tail]), order)
    out = [s // b for s, b in zip(inner, blocks, strict=True)]
    return op.reshape(moved, [n * math.prod(blocks), *out, *tail])


def batch_to_space_nd(c: RelayContext, data: Any, *, block_shape: Any, crops: Any) -> Any:
    """nn.batch_to_space_nd."""
    blocks = list_of(block_shape, "block_shape")
    cuts = _pairs(crops, len(blocks), "crops")
    n, *sizes = static_dims(data)
    m = len(blocks)
    inner, tail = sizes[:m], sizes[m:]
    batch = n // math.prod(blocks)
    split_ = op.reshape(data, [*blocks, batch, *inner, *tail])
    order = [m]
    for i in range(m):
        order += [m + 1 + i, i]
    order += range(2 * m + 1, 2 * m + 1 + len(tail))
    whole = [s * b for s, b in zip(inner, blocks, strict=True)]
    result = op.reshape(op.permute_dims(split_, order), [batch, *whole, *tail])
    if not any(v for pair in cuts for v in pair):
        return result
    ends = [w - pair[1] for w, pair in zip(whole, cuts, strict=True)]
    return op.strided_slice(result, list(range(1, m + 1)), [p[0] for p in cuts], ends)


def batch_flatten(c: RelayContext, data: Any) -> Any:
    """nn.batch_flatten."""
    n, *rest = dims(data)
    return op.reshape(data, [n, math.prod(rest)])


BLOCKS: Mapping[str, Converter] = {
    "nn.batch_flatten": batch_flatten,
    "nn.batch_to_space_nd": batch_to_space_nd,
    "nn.depth_to_space": depth_to_space,
    "nn.space_to_batch_nd": space_to_batch_nd,
    "nn.space_to_depth": space_to_depth,
}
"""Operator → converter."""
