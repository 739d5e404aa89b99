"""The cycle model as the compiler uses it: the same formulas as ``src/timing.cc``.

docs/npu.md derives them; tests/vendors/npu holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from byoc.vendor_templates.npu.config import NpuConfig

__all__ = ["ConvReads", "busy_cycles", "ceil_div", "conv_cycles", "copy_cycles"]

Fields: TypeAlias = Mapping[str, int]


def ceil_div(a: int, b: int) -> int:
    """The quotient, rounded up."""
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
    """Cycles a load or store occupies its unit."""
    dma = config.dma
    size, rows, planes = fields["bytes"], fields["rows"], fields["planes"]
    count, run = _runs(planes, rows, size, fields.get("dram_plane", 0), fields.get("dram_row", 0))
    near, near_run = _runs(planes, rows, size, fields.get("spm_plane", 0), fields.get("spm_row", 0))
    beats = max(count * ceil_div(run, dma.width), near * ceil_div(near_run, dma.width))
    bursts = count * ceil_div(run, dma.burst)
    return max(beats, ceil_div(bursts * dma.latency, dma.outstanding))


@dataclass(frozen=True, slots=True)
class ConvReads:
    """How a convolution step reads its input: what bank conflicts depend on.

    x: address of the first pixel, modulo banks x word.
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
    """Cycles per pixel of each pass of the array over k in [begin, end)."""
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
    config: NpuConfig, pixels: int, n: int, reads: ConvReads, begin: int, count: int
) -> int:
    """Cycles one conv instruction occupies the array."""
    rows = config.array.rows
    n_tiles = ceil_div(n, config.array.columns)
    if config.array.dataflow == "output-stationary":
        return ceil_div(pixels, rows) * n_tiles * max(count, rows)
    memory = config.activation
    passes = _passes(rows, memory.word, memory.banks, reads, begin, begin + count)
    return rows + n_tiles * sum(max(pixels * conflict, rows) for conflict in passes)


def busy_cycles(config: NpuConfig, op: str, fields: Fields) -> int:
    """Cycles any instruction occupies its unit."""
    if op in ("load", "store"):
        return copy_cycles(config, fields)
    if op in ("halt", "fence"):
        return 0
    pixels, n = fields["out_h"] * fields["out_w"], fields["n"]
    if op == "conv":
        reads = ConvReads(*(fields[name] for name in ConvReads.__dataclass_fields__))
        return conv_cycles(config, pixels, n, reads, fields["k_begin"], fields["k_count"])
    taps = fields.get("kh", 1) * fields.get("kw", 1)
    if op == "dwconv":
        return config.array.rows + ceil_div(n, config.array.columns) * taps * pixels
    return pixels * taps * ceil_div(n, config.vector.lanes)
