"""OpenVINO as a vendor: a Python-hosted engine that reads ONNX.

Patterns come from the shared ONNX exporter, compiling means exporting and letting the engine read
the result, running means one compiled model with a request for each call in flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from byoc.segment import Artifact, Segment
from byoc.vendor import Pattern, PythonRuntime, Vendor
from byoc.vendor_templates.openvino.options import OpenVinoOptions
from byoc.vendor_templates.openvino.runtime import init

__all__ = ["VENDOR"]


def _version() -> str:
    try:
        return version("openvino")
    except PackageNotFoundError:
        return "not installed"


def _status() -> str | None:
    try:
        import openvino  # noqa: F401
    except ImportError as error:
        return f"{error}; install it with: pip install 'tvm-byoc[openvino]'"
    return None


def _precision(options: OpenVinoOptions, precision: str) -> str | None:
    import openvino

    can = openvino.Core().get_property(options.device, "OPTIMIZATION_CAPABILITIES")
    name = {"bf16": "BF16", "f16": "FP16"}[precision]
    if name in can:
        return None
    return f"device {options.device!r} computes in {', '.join(sorted(can))}, not in {name}"


def _patterns() -> Sequence[Pattern]:
    from byoc.vendor_templates.openvino.patterns import patterns

    return patterns()


def _compile(segment: Segment, options: Any) -> Artifact:
    from byoc.vendor_templates.openvino.compile import compile_segment

    return compile_segment(segment, options)


VENDOR = Vendor(
    name="openvino",
    version=_version(),
    patterns=_patterns,
    compile=_compile,
    runtime=PythonRuntime(init, blob_view=True),
    status=_status,
    options=OpenVinoOptions,
    precision=_precision,
)
