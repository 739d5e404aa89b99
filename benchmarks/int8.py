"""int8 against float32 on ``dnnl``: how much faster, and how much is lost.

Each model is quantised with `byoc.quantize`, both versions are compiled for ``dnnl``, and timed in
turns in one run, so that whatever else the machine does meets both. The loss is the
signal-to-noise ratio of the output against the float model's, beside that of ONNX Runtime running
the same quantised model unoptimised. Usage::

    OMP_NUM_THREADS=2 python benchmarks/int8.py resnet50 mobilenet_v2 --json int8.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import byoc
from byoc.quantize import quantize_model
from byoc.segment import Array

__all__ = ["Int8Result", "measure_int8"]


@dataclass(frozen=True)
class Int8Result:
    """Milliseconds (medians) and decibels; ort_snr_db is None without ONNX Runtime."""

    model: str
    threads: int
    f32_ms: float
    int8_ms: float
    ratio: float
    snr_db: float
    ort_snr_db: float | None
    segments: int


def _snr(found: Array, exact: Array) -> float:
    noise = float(np.square(found - exact, dtype=np.float64).sum())
    return 10 * float(np.log10(np.square(exact, dtype=np.float64).sum() / max(noise, 1e-30)))


def _first(result: Any) -> Array:
    return np.asarray(result[0] if isinstance(result, (list, tuple)) else result)


def _ort(model: Path, feeds: dict[str, Array]) -> Array | None:
    try:
        import onnxruntime as ort
    except ImportError:
        return None
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def measure_int8(model: Path, *, samples: int = 8, repeat: int = 40) -> Int8Result:
    """Quantise a model of one image input, compile both versions, time them in turns."""
    graph = onnx.load(model, load_external_data=False).graph
    weights = {t.name for t in graph.initializer}
    (image,) = (i for i in graph.input if i.name not in weights)
    shape = [d.dim_value or 1 for d in image.type.tensor_type.shape.dim]
    rng = np.random.default_rng(0)
    batch = rng.standard_normal((samples, *shape[1:])).astype(np.float32)
    x = rng.standard_normal(shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        quantised = Path(folder) / "int8.onnx"
        quantize_model(model, {image.name: batch}).save(quantised)
        narrow = byoc.compile(quantised, ["dnnl"])
        reference = _ort(quantised, {image.name: x})
    wide = byoc.compile(model, ["dnnl"])
    exact, found = _first(wide(x)), _first(narrow(x))
    times: dict[str, list[float]] = {"f32": [], "int8": []}
    for _ in range(repeat):
        for name, compiled in (("f32", wide), ("int8", narrow)):
            start = time.perf_counter()
            compiled(x)
            times[name].append(1e3 * (time.perf_counter() - start))
    f32, int8 = (statistics.median(times[name]) for name in ("f32", "int8"))
    return Int8Result(
        model=model.stem,
        threads=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        f32_ms=f32,
        int8_ms=int8,
        ratio=f32 / int8,
        snr_db=_snr(found, exact),
        ort_snr_db=None if reference is None else _snr(reference, exact),
        segments=len(narrow.report.segments),
    )


def main() -> None:
    """Measure models of the zoo, or files; print a line each; write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["resnet50", "mobilenet_v2"])
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    results = []
    for name in arguments.models:
        path = Path(name)
        if path.suffix != ".onnx":
            import sys

            sys.path.insert(0, str(Path(__file__).parents[1]))
            from byoc.testing.zoo import model_path

            path = Path(model_path(name))
        result = measure_int8(path, repeat=arguments.repeat)
        results.append(asdict(result))
        ort = "" if result.ort_snr_db is None else f" (ONNX Runtime: {result.ort_snr_db:.1f} dB)"
        print(
            f"{result.model}: float32 {result.f32_ms:.2f} ms, int8 {result.int8_ms:.2f} ms: "
            f"{result.ratio:.2f} times faster; SNR {result.snr_db:.1f} dB{ort}; "
            f"{result.segments} segment(s), {result.threads} thread(s)",
            flush=True,
        )
    if arguments.json:
        part = arguments.json.with_name(arguments.json.name + ".part")
        part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        part.replace(arguments.json)


if __name__ == "__main__":
    main()
