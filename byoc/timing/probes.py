"""Seconds of one call, steadily: repeated inside one run, in turns, medians.

In: what to time (a plan of the runtime, or any call). Out: median, spread and number of samples.
A call of some microseconds is lost in the noise of a Python call. So a *probe* runs its call k
times in one go, k such that a run takes about a millisecond; one sample is one run, divided by k.
Probes take turns in blocks (`byoc.timing.interleaved`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from byoc.runtime.native import function, with_address
from byoc.runtime.plan import Plan, Task, encode_plan
from byoc.segment import Array
from byoc.timing.interleaved import interleaved, timed_block
from byoc.timing.store import Timed

__all__ = ["Probe", "plan_probe", "spread", "time_probes"]

_RUN = 1e-3  # seconds that one sample should take at least
_MOST_REPEATS = 2000
_BLOCK = 3
_LEAST_BLOCKS, _MOST_BLOCKS = 3, 7


@dataclass
class Probe:
    """Something to time.

    Attributes:
        make: Number of repeats → a call that does the work so many times in one go.
        repeats: How many times the call does it now.

    """

    make: Callable[[int], Callable[[], None]]
    repeats: int = 1

    def start(self) -> None:
        """Run it a few times and choose the number of repeats by how long that takes."""
        self.call = self.make(1)
        (seconds,) = timed_block(self.call, warm=2)
        self.repeats = max(1, min(_MOST_REPEATS, int(_RUN / max(seconds, 1e-7))))
        if self.repeats > 1:
            self.call = self.make(self.repeats)


def spread(samples: Sequence[float]) -> float:
    """Return half the distance between the quartiles over the median: the noise of some samples."""
    low, middle, high = np.percentile(samples, [25, 50, 75])
    return float((high - low) / 2 / middle) if middle > 0 else 0.0


def time_probes(probes: Sequence[Probe], *, seconds: float) -> list[Timed]:
    """Time probes side by side.

    Args:
        probes: What to time; `start` was called on each.
        seconds: About how long it may take in all; there are three blocks each at least.

    Returns:
        Median, noise and number of samples of each.

    """
    samples: list[list[float]] = [[] for _ in probes]
    end = time.perf_counter() + seconds
    warm = 1 if len(probes) > 1 else 0  # warm again: the others have run since
    rounds = interleaved([probe.call for probe in probes], [_BLOCK] * len(probes), warm=warm)
    for number, found in enumerate(rounds, 1):
        for k, times in found.items():
            samples[k].extend(seconds / probes[k].repeats for seconds in times)
        if number == _MOST_BLOCKS or (number >= _LEAST_BLOCKS and time.perf_counter() > end):
            break
    return [Timed(median(times), spread(times), len(times)) for times in samples]


def plan_probe(
    plan: Plan,
    host: Any,
    segments: dict[str, Any],
    owners: dict[str, str],
    constants: Sequence[Any],
    arrays: Sequence[Array],
) -> Probe:
    """Make a probe that runs the tasks of a plan, all of them k times, one after the other.

    Args:
        plan: The tasks.
        host: The library of host kernels, or None.
        segments: Name → the vendor's function.
        owners: Name of a segment → its vendor.
        constants: What the plan's constants are.
        arrays: Inputs, then outputs; of the plan's shapes and aligned for host kernels.

    """

    def make(repeats: int) -> Callable[[], None]:
        execute: Any = function("Executor")(
            encode_plan(_repeated(plan, repeats)), host, segments, owners, list(constants)
        )["run"]
        arguments = [with_address(array) for array in arrays]

        def call() -> None:
            execute(*arguments)

        return call

    return Probe(make)


def _repeated(plan: Plan, count: int) -> Plan:
    tasks: list[Task] = []
    size = len(plan.tasks)
    for k in range(count):
        before = (k * size - 1,) if k else ()
        for task in plan.tasks:
            deps = tuple(sorted({*(d + k * size for d in task.deps), *before}))
            tasks.append(replace(task, deps=deps))
    return replace(plan, tasks=tuple(tasks))
