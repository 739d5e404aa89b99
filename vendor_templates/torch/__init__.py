"""PyTorch as a vendor: a Python-hosted engine for operators of torch that Relax cannot express.

It takes nothing else. `byoc.compile` adds it by itself to a model of PyTorch that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from byoc.segment import Artifact, Segment
from byoc.vendor import Pattern, PythonRuntime, Rates, Vendor
from byoc.vendor_templates.torch.options import TorchOptions
from byoc.vendor_templates.torch.runtime import init

__all__ = ["VENDOR"]


def _version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return "not installed"


def _status() -> str | None:
    if find_spec("torch") is None:
        return "PyTorch is not installed; install it with: pip install 'tvm-byoc[torch]'"
    return None


def _patterns() -> Sequence[Pattern]:
    from byoc.vendor_templates.torch.patterns import patterns

    return patterns()


def _compile(segment: Segment, options: Any) -> Artifact:
    from byoc.vendor_templates.torch.compile import compile_segment

    return compile_segment(segment)


VENDOR = Vendor(
    name="torch",
    version=_version(),
    patterns=_patterns,
    compile=_compile,
    runtime=PythonRuntime(init),
    status=_status,
    options=TorchOptions,
    # One core; every operator goes through Python and torch's dispatcher.
    rates=Rates(flops=30e9, bytes=10e9, launch=30e-6, border=7e-6, border_bytes=8e9),
)
