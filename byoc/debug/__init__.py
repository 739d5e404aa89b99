"""Debugging vendors: which op of a model is wrong, NaN, crashes, hangs or is slow.

    found = byoc.debug.find("model.onnx", ["acme"])      gaps, and the culprits
    write_bundle("fault.byocbug", found)                 one file, for the vendor's author
    byoc.debug.replay("fault.byocbug")                   the fault again, without the model

The command line has the same as ``byoc debug``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byoc.support.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from byoc.debug.bundle import read_bundle, write_bundle
    from byoc.debug.diagnosis import Culprit, Diagnosis
    from byoc.debug.finding import examine, find, prepare
    from byoc.debug.replaying import replay

__all__ = [
    "Culprit",
    "Diagnosis",
    "examine",
    "find",
    "prepare",
    "read_bundle",
    "replay",
    "write_bundle",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "byoc.debug.bundle": ("read_bundle", "write_bundle"),
        "byoc.debug.diagnosis": ("Culprit", "Diagnosis"),
        "byoc.debug.finding": ("examine", "find", "prepare"),
        "byoc.debug.replaying": ("replay",),
    },
)
