"""`Runner`: everything that an `Executable` asks of what runs its model.

A new way of compiling brings a new runner; `Executable` forwards to it and asks nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from byoc.build.readiness import Readiness
    from byoc.runtime import Fault, Future, Memory, Profile
    from byoc.runtime.program import Program
    from byoc.segment import Array
    from byoc.specialise.options import Specialisations

__all__ = ["Runner"]


class Runner(Protocol):
    """Runs one model; may be called from several threads at once.

    What inputs, deadlines and results are is told at the methods of `byoc.Executable` that have the
    same names.
    """

    @property
    def program(self) -> Program:
        """The compiled model; it may grow while engines are being built."""
        ...

    @property
    def memory(self) -> Memory:
        """Bytes that the model takes, known before a run."""
        ...

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Calls of segments that failed and were made good by their host fallbacks."""
        ...

    @property
    def workers(self) -> tuple[tuple[str, int], ...]:
        """Vendor and process id of every worker process that runs."""
        ...

    @property
    def max_in_flight(self) -> int:
        """How many requests may be on their way at once."""
        ...

    @max_in_flight.setter
    def max_in_flight(self, limit: int) -> None: ...

    def run_positional(self, inputs: Sequence[Any]) -> list[Array]:
        """Run on inputs in order.

        Args:
            inputs: arrays, one per input of the model.

        Returns:
            The outputs, in order.

        Raises:
            InputError: an input does not fit.
            ExecutionError: a task fails and no host fallback makes it good.
        """
        ...

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run on inputs by name.

        Args:
            inputs: name → array.

        Returns:
            Name of an output → array.

        Raises:
            InputError: an input does not fit.
            ExecutionError: a task fails and no host fallback makes it good.
        """
        ...

    def submit(self, *inputs: Any, deadline: float | None, timeout: float | None) -> Future:
        """Begin a request and return at once.

        Args:
            inputs: in order, or one mapping by name.
            deadline: seconds from now, after which the request is dropped; None: no limit.
            timeout: seconds to wait for its turn; None: no limit.

        Returns:
            A future of what the executable returns for a call.
        """
        ...

    async def acall(self, *inputs: Any, deadline: float | None) -> Any:
        """Wait for a request's turn and answer without blocking the event loop.

        Args:
            inputs: in order, or one mapping by name.
            deadline: seconds from now, after which the request is dropped; None: no limit.

        Returns:
            What the executable returns for a call.
        """
        ...

    def map(self, inputs: Iterable[Any], *, deadline: float | None) -> Generator[Any, None, None]:
        """Answer many inputs in order, several of them on their way at a time.

        Args:
            inputs: an array, a tuple or a mapping each.
            deadline: seconds for each request; None: no limit.

        Returns:
            A generator of the answers.
        """
        ...

    def profile(self, *inputs: Any, requests: int, warmup: int) -> Profile:
        """Run and keep the times of every task.

        Args:
            inputs: in order, or one mapping by name.
            requests: how many to run.
            warmup: requests before, not counted.

        Returns:
            The times.
        """
        ...

    @property
    def ready(self) -> Readiness:
        """Which segments run on their engines."""
        ...

    @property
    def specialisations(self) -> Specialisations:
        """The plans for single shapes, and how often they answered."""
        ...

    def wait(self, timeout: float | None) -> Readiness:
        """Wait until nothing is being built.

        Args:
            timeout: seconds to wait at most; None: as long as it takes.

        Returns:
            Which segments run on their engines then.
        """
        ...

    def close(self) -> None:
        """Begin to build nothing more and end worker processes; calls go on working."""
        ...

    def saved_program(self) -> Program:
        """The program as it is written to a file."""
        ...
