"""Segment -> program, pass by pass.

In: a segment that the checks of patterns.py let through. Out: an artifact, which holds the program
(`machine.program`) and its constants::

    Segment ─lower─▶ Int8Graph ─fuse─▶ Int8Graph ─lay out─▶ MemoryLayout
                                                          └─emit─▶ instructions, constants

`compile_segment` is the vendor's hook; `build` is the same for a graph made by hand.
"""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

from byoc.errors import CompileError, ModelError
from byoc.segment import Artifact, Segment
from byoc.vendor_templates.npu.emission import emit
from byoc.vendor_templates.npu.isa.instructions import encode
from byoc.vendor_templates.npu.lowering import lower
from byoc.vendor_templates.npu.lowering.fuse import fuse
from byoc.vendor_templates.npu.lowering.int8_graph import Border, Int8Graph
from byoc.vendor_templates.npu.machine.config import NpuConfig, load_config
from byoc.vendor_templates.npu.machine.program import NpuProgram, encode_program
from byoc.vendor_templates.npu.machine.simulator import Counters, time_code, validate_code
from byoc.vendor_templates.npu.options import NpuOptions
from byoc.vendor_templates.npu.planning.memory_layout import MemoryLayout, lay_out_memory
from byoc.vendor_templates.npu.planning.plans import Settings

__all__ = ["build", "compile_segment", "measure"]


def compile_segment(segment: Segment, options: NpuOptions) -> Artifact:
    """Compile one segment.

    Args:
        segment: The segment.
        options: The vendor's options; `config` names the machine.

    Raises:
        CompileError: An op cannot be compiled (the message names it), or a fault was injected.
    """
    for fault in options.faults:
        if fault.kind == "refuse" and fnmatch(segment.name, fault.segment):
            raise CompileError(f"npu: segment {segment.name!r}: refused (injected fault)")
    config = load_config(options.config)
    graph = lower(segment)
    fused = fuse(graph)
    settings = Settings(options.double_buffer, options.residency)
    program, layout = build(graph, config, settings)
    counters = measure(program)
    assert program.constants is not None
    return Artifact(
        segment.name,
        segment.vendor,
        encode_program(program),
        (program.constants,),
        _notes(config, graph, layout, counters, fused),
    )


def build(
    graph: Int8Graph, config: NpuConfig, settings: Settings | None = None
) -> tuple[NpuProgram, MemoryLayout]:
    """Lay out and emit a graph, and validate the program.

    Args:
        graph: The int8 graph.
        config: The accelerator.
        settings: What the compiler may do; None: everything.

    Raises:
        CompileError: An operation does not fit the machine.
    """
    settings = settings or Settings()
    layout = lay_out_memory(graph, config, settings)
    writer = emit(graph, layout, config, settings)
    image = writer.image()
    program = NpuProgram(
        segment=graph.name,
        config=config,
        code=encode(writer.stream.finish()),
        constant_bytes=image.size,
        work_bytes=layout.work_bytes,
        inputs=graph.inputs,
        outputs=graph.outputs,
        feeds=tuple(_border(graph, layout, b) for b in graph.feeds),
        results=tuple(_border(graph, layout, b) for b in graph.results),
        operations=tuple(
            (op.source, start) for op, start in zip(graph.operations, writer.starts, strict=True)
        ),
        constants=image,
    )
    try:
        validate_code(config, program.code, program.constant_bytes, program.work_bytes)
    except ModelError as error:
        raise CompileError(
            f"npu: internal error: segment {graph.name!r} compiled to an illegal program: {error}"
        ) from error
    return program, layout


def measure(program: NpuProgram, trace: bool = False) -> Counters:
    """Return cycles and counters of a program, as the simulator's cycle model has them.

    Args:
        program: The program.
        trace: Also keep when every instruction began and ended.
    """
    return time_code(
        program.config, program.code, program.constant_bytes, program.work_bytes, trace
    )


def _border(graph: Int8Graph, layout: MemoryLayout, border: Border) -> dict[str, Any]:
    return {
        "argument": border.argument,
        "offset": layout.work[graph.base(border.tensor)],
        "shape": border.shape,
        "order": border.order,
        "dtype": border.dtype,
        "scale": border.scale,
        "zero": border.zero,
    }


def _notes(
    config: NpuConfig, graph: Int8Graph, layout: MemoryLayout, counters: Counters, fused: int
) -> tuple[str, ...]:
    milliseconds = counters.cycles / (config.clock_mhz * 1e3)
    return (
        f"{len(graph.operations)} operations, {fused} fused, {len(layout.resident)} resident",
        f"{counters.cycles} cycles = {milliseconds:.3f} ms at {config.clock_mhz:g} MHz",
        f"MAC utilisation {100 * counters.utilisation(config):.1f} %",
        f"{counters.bytes_loaded} bytes loaded, {counters.bytes_stored} stored",
    )
