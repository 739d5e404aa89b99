"""Bring Your Own Codegen for a stock apache-tvm: split a model, offload it, run it, ship it.

Names are imported when first used, so that ``import byoc`` is quick and ``byoc.load`` never
imports TVM. TVM never imports torch on its own account, unless the program has.
"""

from __future__ import annotations

from byoc.support import block_torch_import, moved_modules
from byoc.support.lazy_exports import lazy_exports

TYPE_CHECKING = (
    False  # type checkers take it for true; `typing` is half of the time of `import byoc`
)
if TYPE_CHECKING:
    from byoc.compiler import compile, partition_model
    from byoc.errors import (
        ArtifactError,
        ByocError,
        CompileError,
        ExecutionError,
        InputError,
        InternalError,
        LockError,
        ModelError,
        OptionError,
        VendorError,
    )
    from byoc.executable import Executable, load
    from byoc.partition import PartitionResult, Policy, Rule
    from byoc.plugins.discovery import VendorInfo, vendors
    from byoc.report.partition_report import PartitionReport
    from byoc.runtime import set_num_threads
    from byoc.segment import (
        Artifact,
        Composite,
        HostArtifact,
        KernelCall,
        Node,
        Requires,
        Segment,
        TensorType,
    )
    from byoc.vendor import (
        Equipment,
        HostRuntime,
        LibraryRuntime,
        Match,
        NativeRuntime,
        Pattern,
        PythonRuntime,
        Reject,
        SegmentContext,
        Vendor,
    )

__all__ = [
    "Artifact",
    "ArtifactError",
    "ByocError",
    "CompileError",
    "Composite",
    "Equipment",
    "Executable",
    "ExecutionError",
    "HostArtifact",
    "HostRuntime",
    "InputError",
    "InternalError",
    "KernelCall",
    "LibraryRuntime",
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
    "Requires",
    "Rule",
    "Segment",
    "SegmentContext",
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

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "byoc.compiler": ("compile", "partition_model"),
        "byoc.errors": (
            "ArtifactError",
            "ByocError",
            "CompileError",
            "ExecutionError",
            "InputError",
            "InternalError",
            "LockError",
            "ModelError",
            "OptionError",
            "VendorError",
        ),
        "byoc.executable": ("Executable", "load"),
        "byoc.partition": ("PartitionResult", "Policy", "Rule"),
        "byoc.plugins.discovery": ("VendorInfo", "vendors"),
        "byoc.report.partition_report": ("PartitionReport",),
        "byoc.runtime": ("set_num_threads",),
        "byoc.segment": (
            "Artifact",
            "Composite",
            "HostArtifact",
            "KernelCall",
            "Node",
            "Requires",
            "Segment",
            "TensorType",
        ),
        "byoc.vendor": (
            "Equipment",
            "HostRuntime",
            "LibraryRuntime",
            "Match",
            "NativeRuntime",
            "Pattern",
            "PythonRuntime",
            "Reject",
            "SegmentContext",
            "Vendor",
        ),
    },
)

moved_modules.install()
block_torch_import.leave_torch_out()
