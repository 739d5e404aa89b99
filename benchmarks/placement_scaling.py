"""How placing by cost scales: three vendors, strategies `order` and `model`, N and 2N ops.

    python benchmarks/placement_scaling.py [--ops 25000] [--repeat 3]

The chains of `partition_scaling.py` ("one": everything supported, "alternate": every fourth op on
the host) and three vendors with ten patterns each and different rates, so that every op has
several candidates. Prints one JSON object: seconds (best of --repeat), CPU seconds, candidates
per op and segments; each figure comes from a fresh process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))


def three_vendors() -> list[Any]:
    """The vendor of `partition_scaling`, three times, at different speeds."""
    from benchmarks.partition_scaling import make_vendor
    from byoc.vendor import Rates

    vendor = make_vendor()
    return [
        replace(vendor, name=f"bench{k}", rates=Rates(flops=4e10 * (k + 1), launch=1e-6 * (k + 1)))
        for k in range(3)
    ]


def measure(ops: int, last: str, placement: str, repeat: int) -> dict[str, Any]:
    """Best time in this process."""
    from benchmarks.partition_scaling import build_chain
    from byoc.partition import partition_module

    mod, vendors = build_chain(ops, last), three_vendors()
    best, least, segments = float("inf"), float("inf"), 0
    for _ in range(repeat):
        start, spent = time.perf_counter(), time.process_time()
        result = partition_module(mod, vendors, placement=placement)
        best = min(best, time.perf_counter() - start)
        least = min(least, time.process_time() - spent)
        segments = len(result.segments)
        del result
    return {
        "ops": ops,
        "seconds": round(best, 3),
        "cpu_seconds": round(least, 3),
        "segments": segments,
    }


def _fresh(ops: int, last: str, placement: str, repeat: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", f"{last},{placement}"]
    command += ["--ops", str(ops), "--repeat", str(repeat)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Both shapes, both strategies, at N and 2N."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", type=int, default=25_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        last, placement = args.one.split(",")
        print(json.dumps(measure(args.ops, last, placement, args.repeat)))
        return
    figures: dict[str, Any] = {}
    for shape, last in (("one", "sigmoid"), ("alternate", "tanh")):
        for placement in ("order", "model"):
            at_n, at_2n = (_fresh(args.ops * k, last, placement, args.repeat) for k in (1, 2))
            ratio = at_2n["seconds"] / at_n["seconds"]
            figures[f"{shape} {placement}"] = {"n": at_n, "2n": at_2n, "ratio": round(ratio, 2)}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
