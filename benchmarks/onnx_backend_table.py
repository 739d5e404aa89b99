"""Run onnx's own backend test suite on byoc and write the table by operator.

    python benchmarks/onnx_backend_table.py --engine host         results/onnx_backend_host.jsonl
    python benchmarks/onnx_backend_table.py --engine onnxruntime  with that vendor for all it takes
    python benchmarks/onnx_backend_table.py --engine ort          ONNX Runtime itself, to compare
    python benchmarks/onnx_backend_table.py --write-docs          docs/onnx-operators.md

Tests run in worker processes that a crash or a hang cannot take down with it: the parent gives
one name at a time, and starts another worker when one dies or a test takes too long. Results are
kept by name, so that a run can be cut short and go on; `--again` says which ones are run again.

A test ends as one of

    pass      the numbers are right
    rounding  not the suite's numbers, but those of the same model in float64, within the suite's
              tolerance and at least as near as the suite's own (`onnx_exact.py`)
    refused   byoc raised one of its own errors, which names the node and the reason
    wrong     other numbers, shapes or dtypes than expected
    error     any other exception
    crash     the process died; timeout: it did not end
    skip      the suite itself leaves it out
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from onnx_exact import exact_outputs

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "onnx-operators.md"
ENGINES = {"host": (), "onnxruntime": ("onnxruntime",), "dnnl": ("dnnl",), "ort": None}

Result = dict[str, Any]


# -- worker


def _backend(engine: str) -> Any:
    if engine == "ort":
        return OnnxRuntime
    from byoc.integrations.onnx_backend import backend_for

    vendors = ENGINES[engine]
    assert vendors is not None
    return backend_for(vendors)


class OnnxRuntime:
    """ONNX Runtime behind as much of the backend API as the suite calls."""

    def __init__(self, session: Any) -> None:
        self.session = session

    @classmethod
    def prepare(cls, model: Any, device: str, **kwargs: Any) -> OnnxRuntime:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = 1
        data = model.SerializeToString()
        return cls(onnxruntime.InferenceSession(data, settings, ["CPUExecutionProvider"]))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"

    def run(self, inputs: Any, **kwargs: Any) -> list[Any]:
        import onnxruntime as ort

        names = [port.name for port in self.session.get_inputs()]
        feeds = {}
        for name, value, port in zip(names, inputs, self.session.get_inputs(), strict=False):
            dtype = getattr(getattr(value, "dtype", None), "name", "")
            if dtype in ("bfloat16",) or dtype.startswith(("float8", "float4", "int4", "uint4")):
                from onnx import helper

                kind = helper.np_dtype_to_tensor_dtype(value.dtype)
                value = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(value, kind)
            del port
            feeds[name] = value
        return list(self.session.run(None, feeds))


class RoundingError(AssertionError):
    """The suite's numbers are further from the exact ones than the engine's are."""


class _Last:
    """What ran last."""

    model: Any = None
    inputs: Any = None


def _recording(backend: Any) -> Any:
    """The backend; it notes what it runs in `_Last`."""

    class Recording(backend):  # type: ignore[misc]
        @classmethod
        def prepare(cls, model: Any, *args: Any, **kwargs: Any) -> Any:
            prepared = super().prepare(model, *args, **kwargs)
            run = prepared.run

            def noted(inputs: Any, **more: Any) -> Any:
                _Last.model, _Last.inputs = model, inputs
                return run(inputs, **more)

            prepared.run = noted
            return prepared

    return Recording


def _judge(expected: Any, found: Any, rtol: float, atol: float) -> None:
    """Raise RoundingError when the engine is right by the model in float64."""
    if not all(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in (*expected, *found)):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exact = exact_outputs(_Last.model, _Last.inputs)
    except Exception:
        return  # what cannot be evaluated so stays wrong
    off = [0.0, 0.0]
    for a, b, e in zip(expected, found, exact, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype or e.shape != b.shape:
            return
        if not np.allclose(b.astype(np.float64), e, rtol=rtol, atol=atol, equal_nan=True):
            return
        off = [max(o, float(np.nanmax(np.abs(v - e)))) for o, v in zip(off, (a, b), strict=True)]
    if off[1] <= off[0]:
        raise RoundingError(
            f"of the model in float64 the suite's numbers are off by {off[0]:.1e}, these by "
            f"{off[1]:.1e}"
        )


def _suite(engine: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tests by name as callables, and where each keeps its model."""
    os.environ.setdefault("ONNX_HOME", tempfile.mkdtemp(prefix="onnx_home"))
    from onnx.backend.test import BackendTest

    class Suite(BackendTest):  # type: ignore[misc]
        @classmethod
        def assert_similar_outputs(
            cls, ref_outputs: Any, outputs: Any, rtol: float, atol: float, model_dir: Any = None
        ) -> None:
            try:
                super().assert_similar_outputs(ref_outputs, outputs, rtol, atol, model_dir)
            except TypeError:  # it takes scalars that are elements of sequences for lists
                super().assert_similar_outputs([ref_outputs], [outputs], rtol, atol, model_dir)
            except AssertionError:
                _judge(ref_outputs, outputs, rtol, atol)
                raise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suite = Suite(_recording(_backend(engine)), __name__)
    tests, models = {}, {}
    for category, cases in suite._test_items.items():
        holder = unittest.TestCase()
        for name, item in cases.items():
            if name.endswith("_cpu"):
                key = f"{category}.{name.removesuffix('_cpu')}"
                tests[key] = (item.func, holder)
                models[key] = item.proto
    return tests, models


