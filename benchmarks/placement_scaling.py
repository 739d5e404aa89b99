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
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.partition_scaling import best_of, build_chain, fresh, make_vendor


def three_vendors() -> list[Any]:
    """The vendor of `partition_scaling`, three times, at different speeds."""
    from byoc.vendor import Rates

    # Cheap borders: on so little work dear ones would leave nothing but the host.
    vendor, border = make_vendor(), {"border": 1e-8, "border_bytes": 4e11}
    rates = [Rates(flops=4e10 * k, bytes=8e9 * k, launch=1e-8 * k, **border) for k in (1, 2, 3)]
    return [replace(vendor, name=f"bench{k}", rates=rate) for k, rate in enumerate(rates)]


def measure(ops: int, last: str, placement: str, repeat: int) -> dict[str, Any]:
    """Best time in this process."""
    from byoc.partition import partition_module

    mod, vendors = build_chain(ops, last), three_vendors()
    return best_of(ops, repeat, lambda: partition_module(mod, vendors, placement=placement))


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
            at_n, at_2n = (
                fresh(__file__, f"{last},{placement}", args.ops * k, args.repeat) for k in (1, 2)
            )
            ratio = at_2n["seconds"] / at_n["seconds"]
            figures[f"{shape} {placement}"] = {"n": at_n, "2n": at_2n, "ratio": round(ratio, 2)}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
