"""Convolution (any rank, stride, dilation, groups) as register-blocked tiles.

Vectors run over output channels: the weights of `block` channels lie side by side, one input
element is broadcast against them, and a tile of `tile` neighbouring pixels x `block` channels
stays in registers over the whole reduction::

              block channels (1-4 vectors)
            ┌────────────────────────────┐
    tile    │ acc  +=  x[pixel]  x  w[…] │      per (kernel position, input channel):
    pixels  │  …        broadcast   row  │      `tile` broadcasts, block/lanes vector loads
            └────────────────────────────┘

Stages: ``pad`` copies the input with its zero border (none is made for plain 1x1), ``acc`` computes
tiles, ``unpack`` turns them back to channel-major, where the epilogue is fused. Weights are
packed at compile time when they are constant, else by a stage ``pack``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from tvm import te, tirx

from byoc.segment import Array

__all__ = [
    "ConvShape",
    "Tile",
    "choose_tile",
    "conv",
    "pack_weight",
    "turn_weight",
    "turn_weight_te",
]


@dataclass(frozen=True, slots=True)
class ConvShape:
    """A convolution in channel-major layout: x [N, C, *spatial], w [O, C / groups, *kernel]."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads_begin: tuple[int, ...]
    pads_end: tuple[int, ...]
    groups: int

    @property
    def group_inputs(self) -> int:
        """How many input channels one group reads."""
        return self.in_channels // self.groups

    @property
    def group_outputs(self) -> int:
        """How many output channels one group writes."""
        return self.out_channels // self.groups

    def output(self, spatial: Sequence[Any]) -> list[Any]:
        """Return the spatial sizes of the result.

        Args:
            spatial: Those of the input, as ints or expressions.

        """
        return [
            (size + before + after - (k - 1) * d - 1) // s + 1
            for size, before, after, k, d, s in zip(
                spatial,
                self.pads_begin,
                self.pads_end,
                self.kernel,
                self.dilations,
                self.strides,
                strict=True,
            )
        ]

    @property
    def pointwise(self) -> bool:
        """Whether pixels do not mix and none is skipped: spatial axes may be flattened."""
        return (
            set(self.kernel) == {1}
            and set(self.strides) == {1}
            and not any(self.pads_begin + self.pads_end)
        )

    @property
    def depthwise(self) -> bool:
        """Whether every output channel reads one input channel."""
        return self.group_inputs == 1 and self.groups > 1


@dataclass(frozen=True, slots=True)
class Tile:
    """A register tile of sums.

    Attributes:
        pixels: Neighbouring pixels of it.
        channels: Output channels of it.
        chunk: Input channels that are summed in a row, before the next kernel position.

    """

    pixels: int
    channels: int
    chunk: int


