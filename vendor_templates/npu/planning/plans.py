"""The values that tiling, memory layout and emission hand to each other, and their arithmetic.

In: nothing but the int8 graph's `Window`. Out: frozen records. They stand apart from the searches
that make them (`conv_tiling`, `pool_tiling`) so that emission, which only reads them, does not
depend on how a plan was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from byoc.vendor_templates.npu.lowering.int8_graph import Window

__all__ = [
    "Resident",
    "Settings",
    "StepCycles",
    "WindowPlan",
    "align",
    "block_sizes",
    "input_span",
    "spans",
    "tile_input",
    "tile_sizes",
]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the compiler may do to make a program faster.

    Args:
        double_buffer: Have two buffers of each kind, so that copies run beside computation.
        residency: Keep intermediate tensors in the activation scratchpad where that saves cycles.
    """

    double_buffer: bool = True
    residency: bool = True

    @property
    def buffers(self) -> int:
        """Number of buffers of each kind: 2 with double buffering, else 1."""
        return 2 if self.double_buffer else 1


@dataclass(frozen=True, slots=True)
class Resident:
    """Which tensors of one operation stay in the activation scratchpad.

    Args:
        x: The (first) input.
        y: The output.
        r: The second input: a convolution's residual, or an elementwise operation's `b`.
    """

    x: bool = False
    y: bool = False
    r: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlan:
    """How a convolution or pooling is cut, and what the cycle model says it costs.

    Args:
        th: Output rows of an input tile.
        tw: Output columns of an input tile.
        ah: Output rows whose sums are held in the accumulators at a time, at most `th`.
        nb: Output channels of a block.
        kc: Products of each sum that a chunk of weights covers; 0 for a pooling.
        order: The outer loop: over input "tiles" or over "blocks" of channels.
        weights_stay: All blocks of weights are loaded once and kept.
        x_buffers: Number of input buffers; 0 when the input is resident.
        y_buffers: Number of output buffers, and of residual buffers.
        x_bytes: Bytes of one input buffer; 0 when the input is resident.
        y_bytes: Bytes of one output buffer; 0 when the output is resident.
        r_bytes: Bytes of one residual buffer; 0 when there is none or it is resident.
        cycles: Modelled cycles of the whole operation.
        region: Bytes of the activation scratchpad that the plan was made for.
    """

    th: int
    tw: int
    ah: int
    nb: int
    kc: int
    order: Literal["tiles", "blocks"]
    weights_stay: bool
    x_buffers: int
    y_buffers: int
    x_bytes: int
    y_bytes: int
    r_bytes: int
    cycles: int
    region: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCycles:
    """Cycles that a candidate keeps each unit busy, over all its steps.

    Args:
        load: Cycles of the read engine.
        compute: Cycles of the array.
        vector: Cycles of the vector unit.
        store: Cycles of the write engine.
        edges: Cycles before and after the units overlap: filling and draining.
    """

    load: float
    compute: float
    vector: float
    store: float
    edges: float

    def total(self, overlap: bool) -> int:
        """Return the cycles of the operation.

        Args:
            overlap: The four units run beside each other (double buffering).
        """
        if overlap:
            return round(max(self.load, self.compute, self.vector, self.store) + self.edges)
        # One buffer of each kind: only a store runs beside the next step's sums.
        return round(self.load + self.vector + max(self.compute, self.store) + self.edges)


def align(value: int, to: int = 64) -> int:
    """Return the smallest multiple of a number that is at least a value.

    Args:
        value: The value, usually bytes.
        to: What the result is a multiple of.
    """
    return -(-value // to) * to


def spans(size: int, step: int) -> Iterable[tuple[int, int]]:
    """Return the pieces [0, step), [step, 2 step), … that cover [0, size).

    Args:
        size: How many positions there are.
        step: Positions in a piece; the last one may have fewer.
    """
    return ((first, min(first + step, size)) for first in range(0, size, step))


def input_span(first: int, end: int, size: int, window: Window, axis: int) -> tuple[int, int]:
    """Return the input positions [begin, stop) that outputs [first, end) read.

    Args:
        first: First output position.
        end: One past the last output position.
        size: Number of input positions; the span does not leave them.
        window: The sliding window.
        axis: 0 for rows, 1 for columns.
    """
    begin = first * window.stride[axis] - window.pad[axis]
    stop = (end - 1) * window.stride[axis] - window.pad[axis] + window.extent(axis)
    return max(begin, 0), min(stop, size)


def tile_input(window: Window, axis: int, outputs: int, size: int) -> int:
    """Return the largest number of input positions that a tile of outputs reads.

    Args:
        window: The sliding window.
        axis: 0 for rows, 1 for columns.
        outputs: How many output positions a tile has.
        size: Number of input positions there are.
    """
    return min(size, (outputs - 1) * window.stride[axis] + window.extent(axis))


def tile_sizes(size: int) -> list[int]:
    """Return the tile sizes worth trying, largest first: size / 1, / 2, / 3, … down to 1."""
    parts = [1, 2, 3, 4, 6, 8, 12, 16, 28, 56, 112]
    return sorted({-(-size // p) for p in parts if p < size} | {1, size}, reverse=True)


def block_sizes(channels: int) -> Iterator[int]:
    """Yield the numbers of channels worth trying for a block, largest first."""
    sizes = {channels} | {n for n in (16, 32, 48, 64, 96, 128, 256, 512, 1024) if n < channels}
    return iter(sorted(sizes, reverse=True))
