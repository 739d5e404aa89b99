"""A model with a symbolic batch: on the VM, with a plan for its shape, and compiled as static.

The three take turns, call by call; figures are medians in milliseconds. Usage::

    OMP_NUM_THREADS=2 python benchmarks/dynamic_shapes.py bert mobilenet_v2 --batch 1 4 --json d
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import byoc
from byoc.specialise import Specialise
from byoc.testing.zoo import build, random_inputs

__all__ = ["DynamicResult", "measure"]


@dataclass(frozen=True)
class DynamicResult:
    """Milliseconds (medians) of one call. gain: vm_ms / plan_ms. overhead: plan_ms / static_ms.
    build_s: seconds the plan took. extra_mb: memory of the process that came with it.
    """

    model: str
    batch: int
    vendors: tuple[str, ...]
    vm_ms: float
    plan_ms: float
    static_ms: float
    gain: float
    overhead: float
    build_s: float
    extra_mb: float
    difference: float


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _in_turns(calls: list[Callable[[], Any]], runs: int) -> list[float]:
    times: list[list[float]] = [[] for _ in calls]
    for number in range(runs + 2):
        for call, mine in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            if number >= 2:
                mine.append((time.perf_counter() - begin) * 1e3)
    return [statistics.median(t) for t in times]


def measure(model: str, batches: list[int], vendors: list[str], runs: int) -> list[DynamicResult]:
    """Measure one model of the zoo for some batches."""
    symbolic = build(model, batch="batch")
    vm = byoc.compile(symbolic, vendors)
    plans = byoc.compile(symbolic, vendors, specialise=Specialise(at_once=True))
    results = []
    for batch in batches:
        inputs = random_inputs(symbolic, 0, {"batch": batch})
        expected = vm.run(inputs)
        before = _resident()
        found = plans.run(inputs)
        extra = _resident() - before
        gap = max(
            float(np.abs(found[n] - e).max()) / (float(np.abs(e).max()) or 1.0)
            for n, e in expected.items()
        )
        static = byoc.compile(build(model, batch=batch), vendors)
        times = _in_turns([partial(e.run, inputs) for e in (vm, plans, static)], runs)
        seconds = plans.specialisations.plans[-1].seconds
        results.append(
            DynamicResult(
                model, batch, tuple(vendors), *times, times[0] / times[1], times[1] / times[2],
                seconds, extra, gap,
            )
        )  # fmt: skip
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--vendors", default="dnnl", help="A,B; empty: the host alone")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    vendors = [name for name in arguments.vendors.split(",") if name]
    results = [
        r for m in arguments.models for r in measure(m, arguments.batch, vendors, arguments.runs)
    ]
    for r in results:
        print(
            f"{r.model:<14} batch {r.batch:<3} VM {r.vm_ms:8.2f} ms, plan {r.plan_ms:8.2f}, static "
            f"{r.static_ms:8.2f}: gain {r.gain:.2f}, overhead {r.overhead:.3f}, built in "
            f"{r.build_s:.1f} s, +{r.extra_mb:.0f} MB, differs by {r.difference:.1e}"
        )
    if arguments.json:
        document = {"cpus": len(os.sched_getaffinity(0)), "results": [asdict(r) for r in results]}
        Path(arguments.json).write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