def choose_tile(
    shape: ConvShape, pixels: int | None, lanes: int, registers: int, row: int | None = None
) -> Tile | None:
    """Choose the tile that wastes fewest lanes and loads least per multiplication.

    Args:
        shape: The convolution.
        pixels: Length of the axis that is tiled, None when symbolic.
        lanes: float32 elements of a vector register.
        registers: Vector registers of the machine.
        row: Set when the axis is several rows of this length flattened; a tile is then a part of a
            row or whole rows.

    Returns:
        None when there is a `row` and only poor tiles fit it.

    """
    best, best_cost = Tile(8, lanes, 1), float("inf")
    panel_row = shape.group_inputs * prod(shape.kernel) * 4
    for channels in _channel_blocks(shape, lanes):
        vectors = -(-channels // lanes)
        lanes_lost = _padded(shape.group_outputs, channels) * vectors * lanes / channels
        # Weights of a block that outgrow the L2 cache are fetched again for every row.
        spill = 1.5 if panel_row * channels > 640 << 10 else 1.0
        for width in range(1, (registers - vectors - 2) // vectors + 1):
            waste = lanes_lost
            if pixels is None:
                if width not in (4, 8, 12):
                    continue
            else:
                if width > pixels:
                    break
                if row is not None and (pixels % width or (row % width and width % row)):
                    continue
                # Tiles that do not divide the row end in a scalar epilogue.
                waste *= _padded(pixels, width) * (1.1 if pixels % width else 1.0)
            # Fewer than ~9 running sums cannot hide the latency of a multiply-add.
            stalls = max(1.0, 9 / (width * vectors))
            loads = 1 + 0.5 * (1 / width + 1 / vectors)
            cost = waste * stalls * loads * spill
            if cost < best_cost - 1e-9:
                best, best_cost = Tile(width, channels, 1), cost
    if row is not None and best.pixels * best.channels < 6 * lanes:
        return None
    return Tile(best.pixels, best.channels, _chunk(shape.group_inputs, prod(shape.kernel)))


def _channel_blocks(shape: ConvShape, lanes: int) -> list[int]:
    """Output channels that a tile may have.

    Blocks of a group must not be ragged: the last would reach into the next group.
    """
    outputs = shape.group_outputs
    if shape.groups > 1:
        return [d for d in range(1, min(outputs, 6 * lanes) + 1) if outputs % d == 0]
    return [v * lanes for v in (1, 2, 3, 4) if v == 1 or v * lanes < outputs + lanes]


def _padded(size: int, step: int) -> float:
    return -(-size // step) * step / size


def _chunk(channels: int, positions: int) -> int:
    """Input channels summed before the next kernel position: long rows keep sums in registers."""
    if positions == 1:
        return channels
    return max((d for d in range(1, min(channels, 64) + 1) if channels % d == 0), default=1)


def pack_weight(weight: Array, shape: ConvShape, tile: Tile, lanes: int) -> Array:
    """Lay weights out for `conv`, zeros up to whole vectors.

    Args:
        weight: [O, C / groups, *kernel].
        shape: The convolution.
        tile: What they are laid out for.
        lanes: float32 elements of a vector register.

    Returns:
        [groups, blocks, C / groups / chunk, *kernel, chunk, channels].

    """
    groups, outputs, inputs = shape.groups, shape.group_outputs, shape.group_inputs
    blocks, width = -(-outputs // tile.channels), -(-tile.channels // lanes) * lanes
    grouped = weight.reshape(groups, outputs, inputs, *shape.kernel)
    rest = [(0, 0)] * (grouped.ndim - 2)
    if blocks * tile.channels > outputs:
        grouped = np.pad(grouped, [(0, 0), (0, blocks * tile.channels - outputs), *rest])
    split = grouped.reshape(
        groups, blocks, tile.channels, inputs // tile.chunk, tile.chunk, *shape.kernel
    )
    if width > tile.channels:
        split = np.pad(split, [(0, 0), (0, 0), (0, width - tile.channels), (0, 0), *rest])
    order = (0, 1, 3, *range(5, split.ndim), 4, 2)
    return np.ascontiguousarray(split.transpose(order))


def turn_weight(weight: Array, shape: ConvShape) -> Array:
    """Lay the weights of a transposed convolution out as those of a convolution.

    Args:
        weight: [C, O / groups, *kernel].
        shape: The convolution that it becomes.

    Returns:
        [O, C / groups, *kernel], the kernel reversed.

    """
    groups, inputs, outputs = shape.groups, shape.group_inputs, shape.group_outputs
    grouped = weight.reshape(groups, inputs, outputs, *shape.kernel).swapaxes(1, 2)
    turned = np.flip(grouped, axis=tuple(range(3, grouped.ndim)))
    return np.ascontiguousarray(turned).reshape(shape.out_channels, inputs, *shape.kernel)


def turn_weight_te(weight: te.Tensor, shape: ConvShape) -> te.Tensor:
    """Build a stage that lays weights out as `turn_weight` does, but at run time.

    Args:
        weight: [C, O / groups, *kernel].
        shape: The convolution that the transposed one becomes.

    Returns:
        [O, C / groups, *kernel], the kernel reversed.
    """

    def element(o: Any, c: Any, *k: Any) -> Any:
        back = [size - 1 - i for size, i in zip(shape.kernel, k, strict=True)]
        if shape.groups == 1:
            return weight(c, o, *back)
        g = o // shape.group_outputs
        return weight(g * shape.group_inputs + c, o % shape.group_outputs, *back)

    full = (shape.out_channels, shape.group_inputs, *shape.kernel)
    return te.compute(full, element, name="turn")


def _pack(weight: te.Tensor, shape: ConvShape, tile: Tile, lanes: int) -> te.Tensor:
    """`pack_weight` at run time."""
    groups, outputs, inputs = shape.groups, shape.group_outputs, shape.group_inputs
    blocks, width = -(-outputs // tile.channels), -(-tile.channels // lanes) * lanes

    def element(g: Any, b: Any, co: Any, *rest: Any) -> Any:
        *k, ci, o = rest
        index = b * tile.channels + o
        value = weight(g * outputs + index, co * tile.chunk + ci, *k)
        if blocks * tile.channels == outputs and width == tile.channels:
            return value
        inside = tirx.all(o < tile.channels, index < outputs)
        return tirx.if_then_else(inside, value, tirx.const(0, str(weight.dtype)))

    full = (groups, blocks, inputs // tile.chunk, *shape.kernel, tile.chunk, width)
    return te.compute(full, element, name="pack")


def conv(
    x: te.Tensor,
    weight: te.Tensor,
    *,
    shape: ConvShape,
    tile: Tile,
    lanes: int,
    dtype: str,
    out_dtype: str,
    packed: bool,
    view: tuple[int, ...] | None = None,
) -> te.Tensor:
    """Build a convolution.

    Args:
        x: [N, C, *spatial].
        weight: [O, C / groups, *kernel], or what `pack_weight` gave.
        shape: The convolution.
        tile: From `choose_tile`.
        lanes: float32 elements of a vector register.
        dtype: Dtype that sums are made in.
        out_dtype: Dtype of the result.
        packed: `weight` comes from `pack_weight`.
        view: x and `shape` have one flat spatial axis (a pointwise convolution); the result has
            these spatial axes instead.

    Returns:
        [N, O, *spatial].

    """
    batch, spatial = x.shape[0], list(x.shape[2:])
    w = weight if packed else _pack(weight, shape, tile, lanes)
    out = shape.output(spatial)
    tiles = (out[-1] + tile.pixels - 1) // tile.pixels
    computed = [*out[:-1], tiles * tile.pixels]
    needed = [
        (size - 1) * s + (k - 1) * d + 1
        for size, s, k, d in zip(
            computed, shape.strides, shape.kernel, shape.dilations, strict=True
        )
    ]
    source = _pad(x, shape, spatial, needed)
    outer = te.reduce_axis((0, shape.group_inputs // tile.chunk), "co")
    kernel = [te.reduce_axis((0, k), "k") for k in shape.kernel]
    inner = te.reduce_axis((0, tile.chunk), "ci")
    blocks = w.shape[1]

    def tile_sum(n: Any, g: Any, b: Any, *rest: Any) -> Any:
        *position, v, o = rest
        channel = g * shape.group_inputs + outer * tile.chunk + inner
        at = [
            p * s + k * d
            for p, s, k, d in zip(position, shape.strides, kernel, shape.dilations, strict=True)
        ]
        value = source(n, channel, *at).astype(dtype)
        return te.sum(
            value * w(g, b, outer, *kernel, inner, v * lanes + o).astype(dtype),
            axis=[outer, *kernel, inner],
        )

    acc = te.compute(
        (batch, shape.groups, blocks, *computed, -(-tile.channels // lanes), lanes),
        tile_sum,
        name="acc",
        attrs={
            "byoc.kernel": "conv",
            "byoc.tile": [tile.pixels, tile.channels, int(view is not None)],
        },
    )

    def unpack(n: Any, o: Any, *position: Any) -> Any:
        # Without groups no division by their size: region inference would stumble over it.
        one = shape.groups == 1
        g, rest = (0, o) if one else (o // shape.group_outputs, o % shape.group_outputs)
        if view is not None:
            position = (_flatten(position, view),)
        c = rest % tile.channels
        value = acc(n, g, rest // tile.channels, *position, c // lanes, c % lanes)
        return value.astype(out_dtype)

    return te.compute((batch, shape.out_channels, *(view or out)), unpack, name="unpack")


def _flatten(position: tuple[Any, ...], sizes: tuple[int, ...]) -> Any:
    index = position[0]
    for p, size in zip(position[1:], sizes[1:], strict=True):
        index = index * size + p
    return index


def _pad(x: te.Tensor, shape: ConvShape, spatial: list[Any], needed: list[Any]) -> te.Tensor:
    """What the tiles read: the input with its zero border, cut or extended to `needed`."""
    fits = all(
        isinstance(n, (int, tirx.IntImm)) and isinstance(s, tirx.IntImm) and int(n) <= int(s)
        for n, s in zip(needed, spatial, strict=True)
    )
    if fits and not any(shape.pads_begin):
        return x

    def element(n: Any, c: Any, *position: Any) -> Any:
        at = [p - before for p, before in zip(position, shape.pads_begin, strict=True)]
        inside = [t for p, size in zip(at, spatial, strict=True) for t in (p >= 0, p < size)]
        return tirx.if_then_else(tirx.all(*inside), x(n, c, *at), tirx.const(0, str(x.dtype)))

    return te.compute((x.shape[0], x.shape[1], *needed), element, name="pad")
