"""Random ONNX graphs (`onnx_grammar.py`) on byoc and on ONNX Runtime: equal, or refused by name.

    python benchmarks/random_onnx.py --graphs 2000                         everything on the host
    python benchmarks/random_onnx.py --graphs 2000 --vendors dnnl,onnxruntime
    python benchmarks/random_onnx.py --first 1234 --graphs 1 --keep /tmp   one graph, model kept

Graphs run in a worker process, which is replaced when one crashes it or takes over a minute. A
graph ends as one of

    equal     every output has the numbers, shape and dtype of ONNX Runtime (no graph optimisation)
    refused   byoc raised one of its own errors
    skip      ONNX Runtime itself does not run the graph
    wrong     other numbers, shapes or dtypes · error: any other exception · crash · timeout

Exit status 1 when a graph ended as one of the last line.
"""

from __future__ import annotations

import argparse
import json
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.onnx_grammar import Case, make_case

__all__ = ["BAD", "difference", "reference", "try_case"]

BAD = ("wrong", "error", "crash", "timeout")
_SECONDS = 300
# |a - b| ≤ tolerance · max(1, |b|): chains of a dozen operators, sums of some hundred products.
_TOLERANCE = {"float64": 2e-5, "float32": 1e-3, "float16": 4e-2}


def reference(case: Case) -> list[np.ndarray] | None:
    """What ONNX Runtime computes, node by node; None when it does not run the graph."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        data = case.model.SerializeToString()
        session = ort.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
        return list(session.run(None, case.inputs))
    except Exception:
        return None


def difference(found: np.ndarray, expected: np.ndarray) -> str | None:
    """How two arrays differ; None when they are equal within rounding of their dtype."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype}{found.shape}, expected {expected.dtype}{expected.shape}"
    tolerance = _TOLERANCE.get(str(expected.dtype), 0.0)
    if not tolerance:
        unequal = found != expected
        if not unequal.any():
            return None
        at = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(unequal)))
        return f"{int(unequal.sum())} of {unequal.size} elements differ, first at {at}"
    a, b = found.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(a - b)
        far = ~same & ~(gap <= tolerance * np.maximum(1, np.abs(b)))
    if not far.any():
        return None
    index = np.unravel_index(int(np.argmax(np.where(far, gap, -1))), a.shape)
    return f"{int(far.sum())} of {far.size} elements differ: {a[index]!r}, expected {b[index]!r}"


def try_case(case: Case, vendors: tuple[str, ...]) -> tuple[str, str]:
    """How a graph ends, and why: "equal", "refused", "skip", "wrong", "error"."""
    import byoc
    from byoc.errors import ByocError

    expected = reference(case)
    try:
        results = byoc.compile(case.model, vendors).run(case.inputs)
    except ByocError as error:
        return "refused", f"{type(error).__name__}: {error}"
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"
    if expected is None:
        return "skip", ""
    for port, array in zip(case.model.graph.output, expected, strict=True):
        why = difference(np.asarray(results[port.name]), np.asarray(array))
        if why:
            return "wrong", f"output {port.name!r}: {why}"
    return "equal", ""


def _work(vendors: tuple[str, ...], keep: Path | None) -> None:
    import os

    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        case = make_case(int(line))
        outcome, why = try_case(case, vendors)
        if keep and outcome in BAD:
            (keep / f"random_{case.seed}.onnx").write_bytes(case.model.SerializeToString())
        ops = sorted({n.op_type for n in case.model.graph.node})
        print(json.dumps([outcome, why[:500], ops]), file=out)


class _Worker:
    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def run(self, seed: int) -> list[Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seed}\n".encode())
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], _SECONDS)[0]:
            self.end()
            return ["timeout", f"over {_SECONDS} s", []]
        line = self.process.stdout.readline()
        if line:
            return list(json.loads(line))
        return ["crash", f"exit status {self.process.wait()}", []]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first graph")
    parser.add_argument("--vendors", default="", help="by commas; none: all on the host")
    parser.add_argument("--keep", type=Path, help="folder for the models that do not end well")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    vendors = tuple(v for v in args.vendors.split(",") if v)
    if args.work:
        _work(vendors, args.keep)
        return
    command = [sys.executable, __file__, "--work", "--vendors", args.vendors]
    command += ["--keep", str(args.keep)] if args.keep else []
    worker, began = _Worker(command), time.monotonic()
    counts: Counter[str] = Counter()
    operators: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    for seed in range(args.first, args.first + args.graphs):
        outcome, why, ops = worker.run(seed)
        counts[outcome] += 1
        operators.update(ops)
        if outcome == "refused":
            refusals[why.split(" (", 1)[-1][:90]] += 1
        if outcome in BAD:
            print(f"{seed}: {outcome}: {why}", flush=True)
        if worker.process.poll() is not None:
            worker = _Worker(command)
    worker.end()
    seconds = time.monotonic() - began
    print(f"{args.vendors or 'host'}: {dict(counts)}, {len(operators)} operators, {seconds:.0f} s")
    for why, count in refusals.most_common(10):
        print(f"  refused {count}: {why}")
    if args.json:
        args.json.write_text(json.dumps({"counts": counts, "operators": sorted(operators)}))
    sys.exit(any(counts[outcome] for outcome in BAD))


if __name__ == "__main__":
    main()
