"""How fast a machine is at best: a bound per operation, in microseconds, without compiling.

In: an int8 graph, once, as columns of numbers; then a machine. Out: cycles of each unit and
operation. An operation takes as long as its busiest unit. What the cuts of the compiler cost is
estimated from the sizes of the scratchpads: sums that fit the accumulators at a time, weights that
are loaded again for each tile, inputs again for each block, tensors that stay on the chip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from byoc.vendor_templates.npu.lowering.int8_graph import Conv, Elementwise, Int8Graph, Pool
from byoc.vendor_templates.npu.machine.config import NpuConfig
from byoc.vendor_templates.npu.planning.cycle_model import HAND_OVER

__all__ = ["OperationShapes", "roofline_cycles", "shapes_of", "total"]

Column = npt.NDArray[np.float64]

_STAYS = 0.42  # a tensor of this share of the scratchpad usually stays on the chip
_TILE = 0.3  # share of the scratchpad that one buffer of input takes


@dataclass(frozen=True, slots=True)
class OperationShapes:
    """A graph as columns, one row an operation.

    Args:
        m: Output pixels.
        n: Output channels of one group.
        k: Products of each sum; 0 where the array has nothing to do.
        channels: Input channels of one group.
        groups: Convolutions beside each other; 1 for depthwise ones.
        depthwise: 1 for a depthwise convolution.
        x: Bytes of input.
        y: Bytes of output.
        r: Bytes of a second operand.
        w: Bytes of weights.
        taps: Passes of the vector unit over each output.
        x_border: 1 where the input comes from the host.
        y_border: 1 where the output goes there.
    """

    m: Column
    n: Column
    k: Column
    channels: Column
    groups: Column
    depthwise: Column
    x: Column
    y: Column
    r: Column
    w: Column
    taps: Column
    x_border: Column
    y_border: Column


def shapes_of(graph: Int8Graph) -> OperationShapes:
    """Return a graph as columns.

    Args:
        graph: The graph.
    """
    feeds = {graph.base(b.tensor) for b in graph.feeds}
    results = {graph.base(b.tensor) for b in graph.results}
    rows: list[tuple[float, ...]] = []
    for op in graph.operations:
        reads = graph.reads(op)
        x, y = graph.tensors[reads[0]].nbytes, graph.tensors[op.y].nbytes
        r = graph.tensors[reads[1]].nbytes if len(reads) > 1 else 0
        ends = (reads[0] in feeds, graph.base(op.y) in results)
        if isinstance(op, Conv):
            n, h, w, oc = op.shape_out
            groups = 1 if op.depthwise else op.groups
            k, channels = int(op.weights[0].size), int(op.weights.shape[3])
            rows.append((n * h * w, oc // groups, k, channels, groups, op.depthwise, x, y, r,
                         op.weights.size + 8 * oc, 1, *ends))  # fmt: skip
        elif isinstance(op, Pool):
            n, h, w, oc = op.shape_out
            taps = op.window.kernel[0] * op.window.kernel[1]
            rows.append((n * h * w, oc, 0, oc, 1, 0, x, y, 0, 0, taps, *ends))
        elif isinstance(op, Elementwise):
            m = op.images * op.pixels
            rows.append((m, op.channels, 0, op.channels, 1, 0, x, y, r, 0, 1, *ends))
        else:
            rows.append((1, y, 0, y, 1, 0, y, y, 0, 0, 0, *ends))
    return OperationShapes(*np.array(rows, float).reshape(len(rows), 13).T)


def roofline_cycles(shapes: OperationShapes, config: NpuConfig) -> dict[str, Column]:
    """Return the cycles of each unit for each operation.

    Args:
        shapes: The operations.
        config: The machine.
    """
    s = shapes
    conv = s.k > 0
    k = np.maximum(s.k, 1)
    half = int(config.weight.size) / 2
    # Channels of a block: what fits, but the array's columns, if need be with k cut in chunks.
    fits = np.floor(half / (k + 8) / 16) * 16
    wide = -(-config.array.columns // 16) * 16
    nb = np.where(conv, np.minimum(np.maximum(fits, wide), np.maximum(s.n, 1)), s.n)
    chunks = np.where(s.depthwise > 0, 1, np.ceil(nb * k / np.maximum(half - 8 * nb, half / 4)))
    sums = config.acc_words / 2
    nb = np.where(conv, np.minimum(nb, np.maximum(sums, 16)), nb)
    blocks = np.ceil(s.n / nb) * s.groups
    pixels = np.clip(np.floor(sums / nb), 1, s.m)
    subs = np.where(conv, np.ceil(s.m / pixels), 1)
    pixels = s.m / subs
    compute = np.where(conv, _array_cycles(s, config, nb, k, pixels, subs, blocks, chunks), 0)
    load, store = _copies(s, config, nb, subs, blocks, chunks)
    lanes = s.m * s.taps * np.ceil(nb / config.vector.lanes) * blocks
    vector = lanes + HAND_OVER * subs * blocks
    edge = 2.0 * config.dma.latency + config.array.rows + config.array.columns
    return {"load": load, "compute": compute, "vector": vector, "store": store,
            "edges": np.full_like(s.m, edge)}  # fmt: skip


def total(units: dict[str, Column]) -> int:
    """Return the cycles of all operations together: of each its busiest unit.

    Args:
        units: What `roofline_cycles` returns.
    """
    busiest = np.maximum.reduce([units[name] for name in ("load", "compute", "vector", "store")])
    return round(float((busiest + units["edges"]).sum()))


def _array_cycles(
    s: OperationShapes, config: NpuConfig, nb: Column, k: Column, pixels: Column, subs: Column,
    blocks: Column, chunks: Column,
) -> Column:  # fmt: skip
    array, memory = config.array, config.activation
    across = np.ceil(nb / array.columns)
    steps = subs * blocks
    if array.dataflow == "output-stationary":
        dense = steps * np.ceil(pixels / array.rows) * across * np.maximum(k, array.rows)
    else:
        words = np.ceil(np.minimum(s.channels, array.rows) / memory.word)
        words = words * np.ceil(array.rows / np.minimum(s.channels, array.rows))
        conflict = np.maximum(1, np.ceil(np.minimum(words, array.rows) / memory.banks))
        passes = np.ceil(k / chunks / array.rows) * chunks
        dense = steps * (
            array.rows * chunks + across * passes * np.maximum(pixels * conflict, array.rows)
        )
    diagonal = steps * (array.rows + across * k * pixels)
    return np.where(s.depthwise > 0, diagonal, dense + HAND_OVER * steps * chunks)


def _copies(
    s: OperationShapes, config: NpuConfig, nb: Column, subs: Column, blocks: Column, chunks: Column
) -> tuple[Column, Column]:
    """Cycles of both DMA engines."""
    size = int(config.activation.size)
    x = np.where((s.x <= _STAYS * size) & (s.x_border == 0), 0, s.x)
    y = np.where((s.y <= _STAYS * size) & (s.y_border == 0), 0, s.y)
    r = np.where(s.r <= _STAYS * size / 2, 0, s.r)
    tiles = np.maximum(1, np.ceil(s.x / (_TILE * size)))
    stay = s.w <= int(config.weight.size)
    again = np.minimum(s.w * tiles + x, s.w + x * np.where(tiles > 1, blocks, 1))
    again = np.where(chunks > 1, s.w * subs + x, again)
    loaded = np.where(stay | (s.depthwise > 0), s.w + x, again) + r
    # Blocks of channels are stored as short runs.
    run = np.where(blocks > 1, nb, np.maximum(s.y, 1))
    return _dma(config, loaded, np.full_like(run, 1 << 20)), _dma(config, y, run)


def _dma(config: NpuConfig, size: Column, run: Column) -> Column:
    dma = config.dma
    count = size / run
    beats = count * np.ceil(run / dma.width)
    return np.maximum(beats, count * np.ceil(run / dma.burst) * dma.latency / dma.outstanding)