def _one(test: Any, holder: Any) -> tuple[str, str]:
    from byoc.testing.on_purpose import accident

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            test(holder)
    except unittest.SkipTest as error:
        return "skip", str(error)
    except RoundingError as error:
        return "rounding", str(error)
    except AssertionError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return "wrong", " ".join(lines)[:300]
    except Exception as error:
        why = accident(error)
        said = f"{type(error).__name__}: {error}"
        return ("error", f"{why}: {said}"[:600]) if why else ("refused", said)
    return "pass", ""


def _operators(model: Any) -> list[str]:
    if model is None:
        return []
    nodes = model.graph.node if hasattr(model, "graph") else [model]
    return sorted({f"{n.domain}.{n.op_type}".lstrip(".") for n in nodes if n.op_type})


def _work(engine: str) -> None:
    """Serve names from stdin, results to the real stdout."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    tests, models = _suite(engine)
    print(json.dumps(sorted(tests)), file=out)
    for line in sys.stdin:
        name = line.strip()
        began = time.perf_counter()
        outcome, why = _one(*tests[name])
        took = time.perf_counter() - began
        ops = _operators(models[name][0])
        result = {"name": name, "outcome": outcome, "why": why, "ops": ops, "s": round(took, 2)}
        print(json.dumps(result), file=out)


# -- parent


class Worker:
    """One process that runs tests."""

    def __init__(self, engine: str, log: IO[bytes]) -> None:
        command = [sys.executable, __file__, "--work", "--engine", engine]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TVM_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        )
        first = self._line(300)
        if not first:
            log.seek(0)
            sys.exit(f"the worker did not start: {log.read().decode()[-2000:]}")
        self.names: list[str] = json.loads(first)

    def _line(self, seconds: float) -> str | None:
        """The next line; empty when the process died, None when it takes too long."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline().decode() if ready else None

    def run(self, name: str, seconds: float) -> Result:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n".encode())
        self.process.stdin.flush()
        line = self._line(seconds)
        if line:
            return dict(json.loads(line))
        if line is None:
            self.end()
            return {"name": name, "outcome": "timeout", "why": f"over {seconds:.0f} s", "ops": []}
        code = self.process.wait()
        return {"name": name, "outcome": "crash", "why": f"exit status {code}", "ops": []}

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def load(path: Path) -> dict[str, Result]:
    """Results by test; the last one of each counts."""
    if not path.exists():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {r["name"]: r for r in lines}


def run(engine: str, path: Path, args: argparse.Namespace) -> None:
    """Run what has no result yet, or is asked for again."""
    done = load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as log, path.open("a") as out:
        worker = Worker(engine, log)
        again = set(args.again.split(",")) if args.again else set()
        todo = [
            n
            for n in worker.names
            if (n not in done or done[n]["outcome"] in again or "all" in again)
            and all(part in n for part in args.match.split(","))
        ]
        stop = time.monotonic() + args.seconds
        for count, name in enumerate(todo):
            if time.monotonic() > stop:
                print(f"stopped after {count} of {len(todo)} tests; run again to go on")
                break
            if not worker.alive:
                worker = Worker(engine, log)
            result = worker.run(name, args.timeout)
            if result["outcome"] in ("crash", "timeout"):
                result["ops"] = done.get(name, {}).get("ops", [])
            print(json.dumps(result), file=out, flush=True)
        worker.end()
    results = load(path)
    rewrite = "".join(json.dumps(results[n]) + "\n" for n in sorted(results))
    aside = path.with_suffix(".tmp")
    aside.write_text(rewrite)
    aside.replace(path)
    print(engine, dict(Counter(r["outcome"] for r in results.values())))


