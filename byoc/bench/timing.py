"""Latency of several engines side by side, on one machine, at one time.

In: engines that have a model open, and inputs. Out: the times of each, their ratios, and remarks
on what disturbed them. Engines take turns in blocks (`byoc.timing.interleaved`)::

    byoc   x x · · · · · · · ·                       x x · · · …      x warm-up   · counts
    ort                          x x · · · · · · · ·            …     (a pause between blocks)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from byoc.bench.engines import Engine
from byoc.runtime.native import usable_processors
from byoc.segment import Array
from byoc.timing.interleaved import interleaved, timed_block

__all__ = ["BenchResult", "Timing", "busy_share", "measure"]

_BLOCK = 10
_WARM = 2
_PAUSE = 0.05  # seconds; longer than other engines' idle threads spin


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock times of one engine's calls, in milliseconds."""

    engine: str
    version: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The time that half of the calls stayed below, in milliseconds."""
        return median(self.samples)

    def percentile(self, q: float) -> float:
        """Return the time that `q` percent of the calls stayed below, in milliseconds."""
        return float(np.percentile(self.samples, q))

    def to_dict(self) -> dict[str, Any]:
        """Return a summary for JSON, without the samples."""
        return {
            "engine": self.engine,
            "version": self.version,
            "runs": len(self.samples),
            "median_ms": round(self.median, 4),
            "p10_ms": round(self.percentile(10), 4),
            "p90_ms": round(self.percentile(90), 4),
            "min_ms": round(min(self.samples), 4),
        }


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Timings of all engines, the first of which is byoc; remarks on what disturbed them."""

    model: str
    threads: int
    timings: tuple[Timing, ...]
    remarks: tuple[str, ...] = ()

    @property
    def ratios(self) -> dict[str, float]:
        """Engine → the first engine's median divided by its median (below 1: byoc is faster)."""
        first, *others = self.timings
        return {other.engine: first.median / other.median for other in others}

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values, for JSON."""
        return {
            "model": self.model,
            "threads": self.threads,
            "timings": [timing.to_dict() for timing in self.timings],
            "ratios": {name: round(ratio, 4) for name, ratio in self.ratios.items()},
            "remarks": list(self.remarks),
        }


def busy_share(seconds: float = 0.3) -> float | None:
    """Return the share of the machine's CPU time that is in use, 0..1.

    Args:
        seconds: How long to look.

    Returns:
        None where the system does not tell.

    """

    def read() -> tuple[int, int]:
        with Path("/proc/stat").open() as file:
            fields = [int(word) for word in file.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]  # idle and iowait

    try:
        total, idle = read()
        time.sleep(seconds)
        total_after, idle_after = read()
    except OSError:  # not Linux
        return None
    spent = total_after - total
    return 1 - (idle_after - idle) / spent if spent else None


def _runs_for(seconds: float) -> int:
    """How many calls of `seconds` each to count: about five seconds' worth, 20 to 200."""
    return max(20, min(200, int(5 / max(seconds, 1e-6))))


def measure(
    engines: Sequence[Engine],
    inputs: Mapping[str, Array],
    *,
    model: str = "",
    threads: int = 0,
    runs: int | None = None,
) -> BenchResult:
    """Time engines side by side, in alternating blocks.

    Args:
        engines: The first is the one in question; all opened with the same number of threads.
        inputs: Arrays by name.
        model: Its name, for the result.
        threads: Their number, for the result; default the CPUs of this process.
        runs: Calls that count, per engine; default about five seconds' worth.

    Returns:
        Times of each, and remarks on what disturbed them.

    """
    remarks = []
    busy = busy_share()
    if busy is not None and busy > 0.1:
        remarks.append(
            f"the machine was {busy:.0%} busy before the measurement started: times are too long, "
            f"ratios uncertain"
        )
    samples: list[list[float]] = [[] for _ in engines]
    calls = [partial(engine.run, inputs) for engine in engines]
    slowest = max([timed_block(call)[0] for call in calls])  # the first call sets things up
    wanted = runs or _runs_for(slowest)
    turns = [min(_BLOCK, wanted)] * len(calls)
    for found in interleaved(calls, turns, warm=_WARM, pause=_PAUSE):
        for k, times in found.items():
            samples[k].extend(1e3 * seconds for seconds in times)
        if len(samples[-1]) >= wanted:
            break
    timings = tuple(
        Timing(e.name, e.version, tuple(times[:wanted]))
        for e, times in zip(engines, samples, strict=True)
    )
    for timing in timings:
        if timing.percentile(90) > 1.5 * timing.percentile(10):
            remarks.append(
                f"{timing.engine} was unsteady: 10 % of its calls took under "
                f"{timing.percentile(10):.3g} ms, 10 % over {timing.percentile(90):.3g} ms"
            )
    return BenchResult(model, threads or usable_processors(), timings, tuple(remarks))
