"""What `byoc dse` is worth: against every point, chance and TPE, on three spaces and three models.

Usage: ``python -m benchmarks.dse [CHECK …]``; exit status 1 when a claim fails. `optimum` builds
every machine of three spaces once (some minutes of CPU) and keeps the cycles in ``--tables DIR``.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import byoc
from benchmarks.acceptance import Claim
from byoc.design import DesignSpace, Evaluation, Values
from byoc.dse import explore
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


PLANTED = {
    "array.rows": (1, 2),
    "array.columns": (1,),
    "vector.lanes": (1, 2),
    "dma.width": (1,),
    "dma.outstanding": (1,),
    "dma.burst": (4,),
    "accumulator.size": (512,),
    "activation.word": (1,),
}
"""Values that spoil the default machine."""


def planted(real: DesignSpace) -> Iterator[tuple[str, float, str]]:
    """(knob that was spoilt, how much slower that is, knob that is named first)."""
    (model,) = real.models
    values = {name: knob.default for name, knob in real.knobs.items()}
    normal = real.evaluate(values, real.levels[-1]).cycles[model]
    for knob, bad in PLANTED.items():
        for value in bad:
            spoilt = {**values, knob: value}
            found = real.evaluate(spoilt, real.levels[-1])
            first = real.bottlenecks(spoilt, found, {model: 1.0})[0]
            yield knob, found.cycles[model] / normal, first.knobs[0][0]


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's."""

    def ranks(values: list[float]) -> Any:
        array = np.array(values)
        return np.array([((array < v).sum() + (array <= v).sum()) / 2 for v in array])

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def by_chance(table: Table, evaluations: int, seed: int) -> float:
    """The best score of so many legal machines, drawn at random."""
    ladder = Ladder(table, table.space, table.limits)
    points = random.Random(seed).sample(table.legal(), evaluations)
    return min(ladder.score(point, table.levels[-1]) for point in points)


def by_tpe(table: Table, evaluations: int, seed: int) -> float:
    """The best score that optuna's TPE finds; illegal machines cost it nothing."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ladder = Ladder(table, table.space, table.limits)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    best, tried = math.inf, set[Point]()
    for _ in range(6 * evaluations):
        trial = study.ask()
        point = tuple(
            trial.suggest_int(a.name, 0, len(a.choices) - 1)
            if a.ordered
            else trial.suggest_categorical(a.name, range(len(a.choices)))
            for a in table.space.axes
        )
        if not ladder.legal(point):
            study.tell(trial, 10.0)
            continue
        tried.add(point)
        score = ladder.score(point, table.levels[-1])
        study.tell(trial, min(score, 10.0))
        best = min(best, score)
        if len(tried) >= evaluations:
            break
    return best


def check_optimum(folder: Path | None) -> Iterator[Claim]:
    """Within 5 % of the best of all machines, with a twentieth of the evaluations."""
    for name, table in tables(folder):
        legal = len(table.legal())
        found = explore(table, table.space, table.limits, evaluations=legal // 20)
        where = f"{name}, {table.name} ({legal} machines)"
        yield Claim(f"{where}: cycles over the optimum's", found.best.score / table.best(), 1.05)
        yield Claim(f"{where}: share compiled", found.counts["planned"] / legal, 0.055)


def check_chance(folder: Path | None) -> Iterator[Claim]:
    """Beside random search and TPE with as many evaluations: 20 seeds each."""
    for name, table in tables(folder):
        evaluations = len(table.legal()) // 20
        ours = explore(table, table.space, table.limits, evaluations=evaluations).best.score
        for what, search in (("random", by_chance), ("TPE", by_tpe)):
            theirs = [search(table, evaluations, seed) for seed in range(SEEDS)]
            no_worse = sum(ours <= score * 1.0001 for score in theirs)
            where = f"{name}, {table.name}: {what}"
            yield Claim(f"{where}: seeds of 20 that are no better", no_worse, 18, at_least=True)
            yield Claim(f"{where}: its median over ours", float(np.median(theirs)) / ours)


def check_ranks(folder: Path | None) -> Iterator[Claim]:
    """Rank correlation of the analytic levels with the simulator's cycles, 40 machines each."""
    for name, table in tables(folder):
        points = random.Random(0).sample(table.legal(), 40)
        ladder = Ladder(table, table.space, table.limits)
        rows = [[ladder.score(p, level) for level in table.levels] for p in points]
        rows = [row for row in rows if max(row) < math.inf]
        bound, plan, cycles = (list(column) for column in zip(*rows, strict=True))
        where = f"{name}, {table.name}"
        yield Claim(f"{where}: planned", rank_correlation(plan, cycles), 0.95, at_least=True)
        yield Claim(f"{where}: roofline", rank_correlation(bound, cycles))


def check_planted(folder: Path | None) -> Iterator[Claim]:
    """A spoilt knob that costs half as much again, or more, is named."""
    named, there = 0, 0
    for real in designs().values():
        for knob, slower, first in planted(real):
            if slower >= 1.5:
                there += 1
                named += knob == first
    yield Claim("planted", there, 20, at_least=True)
    yield Claim("not named", there - named, 0)


CHECKS: dict[str, Callable[[Path | None], Iterator[Claim]]] = {
    "planted": check_planted,
    "optimum": check_optimum,
    "chance": check_chance,
    "ranks": check_ranks,
}


def main() -> int:
    """Run the checks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=", ".join(CHECKS))
    parser.add_argument("--tables", type=Path, help="folder that keeps what was built")
    arguments = parser.parse_args()
    if arguments.tables is not None:
        arguments.tables.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in arguments.checks or CHECKS:
        begin = time.perf_counter()
        for claim in CHECKS[name](arguments.tables):
            print(claim, flush=True)
            failed += not claim.ok
        print(f"# {name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
