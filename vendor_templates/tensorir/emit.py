"""A product as a kernel around one instruction.

    for column panel, for row block     one task of a parallel loop
      c[rows][vectors] = start          in registers: -zero · column sums
      for k                             the instruction, rows x vectors times
        c[r][v] = impl(c[r][v], a[r], b[v])
      y = c

Blocks that would stick out are moved back until they do not: they compute some rows or columns
again, which gives the same numbers, and no loop has a tail. Sums over columns turn a zero point
into the start of a sum, and signed data into unsigned:
``(x - z) · w = (x + 128) · w - (z + 128) · Σw``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.segment import Array
from byoc.vendor_templates.tensorir.instruction import Instruction

__all__ = [
    "SIGNED_SHIFT",
    "TileShape",
    "choose_tile",
    "column_sums",
    "packed",
    "padded_data",
    "product_kernel",
    "start_kernel",
]

_ROWS, _VECTORS = 6, 4  # 24 registers of sums, 4 of b, one of a: of 32
SIGNED_SHIFT = 128
"""What makes int8 uint8."""


@dataclass(frozen=True)
class TileShape:
    """How much of the result is summed in registers.

    Attributes:
        rows: Rows of c.
        vectors: Vectors of each.
    """

    rows: int
    vectors: int


def choose_tile(rows: int, vectors: int) -> TileShape:
    """Choose the largest tile that fits the registers and the result.

    Args:
        rows: Of the whole result.
        vectors: Of each row.
    """
    return TileShape(min(_ROWS, rows), min(_VECTORS, vectors))


def packed(weight: Array, instruction: Instruction) -> Array:
    """Lay weights out as the instruction reads them.

    Args:
        weight: k x n.
        instruction: Whose operand b is n x k.

    Returns:
        (n / its n) x (k / its k) x (its n · its k), zeros where it sticks out.
    """
    n, k = instruction.desc.sizes["n"], instruction.desc.sizes["k"]
    depth, columns = weight.shape
    whole = np.zeros((-(-depth // k) * k, -(-columns // n) * n), np.int8)
    whole[:depth, :columns] = weight
    blocks = whole.reshape(whole.shape[0] // k, k, whole.shape[1] // n, n)
    order = blocks.transpose(2, 0, 3, 1)
    return np.ascontiguousarray(order).reshape(order.shape[0], order.shape[1], n * k)


def column_sums(weight: Array, instruction: Instruction) -> Array:
    """Sum up each column of weights, as many as `packed` has.

    Args:
        weight: k x n.
        instruction: As for `packed`.
    """
    n = instruction.desc.sizes["n"]
    sums = np.zeros(-(-weight.shape[1] // n) * n, np.int32)
    sums[: weight.shape[1]] = weight.sum(axis=0, dtype=np.int64)
    return sums


def padded_data(shape: tuple[int, ...], dtype: str, depth: int) -> Any:
    """Return a kernel that copies rows into longer ones, whose ends are zero.

    Args:
        shape: Of the data.
        dtype: Of the data.
        depth: Of the longer rows; a multiple of the instruction's k.
    """
    from tvm import te, tirx

    x = te.placeholder(shape, name="x", dtype=dtype)
    zero = tirx.const(0, dtype)

    def element(*index: Any) -> Any:
        return te.if_then_else(index[-1] < shape[-1], x(*index), zero)

    return te.create_prim_func([x, te.compute((*shape[:-1], depth), element, name="padded")])


def start_kernel(shape: tuple[int, ...], dtype: str, count: int, shift: int) -> Any:
    """Return a kernel that makes what sums begin with, of a zero point known at run time.

    Args:
        shape: Of the zero point; it has one element.
        dtype: Of the zero point.
        count: How many sums there are.
        shift: What is added to the data.
    """
    from tvm import te

    zero = te.placeholder(shape, name="zero", dtype=dtype)
    sums = te.placeholder((count,), name="sums", dtype="int32")
    first = (0,) * len(shape)
    made = te.compute(
        (count,), lambda i: -(zero(*first).astype("int32") + shift) * sums[i], name="start"
    )
    return te.create_prim_func([zero, sums, made])


def product_kernel(
    instruction: Instruction, shape: tuple[int, ...], dtype: str, columns: int
) -> Any:
    """Return the kernel ``(x, weights, start) -> y``.

    Args:
        instruction: What multiplies.
        shape: Of the data; its last dimension is a multiple of the instruction's k.
        dtype: Of the data, "uint8" or "int8".
        columns: Of the result.
    """
    from tvm.script import tirx as script

    n, k = instruction.desc.sizes["n"], instruction.desc.sizes["k"]
    rows, depth = int(np.prod(shape[:-1])), shape[-1]
    vectors, steps = -(-columns // n), depth // k
    tile = choose_tile(rows, vectors)
    tr, tv = tile.rows, tile.vectors
    row_blocks, panels = -(-rows // tr), -(-vectors // tv)
    rest = columns % n
    impl = instruction.impl

    def elements(start: Any) -> Any:
        """Where k elements of a row begin."""
        return script.ramp(start, 1, k) if k > 1 else start

    def unsigned(a: Any) -> Any:
        if dtype == "uint8":
            return a
        flip = script.uint8(SIGNED_SHIFT)
        bits = script.reinterpret(f"uint8x{k}" if k > 1 else "uint8", a)
        return script.bitwise_xor(bits, script.broadcast(flip, k) if k > 1 else flip)

    def row(task: Any, r: Any) -> Any:
        return script.min(task % row_blocks * tr, rows - tr) + r

    def vector(task: Any, v: Any) -> Any:
        return script.min(task // row_blocks * tv, vectors - tv) + v

    def total(r: Any, v: Any) -> Any:
        """Where a vector of sums lies."""
        return script.ramp((r * tv + v) * n, 1, n)

    def place(task: Any, r: Any, v: Any) -> Any:
        """Where a vector of sums goes."""
        return row(task, r) * columns + vector(task, v) * n

    @script.prim_func  # type: ignore[untyped-decorator]
    def product(
        x_of: script.Buffer(shape, dtype),  # type: ignore[valid-type]
        w_of: script.Buffer((vectors, steps, n * k), "int8"),  # type: ignore[valid-type]
        start: script.Buffer((vectors * n,), "int32"),  # type: ignore[valid-type]
        y_of: script.Buffer((*shape[:-1], columns), "int32"),  # type: ignore[valid-type]
    ) -> None:
        script.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        x = script.decl_buffer((rows * depth,), dtype, data=x_of.data)
        w = script.decl_buffer((vectors * steps * n * k,), "int8", data=w_of.data)
        y = script.decl_buffer((rows * columns,), "int32", data=y_of.data)
        for t in script.parallel(row_blocks * panels):
            c = script.alloc_buffer((tr * tv * n,), "int32", scope="local")
            for r in script.unroll(tr):
                for v in script.unroll(tv):
                    c[total(r, v)] = start[script.ramp(vector(t, v) * n, 1, n)]
            for step in range(steps):
                for r in script.unroll(tr):
                    for v in script.unroll(tv):
                        c[total(r, v)] = impl(
                            c[total(r, v)],
                            unsigned(x[elements(row(t, r) * depth + step * k)]),
                            w[script.ramp((vector(t, v) * steps + step) * (n * k), 1, n * k)],
                        )
            for r in script.unroll(tr):
                for v in script.unroll(tv):
                    if (vector(t, v) + 1) * n <= columns:
                        y[script.ramp(row(t, r) * columns + vector(t, v) * n, 1, n)] = c[
                            total(r, v)
                        ]
                    else:
                        for e in range(rest):
                            y[row(t, r) * columns + vector(t, v) * n + e] = c[(r * tv + v) * n + e]

    return product
