"""A machine of three units whose cycles are known in closed form: no vendor is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byoc.design import Bottleneck, Evaluation, Knob, Values
from byoc.errors import CompileError

__all__ = ["ToyDesign"]


class ToyDesign:
    """Work of three kinds, each done by a unit of some width; memory decides how often it is done.

    Args:
        work: Name of the model → its work of the kinds a, b, c.
        error: How far the cheap level is off, by knob: 0.1 makes it believe in a tenth more.
    """

    levels = ("bound", "compiled", "cycles")
    resources = ("cells", "ram")
    knobs: Mapping[str, Knob] = {
        "a.width": Knob(4), "b.width": Knob(4), "c.width": Knob(4), "memory.size": Knob(1024),
        "a.kind": Knob("slow", ("slow", "fast")),
    }  # fmt: skip

    def __init__(self, work: Mapping[str, tuple[int, int, int]], error: float = 0.0) -> None:
        self.work, self.error = work, error
        self.models = tuple(work)
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    def configuration(self, values: Values) -> Mapping[str, Any]:
        return dict(values)

    def area(self, values: Values) -> Mapping[str, int]:
        v = {name: values.get(name, knob.default) for name, knob in self.knobs.items()}
        cells = 3 * v["a.width"] + 2 * v["b.width"] + v["c.width"]
        return {"cells": cells + (8 if v["a.kind"] == "fast" else 0), "ram": v["memory.size"]}

    def units(self, values: Values, model: str, bound: bool = False) -> dict[str, int]:
        """Cycles of each unit for a model; at best, if b's work need not be done again."""
        a, b, c = self.work[model]
        again = 1 if bound else -(-4096 // values["memory.size"])
        error = self.error if bound else 0.0
        fast = 2 if values["a.kind"] == "fast" else 1
        return {
            "a": round(a * (1 + error) / values["a.width"] / fast),
            "b": round(b * again / values["b.width"]),
            "c": round(c * (1 - error) / values["c.width"]),
        }

    def evaluate(self, values: Values, level: str) -> Evaluation:
        self.asked.append((level, tuple(values.values())))
        if level != "bound" and values["memory.size"] < 128:
            raise CompileError("toy: the memory is too small")
        cycles = {}
        for model in self.models:
            found = self.units(values, model, level == "bound")
            cycles[model] = max(found.values()) + sum(found.values()) // 10 + 1
        code = "" if level == "bound" else repr(sorted(values.items()))
        return Evaluation(level, cycles, code)

    def bottlenecks(
        self, values: Values, evaluation: Evaluation, weights: Mapping[str, float]
    ) -> Sequence[Bottleneck]:
        shares = dict.fromkeys("abc", 0.0)
        for model, weight in weights.items():
            found = self.units(values, model)
            shares[max(found, key=found.__getitem__)] += 0.9 * weight
            for unit in found:
                shares[unit] += 0.1 * weight * found[unit] / sum(found.values())
        knobs = {"a": ("a.width", "a.kind"), "b": ("b.width", "memory.size"), "c": ("c.width",)}
        return [
            Bottleneck(unit, share, tuple((name, 0.1) for name in knobs[unit]))
            for unit, share in sorted(shares.items(), key=lambda item: -item[1])
        ]
