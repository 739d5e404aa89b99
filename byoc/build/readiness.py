"""How far the engines of an executable are, and how users ask for engines in the background.

    waiting ──▶ building ──▶ ready                       the segment runs on its engine
                   └───────▶ failed, stopped             its host fallback answers for good

In: nothing. Out: frozen values, which both the thread pool (`byoc.build.background`) and an
executable speak of, so that neither needs to know the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from byoc.errors import OptionError

__all__ = ["OPEN_STATES", "Background", "Readiness", "SegmentState", "State"]

State = Literal["waiting", "building", "ready", "failed", "stopped"]

OPEN_STATES: tuple[State, ...] = ("waiting", "building")
"""States of segments whose engines are still to come."""


@dataclass(frozen=True, slots=True)
class Background:
    """How engines are built while their host fallbacks answer.

    Attributes:
        workers: how many are built at once; None: one per CPU, 4 at most.
        processes: the vendor's `compile` runs in a child process, which needs a vendor that is
            installed under its name.
    """

    workers: int | None = None
    processes: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"Background.workers must be 1 or more, found {self.workers!r}")


@dataclass(frozen=True, slots=True)
class SegmentState:
    """Which of its two forms a segment runs in, and why.

    Attributes:
        name: the segment's name.
        vendor: who builds its engine.
        state: "waiting" or "building" (its host fallback answers), "ready" (its engine does),
            "failed" or "stopped" (its host fallback does, for good).
        seconds: spent on its engine so far.
        message: the vendor's, of a failure; else empty.
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

    Attributes:
        segments: the state of every segment, in the order of the report.
    """

    segments: tuple[SegmentState, ...] = ()

    def __bool__(self) -> bool:
        return not any(s.state in OPEN_STATES for s in self.segments)

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
        return self._names(*OPEN_STATES)

    @property
    def failed(self) -> Mapping[str, str]:
        """Segment → why its engine could not be built; its host fallback answers."""
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
