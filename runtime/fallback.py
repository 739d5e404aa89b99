"""Segments that may fail: the vendor's function with a host kernel of the same segment behind it.

In: a vendor's function and a fallback (`Program.twins`: the segment compiled for the host). Out:
one function that answers from the fallback when the vendor fails, and a log of such faults::

    call ──▶ vendor ──fine──▶ outputs
               └─ error, too late, NaN ──▶ FaultLog ──▶ fallback ──▶ outputs

Users know the same as healing: `heal=` asks for it, `exe.faults` tells of it, `Healing` limits it.
"""

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

__all__ = ["Fault", "FaultLog", "SwappableFunction", "check_limits", "fallback_function", "guard"]

_LOG = logging.getLogger("byoc.runtime")


@dataclass(frozen=True, slots=True)
class Fault:
    """A call of a segment that failed and was answered by its fallback on the host.

    Args:
        segment: Name of the segment.
        vendor: Name of its vendor.
        kind: "error", "crash", "deadline" or "nan" for a call that failed; "build" or "load" for an
            engine that its vendor could not build or load.
        message: The vendor's words.
        number: Which of the segment's failures it is, from 1.
        replaced: The fallback has taken over for good.
    """

    segment: str
    vendor: str
    kind: str
    message: str
    number: int
    replaced: bool


class FaultLog:
    """The faults of a session (or of several of one model); any thread may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Keep a fault and write a warning to the logger ``byoc.runtime``."""
        with self._lock:
            self._faults.append(fault)
        _LOG.warning(
            "segment %r of vendor %r failed (%s, number %d): %s; its host twin answered%s",
            fault.segment, fault.vendor, fault.kind, fault.number, fault.message,
            ", and takes over for good" if fault.replaced else "",
        )  # fmt: skip

    def all(self) -> tuple[Fault, ...]:
        """Return all faults so far, in order."""
        with self._lock:
            return tuple(self._faults)


def fallback_function(fallback: Twin | VmTwin, host: Any, segments: Collection[str]) -> Any:
    """Return a fallback as a function ``execute(inputs..., outputs...)``.

    It takes memory when it is first called.

    Args:
        fallback: The segment compiled for the host.
        host: The host library, a `tvm_ffi.Module`.
        segments: Names of all segments of the program: an executable of the VM is not loaded
            without them.
    """
    constants = [as_tensor(array) for array in fallback.constants]
    if isinstance(fallback, Twin):
        return function("PlanFallback")(encode_plan(fallback.plan), host, constants)
    names = list(segments)
    return function("VmFallback")(host, fallback.entry, fallback.outputs, constants, names)


class SwappableFunction:
    """A function that can be exchanged while other threads call it.

    It serves segments whose engines are still being built: first the fallback, then the engine.

    Args:
        first: The function that `call` runs until `set`.
    """

    def __init__(self, first: Any) -> None:
        functions = function("SwappableFunction")(first)
        self.call, self._set = functions["call"], functions["set"]

    def set(self, execute: Any) -> None:
        """Run `execute` from now on; calls in flight end in the function they began in."""
        self._set(execute)


def check_limits(artifact: Artifact, healing: Healing, processor: str) -> None:
    """Check that calls of a segment can have the deadline that `healing` asks for.

    Args:
        artifact: The compiled segment.
        healing: How failed calls are handled.
        processor: The name of the queue the segment runs on.

    Raises:
        OptionError: A deadline is asked for on processor "cpu", where a call that is late cannot
            be abandoned.
    """
    if healing.deadline is not None and processor == "cpu":
        raise OptionError(
            f"segment {artifact.segment!r} of vendor {artifact.vendor!r} runs on processor 'cpu', "
            f"where calls can have no deadline: all parallel work belongs to one thread"
        )


def guard(
    artifact: Artifact,
    execute: Any,
    *,
    fallback: Any,
    fallback_outputs: int,
    outputs: int | None,
    healing: Healing,
    processor: str,
    log: FaultLog,
) -> Any:
    """Return the vendor's function of a segment with a fallback behind it.

    Args:
        artifact: The segment.
        execute: The vendor's function, ``execute(inputs..., outputs...)``.
        fallback: What answers when it fails, a function of the same arguments.
        fallback_outputs: Number of outputs of the fallback.
        outputs: Number of outputs of the segment, None where the program does not tell.
        healing: What counts as a failure.
        processor: Name of the processor that the segment runs on.
        log: Where faults go.

    Raises:
        ArtifactError: The fallback does not fit the segment.
        OptionError: The segment cannot have the deadline asked for.
    """
    if outputs is not None and outputs != fallback_outputs:
        raise ArtifactError(
            f"segment {artifact.segment!r} has {outputs} outputs, its host twin {fallback_outputs}"
        )
    check_limits(artifact, healing, processor)
    return function("Guard")(
        artifact.segment,
        execute,
        fallback_outputs,
        fallback,
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
