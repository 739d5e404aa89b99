"""A runner over a session per shape of the inputs, and one that takes all shapes.

inputs ──check──▶ arrays ──Shapes.choose──▶ a plan's session, inputs padded to it ──▶ cut back
└──────▶ the session of the symbolic model
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from byoc.build.readiness import Readiness
from byoc.runners.plain import PlainRunner
from byoc.runtime import Future, Profile, Program
from byoc.segment import Array
from byoc.specialise.options import Specialisations
from byoc.specialise.shapes import Shapes

__all__ = ["SpecialisedRunner"]


class SpecialisedRunner(PlainRunner):
    """Answers a call by the plan for its shapes: the runner of ``specialise=True``.

    What it tells of program, memory and faults is the symbolic model's.

    Args:
        shapes: the plans, and the session of the symbolic model. They are closed when the runner
            goes.
    """

    def __init__(self, shapes: Shapes) -> None:
        super().__init__(shapes.vm)
        self.shapes = shapes
        weakref.finalize(self, shapes.close)

    @property
    def max_in_flight(self) -> int:
        """How many requests may be on their way at once, of each plan."""
        return self.session.max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, limit: int) -> None:
        for session in self.shapes.sessions():
            session.max_in_flight = limit

    def run_positional(self, inputs: Sequence[Any]) -> list[Array]:
        """Run on inputs in order; the outputs in order."""
        return self.shapes.run(self.session.check_positional(inputs))

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run on inputs by name; the outputs by name."""
        results = self.shapes.run(self.session.check((inputs,))[0])
        return dict(zip(self.session.output_names, results, strict=True))

    def submit(
        self, *inputs: Any, deadline: float | None = None, timeout: float | None = None
    ) -> Future:
        """Begin a request on the plan for these shapes, and return its future.

        Args:
            *inputs: Arrays in order, or one mapping by name.
            deadline: Seconds from now until the future raises DeadlineError; None: never.
            timeout: Seconds to wait while `max_in_flight` requests are in flight; None: no limit.
        """
        arrays, named = self.session.check(inputs)
        choice = self.shapes.choose(arrays)
        return choice.session.submit_checked(
            choice.arrays, named, deadline=deadline, timeout=timeout, then=choice.then
        )

    async def acall(self, *inputs: Any, deadline: float | None = None) -> Any:
        """Wait for a request's turn and answer without blocking the event loop."""
        arrays, named = self.session.check(inputs)
        choice = self.shapes.choose(arrays)
        return await choice.session.acall_checked(
            choice.arrays, named, deadline=deadline, then=choice.then
        )

    def profile(self, *inputs: Any, requests: int = 1, warmup: int = 1) -> Profile:
        """Run the plan that is chosen for these shapes, and record the times of every task.

        Args:
            *inputs: Arrays in order, or one mapping by name.
            requests: How many requests to record.
            warmup: How many requests to run before, unrecorded.
        """
        choice = self.shapes.choose(self.session.check(inputs)[0])
        return choice.session.profile(*choice.arrays, requests=requests, warmup=warmup)

    @property
    def specialisations(self) -> Specialisations:
        """The plans for single shapes, and how often they answered."""
        return self.shapes.statistics()

    def wait(self, timeout: float | None = None) -> Readiness:
        """Wait until no plan is being built, `timeout` seconds at most."""
        self.shapes.wait(timeout)
        return self.ready

    def close(self) -> None:
        """Build no more plans; those that are there go on."""
        self.shapes.close()
        super().close()

    def saved_program(self) -> Program:
        """The symbolic program with the plans that were prepared for named shapes."""
        options = self.shapes.options
        return replace(
            self.program,
            shapes=tuple((sizes, s.program) for sizes, s in self.shapes.prepared()),
            buckets={dim: tuple(sizes) for dim, sizes in options.buckets.items()},
            fill=options.fill,
        )
