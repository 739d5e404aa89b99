"""Weights of few bits, one scale for each block along a row (ONNX Runtime's MatMulNBits).

    bytes [N, blocks, block_size · bits / 8]   numbers from the lowest bits up
    w[n, k] = (number - zero[n, k // block_size]) · scale[n, k // block_size]

They become floats when the model is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, dtype_of
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.contrib.signature import taking
from byoc.frontends.onnx.ops.helpers import array_of
from byoc.segment import Array

__all__ = ["BLOCKS"]

_BITS = (2, 4, 8)


def _unpacked(packed: Array, bits: int, what: str) -> Array:
    """Numbers that share bytes, along the last axis."""
    if packed.dtype != np.uint8:
        raise RefusedError(f"{what} is of {packed.dtype}, it must be uint8")
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    numbers = packed[..., None] >> shifts & np.uint8((1 << bits) - 1)
    return numbers.reshape(*packed.shape[:-1], -1)


def _grid(array: Array, rows: int, columns: int, what: str) -> Array:
    if array.size != rows * columns:
        raise RefusedError(
            f"{what} has {array.size} elements, {rows} rows of {columns} are {rows * columns}"
        )
    return array.reshape(rows, columns)


def _weight(c: OnnxContext) -> Array:
    """The matrix [N, K] in the type of the scales."""
    sizes = {}
    for name in ("K", "N", "block_size"):
        if name not in c.attrs:
            raise RefusedError(f"its attribute {name!r} is missing")
        sizes[name] = int(c.attrs[name])
        if sizes[name] < 1:
            raise RefusedError(f"its attribute {name!r} is {sizes[name]}")
    depth, rows, size = sizes["K"], sizes["N"], sizes["block_size"]
    bits = int(c.attrs.get("bits", 4))
    if bits not in _BITS:
        raise ValueError(f"{bits} bits are not supported, {', '.join(map(str, _BITS))} are")
    count = -(-depth // size)
    numbers = _unpacked(array_of(c[1], "its weight"), bits, "its weight").reshape(-1)
    if numbers.size != rows * count * size:
        raise RefusedError(
            f"its weight holds {numbers.size} numbers, {rows} rows of {count} blocks of {size} are "
            f"{rows * count * size}"
        )
    numbers = numbers.reshape(rows, -1)[:, :depth]
    scale = _grid(array_of(c[2], "its scales"), rows, count, "its scales")
    zero = _zeros(c, rows, count, bits)
    block = np.arange(depth) // size
    if c[4] is not None:
        block = array_of(c[4], "g_idx").reshape(-1)[:depth]
        if len(block) != depth or (block < 0).any() or (block >= count).any():
            raise RefusedError(
                f"g_idx does not name one of {count} blocks for each of {depth} rows"
            )
    wide = numbers.astype(np.float32) - zero.astype(np.float32)[:, block]
    product: Array = wide * scale.astype(np.float32)[:, block]
    return product.astype(scale.dtype)


def _zeros(c: OnnxContext, rows: int, count: int, bits: int) -> Array:
    """Zero points [N, blocks]: packed like weights, each row from a new byte, or floats."""
    zero = array_of(c[3], "its zero points")
    if zero is None:
        return np.full((rows, count), 1 << bits - 1, np.float32)
    if zero.dtype == array_of(c[2], "its scales").dtype:
        return _grid(zero, rows, count, "its zero points")
    width = -(-count * bits // 8)
    packed = _grid(zero, rows, width, "its packed zero points")
    return _unpacked(packed, bits, "its zero points")[:, :count]


def matmul_nbits(c: OnnxContext) -> Any:
    """MatMulNBits 1: A · wᵀ + bias; how exact ONNX Runtime may be at least, it is."""
    weight = np.ascontiguousarray(_weight(c).T)
    if dtype_of(c[0]) != str(weight.dtype):
        raise RefusedError(f"A is of {dtype_of(c[0])}, the scales of {weight.dtype}")
    result = c.typed(relax.op.matmul(c[0], const(weight)))
    return result if c[5] is None else relax.op.add(result, c[5])


BLOCKS: Mapping[tuple[str, str], Converter] = {
    ("com.microsoft", "MatMulNBits"): taking(
        matmul_nbits,
        "A B scales zero_points? g_idx? bias?",
        ("K", "N", "accuracy_level", "bits", "block_size"),
        {"weight_prepacked": 0},
    ),
}
"""(domain, operator) → converter."""
