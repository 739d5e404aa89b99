"""How a pooling is cut into tiles that fit the activation scratchpad; chosen by the cycle model.

A pooling has no weights, so blocks of channels are independent and each is loaded by itself, as for
a depthwise convolution::

    for block of nb channels: for tile of th x tw outputs: load; pool; store

Every combination of tile and block is timed, and the cheapest that fits is taken.
"""

from __future__ import annotations

from byoc.errors import CompileError
from byoc.vendor_templates.npu.lowering.int8_graph import Pool
from byoc.vendor_templates.npu.machine.config import NpuConfig
from byoc.vendor_templates.npu.planning.cycle_model import HAND_OVER, ceil_div, tile_copy_cycles
from byoc.vendor_templates.npu.planning.plans import (
    Resident,
    Settings,
    StepCycles,
    WindowPlan,
    align,
    block_sizes,
    tile_input,
    tile_sizes,
)

__all__ = ["plan_pool"]


def plan_pool(
    config: NpuConfig, op: Pool, region: int, resident: Resident, settings: Settings
) -> WindowPlan:
    """Return the cheapest cut of a pooling whose buffers fit the scratchpad.

    Args:
        config: The accelerator.
        op: The pooling.
        region: Bytes of the activation scratchpad that are free for buffers.
        resident: Which of its tensors need no buffers.
        settings: What the compiler may do.

    Raises:
        CompileError: One window of sixteen channels does not fit `region`.
    """
    images, h, w, c = op.shape_in
    _, oh, ow, _ = op.shape_out
    best: WindowPlan | None = None
    for nb in block_sizes(c):
        blocks = ceil_div(c, nb)
        for tw in tile_sizes(ow):
            for th in tile_sizes(oh):
                tiles = images * ceil_div(oh, th) * ceil_div(ow, tw) * blocks
                rows = tile_input(op.window, 0, th, h)
                cols = tile_input(op.window, 1, tw, w)
                buffers = min(tiles, settings.buffers)
                x_bytes = 0 if resident.x else align(rows * cols * nb)
                y_bytes = 0 if resident.y else align(th * tw * nb)
                if buffers * (x_bytes + y_bytes) > region:
                    continue
                x_copy = y_copy = 0
                if not resident.x:
                    x_copy = tile_copy_cycles(config, tile=(rows, cols, nb), tensor=(w, c))
                if not resident.y:
                    y_copy = tile_copy_cycles(config, tile=(th, tw, nb), tensor=(ow, c))
                taps = op.window.kernel[0] * op.window.kernel[1] + (op.table is not None)
                pooled = th * tw * taps * ceil_div(nb, config.vector.lanes) + HAND_OVER
                step = StepCycles(
                    load=tiles * x_copy,
                    compute=0,
                    vector=tiles * pooled,
                    store=tiles * y_copy,
                    edges=x_copy + y_copy + pooled,
                )
                cycles = step.total(settings.double_buffer)
                if best is None or cycles < best.cycles:
                    best = WindowPlan(
                        th=th,
                        tw=tw,
                        ah=th,
                        nb=nb,
                        kc=0,
                        order="blocks",
                        weights_stay=True,
                        x_buffers=0 if resident.x else buffers,
                        y_buffers=buffers,
                        x_bytes=x_bytes,
                        y_bytes=y_bytes,
                        r_bytes=0,
                        cycles=cycles,
                        region=region,
                    )
    if best is None:
        kh, kw = op.window.kernel
        raise CompileError(
            f"npu: op {op.source!r}: a pooling window of {kh}x{kw} pixels does not fit the "
            f"activation scratchpad: {region} bytes are free"
        )
    return best
