"""ONNX Runtime as a vendor: a Python-hosted engine that reads ONNX.

The shortest useful vendor: patterns from the shared exporter, compile = export, run = one
session. Copy it for any engine that speaks Python and reads ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from byoc.segment import Artifact, Segment
from byoc.vendor import Pattern, PythonRuntime, Rates, Vendor
from byoc.vendor_templates.onnxruntime.options import OnnxRuntimeOptions
from byoc.vendor_templates.onnxruntime.runtime import init

__all__ = ["VENDOR"]


def _version() -> str:
    try:
        return version("onnxruntime")
    except PackageNotFoundError:
        return "not installed"


def _status() -> str | None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return f"{error}; install it with: pip install 'tvm-byoc[onnxruntime]'"
    return None


def _patterns() -> Sequence[Pattern]:
    from byoc.vendor_templates.onnxruntime.patterns import patterns

    return patterns()


def _choose(options: OnnxRuntimeOptions, patterns: Sequence[Pattern]) -> Sequence[Pattern]:
    return [p for p in patterns if p.name == "opaque"] if options.only_opaque else patterns


def _compile(segment: Segment, options: Any) -> Artifact:
    from byoc.vendor_templates.onnxruntime.compile import compile_segment

    return compile_segment(segment)


VENDOR = Vendor(
    name="onnxruntime",
    version=_version(),
    patterns=_patterns,
    compile=_compile,
    runtime=PythonRuntime(init),
    status=_status,
    options=OnnxRuntimeOptions,
    choose=_choose,
    # One core with AVX-512; every run goes through Python, but shares its arrays.
    rates=Rates(flops=38e9, bytes=12e9, launch=25e-6, border=2e-6, border_bytes=8e9),
)
