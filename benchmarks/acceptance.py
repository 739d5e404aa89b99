"""The measurable promises of the foundation, checked on this machine: ``scripts/acceptance``.

Each check runs the real command or a fresh process, and gives claims::

    Claim("resnet50: relative error", found=3e-6, limit=1e-4, ok=True)

Results go to stdout and, as JSON, to benchmarks/results/. Exit status 1 when a claim fails.
Use a quiet machine: times of a busy one say nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from byoc.testing.zoo import LIGHT, model_path

ROOT = Path(__file__).parents[1]
MODELS = (*LIGHT, "mobilenet_v2", "bert", "gpt2", "vit", "mlp")
SEGMENTS = {"resnet50": 1, "squeezenet": 1, "vgg19": 1, "bert": 3}
RATIOS = {"resnet50": 1.10, "vgg19": 1.10, "squeezenet": 1.25, "mobilenet_v2": 1.25, "bert": 1.25}


@dataclass(frozen=True)
class Claim:
    """A promise, what was found, and its limit (None: told, not promised)."""

    what: str
    found: float
    limit: float | None = None
    at_least: bool = False

    @property
    def ok(self) -> bool:
        if self.limit is None:
            return True
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        limit = "" if self.limit is None else f"  {sign} {self.limit:g}"
        mark = "    " if self.limit is None else ("ok  " if self.ok else "FAIL")
        return f"{mark} {self.what}: {self.found:.4g}{limit}"


def byoc(*words: object, ok: tuple[int, ...] = (0,)) -> Any:
    """Run ``byoc … --json``; its result."""
    command = [sys.executable, "-m", "byoc", *map(str, words), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in ok:
        raise RuntimeError(f"{' '.join(command)} exited {done.returncode}")
    return json.loads(done.stdout)


def python(code: str, *arguments: object) -> Any:
    """Run `code` in a fresh process, away from the checkout; the JSON on its last line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd="/")
    return json.loads(done.stdout.splitlines()[-1])


def check_models() -> Iterator[Claim]:
    """Right numbers, high coverage, few segments."""
    for name in MODELS:
        path = model_path(name)
        compared = byoc("compare", path, "--vendors", "dnnl", "--seeds", 5, ok=(0, 1))
        yield Claim(f"{name}: relative error", compared["worst_relative"], 1e-4)
        yield Claim(f"{name}: trivial outputs", len(compared["remarks"]), 0)
        report = byoc("partition", path, "--vendors", "dnnl")
        yield Claim(f"{name}: FLOPs coverage", report["coverage"]["flops"], 0.99, at_least=True)
        yield Claim(f"{name}: segments", len(report["segments"]), SEGMENTS.get(name))


def check_speed(threads: int) -> Iterator[Claim]:
    """The median beside ONNX Runtime's."""
    for name in MODELS:
        result = byoc(
            *("bench", model_path(name), "--vendors", "dnnl"),
            *("--against", "onnxruntime", "--threads", threads),
        )
        ratio = result["ratios"]["onnxruntime"]
        yield Claim(f"{name}: byoc ms", result["timings"][0]["median_ms"])
        yield Claim(f"{name}: byoc / onnxruntime", ratio, RATIOS.get(name))


def check_host(threads: int) -> Iterator[Claim]:
    """Without vendors: TVM's kernels alone."""
    logs = []
    for name in LIGHT:
        result = byoc(
            *("bench", model_path(name), "--against", "onnxruntime"),
            *("--threads", threads, "--runs", 20),
        )
        ratio = result["ratios"]["onnxruntime"]
        logs.append(math.log(ratio))
        yield Claim(f"{name}: host only / onnxruntime", ratio)
    yield Claim("host only, geometric mean of the nine", math.exp(sum(logs) / len(logs)), 12)


