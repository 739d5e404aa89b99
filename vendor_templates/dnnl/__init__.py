"""oneDNN on the CPU: convolutions, matrix products, and what lies between them.

README.md lists the ops and their limits, and shows how a vendor is laid out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from byoc.segment import Artifact, Segment
from byoc.vendor import NativeRuntime, Pattern, Vendor

from .options import DnnlOptions

__all__ = ["VENDOR", "DnnlOptions"]

_ONEDNN_PACKAGE = "onednn-cpu-gomp"
_ONEDNN_LIBRARY = "libdnnl.so.3"
_ONEDNN_VERSION = "3.2"
_REVISION = 1  # counts changes of this vendor that make old artifacts differ
_RUNTIME = NativeRuntime("byoc_dnnl")


def _patterns() -> Sequence[Pattern]:
    from .patterns import patterns

    return patterns()


def _compile(segment: Segment, options: DnnlOptions) -> Artifact:
    from .lower import compile_segment

    return compile_segment(segment, options)


def _status() -> str | None:
    """Are our library and oneDNN installed, and does oneDNN load?"""
    try:
        files = metadata.files(_RUNTIME.package) or []
    except metadata.PackageNotFoundError:
        return (
            f"the distribution {_RUNTIME.package} is not installed; pip install {_RUNTIME.package}"
        )
    name = f"lib{_RUNTIME.library}.so"
    ours = [Path(str(f.locate())) for f in files if f.name == name]
    if not any(path.exists() for path in ours):
        return (
            f"{name} is not installed; it is built with byoc when onednn-devel-cpu-gomp is there: "
            f"pip install --force-reinstall --no-deps {_RUNTIME.package}"
        )
    try:
        onednn = [
            Path(str(f.locate()))
            for f in metadata.files(_ONEDNN_PACKAGE) or []
            if f.name == _ONEDNN_LIBRARY
        ]
    except metadata.PackageNotFoundError:
        return f"oneDNN is not installed; pip install {_ONEDNN_PACKAGE}==2023.2.0"
    for path in onednn:
        if path.exists():
            try:
                ctypes.CDLL(str(path.resolve()))
            except OSError as error:
                return f"{path.name} does not load: {error}"
            return None
    return (
        f"{_ONEDNN_LIBRARY} is missing; pip install --force-reinstall {_ONEDNN_PACKAGE}==2023.2.0"
    )


VENDOR = Vendor(
    name="dnnl",
    version=f"{_ONEDNN_VERSION}.{_REVISION}",
    patterns=_patterns,
    compile=_compile,
    runtime=_RUNTIME,
    status=_status,
    options=DnnlOptions,
)
