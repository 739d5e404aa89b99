"""Matrix product [*batch, M, K] x [*batch, K, N] as register-blocked tiles.

The picture of `kernels.conv` with rows in place of pixels: a tile of `rows` x `columns` sums
stays in registers over all of K. The right side lies in panels of `columns`, so that it is read
front to back; a constant one is packed at compile time, another is copied by a stage ``pack``,
or read in place when its rows are whole panels (and `copy` is not asked for: where many tiles read
it, a copy pays). A product with one row (a dense layer at batch one) is a walk over the weights at
memory speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te, tirx

from byoc.segment import Array
from byoc.support.memory import aligned_empty

__all__ = ["MatmulTile", "choose_tile", "matmul", "pack_columns"]


@dataclass(frozen=True, slots=True)
class MatmulTile:
    """A register tile of sums: its rows, and its columns (whole vectors)."""

    rows: int
    columns: int


def choose_tile(
    rows: int | None, columns: int | None, lanes: int, registers: int, unit: int | None = None
) -> MatmulTile:
    """Choose the tile that wastes fewest lanes and loads least per multiplication.

    Args:
        rows: Of the product, None when symbolic.
        columns: Of the product, None when symbolic.
        lanes: float32 elements of a vector register.
        registers: Vector registers of the machine.
        unit: Set when the rows are several matrices of `unit` rows in a row: a tile is then a part
            of one or whole ones.

    """
    best, best_cost = MatmulTile(1, lanes), float("inf")
    for vectors in (1, 2, 3, 4, 6, 8):
        width = vectors * lanes
        if vectors > 1 and columns is not None and width >= columns + lanes:
            break
        for height in range(1, max(1, (registers - vectors - 2) // vectors) + 1):
            if rows is None:
                if height not in (4, 8):
                    continue
                waste = 1.0
            elif height > rows or (unit and (rows % height or (unit % height and height % unit))):
                continue
            else:
                # Rows that no tile divides are copied with a border first.
                waste = -(-rows // height) * height / rows * (1.05 if rows % height else 1.0)
            if columns is not None:
                waste *= -(-columns // width) * width / columns
                waste *= 1.03 if columns % width else 1.0
            stalls = max(1.0, 9 / (height * vectors))
            cost = waste * stalls * (1 + 0.5 * (1 / height + 1 / vectors))
            if cost < best_cost - 1e-9:
                best, best_cost = MatmulTile(height, width), cost
    return best


def pack_columns(b: Array, columns: int) -> Array:
    """Lay the right side of a product out in panels, zero-padded to whole ones.

    Args:
        b: [*batch, K, N].
        columns: Columns of a panel.

    Returns:
        [*batch, panels, K, columns], aligned for kernels.

    """
    *batch, depth, width = b.shape
    whole, rest = divmod(width, columns)
    out = aligned_empty((*batch, whole + bool(rest), depth, columns), b.dtype)
    split = b[..., : whole * columns].reshape(*batch, depth, whole, columns)
    out[..., :whole, :, :] = np.swapaxes(split, -3, -2)
    if rest:
        out[..., whole, :, :rest] = b[..., whole * columns :]
        out[..., whole, :, rest:] = 0
    return out


def matmul(
    a: te.Tensor,
    b: te.Tensor,
    *,
    tile: MatmulTile,
    lanes: int,
    dtype: str,
    out_dtype: str,
    packed: int | None = None,
    copy: bool = False,
    view: Sequence[Any] | None = None,
) -> te.Tensor:
    """Build a matrix product.

    Args:
        a: [*batch, M, K].
        b: [*batch, K, N], or what `pack_columns` gave.
        tile: From `choose_tile`.
        lanes: float32 elements of a vector register.
        dtype: Dtype that sums are made in.
        out_dtype: Dtype of the result.
        packed: N when `b` comes from `pack_columns`.
        copy: Never read `b` in place.
        view: `a` is one flat matrix; the result has these axes in place of its rows.

    Returns:
        [*batch, M, N].

    """
    *batch_a, rows, depth = a.shape
    columns = _static(b.shape[-1]) if packed is None else packed
    panels = (columns + tile.columns - 1) // tile.columns
    read_b, batch_b = _panels(b, tile, columns, panels, packed is not None, copy)
    batch = _broadcast(batch_a, batch_b)
    padded = (rows + tile.rows - 1) // tile.rows * tile.rows
    source = _pad_rows(a, rows, padded)
    k = te.reduce_axis((0, depth), "k")

    def tile_sum(*index: Any) -> Any:
        *n, p, m, v, lane = index
        left = source(*_select(n, batch_a), m, k).astype(dtype)
        right = read_b(_select(n, batch_b), p, k, v * lanes + lane).astype(dtype)
        return te.sum(left * right, axis=[k])

    acc = te.compute(
        (*batch, panels, padded, tile.columns // lanes, lanes),
        tile_sum,
        name="acc",
        attrs={
            "byoc.kernel": "matmul",
            "byoc.tile": [tile.rows, tile.columns, int(view is not None)],
        },
    )

    def unpack(*index: Any) -> Any:
        *n, j = index
        if view is not None:
            row = n[0]
            for i, size in zip(n[1:], view[1:], strict=True):
                row = row * size + i
            n = [row]
        c = j % tile.columns
        value = acc(*n[:-1], j // tile.columns, n[-1], c // lanes, c % lanes)
        return value.astype(out_dtype)

    shape = [*(view if view is not None else [*batch, rows]), columns]
    return te.compute(tuple(shape), unpack, name="unpack")


def _panels(
    b: te.Tensor, tile: MatmulTile, columns: Any, panels: Any, packed: bool, copy: bool
) -> tuple[Any, list[Any]]:
    """A reader (batch, panel, k, column) of the right side, and its batch axes."""
    if packed:
        return (lambda n, p, k, j: b(*n, p, k, j)), list(b.shape[:-3])
    batch, depth = list(b.shape[:-2]), b.shape[-2]
    if isinstance(columns, int) and columns % tile.columns == 0 and not copy:
        return (lambda n, p, k, j: b(*n, k, p * tile.columns + j)), batch

    def element(*index: Any) -> Any:
        *n, p, k, j = index
        at = p * tile.columns + j
        zero = tirx.const(0, str(b.dtype))
        return tirx.if_then_else(at < columns, b(*n, k, at), zero)

    pack = te.compute((*batch, panels, depth, tile.columns), element, name="pack")
    return (lambda n, p, k, j: pack(*n, p, k, j)), batch


def _pad_rows(a: te.Tensor, rows: Any, padded: Any) -> te.Tensor:
    if isinstance(rows, (int, tirx.IntImm)) and int(rows) == int(padded):
        return a
    zero = tirx.const(0, str(a.dtype))

    def element(*index: Any) -> Any:
        *n, m, k = index
        return tirx.if_then_else(m < rows, a(*n, m, k), zero)

    return te.compute((*a.shape[:-2], padded, a.shape[-1]), element, name="pad")


def _broadcast(a: list[Any], b: list[Any]) -> list[Any]:
    """The batch axes of the product (numpy's rules; symbolic sizes are taken to agree)."""
    rank = max(len(a), len(b))
    left = [1] * (rank - len(a)) + a
    right = [1] * (rank - len(b)) + b
    return [y if _is_one(x) else x for x, y in zip(left, right, strict=True)]


def _select(index: list[Any], axes: list[Any]) -> list[Any]:
    """The part of a batch index that an operand with batch `axes` understands."""
    own = index[len(index) - len(axes) :]
    return [0 if _is_one(size) else i for i, size in zip(own, axes, strict=True)]


def _static(size: Any) -> Any:
    return int(size) if isinstance(size, (int, tirx.IntImm)) else size


def _is_one(size: Any) -> bool:
    return isinstance(size, (int, tirx.IntImm)) and int(size) == 1