_COMPILE = """
import json, sys, time
start = time.perf_counter()
import byoc
executable = byoc.compile(sys.argv[1], vendors=["dnnl"])
compiled = time.perf_counter()
executable.save(sys.argv[2])
saved = time.perf_counter()
print(json.dumps({"compile": compiled - start, "save": saved - compiled}))
"""

_FIRST = """
import json, resource, sys, time
import numpy as np
start = time.perf_counter()
import byoc
executable = byoc.load(sys.argv[1])
(port,) = executable.inputs
executable(np.ones(port.type.shape, port.type.dtype))
first = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"first": first, "peak": peak, "tvm": "tvm" in sys.modules}))
"""


def check_footprint() -> Iterator[Claim]:
    """ResNet-50: compile, save, load in fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        model, small = Path(folder, "m.byoc"), Path(folder, "small.byoc")
        runs = [python(_COMPILE, model_path("resnet50"), model) for _ in range(3)]
        yield Claim("resnet50: compile cold, s", min(r["compile"] for r in runs), 4)
        yield Claim("resnet50: save, s", min(r["save"] for r in runs), 1)
        yield Claim("resnet50: file, MB", model.stat().st_size / 1e6)
        python(_COMPILE, model_path("mlp", batch=1, hidden=32, features=8), small)
        base = python(_FIRST, small)  # the interpreter and all libraries, a few kB of weights
        loads = [python(_FIRST, model) for _ in range(3)]
        yield Claim("resnet50: load to first result, s", min(r["first"] for r in loads), 0.5)
        weights = model_path("resnet50").stat().st_size
        over = (min(r["peak"] for r in loads) - base["peak"]) / weights
        yield Claim("interpreter and libraries, MB", base["peak"] / 1e6)
        yield Claim("resnet50: peak RSS above that, in weights", over, 1.5)
        yield Claim("a loaded model imports TVM's compiler", float(loads[0]["tvm"]), 0)


def check_partition() -> Iterator[Claim]:
    """A synthetic graph of 25 000 ops, as one segment and as 6 250."""
    script = ROOT / "benchmarks" / "partition_scaling.py"
    command = [sys.executable, str(script), "--ops", "25000", "--repeat", "3"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd="/")
    for shape, figures in json.loads(done.stdout).items():
        yield Claim(f"{shape}: segments", figures["n"]["segments"])
        yield Claim(f"{shape}: 25 000 ops, s", figures["n"]["seconds"], 2)
        yield Claim(f"{shape}: time for twice the ops", figures["ratio"], 2.3)
        yield Claim(f"{shape}: peak memory, MB", figures["n"]["peak_mb"], 1000)


def main() -> None:
    checks = {
        "models": check_models,
        "speed": lambda: check_speed(arguments.threads),
        "host": lambda: check_host(arguments.threads),
        "footprint": check_footprint,
        "partition": check_partition,
    }
    parser = argparse.ArgumentParser(prog="scripts/acceptance", description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(checks)}")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    unknown = set(arguments.checks) - set(checks)
    if unknown:
        parser.error(f"no check {', '.join(sorted(unknown))}; legal: {', '.join(checks)}")

    claims: dict[str, list[Claim]] = {}
    for name in arguments.checks or checks:
        print(f"── {name}", flush=True)
        claims[name] = []
        try:
            for claim in checks[name]():
                claims[name].append(claim)
                print(claim, flush=True)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"this check ended early: {error}", file=sys.stderr)
            claims[name].append(Claim("check ended early", 1, 0))

    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = folder / f"acceptance-{stamp}.json"
    content = {
        "machine": {"processor": _processor(), "cpus": os.cpu_count(), "load": os.getloadavg()},
        "threads": arguments.threads,
        "claims": {
            name: [{**asdict(claim), "ok": claim.ok} for claim in group]
            for name, group in claims.items()
        },
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    failed = [claim for group in claims.values() for claim in group if not claim.ok]
    print(f"── {path}: {len(failed)} of {sum(map(len, claims.values()))} claims failed")
    for claim in failed:
        print(claim)
    sys.exit(bool(failed))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
