"""`byoc.compile(..., background=True)`: answers at once, engines as they become ready.

Every segment begins as its host twin, which is compiled with the rest of the host's work. Threads
build the engines meanwhile; one that is ready takes the twin's place, from one call to the next::

    call ─▶ slot ─▶ host twin                compile ─▶ load ─▶ slot.set(engine)
              └───▶ engine, once it is there    └─ fails: the twin stays, `exe.faults` tells

With `processes`, the vendor's compiler runs in a child process: it cannot hold Python's lock, take
this process down, or outlive it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from byoc.build.child_process import BuildStoppedError, build_in_process, check_spawnable
from byoc.build.program import HealSpec, build_program, compile_segment
from byoc.errors import ByocError, OptionError
from byoc.runtime import Healing, Isolation, Session
from byoc.segment import Artifact, Segment

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionReport, PartitionResult
    from byoc.plugins.discovery import Requested

__all__ = ["Background", "Builds", "Readiness", "SegmentState", "compile_in_background"]

State = Literal["waiting", "building", "ready", "failed", "stopped"]

_OPEN: tuple[State, ...] = ("waiting", "building")


@dataclass(frozen=True, slots=True)
class Background:
    """How engines are built while their host twins answer.

    workers: how many at once (None: one per CPU, 4 at most). processes: the vendor's `compile` runs
    in a child process, which needs a vendor that is installed under its name.
    """

    workers: int | None = None
    processes: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"Background.workers must be 1 or more, found {self.workers!r}")


@dataclass(frozen=True, slots=True)
class SegmentState:
    """One segment: "waiting" or "building" (its host twin answers), "ready" (its engine does),
    "failed" or "stopped" (its host twin does, for good).

    seconds: spent on its engine so far. message: the vendor's, of a failure.
    """

    name: str
    vendor: str
    state: State
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far the engines of an executable are; true when none is waited for any more.

    A failed engine is not waited for: ask `failed`, or `complete`.
    """

    segments: tuple[SegmentState, ...] = ()

    def __bool__(self) -> bool:
        return not any(s.state in _OPEN for s in self.segments)

    @property
    def complete(self) -> bool:
        """True when every segment runs on its engine."""
        return all(s.state == "ready" for s in self.segments)

    @property
    def ready(self) -> tuple[str, ...]:
        """Names of the segments that run on their engines."""
        return self._names("ready")

    @property
    def building(self) -> tuple[str, ...]:
        """Names of those whose engines are being built or wait for it."""
        return self._names(*_OPEN)

    @property
    def failed(self) -> Mapping[str, str]:
        """Segment → why its engine could not be built; its host twin answers."""
        return {s.name: s.message for s in self.segments if s.state == "failed"}

    @property
    def stopped(self) -> tuple[str, ...]:
        """Names of those that were still to be built when the executable was closed."""
        return self._names("stopped")

    def _names(self, *states: State) -> tuple[str, ...]:
        return tuple(s.name for s in self.segments if s.state in states)

    def __str__(self) -> str:
        counts = [
            f"{len(names)} {word}"
            for word, names in (
                ("building", self.building),
                ("failed", self.failed),
                ("stopped", self.stopped),
            )
            if names
        ]
        return ", ".join([f"{len(self.ready)} of {len(self.segments)} segments ready", *counts])


class Builds:
    """The engines of one session, being built. Threads hold the session weakly."""

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
        workers = options.workers or min(4, len(os.sched_getaffinity(0)))
        for number in range(min(workers, len(self._queue))):
            # Not daemons: those would be torn down inside the vendor's code when Python ends.
            threading.Thread(target=self._work, name=f"byoc:build-{number}").start()

    # -- asked by users -------------------------------------------------------------------------

    def readiness(self) -> Readiness:
        """How far they are."""
        if self._pid != os.getpid():  # a forked child has none of the threads
            self._stopping.set()
        now = time.monotonic()
        with self._changed:
            return Readiness(tuple(self._seen(s, now) for s in self._states.values()))

    def _seen(self, state: SegmentState, now: float) -> SegmentState:
        if state.state in _OPEN and self._stopping.is_set():
            state = replace(state, state="stopped")
        if state.state == "building":
            state = replace(state, seconds=now - self._begun[state.name])
        return state

    def wait(self, timeout: float | None = None) -> Readiness:
        """Wait until none is left to build, `timeout` seconds at most; progress on a terminal."""
        end = None if timeout is None else time.monotonic() + timeout
        with _Progress(len(self._states)) as progress:
            while not (now := self.readiness()):
                progress.show(now)
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    break
                with self._changed:
                    self._changed.wait(min(0.2, left or 0.2))
        return now

    def close(self) -> None:
        """Begin no more; drop what comes of those begun. Child processes are ended."""
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
        except BaseException as error:  # whatever a vendor throws, its twin goes on
            message = str(error) if isinstance(error, ByocError) else ""
            self._fail(segment, message or f"{type(error).__name__}: {error}")
        else:
            with self._changed:
                self._set(segment.name, "ready")

    def _compile(self, segment: Segment) -> Artifact:
        if self._options.processes:
            return build_in_process(segment, self._requests, self._stopped)
        return compile_segment(segment, self._requests)

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


class _Progress:
    """A bar on stderr, while somebody waits at a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: object = None

    def __enter__(self) -> _Progress:
        return self

    def show(self, now: Readiness) -> None:
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import Progress

        if self._bar is None:
            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.add_task("engines", total=self._total)
            self._bar.start()
        assert isinstance(self._bar, Progress)
        names = ", ".join(s.name for s in now.segments if s.state == "building")
        done = self._total - len(now.building)
        self._bar.update(self._bar.task_ids[0], completed=done, description=f"building {names}")

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            from rich.progress import Progress

            assert isinstance(self._bar, Progress)
            self._bar.stop()


def compile_in_background(
    model: Model,
    parts: PartitionResult,
    requests: Sequence[Requested],
    heal: HealSpec,
    background: bool | Background,
    isolation: Isolation | None = None,
) -> tuple[Session, Builds, PartitionReport]:
    """A session that answers from host twins, the builds that replace them, and the report.

    heal: as for `byoc.compile`, None as True: the twins are there. Segments the host cannot run
    have no twin: their engines are built before this returns, and the report's warnings name them.
    Raises what vendors of such segments raise.
    """
    options = background if isinstance(background, Background) else Background()
    if options.processes:
        check_spawnable(requests)
    waiting = tuple(Artifact(s.name, s.vendor, b"") for s in parts.segments)
    refused: dict[str, str] = {}
    twins: HealSpec = heal if isinstance(heal, Healing) else True
    program = build_program(model, parts, requests, waiting, twins, refused)
    now = {s.name: compile_segment(s, requests) for s in parts.segments if s.name in refused}
    program = replace(program, isolation=isolation)
    program = replace(program, artifacts=tuple(now.get(a.segment, a) for a in program.artifacts))
    late = [s.name for s in parts.segments if s.name not in refused]
    session = Session(program, late=late)
    builds = Builds(session, parts.segments, late, requests, options, heal=heal is not False)
    report = parts.report
    if refused:
        remarks = [
            f"segment {name!r} has no host twin and was built before the first answer: {why}"
            for name, why in refused.items()
        ]
        report = replace(report, warnings=(*report.warnings, *remarks))
    return session, builds, report
