"""Tries of a vendor in a process of their own: whatever it does there, this process learns of it.

    parent ──try──▶ child: compile, load, run ──▶ outputs, or an error
       └── watches the clock; a child that is late is killed, one that died is started anew

A vendor that is installed is started afresh, as its own device would want it. One that was given as
a value exists in this process only: its child is a fork.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from byoc.debug.child import serve
from byoc.debug.outcome import Step, TrialOutcome
from byoc.errors import VendorError
from byoc.plugins.discovery import find

if TYPE_CHECKING:
    from byoc.plugins.discovery import Requested
    from byoc.segment import Array, Segment, TensorType

__all__ = ["Trials"]

_PATIENCE = 10
"""Compiling and loading may take so many times as long as a call."""

_LEAST: Mapping[Step, float] = {"start": 120.0, "build": 60.0, "load": 60.0}
"""Seconds that these may take in any case: a process imports what the vendor needs first."""


class Trials:
    """Tries pieces of segments on one vendor, in a child that lives until `close`.

    Args:
        request: the vendor, with its options.
        limit: seconds that a call may take; ten times as many to compile or load.
    """

    def __init__(self, request: Requested, limit: float) -> None:
        self._request = request
        self._limit = limit
        self._child: _Child | None = None
        self._loaded: set[str] = set()

    def close(self) -> None:
        """End the child."""
        self._end()

    def run(
        self,
        segment: Segment,
        inputs: Sequence[Array],
        types: Sequence[TensorType],
        *,
        calls: int = 1,
    ) -> TrialOutcome:
        """Have a segment compiled, loaded and run; one of this name that was tried is only run.

        Args:
            segment: what to try; its name stands for it.
            inputs: its inputs, in order.
            types: of its outputs, in this run.
            calls: how often to call it, at most; the fastest is timed.

        Returns:
            What became of it.
        """
        known = segment.name in self._loaded and self._child is not None
        step: Step = "run" if known else "start"
        try:
            if self._child is None:
                self._loaded.clear()
                self._child = _Child(self._request)
                answer = self._next(step)
                if isinstance(answer, TrialOutcome):
                    return answer
            self._child.connection.send(
                (segment.name, None if known else segment, list(inputs), list(types), calls)
            )
            while True:
                answer = self._next(step)
                if isinstance(answer, TrialOutcome):
                    return answer
                word, value, more = answer
                if word == "step":
                    step = value
                else:
                    self._loaded.add(segment.name)
                    return TrialOutcome("done", step, tuple(value), more)
        except (EOFError, OSError):  # it is gone
            return TrialOutcome("crash", step, message=self._end())

    def _next(self, step: Step) -> TrialOutcome | tuple[str, Any, Any]:
        """What the child says next; an outcome where that is the end of the try."""
        assert self._child is not None
        seconds = self._limit
        if step != "run":
            seconds = max(_PATIENCE * seconds, _LEAST[step])
        if not self._child.connection.poll(seconds):
            self._end(kill=True)
            return TrialOutcome("hang", step, message=f"not done after {seconds:g} s")
        word, value, more = self._child.connection.recv()
        if word == "error":
            return TrialOutcome("error", step, message=value)
        return word, value, more

    def _end(self, *, kill: bool = False) -> str:
        """End the child, if it still runs, and tell how it ended."""
        child, self._child = self._child, None
        return "" if child is None else child.end(kill=kill)


class _Child:
    """One child process, spawned or forked."""

    def __init__(self, request: Requested) -> None:
        self.connection, other = Pipe()
        self._spawned: subprocess.Popen[bytes] | None = None
        self._pid = 0
        try:
            if _is_installed(request):
                self._spawn(request, other)
            else:
                self._fork(request, other)
        finally:
            other.close()

    def _spawn(self, request: Requested, other: Connection[Any, Any]) -> None:
        self._spawned = subprocess.Popen(
            [sys.executable, "-m", "byoc.debug.child", str(other.fileno())],
            pass_fds=[other.fileno()],
            stdout=2,
        )
        self._pid = self._spawned.pid
        self.connection.send((request.vendor.name, request.options.model_dump()))

    def _fork(self, request: Requested, other: Connection[Any, Any]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # The runtime is made for it: queues and threads are new in a forked child.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid:
            return
        status = 1
        try:
            self.connection.close()
            serve(other, request)
            status = 0
        finally:
            os._exit(status)

    def end(self, *, kill: bool) -> str:
        """End it, which it does by itself once nobody speaks to it, and tell how it ended."""
        self.connection.close()
        code = self._waited(0.0 if kill else 2.0)
        if code is None:
            os.kill(self._pid, signal.SIGKILL)
            code = self._waited(None)
        return f"its process ended {_how(code or 0)}"

    def _waited(self, seconds: float | None) -> int | None:
        """Its exit status, once it has ended; None when it has not within these seconds."""
        if self._spawned is not None:
            try:
                return self._spawned.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                return None
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self._pid, 0 if until is None else os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if until is not None and time.monotonic() >= until:
                return None
            time.sleep(0.005)


def _how(code: int) -> str:
    if code >= 0:
        return f"with status {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _is_installed(request: Requested) -> bool:
    """Whether another process finds the very same vendor under its name."""
    vendor = request.vendor
    try:
        known = find(vendor.name)
    except VendorError:
        return False
    return known.compile is vendor.compile and known.runtime == vendor.runtime
