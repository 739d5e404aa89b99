"""How much time a host branch and a paced npu branch share.

One model, two branches that do not depend on each other: convolutions in int8 on the accelerator,
matrix products on the host. The accelerator's clock is set so that both take about as long; the
figure is (npu alone + host alone) / both, which other work on the cores makes smaller. What it
cannot make smaller is the share of the shorter branch during which the other one is in flight, by
the times of one run: a paced npu sleeps until its time is over, however late the host is.

Usage: ``python benchmarks/npu_overlap.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.quantize import quantize_model
from byoc.report.times import RunTimes
from byoc.vendor_templates.npu import VENDOR
from byoc.vendor_templates.npu.compile import measure
from byoc.vendor_templates.npu.machine.program import decode_program

__all__ = ["Overlap", "measure_overlap", "shared_time"]


@dataclass(frozen=True)
class Overlap:
    """Milliseconds: each branch alone, and both; shared: see `shared_time`, of both."""

    npu_ms: float
    host_ms: float
    both_ms: float
    shared: float

    @property
    def speedup(self) -> float:
        """Serial time over parallel time."""
        return (self.npu_ms + self.host_ms) / self.both_ms


def _model(branches: tuple[str, ...], size: int, depth: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes, constants = [], []

    def constant(name: str, shape: tuple[int, ...], scale: float) -> str:
        values = (rng.standard_normal(shape) * scale).astype(np.float32)
        constants.append(numpy_helper.from_array(values, name))
        return name

    outputs = []
    if "npu" in branches:
        weight = constant("w", (16, 8, 3, 3), 0.1)
        nodes.append(
            helper.make_node("Conv", ["x", weight], ["c"], pads=[1, 1, 1, 1], name="npu_conv")
        )
        nodes.append(helper.make_node("Relu", ["c"], ["npu"], name="npu_relu"))
        outputs.append(helper.make_tensor_value_info("npu", TensorProto.FLOAT, [1, 16, 16, 16]))
    if "host" in branches:
        last = "z"
        for k in range(depth):
            weight = constant(f"m{k}", (size, size), 1 / np.sqrt(size))
            out = "host" if k == depth - 1 else f"h{k}"
            nodes.append(helper.make_node("MatMul", [last, weight], [out], name=f"host_{k}"))
            last = out
        outputs.append(helper.make_tensor_value_info("host", TensorProto.FLOAT, [size, size]))
    inputs = []
    if "npu" in branches:
        inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 16, 16]))
    if "host" in branches:
        inputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [size, size]))
    graph = helper.make_graph(nodes, "branches", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _best(run: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def shared_time(times: RunTimes) -> float:
    """Of the processor that works less, the share of its time during which another works, too.

    Args:
        times: Of one request over two processors.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    for task in times.tasks:
        spans.setdefault(task.processor, []).append((task.start, task.stop))
    first, second = spans.values()
    both = sum(
        max(0, min(end, stop) - max(begin, start)) for begin, end in first for start, stop in second
    )
    return both / min(sum(end - begin for begin, end in one) for one in (first, second))


def measure_overlap(size: int = 384, depth: int = 24, repeats: int = 15) -> Overlap:
    """Build the three models, set the clock, and time them."""
    rng = np.random.default_rng(1)
    data: dict[str, npt.NDArray[np.float32]] = {
        "x": rng.standard_normal((1, 8, 16, 16)).astype(np.float32),
        "z": rng.standard_normal((size, size)).astype(np.float32),
    }

    def compiled(branches: tuple[str, ...], mhz: float) -> tuple[Any, dict[str, Any], int]:
        model = _model(branches, size, depth)
        inputs = {i.name: data[i.name] for i in model.graph.input}
        if "npu" in branches:
            kept = [n.name for n in model.graph.node if n.op_type == "MatMul"]
            model = quantize_model(model, [inputs], exclude=kept).model
        options = {"clock": "paced", "config": {"clock_mhz": mhz}}
        executable = byoc.compile(model, vendors={VENDOR: options})
        executable.run(inputs)
        blobs = [artifact.blob for artifact in executable._program.artifacts]
        cycles = sum(measure(decode_program(blob)).cycles for blob in blobs)
        return executable, inputs, cycles

    def best(branches: tuple[str, ...], mhz: float) -> float:
        executable, inputs, _ = compiled(branches, mhz)
        return _best(lambda: executable.run(inputs), repeats)

    host = best(("host",), 500.0)
    mhz = compiled(("npu",), 500.0)[2] / (host * 1e3)
    npu = best(("npu",), mhz)
    executable, inputs, _ = compiled(("npu", "host"), mhz)
    both = _best(lambda: executable.run(inputs), repeats)
    shared = max(shared_time(executable.profile(inputs)) for _ in range(repeats))
    return Overlap(npu, host, both, shared)


if __name__ == "__main__":
    found = measure_overlap()
    print(
        f"npu {found.npu_ms:.1f} ms, host {found.host_ms:.1f} ms, both {found.both_ms:.1f} ms: "
        f"{found.speedup:.2f} x, {found.shared:.0%} of the shorter branch beside the other"
    )
