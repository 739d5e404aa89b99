"""A runner over one session whose engines are all there."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from byoc.build.readiness import Readiness, SegmentState
from byoc.runtime import Fault, Future, Memory, Profile, Program, Session
from byoc.segment import Array
from byoc.specialise.options import Specialisations

__all__ = ["PlainRunner"]


class PlainRunner:
    """Forwards to one session: the runner of models that were compiled whole.

    Args:
        session: holds the model in memory.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def program(self) -> Program:
        """The compiled model."""
        return self.session.program

    @property
    def memory(self) -> Memory:
        """Bytes that the model takes, known before a run."""
        return self.session.memory

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Calls of segments that failed and were made good by their host fallbacks."""
        return self.session.faults

    @property
    def workers(self) -> tuple[tuple[str, int], ...]:
        """Vendor and process id of every worker process that runs."""
        return self.session.workers

    @property
    def max_in_flight(self) -> int:
        """How many requests may be on their way at once."""
        return self.session.max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, limit: int) -> None:
        self.session.max_in_flight = limit

    def run_positional(self, inputs: Sequence[Any]) -> list[Array]:
        """Run on inputs in order; the outputs in order."""
        session = self.session
        return session.run_checked(session.check_positional(inputs))

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run on inputs by name; the outputs by name."""
        return self.session.run(inputs)

    def submit(
        self, *inputs: Any, deadline: float | None = None, timeout: float | None = None
    ) -> Future:
        """Begin a request and return its future; see `byoc.runtime.Session.submit`.

        Args:
            *inputs: Arrays in order, or one mapping by name.
            deadline: Seconds from now until the future raises DeadlineError; None: never.
            timeout: Seconds to wait while `max_in_flight` requests are in flight; None: no limit.
        """
        return self.session.submit(*inputs, deadline=deadline, timeout=timeout)

    async def acall(self, *inputs: Any, deadline: float | None = None) -> Any:
        """Wait for a request's turn and answer without blocking the event loop."""
        return await self.session.acall(*inputs, deadline=deadline)

    def map(
        self, inputs: Iterable[Any], *, deadline: float | None = None
    ) -> Generator[Any, None, None]:
        """Answer many inputs in order, working on several of them at a time.

        Args:
            inputs: One item per request: an array, a tuple of arrays, or a mapping by name.
            deadline: Seconds for each request; None: no limit.
        """
        return self.session.map(inputs, deadline=deadline, submit=self.submit)

    def profile(self, *inputs: Any, requests: int = 1, warmup: int = 1) -> Profile:
        """Run the model and record the times of every task.

        Args:
            *inputs: Arrays in order, or one mapping by name.
            requests: How many requests to record.
            warmup: How many requests to run before, unrecorded.
        """
        return self.session.profile(*inputs, requests=requests, warmup=warmup)

    @property
    def ready(self) -> Readiness:
        """Which segments run on their engines: all of them."""
        artifacts = self.program.artifacts
        return Readiness(tuple(SegmentState(a.segment, a.vendor, "ready") for a in artifacts))

    @property
    def specialisations(self) -> Specialisations:
        """The plans for single shapes: none."""
        return Specialisations()

    def wait(self, timeout: float | None = None) -> Readiness:
        """Wait until nothing is being built: not at all."""
        return self.ready

    def close(self) -> None:
        """End worker processes; the next call starts them again."""
        self.session.close()

    def saved_program(self) -> Program:
        """The program as it is written to a file."""
        return self.program
