"""`Program`: everything needed to run a compiled model, in memory and in a .byoc file.

::

    compiler ──▶ Program ──save_program──▶ model.byoc ──load_program──▶ Program
                    └───────────────▶ Session(program).run(…) ◀────────────┘

A program holds one *body*, which says how the calls are made: a `Plan` when every shape is
known, else a `VmProgram` (bytecode of the Relax VM, for symbolic shapes and control flow).
Both call the same two kinds of function: host kernels (`host`) and segments (`artifacts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol

import pydantic

from byoc.errors import OptionError
from byoc.runtime.plan import Plan
from byoc.segment import Array, Artifact, PortType, SegmentSignature
from byoc.vendor import Runtime

__all__ = [
    "REPORT_MEMBER",
    "Healing",
    "HostModule",
    "Isolation",
    "PortCounts",
    "Program",
    "Target",
    "Twin",
    "VendorUse",
    "VmProgram",
    "VmTwin",
    "vm_body",
    "vm_twin",
]

REPORT_MEMBER = "report.json"
"""The member of an artifact (and key of `Program.extras`) that holds the partition report."""


@dataclass(frozen=True, slots=True)
class Target:
    """The machine the host library was compiled for.

    Args:
        triple: As LLVM spells it ("x86_64-unknown-linux-gnu").
        cpu: LLVM's name of the CPU, for messages.
        features: CPU features the host library may use, as LLVM spells them ("avx512f", "sse4.2");
            loading on a CPU that lacks one is refused. Take them from
            `byoc.runtime.cpu_features()`.
    """

    triple: str
    cpu: str = ""
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VmProgram:
    """The body of a dynamic model: `host` is a Relax VM executable.

    `Program.constants` may be empty: the executable can hold its own. Segments are called by name
    with ``call_dps_packed``.

    Args:
        entry: The VM function to call, ``entry(*inputs, *constants)``; it returns one tensor or a
            (nested) tuple of them, flattened into `Program.outputs`.
        version: Of this format.
    """

    entry: str = "main"
    version: int = 1


class PortCounts(NamedTuple):
    """How many inputs and outputs a segment has; None where a program does not say."""

    inputs: int | None
    outputs: int | None


@dataclass(frozen=True, slots=True)
class VendorUse:
    """A vendor as this program uses it.

    Args:
        version: The vendor's version when the program was compiled.
        options: Its options, checked and complete, as JSON holds them.
        runtime: How its artifacts become functions.
        processor: Name of the processor that its segments run on.
    """

    version: str
    options: Mapping[str, Any]
    runtime: Runtime
    processor: str = "cpu"


@dataclass(frozen=True, eq=False)
class Twin:
    """A fallback: a segment compiled for the host, which answers when the vendor fails.

    (Files and the public interface call fallbacks *twins*.)

    Args:
        plan: Host kernels of `Program.host` only; its ports are the segment's inputs and outputs.
        constants: What "constant" tensors of the plan point at, in order.
    """

    plan: Plan
    constants: tuple[Array, ...] = ()

    @property
    def outputs(self) -> int:
        """Number of tensors it writes."""
        return len(self.plan.outputs)


@dataclass(frozen=True, eq=False)
class VmTwin:
    """The fallback of a segment of a VM program: a function of the same executable.

    Args:
        entry: Name of the function; ``entry(*inputs, *constants)`` returns `outputs` tensors, of
            any shape the segment has.
        outputs: Number of tensors it returns.
        constants: Arguments that follow the inputs.
    """

    entry: str
    outputs: int
    constants: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True)
class Healing:
    """What counts as a failure of a segment that has a fallback on the host.

    An error of the vendor always does.

    Args:
        failures: After so many failures the fallback takes over for good; at least 1.
        deadline: Seconds one call may take (on copies of its tensors, in a thread of its own; a
            vendor out of process is killed); None: as long as it likes.
        check_nan: NaN in an output is a failure.
        refusals: A segment that its vendor refuses to build or to load is left to its fallback,
            which is recorded, instead of an error.

    Raises:
        OptionError: A number is out of range.
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

    Args:
        vendors: Their names; None: all.
        deadline: Seconds one call may take before its process is killed; None: as long as it likes
            (or as `Healing.deadline` says).
        memory: Bytes of private memory a process may take, beyond which it gets none; None: no
            limit.
        start: Seconds a process may take to load its segments.

    Raises:
        OptionError: A number is out of range.
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
    """A compiled model: everything that a `Session` needs to run it.

    Args:
        name: The model's name.
        inputs: The model's inputs, in order; those of a `Plan` have the same names and order.
        outputs: The model's outputs, in order; likewise.
        body: How to run: a `Plan` for static shapes, a `VmProgram` else.
        host: Bytes of a shared object, a module in memory, or None when no host kernel is left.
        artifacts: One per segment; `Artifact.segment` is the name the body calls it by.
        vendors: Every vendor that an artifact names.
        constants: What "constant" tensors of the plan point at (C-contiguous arrays), in order; for
            a VM program the arguments that follow the inputs.
        segment_outputs: Segment name → number of its outputs; needed for segments of Python-hosted
            vendors in a VM program (a plan tells it anyway).
        target: What the host library needs; None when there is none.
        twins: Segment name → its fallback on the host.
        healing: When fallbacks take over.
        isolation: Which vendors run out of process; None: none.
        refused: Segment name → why its vendor did not build it; its fallback is all there is.
        extras: Further members of the artifact, carried and verified but not needed to run
            ("report.json" → bytes).
        shapes: Of a VM program: sizes of its symbolic dimensions, and a static program for them.
        buckets: Dimension → sizes that calls may be padded to (see `byoc.specialise.Specialise`).
        fill: Input → what it is padded with.
        signatures: Segment name → names and types of its inputs and outputs, for its vendor.
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
    signatures: Mapping[str, SegmentSignature] = field(default_factory=dict)

    @property
    def is_static(self) -> bool:
        """Whether the body is a plan."""
        return isinstance(self.body, Plan)

    def arrays(self) -> Iterator[Array]:
        """Give all constants: those of the body, of segments and of fallbacks."""
        yield from self.constants
        for artifact in self.artifacts:
            yield from artifact.constants
        for fallback in self.twins.values():
            yield from fallback.constants

    @property
    def output_counts(self) -> dict[str, int]:
        """Number of outputs of every segment, as far as plan and `segment_outputs` tell."""
        counts = dict(self.segment_outputs)
        for task in self.body.tasks if isinstance(self.body, Plan) else ():
            if task.kind == "segment":
                counts[task.function] = task.outputs
        return counts

    def port_counts(self, segment: str) -> PortCounts:
        """Tell how many inputs and outputs a segment has, as far as the program says."""
        for task in self.body.tasks if isinstance(self.body, Plan) else ():
            if task.kind == "segment" and task.function == segment:
                return PortCounts(len(task.args) - task.outputs, task.outputs)
        return PortCounts(None, self.segment_outputs.get(segment))


@cache
def vm_body() -> pydantic.TypeAdapter[VmProgram]:
    """Return what makes a `VmProgram` JSON, in files, and reads it."""
    return pydantic.TypeAdapter(VmProgram)


@cache
def vm_twin() -> pydantic.TypeAdapter[tuple[str, int]]:
    """Return what makes entry and outputs of a `VmTwin` JSON, in files, and reads them."""
    return pydantic.TypeAdapter(tuple[str, int])
