"""Running compiled models: sessions, and the files they are kept in.

Needs tvm-ffi and byoc's own library, never TVM's compiler.
"""

from byoc.report.profile import Profile
from byoc.report.times import TaskTime
from byoc.runtime.fallback import Fault
from byoc.runtime.io.cpu import cpu_features
from byoc.runtime.io.loading import load_program
from byoc.runtime.io.saving import save_program
from byoc.runtime.memory import Memory
from byoc.runtime.native import num_threads, set_num_threads
from byoc.runtime.plan import Plan
from byoc.runtime.program import (
    Healing,
    HostModule,
    Isolation,
    Program,
    Target,
    Twin,
    VendorUse,
    VmProgram,
    VmTwin,
)
from byoc.runtime.request_queue import DeadlineError, Future, QueueFullError
from byoc.runtime.session import Session
from byoc.segment import PortType

__all__ = [
    "DeadlineError",
    "Fault",
    "Future",
    "Healing",
    "HostModule",
    "Isolation",
    "Memory",
    "Plan",
    "PortType",
    "Profile",
    "Program",
    "QueueFullError",
    "Session",
    "Target",
    "TaskTime",
    "Twin",
    "VendorUse",
    "VmProgram",
    "VmTwin",
    "cpu_features",
    "load_program",
    "num_threads",
    "save_program",
    "set_num_threads",
]
