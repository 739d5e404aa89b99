"""Time to the first answer with engines built in the background, beside a whole compilation.

The vendor is ``dnnl`` whose compiler sleeps besides, as those of engines with a search do. Whole
compilation and background compilation take turns; figures are medians in seconds. Usage::

    python benchmarks/background.py squeezenet resnet50 --sleep 20 --json background.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import byoc
from byoc.plugins.discovery import find
from byoc.testing.zoo import build, random_inputs

__all__ = ["BackgroundResult", "measure"]


@dataclass(frozen=True)
class BackgroundResult:
    """Seconds (medians). whole_s: `byoc.compile` and one answer. first_s: the same in the
    background. ready_s: until all engines are there. share: first_s / whole_s. difference: of the
    answers before and after, relative to their range.
    """

    model: str
    segments: int
    sleep_s: float
    rounds: int
    whole_s: float
    first_s: float
    ready_s: float
    share: float
    difference: float


def measure(model: str, sleep: float, rounds: int) -> BackgroundResult:
    """Measure one model of the zoo."""
    base = find("dnnl")

    def compile_segment(segment: Any, options: Any) -> Any:
        time.sleep(sleep)
        return base.compile(segment, options)

    slow = replace(base, compile=compile_segment)
    proto = build(model)
    inputs = random_inputs(proto, 0)
    byoc.compile(proto, ["dnnl"]).run(inputs)  # imports
    whole, first, ready, gaps = [], [], [], []
    segments = 0
    for _ in range(rounds):
        begin = time.perf_counter()
        right = byoc.compile(proto, [slow]).run(inputs)
        whole.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        executable = byoc.compile(proto, [slow], background=True)
        early = executable.run(inputs)
        first.append(time.perf_counter() - begin)
        state = executable.wait()
        ready.append(time.perf_counter() - begin)
        if not state.complete:
            raise RuntimeError(f"{model}: {state}")
        segments = len(state.segments)
        late = executable.run(inputs)
        for name, expected in right.items():
            scale = float(np.abs(expected).max()) or 1.0
            gaps += [float(np.abs(a[name] - expected).max()) / scale for a in (early, late)]
    middle = statistics.median
    return BackgroundResult(
        model, segments, sleep, rounds, middle(whole), middle(first), middle(ready),
        middle(first) / middle(whole), max(gaps),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--sleep", type=float, default=20.0, help="seconds per engine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    results = [measure(m, arguments.sleep, arguments.rounds) for m in arguments.models]
    for r in results:
        print(
            f"{r.model:<16} first answer {r.first_s:6.2f} s of {r.whole_s:6.2f} s "
            f"({r.share:.1%}), all engines after {r.ready_s:.2f} s, differs by {r.difference:.1e}"
        )
    if arguments.json:
        document = {"cpus": len(os.sched_getaffinity(0)), "results": [asdict(r) for r in results]}
        Path(arguments.json).write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
