"""oneDNN on the CPU: convolutions, matrix products, and what lies between them.

README.md lists the ops and their limits, and shows how a vendor is laid out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from byoc.segment import Artifact, Segment
from byoc.vendor import NativeRuntime, Pattern, Rates, Rewrite, Vendor
from byoc.vendor_templates.dnnl.options import DnnlOptions

__all__ = ["VENDOR", "DnnlOptions"]

_ONEDNN_PACKAGE = "onednn-cpu-gomp"
_ONEDNN_RELEASE = "2023.2.0"
_ONEDNN_LIBRARY = "libdnnl.so.3"
_ONEDNN_VERSION = "3.2"
_REVISION = 3  # counts changes of this vendor that make old artifacts differ
_RUNTIME = NativeRuntime("byoc_dnnl")


def _patterns() -> Sequence[Pattern]:
    from byoc.vendor_templates.dnnl.patterns import patterns

    return patterns()


def _rewrites() -> Sequence[Rewrite]:
    from byoc.kit.rewrites import dense_rewrites

    return dense_rewrites()


def _compile(segment: Segment, options: DnnlOptions) -> Artifact:
    from byoc.vendor_templates.dnnl.compile import compile_segment

    return compile_segment(segment, options)


def _status() -> str | None:
    """Is oneDNN installed, and does it load? (byoc itself looks for our own library.)"""
    try:
        found = _installed(_ONEDNN_PACKAGE, _ONEDNN_LIBRARY)
    except metadata.PackageNotFoundError:
        return f"oneDNN is not installed; pip install {_ONEDNN_PACKAGE}=={_ONEDNN_RELEASE}"
    if not found:
        return (
            f"{_ONEDNN_LIBRARY} is missing; "
            f"pip install --force-reinstall {_ONEDNN_PACKAGE}=={_ONEDNN_RELEASE}"
        )
    try:
        ctypes.CDLL(str(found[0]))
    except OSError as error:
        return f"{_ONEDNN_LIBRARY} does not load: {error}"
    return None


def _precision(options: DnnlOptions, precision: str) -> str | None:
    if precision != "bf16":
        return "it computes in float32 and bfloat16 alone"
    from byoc.tir.target import host_machine

    if "avx512bf16" in host_machine().features:
        return None
    return "this CPU has no bfloat16 instructions (AVX512_BF16)"


def _installed(package: str, name: str) -> list[Path]:
    """Files of this name that a distribution has brought and that exist."""
    paths = [Path(str(f.locate())) for f in metadata.files(package) or [] if f.name == name]
    return [path.resolve() for path in paths if path.exists()]


VENDOR = Vendor(
    name="dnnl",
    version=f"{_ONEDNN_VERSION}.{_REVISION}",
    patterns=_patterns,
    compile=_compile,
    runtime=_RUNTIME,
    status=_status,
    options=DnnlOptions,
    rewrites=_rewrites,
    precision=_precision,
    default=True,
    # One core with AVX-512; a border reorders between plain and blocked layouts.
    rates=Rates(flops=40e9, bytes=12e9, launch=3e-6, border=1e-6, border_bytes=4e9),
)
