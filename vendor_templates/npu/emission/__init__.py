"""Operations -> instructions, given where everything lies and how it is cut.

::

    writer        buffers, constants, copies: what every operation needs
    windows       tiles of convolutions and pools
    conv, blocks  pool  elementwise  moves        one module for each kind of operation
"""

from __future__ import annotations

from byoc.vendor_templates.npu.emission.conv import emit_conv
from byoc.vendor_templates.npu.emission.data_movement import emit_concat, emit_permute
from byoc.vendor_templates.npu.emission.elementwise import emit_elementwise
from byoc.vendor_templates.npu.emission.pooling import emit_pool
from byoc.vendor_templates.npu.emission.writer import ProgramWriter
from byoc.vendor_templates.npu.lowering.int8_graph import (
    Concat,
    Conv,
    Elementwise,
    Int8Graph,
    Permute,
    Pool,
)
from byoc.vendor_templates.npu.machine.config import NpuConfig
from byoc.vendor_templates.npu.planning.memory_layout import MemoryLayout
from byoc.vendor_templates.npu.planning.plans import Settings

__all__ = ["ProgramWriter", "emit"]


def emit(
    graph: Int8Graph, layout: MemoryLayout, config: NpuConfig, settings: Settings
) -> ProgramWriter:
    """Write the program of a graph.

    Args:
        graph: The int8 graph.
        layout: Where its tensors lie and how its operations are cut.
        config: The accelerator.
        settings: What the compiler may do.

    Returns:
        The writer, which has the stream of instructions and the image of the constants.

    Raises:
        CompileError: A tile does not fit its region of the scratchpad.
    """
    writer = ProgramWriter(graph, layout, config, settings)
    for index, op in enumerate(graph.operations):
        writer.begin(index)
        plan = layout.plans[index]
        if isinstance(op, Conv) and plan is not None:
            emit_conv(writer, op, plan)
        elif isinstance(op, Pool) and plan is not None:
            emit_pool(writer, op, plan)
        elif isinstance(op, Elementwise):
            emit_elementwise(writer, op)
        elif isinstance(op, Concat):
            emit_concat(writer, op)
        elif isinstance(op, Permute):
            emit_permute(writer, op)
    return writer
