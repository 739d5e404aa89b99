"""Is placement by measurement never worse than the best single plan? ``python -m
benchmarks.never_worse --models resnet50,bert``.

For each model: the shipped plan of ``placement="measured"`` beside the host alone and each vendor
alone (each compiled afresh, as a user of that vendor has it), and beside itself, all in turns::

    round 1   shipped · host · dnnl only · onnxruntime only · shipped again      medians per round
    round 2   host · dnnl only · …                                               ratios per round

The ratio of two plans is the median of their ratios round by round. That of the shipped plan to
itself (A/A) tells what the machine's noise alone would give. While the ratio is above `LIMIT`, the
shipped and the best single plan run on, twice as long each time, `PATIENCE` times at most. Where
both have every op in the same place and the same segments, the line says so: they are one plan,
built twice. One line per model on stdout, all figures as JSON in benchmarks/results/. Exit status
1 when a shipped plan is slower than `LIMIT` times the best single one. Use a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
LIMIT = 1.02
PATIENCE = 4
MIX_GAIN = 0.99
"""Below this share of the best single plan's time, a mix is said to win."""


def _contenders(name: str, vendors: list[str], budget: float) -> tuple[list[Any], dict[str, Any]]:
    """The shipped plan first, then every single plan, then the shipped one again; the facts hold
    which single plans are the shipped one.
    """
    import byoc
    from byoc.errors import ByocError
    from byoc.testing.zoo import model_path
    from byoc.timing.tournament import Contender

    path = model_path(name)
    start = time.perf_counter()
    shipped = byoc.compile(path, vendors, placement="measured", budget=budget)
    seconds = time.perf_counter() - start
    found = [Contender("shipped", shipped.run, len(shipped.report.segments))]
    refused, same = {}, []
    for only in ("host", *vendors):
        try:
            single = byoc.compile(path, [] if only == "host" else [only])
        except ByocError as error:
            refused[only] = str(error)
            continue
        found.append(Contender(only, single.run, len(single.report.segments)))
        if _plan(single.report) == _plan(shipped.report):
            same.append(only)
    found.append(Contender("shipped again", shipped.run, len(shipped.report.segments)))
    report = shipped.report
    facts = {
        "seconds": seconds,
        "refused": refused,
        "same": same,
        "places": sorted({op.place for op in report.ops}),
        "segments": len(report.segments),
        "plans": [
            {
                "name": plan.name,
                "predicted_ms": None if plan.predicted is None else plan.predicted * 1e3,
                "measured_ms": None if plan.measured is None else plan.measured * 1e3,
                "noise": plan.noise,
                "segments": plan.segments,
                "shipped": plan.shipped,
            }
            for plan in report.plans
        ],
        "warnings": list(report.warnings),
    }
    return found, facts


def _plan(report: Any) -> tuple[Any, ...]:
    """Where every op is, and in which segment, whatever segments are called."""
    number = {segment.name: k for k, segment in enumerate(report.segments)}
    return tuple((op.place, number.get(op.segment)) for op in report.ops)


def _ratio(one: Any, other: Any) -> float:
    count = min(len(one.rounds), len(other.rounds))
    pairs = zip(one.rounds[:count], other.rounds[:count], strict=True)
    return median(a / b for a, b in pairs)


def check(name: str, vendors: list[str], budget: float, seconds: float) -> dict[str, Any]:
    """Compile, race, and judge one model."""
    import onnx

    from byoc.testing.zoo import model_path, random_inputs
    from byoc.timing.tournament import race

    contenders, facts = _contenders(name, vendors, budget)
    inputs = random_inputs(onnx.load(model_path(name), load_external_data=False), 1)
    race(contenders, inputs, seconds=seconds, keep=(0, len(contenders) - 1))
    shipped, *singles, again = contenders
    best = min(singles, key=lambda one: median(one.rounds))
    for more in range(PATIENCE):
        if _ratio(shipped, best) <= LIMIT:
            break
        longer = seconds * 2**more
        race([shipped, best, again], inputs, seconds=longer, keep=(0, 1, 2), most=1000)
    ratio = _ratio(shipped, best)
    # Both runs of the shipped plan are the same code: what they differ by is noise.
    control = _ratio(again, shipped)
    return {
        "model": name,
        "ratio": ratio,
        "ok": ratio <= LIMIT,
        "control": control,
        "same_plan": best.name in facts["same"],
        "best": best.name,
        "mix_wins": len(facts["places"]) > 1 and ratio < MIX_GAIN,
        "medians_ms": {one.name: median(one.rounds) * 1e3 for one in contenders},
        "rounds": {one.name: len(one.rounds) for one in contenders},
        **facts,
    }


def _line(row: dict[str, Any]) -> str:
    mark = "ok  " if row["ok"] else "FAIL"
    won = f", a mix wins by {1 - row['ratio']:.1%}" if row["mix_wins"] else ""
    places = "+".join(row["places"])
    same = ", the same plan" if row["same_plan"] else ""
    return (
        f"{mark} {row['model']:<14} shipped {row['medians_ms']['shipped']:8.3f} ms = "
        f"{row['ratio']:.3f} of {row['best']}{same} (A/A {row['control']:.3f}), {places}, "
        f"{row['segments']} segments{won}; {row['seconds']:.0f} s to place"
    )


def main() -> None:
    sys.path.append(str(ROOT))
    from benchmarks.acceptance import MODELS

    parser = argparse.ArgumentParser(prog="python -m benchmarks.never_worse")
    parser.add_argument("--models", default=",".join(MODELS), help="of the zoo, with commas")
    parser.add_argument("--vendors", default="dnnl,onnxruntime")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds to measure, per model")
    parser.add_argument("--seconds", type=float, default=6.0, help="of the race, per model")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument(
        "--output", type=Path, help="default: benchmarks/results/never-worse-*.json"
    )
    arguments = parser.parse_args()
    if arguments.threads:
        import byoc

        byoc.set_num_threads(arguments.threads)
    vendors = [name for name in arguments.vendors.split(",") if name]
    rows = []
    for name in arguments.models.split(","):
        row = check(name, vendors, arguments.budget, arguments.seconds)
        rows.append(row)
        print(_line(row), flush=True)
    from byoc.runtime import num_threads

    content = {
        "vendors": vendors,
        "limit": LIMIT,
        "threads": num_threads(),
        "load": os.getloadavg(),
        "models": rows,
    }
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = arguments.output or ROOT / "benchmarks" / "results" / f"never-worse-{stamp}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    failed = [row["model"] for row in rows if not row["ok"]]
    print(f"── {path}: {len(failed)} of {len(rows)} models failed {' '.join(failed)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
