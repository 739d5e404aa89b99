"""What `byoc dse` is worth: against every point, chance and TPE, on three spaces and three models.

Usage: ``python -m benchmarks.dse [CHECK …]``; exit status 1 when a claim fails. `optimum` builds
every machine of three spaces once (some minutes of CPU) and keeps the cycles in ``--tables DIR``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.design import DesignSpace, Evaluation, Values
from byoc.dse.ladder import Ladder
from byoc.dse.space import Point, Space, parse_space
from byoc.errors import CompileError
from byoc.quantize import quantize_model
from byoc.vendor_templates.npu import VENDOR
from byoc.vendor_templates.npu.dse import NpuDesign, design
from byoc.vendor_templates.npu.options import NpuOptions

SPACES: dict[str, dict[str, Any]] = {
    "array": {
        "parameters": {
            "array.rows": [4, 8, 16, 32, 64],
            "array.columns": [4, 8, 16, 32, 64],
            "array.dataflow": ["weight-stationary", "output-stationary"],
            "activation.word": "array.rows",
            "vector.lanes": [4, 8, 16, 32],
            "dma.width": [8, 16, 32],
        }
    },
    "memory": {
        "parameters": {
            "activation.size": ["16KiB", "32KiB", "64KiB", "128KiB"],
            "weight.size": ["8KiB", "16KiB", "32KiB", "64KiB"],
            "accumulator.size": ["4KiB", "8KiB", "16KiB", "32KiB"],
            "activation.banks": [1, 2, 4, 8],
            "dma.outstanding": [2, 8, 16],
        },
        "where": ["activation.size >= weight.size"],
    },
    "whole": {
        "parameters": {
            "array.rows": [8, 16, 32],
            "array.columns": [8, 16, 32],
            "activation.word": "array.rows",
            "activation.size": ["32KiB", "64KiB", "128KiB"],
            "accumulator.size": ["8KiB", "32KiB"],
            "weight.size": ["16KiB", "64KiB"],
            "vector.lanes": ["array.columns / 2", "array.columns"],
            "dma.width": [8, 16, 32],
        }
    },
}
LIMITS = {
    "array": {"lut": 70_000, "dsp": 700, "bram": 160},
    "memory": {"lut": 60_000, "dsp": 400, "bram": 60},
    "whole": {"lut": 60_000, "dsp": 700, "bram": 100},
}
MODELS = ("residual", "mobile", "wide")
SEEDS = 20


class Net:
    """A float ONNX model written op by op."""

    def __init__(self, channels: int, size: int) -> None:
        self.rng = np.random.default_rng(0)
        self.size, self.first, self.channels, self.last = size, channels, channels, "x"
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        self.last = f"t{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [self.last], name=self.last, **attributes)
        self.nodes.append(node)
        return self.last

    def conv(self, out: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> str:
        fan = self.channels // groups * kernel**2
        w = self.rng.standard_normal((out, self.channels // groups, kernel, kernel))
        name = f"w{len(self.nodes)}"
        scaled = (w * 1.4 / math.sqrt(fan)).astype("float32")
        self.weights.append(numpy_helper.from_array(scaled, name))
        self.channels = out
        self.op("Conv", [self.last, name], pads=[kernel // 2] * 4, strides=[stride] * 2,
                group=groups)  # fmt: skip
        return self.op("Relu", [self.last])

    def model(self) -> onnx.ModelProto:
        self.op("GlobalAveragePool", [self.last])
        shape = [1, self.first, self.size, self.size]
        graph = helper.make_graph(
            self.nodes, "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_empty_tensor_value_info(self.last)], self.weights,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)


def network(name: str) -> onnx.ModelProto:
    """A small network, quantised."""
    net = Net(3, 32)
    if name == "residual":
        net.conv(32, 3, stride=2)
        for _ in range(2):
            before = net.last
            net.conv(32)
            net.op("Add", [before, net.last])
        net.conv(64, 3, stride=2)
    elif name == "mobile":
        net.conv(16, 3, stride=2)
        for out, stride in ((32, 1), (64, 2), (64, 1)):
            net.conv(net.channels * 2, 1)
            net.conv(net.channels, 3, stride=stride, groups=net.channels)
            net.conv(out, 1)
    else:
        net.conv(16, 5, stride=4)
        for out in (192, 256, 256):
            net.conv(out, 1)
            net.conv(64, 3)
    model = net.model()
    data = np.random.default_rng(1).standard_normal((2, 3, 32, 32)).astype(np.float32)
    return quantize_model(model, {"x": data}).model


def designs(names: tuple[str, ...] = MODELS) -> dict[str, NpuDesign]:
    """The npu's machines, for each network alone."""
    found = {}
    for name in names:
        parts = byoc.partition_model(network(name), vendors=[VENDOR])
        found[name] = design({name: parts.segments}, NpuOptions())
    return found


class Table:
    """A design space whose every legal machine was built once: what is asked of it costs nothing.

    Areas and bottlenecks are asked of the real one.
    """

    def __init__(self, real: DesignSpace, space: Space, name: str, limits: dict[str, int]) -> None:
        self.real, self.space, self.name, self.limits = real, space, name, limits
        self.knobs, self.resources, self.levels = real.knobs, real.resources, real.levels
        self.models = real.models
        self.cycles: dict[str, int | None] = {}

    def configuration(self, values: Values) -> Mapping[str, Any]:
        return self.real.configuration(values)

    def area(self, values: Values) -> Mapping[str, int]:
        return self.real.area(values)

    def bottlenecks(self, values: Values, evaluation: Evaluation, weights: Any) -> Any:
        emitted = self.real.evaluate(values, self.levels[-1])
        return self.real.bottlenecks(values, emitted, weights)

    def evaluate(self, values: Values, level: str) -> Evaluation:
        if level != self.levels[-1]:
            return self.real.evaluate(values, level)
        key = json.dumps(values, sort_keys=True)
        if key not in self.cycles:
            try:
                self.cycles[key] = self.real.evaluate(values, level).cycles[self.name]
            except CompileError:
                self.cycles[key] = None
        found = self.cycles[key]
        if found is None:
            raise CompileError("it does not fit")
        return Evaluation(level, {self.name: found}, key)

    def legal(self) -> list[Point]:
        """Points within the limits."""
        ladder = Ladder(self, self.space, self.limits)
        return [point for point in self.space.points(1 << 20) if ladder.legal(point)]

    def best(self) -> float:
        """The score of the best machine of all."""
        ladder = Ladder(self, self.space, self.limits)
        return min(ladder.score(point, self.levels[-1]) for point in self.legal())


def tables(folder: Path | None) -> Iterator[tuple[str, Table]]:
    """(name of the space, table) for the nine pairs; read from a folder where they are there."""
    for model, real in designs().items():
        for name, content in SPACES.items():
            table = Table(real, parse_space(content, real.knobs, name), model, LIMITS[name])
            file = folder / f"{name}-{model}.json" if folder else None
            if file is not None and file.exists():
                table.cycles = json.loads(file.read_text())
            else:
                table.best()
                if file is not None:
                    file.write_text(json.dumps(table.cycles))
            yield name, table
