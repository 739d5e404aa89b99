"""`Program`: everything needed to run a compiled model, in memory and in a .byoc file.

::

    compiler ──▶ Program ──save_program──▶ model.byoc ──load_program──▶ Program
                    └───────────────▶ Session(program).run(…) ◀────────────┘

A program holds one *body*, which says how the calls are made: a `Plan` when every shape is
known, else a `VmProgram` (bytecode of the Relax VM, for symbolic shapes and control flow).
Both call the same two kinds of function: host kernels (`host`) and segments (`artifacts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pydantic

from byoc.errors import OptionError
from byoc.runtime.plan import Plan
from byoc.segment import Array, Artifact, PortType
from byoc.vendor import NativeRuntime, PythonRuntime

__all__ = [
    "REPORT_MEMBER",
    "VM_BODY",
    "VM_TWIN",
    "Healing",
    "HostModule",
    "Isolation",
    "Program",
    "Target",
    "Twin",
    "VendorUse",
    "VmProgram",
    "VmTwin",
]

REPORT_MEMBER = "report.json"
"""The member of an artifact (and key of `Program.extras`) that holds the partition report."""


@dataclass(frozen=True, slots=True)
class Target:
    """The machine the host library was compiled for.

    triple: as LLVM spells it ("x86_64-unknown-linux-gnu"). cpu: LLVM's CPU name, for messages.
    features: CPU features the host library may use, as LLVM spells them ("avx512f", "sse4.2");
        loading on a CPU that lacks one is refused. Take them from `byoc.runtime.cpu_features()`.
    """

    triple: str
    cpu: str = ""
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VmProgram:
    """The body of a dynamic model: `host` is a Relax VM executable.

    entry: the VM function to call, ``entry(*inputs, *constants)``; it returns one tensor or a
        (nested) tuple of them, flattened into `Program.outputs`. `Program.constants` may be empty:
        the executable can hold its own. Segments are called by name with ``call_dps_packed``.
    """

    entry: str = "main"
    version: int = 1


@dataclass(frozen=True, slots=True)
class VendorUse:
    """A vendor as this program uses it: its version, checked options and runtime."""

    version: str
    options: Mapping[str, Any]
    runtime: NativeRuntime | PythonRuntime
    processor: str = "cpu"


@dataclass(frozen=True, eq=False)
class Twin:
    """A segment compiled for the host: it takes over when the vendor fails.

    plan: host kernels of `Program.host` only; its ports are the segment's inputs and outputs.
    """

    plan: Plan
    constants: tuple[Array, ...] = ()

    @property
    def outputs(self) -> int:
        """How many tensors it writes."""
        return len(self.plan.outputs)


@dataclass(frozen=True, eq=False)
class VmTwin:
    """The twin of a segment of a VM program: a function of the same executable.

    entry: ``entry(*inputs, *constants)`` returns `outputs` tensors, of any shape the segment has.
    """

    entry: str
    outputs: int
    constants: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True)
class Healing:
    """What counts as a failure of a segment that has a host twin.

    An error of the vendor always does. failures: so many, and the twin takes over for good.
    deadline: seconds one call may take (on copies of its tensors, in a thread of its own; a vendor
    out of process is killed); None: as long as it likes. check_nan: NaN in an output is a failure.
    refusals: a segment that its vendor refuses to build or to load is left to its twin, which is
    recorded, instead of an error.
    """

    failures: int = 3
    deadline: float | None = None
    check_nan: bool = False
    refusals: bool = True

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise OptionError(f"Healing.failures must be 1 or more, found {self.failures!r}")
        if self.deadline is not None and not 0 < self.deadline < 1e6:
            raise OptionError(
                f"Healing.deadline must be seconds above 0, or None, found {self.deadline!r}"
            )


@dataclass(frozen=True, slots=True)
class Isolation:
    """Which vendors run out of process, each in one of its own per session, and within what limits.

    vendors: their names; None: all. deadline: seconds one call may take before its process is
    killed; None: as long as it likes (or as `Healing.deadline` says). memory: bytes of private
    memory a process may take, beyond which it gets none; None: no limit. start: seconds a process
    may take to load its segments.
    """

    vendors: tuple[str, ...] | None = None
    deadline: float | None = None
    memory: int | None = None
    start: float = 120.0

    def __post_init__(self) -> None:
        for name in ("deadline", "start"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < 1e6:
                raise OptionError(f"Isolation.{name} must be seconds above 0, found {seconds!r}")
        if self.memory is not None and self.memory < 1:
            raise OptionError(f"Isolation.memory must be bytes above 0, found {self.memory!r}")


class HostModule(Protocol):
    """The host library while it exists in memory only."""

    @property
    def module(self) -> Any:
        """A `tvm_ffi.Module` (or `tvm.runtime.Executable`): kernels by name, or a VM executable."""
        ...

    def export(self) -> bytes:
        """The same library as the bytes of a shared object; called when the program is saved."""
        ...


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled model.

    name: the model's name. inputs, outputs: the model's ports, in order; those of a `Plan` have
        the same names in the same order.
    body: how to run. host: bytes of a .so, a module in memory, or None when no host kernel is left.
    artifacts: one per segment; `Artifact.segment` is the name the body calls it by.
    vendors: every vendor that an artifact names.
    constants: what "constant" tensors of the plan point at (C-contiguous arrays), in order; for a
        VM program the arguments that follow the inputs.
    segment_outputs: segment name → number of its outputs; needed for segments of Python-hosted
        vendors in a VM program (a plan tells it anyway).
    target: what the host library needs; None when there is none.
    twins: segment name → its host twin. healing: when they take over. isolation: vendors out of
        process; None: none.
    refused: segment name → why its vendor did not build it; its twin is all there is.
    extras: further members of the artifact, carried and verified but not needed to run
        ("report.json" → bytes).
    shapes: of a VM program: sizes of its symbolic dimensions → a static program for them.
    buckets, fill: dimension → sizes that calls may be padded to, input → what with; see
        `byoc.specialise.Specialise`.
    """

    name: str
    inputs: tuple[PortType, ...]
    outputs: tuple[PortType, ...]
    body: Plan | VmProgram
    host: bytes | HostModule | None = None
    artifacts: tuple[Artifact, ...] = ()
    vendors: Mapping[str, VendorUse] = field(default_factory=dict)
    constants: tuple[Array, ...] = ()
    segment_outputs: Mapping[str, int] = field(default_factory=dict)
    target: Target | None = None
    twins: Mapping[str, Twin | VmTwin] = field(default_factory=dict)
    healing: Healing = field(default_factory=Healing)
    isolation: Isolation | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, bytes] = field(default_factory=dict)
    shapes: tuple[tuple[Mapping[str, int], Program], ...] = ()
    buckets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    fill: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_static(self) -> bool:
        """True when the body is a plan."""
        return isinstance(self.body, Plan)

    @property
    def output_counts(self) -> dict[str, int]:
        """Number of outputs of every segment, as far as plan and `segment_outputs` tell."""
        counts = dict(self.segment_outputs)
        for task in self.body.tasks if isinstance(self.body, Plan) else ():
            if task.kind == "segment":
                counts[task.function] = task.outputs
        return counts


VM_BODY = pydantic.TypeAdapter(VmProgram)
"""A `VmProgram` as JSON, in files."""

VM_TWIN = pydantic.TypeAdapter(tuple[str, int])
"""Of a `VmTwin` what is not its constants: entry and outputs, as JSON."""