# -- table


def table(engines: dict[str, dict[str, Result]]) -> str:
    """The docs page: one row per operator, one column per engine."""
    base = engines["ort"]
    rows: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for engine, results in engines.items():
        for name, result in results.items():
            rows[_row(name, base)][engine][result["outcome"]] += 1
    own = [e for e in ("host", "onnxruntime") if e in engines]
    lines = [
        "# ONNX operators",
        "",
        "Generated by `python benchmarks/onnx_backend_table.py --write-docs` from runs of onnx's",
        "own backend test suite. *host*: no vendor. *onnxruntime*: with the extra of that name.",
        "A test that does not pass is refused by an error which names the node and the reason; the",
        "exceptions are listed. *rounding*: the numbers are not the suite's, but nearer to those",
        "of the same model evaluated in float64, and within the suite's tolerance of these",
        "(`benchmarks/onnx_exact.py`). Of the inverse DFT, the suite expects what `numpy.fft` of",
        "numpy 2 computes of complex64 in float32, 1.9e-07 where the exact result is 0, to 1e-07:",
        "byoc computes in float64. ONNX Runtime does not pass these two tests either.",
        "",
        "| | tests | pass | rounding | refused | wrong | error | crash or hang "
        "| of what ONNX Runtime passes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    good = {n for n, r in base.items() if r["outcome"] == "pass"}
    for engine in own:
        counts = Counter(r["outcome"] for r in engines[engine].values())
        total = sum(counts.values()) - counts["skip"]
        dead = counts["crash"] + counts["timeout"]
        both = sum(engines[engine].get(n, {}).get("outcome") == "pass" for n in good)
        share = 100 * both / max(1, len(good))
        lines.append(
            f"| {engine} | {total} | {counts['pass']} | {counts['rounding']} "
            f"| {counts['refused']} | {counts['wrong']} | {counts['error']} | {dead} "
            f"| {both} of {len(good)} ({share:.1f} %) |"
        )
    lines += ["", *_exceptions({e: engines[e] for e in own}, base)]
    lines += ["", f"| operator | tests | {' | '.join(own)} | ONNX Runtime |"]
    lines += ["|---|---|" + "---|" * len(own) + "---|"]
    for row in sorted(rows):
        cells = []
        for engine in (*own, "ort"):
            counts = rows[row][engine]
            total = sum(counts.values()) - counts["skip"]
            cells.append("all" if total and counts["pass"] == total else str(counts["pass"]))
        total = sum(rows[row]["ort"].values())
        lines.append(f"| {row} | {total} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _exceptions(engines: dict[str, dict[str, Result]], base: dict[str, Result]) -> list[str]:
    """Tests with an outcome that is neither the suite's nor a refusal."""
    lines = []
    for engine, results in engines.items():
        for name, result in sorted(results.items()):
            if result["outcome"] in ("rounding", "wrong", "error", "crash", "timeout"):
                theirs = base.get(name, {}).get("outcome", "not run")
                test = name.split(".")[1]
                why = f", {result['why']}" if result["outcome"] == "rounding" else ""
                lines.append(
                    f"- {engine}: `{test}`: {result['outcome']}{why} (ONNX Runtime: {theirs})"
                )
    return lines


def _row(name: str, base: dict[str, Result]) -> str:
    ops = base.get(name, {}).get("ops", [])
    if len(ops) == 1:
        return str(ops[0])
    return "*models of several operators*"


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=sorted(ENGINES), default="host")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--match", default="", help="parts of the names to run, by commas")
    parser.add_argument("--again", default="", help="outcomes to run again, by commas, or 'all'")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one test")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this long")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    paths = {e: args.results / f"onnx_backend_{e}.jsonl" for e in ENGINES}
    if args.work:
        with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
            _work(args.engine)
        return
    if args.write_docs:
        PAGE.write_text(table({e: load(p) for e, p in paths.items() if p.exists()}))
        print(f"wrote {PAGE}")
        return
    run(args.engine, paths[args.engine], args)


if __name__ == "__main__":
    main()
