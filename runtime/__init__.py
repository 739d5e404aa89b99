"""Running compiled models: sessions, and the files they are kept in.

Needs tvm-ffi and byoc's own library, never TVM's compiler.
"""

from .cpu import cpu_features
from .healing import Fault
from .loading import load_program
from .memory import Memory
from .native import num_threads, set_num_threads
from .plan import Plan
from .profile import Profile, TaskTime
from .program import (
    Healing,
    HostModule,
    Isolation,
    PortType,
    Program,
    Target,
    Twin,
    VendorUse,
    VmProgram,
    VmTwin,
)
from .requests import DeadlineError, Future, QueueFullError
from .saving import save_program
from .session import Session

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
