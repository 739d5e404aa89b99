"""A vendor that fails on demand: to test what a program does when hardware lets it down.

    bad = faulty("bad", {1: "throw", 3: "segfault"}, ops=["nn.relu"])
    exe = byoc.compile(model, vendors=[bad], heal=True, isolate=True)

In: which call fails and how. Out: a `byoc.vendor.Vendor`. Apart from its faults it computes as
those of `byoc.testing.fake_vendors` do: slow and right. Calls are counted by each segment in each
process, or over all of them by the length of a file::

    call ──▶ one byte more in the file ──▶ call n ──▶ fault n, if there is one ──▶ compute
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from byoc.errors import CompileError, ExecutionError, OptionError, choices
from byoc.segment import Array, Artifact, Segment
from byoc.testing.fake_vendors import init_reference, synthetic
from byoc.vendor import PythonRuntime, Vendor

__all__ = ["DEADLY", "FAULTS", "Counter", "fail", "faulty"]

FAULTS = {
    "throw": "raises RuntimeError",
    "status": "its library returns a status that is not success",
    "nan": "answers NaN",
    "sleep": "does not answer for a long time",
    "memory": "asks for more memory than there is",
    "segfault": "reads from address 0",
    "abort": "calls abort()",
    "exit": "ends its process with status 3",
    "kill": "is killed, as by a system that has run out of memory",
    "refuse": "refuses to build the segment",
    "refuse to load": "refuses to load what it has built",
}
"""What can go wrong; the last two not in calls, but when building and loading."""

DEADLY = frozenset({"segfault", "abort", "exit", "kill"})
"""Faults that end the process they happen in: only for vendors out of process."""

_BUILDING = frozenset({"refuse", "refuse to load"})


def faulty(
    name: str,
    faults: Mapping[int, str] | str,
    *,
    ops: Sequence[str],
    counter: str | os.PathLike[str] | None = None,
    processor: str = "npu",
    seconds: float = 30.0,
) -> Vendor:
    """Make a vendor of single ops that fails as told.

    Args:
        name: The vendor's name.
        faults: Number of a call, from 1, → what goes wrong then (`FAULTS`); or one fault for every
            call, or for building or loading.
        ops: Kinds of op that it takes ("nn.relu").
        counter: A file that counts calls; without one every segment counts for itself, from 1 when
            it is loaded.
        processor: The queue of its segments.
        seconds: How long "sleep" sleeps.

    Raises:
        OptionError: A fault is unknown, or does not happen in calls.

    """
    table = {0: faults} if isinstance(faults, str) else dict(faults)
    for number, fault in table.items():
        if fault not in FAULTS:
            raise OptionError(
                f"faulty vendor {name!r}: unknown fault {fault!r}; {choices(fault, FAULTS)}"
            )
        if number and fault in _BUILDING:
            raise OptionError(
                f"faulty vendor {name!r}: {fault!r} does not happen at call {number}; give it "
                f"alone: faults={fault!r}"
            )
    base = synthetic(name, dict.fromkeys(ops, 1e-6), processor=processor)
    header = {
        "faults": {str(number): fault for number, fault in table.items()},
        "counter": None if counter is None else os.fspath(Path(counter).resolve()),
        "seconds": seconds,
    }

    def compile_segment(segment: Segment, options: Any) -> Artifact:
        if table.get(0) == "refuse":
            raise CompileError(
                f"vendor {name!r} does not build segment {segment.name!r}: it refuses all"
            )
        artifact = base.compile(segment, options)
        assert isinstance(artifact, Artifact)
        text = json.dumps(header).encode()
        blob = len(text).to_bytes(8, "little") + text + artifact.blob
        return dataclasses.replace(artifact, blob=blob)

    return dataclasses.replace(base, compile=compile_segment, runtime=PythonRuntime(_init))


def _init(
    blob: bytes, constants: Sequence[Array], options: Mapping[str, Any]
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    end = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:end])
    if header["faults"].get("0") == "refuse to load":
        raise RuntimeError("the device is not there")
    compute = init_reference(blob[end:], constants, options)
    count = Counter(header["counter"])

    def execute(inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        number = count()
        fault = header["faults"].get("0") or header["faults"].get(str(number))
        if fault is not None and fault != "nan":
            fail(fault, header["seconds"])
        compute(inputs, outputs)
        if fault == "nan":
            for array in outputs:
                if array.dtype.kind == "f" and array.size:
                    array.flat[array.size // 2] = np.nan

    return execute


class Counter:
    """Numbers of calls, from 1; exact over processes that share a file."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._calls = 0

    def __call__(self) -> int:
        """Count one call more and return its number."""
        if self._path is None:
            self._calls += 1
            return self._calls
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, b".")
            return os.lseek(fd, 0, os.SEEK_CUR)  # the end of what was just appended
        finally:
            os.close(fd)


def fail(fault: str, seconds: float = 30.0) -> None:
    """Let a fault of `FAULTS` happen in this process; most of them raise or end it.

    Args:
        fault: A key of `FAULTS`. Nothing happens for "nan" and those that happen while a segment
            is built or loaded.
        seconds: How long "sleep" sleeps before the function returns.
    """
    match fault:
        case "throw":
            raise RuntimeError("the device is on fire")
        case "status":
            raise ExecutionError("the vendor's library returned status 7 (DEVICE_LOST)")
        case "sleep":
            time.sleep(seconds)
        case "memory":
            _exhaust()
        case "segfault":
            import ctypes

            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)


def _exhaust() -> None:
    """Take memory until there is none: as far as a limit goes, else what no machine has."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:
        np.empty(1 << 62, np.uint8)
    taken = []
    while True:
        taken.append(np.empty(1 << 24, np.uint8))  # counted, if never touched
