"""A sample int8 accelerator: it computes, it can be timed, and it can be made to fail.

docs/npu.md specifies the machine; README.md shows how this folder is laid out.
"""

from __future__ import annotations

from collections.abc import Sequence

from byoc.design import DesignSpace, ModelSegments
from byoc.segment import Artifact, Segment
from byoc.vendor import NativeRuntime, Pattern, Rates, Vendor
from byoc.vendor_templates.npu.options import NpuOptions

__all__ = ["VENDOR", "NpuOptions"]


def _patterns() -> Sequence[Pattern]:
    from byoc.vendor_templates.npu.patterns import patterns

    return patterns()


def _compile(segment: Segment, options: NpuOptions) -> Artifact:
    from byoc.vendor_templates.npu.compile import compile_segment

    return compile_segment(segment, options)


def _status() -> str | None:
    from byoc.vendor_templates.npu.machine.simulator import library_status

    return library_status()


def _design(models: ModelSegments, options: NpuOptions) -> DesignSpace:
    from byoc.vendor_templates.npu.dse import design

    return design(models, options)


VENDOR = Vendor(
    name="npu",
    version="2.0",
    patterns=_patterns,
    compile=_compile,
    runtime=NativeRuntime("byoc_npu"),
    status=_status,
    options=NpuOptions,
    design=_design,
    processor="npu",
    # The default machine of npu.yaml: 256 MACs per cycle, 16 bytes per cycle, its link.
    rates=Rates(flops=256e9, bytes=8e9, launch=10e-6, border=5e-6, border_bytes=4e9),
)
