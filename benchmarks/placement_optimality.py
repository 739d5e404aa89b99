"""How far the search is from the best: random DAGs against trying every placement.

    python benchmarks/placement_optimality.py [--problems 1000] [--first 32]

Three synthetic vendors offer up to 12 candidates on graphs of 5 to 14 ops (narrow, wide, chains,
trees; a third with fused pairs), once on one processor (the sum counts) and once on four (the
makespan). Prints one JSON object: problems, how many were proved optimal, worst and mean gap, and
the seeds of those that were not optimal.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "partition" / "placing"), str(ROOT / "tests" / "partition")]


def measure(seeds: range, parallel: bool) -> dict[str, Any]:
    """Gaps of one objective."""
    from random_problems import best_of_all
    from test_place_search import make_problem

    from byoc.partition.placing.local_search import best_choice

    gaps: dict[int, float] = {}
    proved = wrong = 0
    for seed in seeds:
        _, problem = make_problem(seed, parallel)
        found, best = best_choice(problem), best_of_all(problem)
        gaps[seed] = max(0.0, found.evaluated.seconds / best - 1) if best else 0.0
        proved += found.exact
        wrong += found.exact and gaps[seed] > 1e-9
    off = {seed: round(gap, 5) for seed, gap in gaps.items() if gap > 1e-9}
    return {
        "problems": len(gaps),
        "proved_optimal": proved,
        "wrongly_proved": wrong,
        "worst_gap": round(max(gaps.values()), 5),
        "mean_gap": round(sum(gaps.values()) / len(gaps), 7),
        "not_optimal": off,
    }


def main() -> None:
    """Both objectives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--first", type=int, default=32, help="first seed")
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.problems)
    figures = {"sum": measure(seeds, False), "makespan": measure(seeds, True)}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
