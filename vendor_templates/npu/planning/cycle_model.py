"""The cycle model as the compiler uses it: the same formulas as ``src/timing.cc``.

In: a machine and the fields of one instruction. Out: the cycles it occupies its unit. The compiler
needs it to compare thousands of cuts, which would take too long in the simulator. docs/npu.md
derives the formulas; tests/vendors/npu holds the two implementations against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from byoc.vendor_templates.npu.machine.config import NpuConfig

__all__ = ["HAND_OVER", "ConvReads", "ceil_div", "conv_cycles", "copy_cycles", "tile_copy_cycles"]

HAND_OVER = 12
"""Cycles a step loses where units wait for each other: an estimate, the rest is exact."""

Fields: TypeAlias = Mapping[str, int]


def ceil_div(a: int, b: int) -> int:
    """Return the quotient of two positive numbers, rounded up.

    Args:
        a: The dividend.
        b: The divisor.
    """
    return -(-a // b)


def _runs(planes: int, rows: int, size: int, plane_stride: int, row_stride: int) -> tuple[int, int]:
    """(count, bytes) of the pieces that are contiguous once rows and planes that touch are one."""
    if rows == 1 or row_stride == size:
        count, run = planes, rows * size
        if planes == 1 or plane_stride == run:
            return 1, planes * run
        return count, run
    return planes * rows, size


def copy_cycles(config: NpuConfig, fields: Fields) -> int:
    """Return the cycles that a load or store occupies its unit.

    Args:
        config: The accelerator.
        fields: Fields of the instruction: bytes, rows, planes, and the strides of both sides
            (``dram_row``, ``dram_plane``, ``spm_row``, ``spm_plane``; 0 where left out).
    """
    dma = config.dma
    size, rows, planes = fields["bytes"], fields["rows"], fields["planes"]
    count, run = _runs(planes, rows, size, fields.get("dram_plane", 0), fields.get("dram_row", 0))
    near, near_run = _runs(planes, rows, size, fields.get("spm_plane", 0), fields.get("spm_row", 0))
    beats = max(count * ceil_div(run, dma.width), near * ceil_div(near_run, dma.width))
    bursts = count * ceil_div(run, dma.burst)
    return max(beats, ceil_div(bursts * dma.latency, dma.outstanding))


def tile_copy_cycles(
    config: NpuConfig, *, tile: tuple[int, int, int], tensor: tuple[int, int]
) -> int:
    """Return the cycles of a copy between a tensor in device memory and a dense tile of it.

    Args:
        config: The accelerator.
        tile: Rows, columns and channels that are copied.
        tensor: Columns and channels of the tensor (n x h x w x c bytes).
    """
    rows, columns, channels = tile
    width, all_channels = tensor
    fields = {
        "planes": rows, "rows": columns, "bytes": channels,
        "dram_row": all_channels, "dram_plane": width * all_channels,
        "spm_row": channels, "spm_plane": columns * channels,
    }  # fmt: skip
    return copy_cycles(config, fields)


@dataclass(frozen=True, slots=True)
class ConvReads:
    """How a convolution instruction reads its input: all that its bank conflicts depend on.

    Args:
        x: Address of the first pixel (modulo banks x word is enough).
        x_row: Bytes between rows of the input.
        x_pix: Bytes between pixels of a row.
        channels: Input channels of one group.
        kw: Columns of the kernel.
        dh: Dilation along rows.
        dw: Dilation along columns.
    """

    x: int
    x_row: int
    x_pix: int
    channels: int
    kw: int
    dh: int
    dw: int


@lru_cache(maxsize=65536)
def _passes(
    rows: int, word: int, banks: int, reads: ConvReads, begin: int, end: int
) -> tuple[int, ...]:
    """Cycles per pixel of each pass of the array over k in [begin, end).

    A pass reads `rows` bytes of one pixel; words of the same bank are read one after the other.
    """
    aligned = (
        rows == word
        and begin % rows == 0
        and reads.channels % rows == 0
        and not any(v % word for v in (reads.x, reads.x_row, reads.x_pix))
    )
    if aligned:
        return (1,) * ceil_div(end - begin, rows)
    k = np.arange(begin, end)
    tap = k // reads.channels
    address = (
        reads.x
        + tap // reads.kw * reads.dh * reads.x_row
        + tap % reads.kw * reads.dw * reads.x_pix
        + k % reads.channels
    )
    words = address // word
    result = []
    for first in range(0, end - begin, rows):
        unique = np.unique(words[first : first + rows])
        result.append(int(np.bincount(unique % banks).max()))
    return tuple(result)


def conv_cycles(
    config: NpuConfig, *, pixels: int, n: int, reads: ConvReads, begin: int, count: int
) -> int:
    """Return the cycles that one ``conv`` instruction occupies the array.

    Args:
        config: The accelerator.
        pixels: Output pixels.
        n: Output channels.
        reads: How the input lies in the scratchpad.
        begin: First product of each sum (k) that the instruction covers.
        count: Number of products it covers.
    """
    rows = config.array.rows
    n_tiles = ceil_div(n, config.array.columns)
    if config.array.dataflow == "output-stationary":
        return ceil_div(pixels, rows) * n_tiles * max(count, rows)
    memory = config.activation
    passes = _passes(rows, memory.word, memory.banks, reads, begin, begin + count)
    return rows + n_tiles * sum(max(pixels * conflict, rows) for conflict in passes)
