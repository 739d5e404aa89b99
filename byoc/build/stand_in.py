"""Stand-ins for vendors: segments are placed as ever, and a function of ours answers their calls.

    main ──▶ dnnl_0(x) ──▶ answer(segment, inputs, outputs) ──▶ main

So whatever calls segments is followed, branches and symbolic shapes too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from byoc.plugins.discovery import Requested
from byoc.segment import Array, Artifact, Segment
from byoc.vendor import PythonRuntime

__all__ = ["Answer", "stand_in"]

Answer = Callable[[Segment, Sequence[Array], Sequence[Array]], None]
"""(segment, inputs, outputs): writes the outputs of one call."""


def stand_in(request: Requested, segments: Sequence[Segment], answer: Answer) -> Requested:
    """Replace a vendor by a function, on the CPU's queue.

    Args:
        request: The vendor that was asked for.
        segments: The segments of the model.
        answer: What is called instead of them.
    """
    by_name = {segment.name: segment for segment in segments}

    def compile_segment(segment: Segment, options: Any) -> Artifact:
        return Artifact(segment.name, segment.vendor, segment.name.encode())

    def init(blob: bytes, constants: Sequence[Array], options: Any) -> Callable[..., None]:
        return partial(answer, by_name[blob.decode()])

    vendor = replace(
        request.vendor, compile=compile_segment, runtime=PythonRuntime(init), processor="cpu"
    )
    return replace(request, vendor=vendor)
