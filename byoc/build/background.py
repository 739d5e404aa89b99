"""The threads that build engines while host fallbacks answer.

Every segment begins as its host fallback, which is compiled with the rest of the host's work.
Threads build the engines meanwhile; one that is ready takes the fallback's place, from one call to
the next::

    call ─▶ slot ─▶ host fallback            compile ─▶ load ─▶ slot.set(engine)
              └───▶ engine, once it is there    └─ fails: the fallback stays, `exe.faults` tells

With `Background.processes`, the vendor's compiler runs in a child process: it cannot hold Python's
lock, take this process down, or outlive it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from byoc.build.child_process import BuildStoppedError, build_in_process
from byoc.build.kernels import compile_apart
from byoc.build.progress import BuildProgress
from byoc.build.readiness import OPEN_STATES, Background, Readiness, SegmentState, State
from byoc.errors import ByocError
from byoc.runtime.native import usable_processors
from byoc.segment import Artifact, Segment

if TYPE_CHECKING:
    from byoc.plugins.discovery import Requested
    from byoc.runtime import Session

__all__ = ["Background", "Builds", "Readiness", "SegmentState"]


class Builds:
    """The engines of one session, being built by threads that hold the session weakly.

    Args:
        session: where engines are installed; `late` segments run on their host fallbacks in it.
        segments: all segments of the model.
        late: names of those whose engines are to be built.
        requests: the vendors that build them.
        options: how many threads, and whether vendors compile in child processes.
        heal: keep the host fallback behind an engine, for calls that fail.
    """

    def __init__(
        self,
        session: Session,
        segments: Sequence[Segment],
        late: Sequence[str],
        requests: Sequence[Requested],
        options: Background,
        *,
        heal: bool,
    ) -> None:
        self._session = weakref.ref(session)
        self._requests, self._options, self._heal = requests, options, heal
        self._states = {
            s.name: SegmentState(s.name, s.vendor, "waiting" if s.name in late else "ready")
            for s in segments
        }
        self._queue = deque(s for s in segments if s.name in late)
        self._begun: dict[str, float] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._pid = os.getpid()
        workers = options.workers or min(4, usable_processors())
        for number in range(min(workers, len(self._queue))):
            # Not daemons: those would be torn down inside the vendor's code when Python ends.
            threading.Thread(target=self._work, name=f"byoc:build-{number}").start()

    # -- asked by users -------------------------------------------------------------------------

    def readiness(self) -> Readiness:
        """Tell how far the engine of every segment is.

        Returns:
            The states at this moment.
        """
        if self._pid != os.getpid():  # a forked child has none of the threads
            self._stopping.set()
        now = time.monotonic()
        with self._changed:
            return Readiness(tuple(self._seen(s, now) for s in self._states.values()))

    def _seen(self, state: SegmentState, now: float) -> SegmentState:
        if state.state in OPEN_STATES and self._stopping.is_set():
            state = replace(state, state="stopped")
        if state.state == "building":
            state = replace(state, seconds=now - self._begun[state.name])
        return state

    def wait(self, timeout: float | None = None) -> Readiness:
        """Wait until no engine is left to build, with a progress bar on a terminal.

        Args:
            timeout: seconds to wait at most; None: as long as it takes.

        Returns:
            How far the engines are then.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with BuildProgress(len(self._states)) as progress:
            while not (now := self.readiness()):
                progress.show(now)
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    break
                with self._changed:
                    self._changed.wait(min(0.2, left or 0.2))
        return now

    def close(self) -> None:
        """Begin no more engines and drop what comes of those begun; child processes are ended."""
        self._stopping.set()
        with self._changed:
            self._queue.clear()
            self._changed.notify_all()

    # -- the threads ----------------------------------------------------------------------------

    def _work(self) -> None:
        while (segment := self._next()) is not None:
            self._build(segment)

    def _next(self) -> Segment | None:
        with self._changed:
            if not self._queue or self._stopped():
                return None
            segment = self._queue.popleft()
            self._begun[segment.name] = time.monotonic()
            self._set(segment.name, "building")
        return segment

    def _stopped(self) -> bool:
        # Python waits for these threads before it ends; they should not begin anything then.
        over = not threading.main_thread().is_alive() or self._session() is None
        if over:
            self._stopping.set()
        return self._stopping.is_set()

    def _build(self, segment: Segment) -> None:
        try:
            artifact = self._compile(segment)
            session = self._session()
            if session is None or self._stopped():
                return
            session.install(artifact, heal=self._heal)
        except BuildStoppedError:
            return
        except BaseException as error:  # whatever a vendor throws, its fallback goes on
            message = str(error) if isinstance(error, ByocError) else ""
            self._fail(segment, message or f"{type(error).__name__}: {error}")
        else:
            with self._changed:
                self._set(segment.name, "ready")

    def _compile(self, segment: Segment) -> Artifact:
        if self._options.processes:
            return build_in_process(segment, self._requests, self._stopped)
        return compile_apart(segment, self._requests)

    def _fail(self, segment: Segment, message: str) -> None:
        session = self._session()
        if session is None or self._stopped():
            return
        session.give_up(segment.name, segment.vendor, message)
        with self._changed:
            self._set(segment.name, "failed", message)

    def _set(self, name: str, state: State, message: str = "") -> None:
        seconds = 0.0 if state == "building" else time.monotonic() - self._begun[name]
        self._states[name] = replace(
            self._states[name], state=state, seconds=seconds, message=message
        )
        self._changed.notify_all()
