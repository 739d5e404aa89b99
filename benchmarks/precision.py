"""Narrow precisions: byoc's float32 and bfloat16 on ``dnnl`` against OpenVINO in bfloat16.

All run the same model on the same inputs in turns, so that whatever else the machine does meets
all of them. Told are medians and the least of wall seconds, CPU seconds of the process (for one
thread: what a call takes on an idle machine), and the error against byoc's float32. Usage::

    python benchmarks/precision.py models/resnet50.onnx --threads 1 --json precision.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import byoc
from byoc.runtime import set_num_threads
from byoc.segment import Array
from byoc.timing.inputs import random_inputs

__all__ = ["measure"]

Call = Callable[[], list[Array]]


def _byoc(model: Path, precision: str, inputs: Mapping[str, Array]) -> Call:
    exe = byoc.compile(model, vendors=["dnnl"], precision=precision)

    def call() -> list[Array]:
        found = exe(*inputs.values())
        return list(found) if isinstance(found, tuple) else [found]

    return call


def _openvino(model: Path, precision: str, inputs: Mapping[str, Array], threads: int) -> Call:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = openvino.Core().compile_model(str(model), "CPU", settings)
    request = compiled.create_infer_request()

    def call() -> list[Array]:
        results = request.infer(dict(inputs), share_inputs=True)
        return [np.asarray(results[port]) for port in compiled.outputs]

    return call


def _error(found: list[Array], exact: list[Array]) -> float:
    return max(
        float(np.abs(a - b).max() / np.abs(b).max())
        for a, b in zip(found, exact, strict=True)
        if b.dtype.kind == "f"
    )


def measure(model: Path, threads: int, seconds: float) -> dict[str, Any]:
    """Time all contenders on one model; the answer is ready for JSON."""
    set_num_threads(threads)
    ports = byoc.compile(model, vendors=["dnnl"]).inputs
    types = {p.name: p.type for p in ports}
    inputs = random_inputs(types, limits={name: 1000 for name in types if "ids" in name})
    calls = {
        "byoc f32": _byoc(model, "f32", inputs),
        "byoc bf16": _byoc(model, "bf16", inputs),
        "openvino bf16": _openvino(model, "bf16", inputs, threads),
        "openvino f32": _openvino(model, "f32", inputs, threads),
    }
    exact = calls["byoc f32"]()
    errors = {name: _error(call(), exact) for name, call in calls.items()}
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(wall["byoc f32"]) < 5:
        for name, call in calls.items():
            call()  # wakes up caches and threads
            begin, used = time.perf_counter(), time.process_time()
            call()
            cpu[name].append(time.process_time() - used)
            wall[name].append(time.perf_counter() - begin)

    def ms(samples: list[float], pick: Callable[[list[float]], float]) -> float:
        return round(pick(samples) * 1e3, 3)

    rows = {
        name: {
            "wall_least_ms": ms(wall[name], min),
            "wall_median_ms": ms(wall[name], statistics.median),
            "cpu_median_ms": ms(cpu[name], statistics.median),
            "cpu_least_ms": ms(cpu[name], min),
            "error": errors[name],
        }
        for name in calls
    }
    return {
        "model": model.stem,
        "threads": threads,
        "rounds": len(wall["byoc f32"]),
        "rows": rows,
    }


def main() -> None:
    """Parse the command line, measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20, help="for each model")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = []
    for model in given.models:
        found.append(measure(model, given.threads, given.seconds))
        print(json.dumps(found[-1], indent=1), flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
