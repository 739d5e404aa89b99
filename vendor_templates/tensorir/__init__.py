"""Products of integers by one instruction of the CPU, as kernels that byoc compiles with its own.

An example of a vendor that has an instruction and no library; README.md shows how to describe one.
"""

from __future__ import annotations

from collections.abc import Sequence

from byoc.segment import HostArtifact, Segment
from byoc.vendor import HostRuntime, Pattern, Rates, Vendor
from byoc.vendor_templates.tensorir.options import TensorirOptions

__all__ = ["VENDOR", "TensorirOptions"]


def _patterns() -> Sequence[Pattern]:
    from byoc.vendor_templates.tensorir.patterns import patterns

    return patterns()


def _compile(segment: Segment, options: TensorirOptions) -> HostArtifact:
    from byoc.vendor_templates.tensorir.compile import compile_segment

    return compile_segment(segment, options)


VENDOR = Vendor(
    name="tensorir",
    version="0.1",
    patterns=_patterns,
    compile=_compile,
    runtime=HostRuntime(),
    options=TensorirOptions,
    # One core with AVX512_VNNI; its kernels lie in the model's plan, so that borders are free.
    rates=Rates(flops=300e9, bytes=12e9, border=0.0, border_bytes=float("inf")),
)
