"""Segments that can fail without harm: the vendor's function, a host twin behind it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from byoc.errors import ArtifactError, OptionError
from byoc.runtime.native import as_tensor, function
from byoc.runtime.plan import encode_plan
from byoc.runtime.program import Healing, Twin, VmTwin
from byoc.segment import Artifact

__all__ = ["Fault", "FaultLog", "Slot", "check_limits", "guard", "twin_function"]

_LOG = logging.getLogger("byoc.runtime")


@dataclass(frozen=True, slots=True)
class Fault:
    """A call of a segment that failed and was made good by its host twin.

    kind: "error", "deadline", "nan", or "build" for an engine that could not be built in the
    background. number: of the segment's failures, from 1. replaced: the twin has taken over for
    good.
    """

    segment: str
    vendor: str
    kind: str
    message: str
    number: int
    replaced: bool


class FaultLog:
    """The faults of a session; filled by the threads of processors."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Keep a fault and tell the log ``byoc.runtime``."""
        with self._lock:
            self._faults.append(fault)
        _LOG.warning(
            "segment %r of vendor %r failed (%s, number %d): %s; its host twin answered%s",
            fault.segment, fault.vendor, fault.kind, fault.number, fault.message,
            ", and takes over for good" if fault.replaced else "",
        )  # fmt: skip

    def all(self) -> tuple[Fault, ...]:
        """All so far, in order."""
        with self._lock:
            return tuple(self._faults)


def twin_function(twin: Twin | VmTwin, host: Any, segments: Collection[str]) -> Any:
    """A host twin as ``execute(inputs..., outputs...)``; it takes memory when it is first called.

    segments: of the whole program: an executable of the VM is not loaded without their names.
    """
    constants = [as_tensor(array) for array in twin.constants]
    if isinstance(twin, Twin):
        return function("PlanTwin")(encode_plan(twin.plan), host, constants)
    return function("VmTwin")(host, twin.entry, twin.outputs, constants, list(segments))


class Slot:
    """A segment whose engine is still to come: its host twin, until `set`."""

    def __init__(self, twin: Any) -> None:
        functions = function("Slot")(twin)
        self.call, self._set = functions["call"], functions["set"]

    def set(self, execute: Any) -> None:
        """From now on `execute` is called; calls on their way end where they began."""
        self._set(execute)


def check_limits(artifact: Artifact, healing: Healing, processor: str) -> None:
    """Raises OptionError when calls of the segment cannot have the deadline asked for."""
    if healing.deadline is not None and processor == "cpu":
        raise OptionError(
            f"segment {artifact.segment!r} of vendor {artifact.vendor!r} runs on processor 'cpu', "
            f"where calls can have no deadline: all of OpenMP belongs to one thread"
        )


def guard(
    artifact: Artifact,
    execute: Any,
    twin: Any,
    ports: int,
    outputs: int | None,
    healing: Healing,
    processor: str,
    log: FaultLog,
) -> Any:
    """The segment's function with its twin (a `twin_function` of `ports` outputs) behind it.

    Raises ArtifactError when the twin does not fit the segment, OptionError when it cannot have a
    deadline.
    """
    if outputs is not None and outputs != ports:
        raise ArtifactError(
            f"segment {artifact.segment!r} has {outputs} outputs, its host twin {ports}"
        )
    check_limits(artifact, healing, processor)
    return function("Guard")(
        artifact.segment,
        execute,
        ports,
        twin,
        healing.failures,
        healing.deadline or 0.0,
        healing.check_nan,
        _reporter(artifact, log),
    )


def _reporter(artifact: Artifact, log: FaultLog) -> Callable[[Any, Any, Any, Any], None]:
    segment, vendor = artifact.segment, artifact.vendor

    def report(kind: Any, message: Any, number: Any, replaced: Any) -> None:
        log.add(Fault(segment, vendor, str(kind), str(message), int(number), bool(replaced)))

    return report
