"""Bring Your Own Codegen for a stock apache-tvm: split a model, offload it, run it, ship it.

Names are imported when first used, so that ``import byoc`` is quick and ``byoc.load`` never
imports TVM.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byoc.compiler import compile, partition_model
    from byoc.errors import (
        ArtifactError,
        ByocError,
        CompileError,
        ExecutionError,
        InputError,
        LockError,
        ModelError,
        OptionError,
        VendorError,
    )
    from byoc.executable import Executable, load
    from byoc.partition import PartitionReport, PartitionResult, Policy, Rule
    from byoc.plugins.discovery import VendorInfo, vendors
    from byoc.runtime import set_num_threads
    from byoc.segment import Artifact, Composite, Node, Segment, TensorType
    from byoc.vendor import Match, NativeRuntime, Pattern, PythonRuntime, Reject, Vendor

__all__ = [
    "Artifact",
    "ArtifactError",
    "ByocError",
    "CompileError",
    "Composite",
    "Executable",
    "ExecutionError",
    "InputError",
    "LockError",
    "Match",
    "ModelError",
    "NativeRuntime",
    "Node",
    "OptionError",
    "PartitionReport",
    "PartitionResult",
    "Pattern",
    "Policy",
    "PythonRuntime",
    "Reject",
    "Rule",
    "Segment",
    "TensorType",
    "Vendor",
    "VendorError",
    "VendorInfo",
    "compile",
    "load",
    "partition_model",
    "set_num_threads",
    "vendors",
]

_HOMES = {
    "byoc.compiler": ("compile", "partition_model"),
    "byoc.plugins.discovery": ("VendorInfo", "vendors"),
    "byoc.executable": ("Executable", "load"),
    "byoc.partition": ("PartitionReport", "PartitionResult", "Policy", "Rule"),
    "byoc.runtime": ("set_num_threads",),
    "byoc.segment": ("Artifact", "Composite", "Node", "Segment", "TensorType"),
    "byoc.vendor": ("Match", "NativeRuntime", "Pattern", "PythonRuntime", "Reject", "Vendor"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'byoc' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "byoc.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
