"""`NpuDesign`: the vendor's `byoc.design.DesignSpace`.

In: graphs of models. Out: area, cycles on three levels, and bottlenecks of any machine. A
bottleneck's knobs are ordered by what they would save in this very program: the emitted stream is
timed again on a machine that has twice of one thing; what the size of a memory would save, which
changes the stream, the roofline says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from byoc.design import Bottleneck, Evaluation, Knob, ModelSegments, Value, Values
from byoc.errors import CompileError, OptionError
from byoc.vendor_templates.npu.compile import build, measure
from byoc.vendor_templates.npu.dse.area import RESOURCES, total_area
from byoc.vendor_templates.npu.dse.critical_path import critical_cycles
from byoc.vendor_templates.npu.dse.knobs import SIZES, UNIT_KNOBS, knobs_of, machine
from byoc.vendor_templates.npu.dse.roofline import (
    OperationShapes,
    roofline_cycles,
    shapes_of,
    total,
)
from byoc.vendor_templates.npu.isa.instructions import UNITS
from byoc.vendor_templates.npu.lowering import lower
from byoc.vendor_templates.npu.lowering.fuse import fuse
from byoc.vendor_templates.npu.lowering.int8_graph import Int8Graph
from byoc.vendor_templates.npu.machine.config import NpuConfig, load_config
from byoc.vendor_templates.npu.machine.program import NpuProgram
from byoc.vendor_templates.npu.options import NpuOptions
from byoc.vendor_templates.npu.planning.memory_layout import lay_out_memory
from byoc.vendor_templates.npu.planning.plans import Settings

__all__ = ["NpuDesign", "design"]

_ALIKE = 0.85  # of the largest saving: as good as it
_LEVELS = ("roofline", "planned", "cycles")


def design(models: ModelSegments, options: NpuOptions) -> NpuDesign:
    """Return the machines there could be for the segments of some models.

    Args:
        models: Name of a model → its segments.
        options: Their `config` is what knobs start from, and holds what is no knob.

    Raises:
        CompileError: An op cannot be lowered, or a model has nothing to be timed.
    """
    graphs: dict[str, list[Int8Graph]] = {}
    for name, segments in models.items():
        graphs[name] = []
        for segment in segments:
            graph = lower(segment)
            fuse(graph)
            if graph.operations:
                graphs[name].append(graph)
        if not graphs[name]:
            raise CompileError(f"npu: model {name!r}: none of its segments computes anything")
    settings = Settings(options.double_buffer, options.residency)
    return NpuDesign(graphs, load_config(options.config), settings)


@dataclass(frozen=True, slots=True)
class _Emitted:
    """A segment's program, without its constants."""

    model: str
    graph: int
    program: NpuProgram


class NpuDesign:
    """The design space of npu for some graphs.

    Args:
        graphs: Name of a model → its graphs.
        base: The machine that knobs start from.
        settings: What the compiler may do.
    """

    levels = _LEVELS
    resources = RESOURCES

    def __init__(
        self, graphs: Mapping[str, Sequence[Int8Graph]], base: NpuConfig, settings: Settings
    ) -> None:
        self._graphs, self._base, self._settings = graphs, base, settings
        self._shapes: dict[str, list[OperationShapes]] = {
            name: [shapes_of(graph) for graph in own] for name, own in graphs.items()
        }
        self._timed: dict[str, int] = {}
        self.knobs: Mapping[str, Knob] = knobs_of(base)
        self.models = tuple(graphs)

    def configuration(self, values: Values) -> Mapping[str, Any]:
        """Return the content of the machine's ``npu.yaml``."""
        return machine(self._base, values).model_dump(mode="json")

    def area(self, values: Values) -> Mapping[str, int]:
        """Return LUTs, DSP blocks and block RAMs."""
        return total_area(machine(self._base, values))

    def evaluate(self, values: Values, level: str) -> Evaluation:
        """Return cycles by model: bounded, planned, or of the emitted stream."""
        config = machine(self._base, values)
        if level == "roofline":
            return Evaluation(level, self._bounds(config))
        if level == "planned":
            return Evaluation(level, {
                name: sum(lay_out_memory(g, config, self._settings).cycles for g in graphs)
                for name, graphs in self._graphs.items()
            })  # fmt: skip
        if level != "cycles":
            raise OptionError(f"npu: no level {level!r}; legal: {', '.join(_LEVELS)}")
        cycles = dict.fromkeys(self._graphs, 0)
        emitted: list[_Emitted] = []
        digest = hashlib.sha256()
        for name, graphs in self._graphs.items():
            for number, graph in enumerate(graphs):
                program, _ = build(graph, config, self._settings)
                program = replace(program, constants=None)
                emitted.append(_Emitted(name, number, program))
                key = self._key(program)
                digest.update(key.encode())
                if key not in self._timed:
                    self._timed[key] = measure(program).cycles
                cycles[name] += self._timed[key]
        return Evaluation(level, cycles, digest.hexdigest(), tuple(emitted))

    def bottlenecks(
        self, values: Values, evaluation: Evaluation, weights: Mapping[str, float]
    ) -> Sequence[Bottleneck]:
        """Return units by what their first knob would save, with their critical cycles."""
        config = machine(self._base, values)
        shares = dict.fromkeys(UNITS, 0.0)
        for item in evaluation.detail:
            cycles = critical_cycles(item.program.code, measure(item.program, trace=True).trace)
            for unit, count in cycles.items():
                shares[unit] += weights[item.model] * count / evaluation.cycles[item.model]
        gains = {
            knob: self._gain(config, knob, evaluation, weights)
            for knob in dict.fromkeys(name for names in UNIT_KNOBS.values() for name in names)
        }
        found = [
            Bottleneck(unit, share, tuple(self._ranked(config, UNIT_KNOBS[unit], gains)))
            for unit, share in shares.items()
            if share > 0
        ]
        return sorted(found, key=lambda b: (-round(b.knobs[0][1], 3), -b.share))

    def _bounds(self, config: NpuConfig) -> dict[str, int]:
        return {
            name: sum(total(roofline_cycles(shapes, config)) for shapes in own)
            for name, own in self._shapes.items()
        }

    def _gain(
        self, config: NpuConfig, knob: str, evaluation: Evaluation, weights: Mapping[str, float]
    ) -> float:
        """The share of the time that twice of a knob would save."""
        try:
            other = machine(config, {knob: _twice(config, knob)})
        except OptionError:  # twice as much is more than there may be
            return 0.0
        if knob in SIZES:
            before, after = self._bounds(config), self._bounds(other)
        else:
            before, after = dict(evaluation.cycles), dict.fromkeys(evaluation.cycles, 0)
            for item in evaluation.detail:
                after[item.model] += measure(replace(item.program, config=other)).cycles
        return sum(weight * (1 - after[name] / before[name]) for name, weight in weights.items())

    def _ranked(
        self, config: NpuConfig, names: Sequence[str], gains: Mapping[str, float]
    ) -> list[tuple[str, float]]:
        """The most saving first; of those that save alike, what is least beside the base machine.

        Requests in flight and their size, or rows and columns, often save alike: then the one that
        is odd is at fault.
        """
        most = max(gains[name] for name in names)
        alike = {name for name in names if most > 0 and gains[name] >= _ALIKE * most}

        def rank(name: str) -> tuple[bool, float]:
            odd = name in alike and not isinstance(self.knobs[name].default, str)
            return name not in alike, _part(config, self._base, name) if odd else -gains[name]

        return [(name, gains[name]) for name in sorted(names, key=rank)]

    def _key(self, program: NpuProgram) -> str:
        """What the cycles of a stream depend on: itself, and all of the machine but its sizes."""
        sizes = {"act_bytes", "weight_bytes", "acc_words"}
        timing = [(k, v) for k, v in program.config.flat.items() if k not in sizes]
        return hashlib.sha256(repr(timing).encode() + program.code).hexdigest()


def _twice(config: NpuConfig, knob: str) -> Value:
    part, field = knob.split(".")
    value = getattr(getattr(config, part), field)
    if isinstance(value, str):
        return "weight-stationary" if value == "output-stationary" else "output-stationary"
    return 2 * int(value)


def _part(config: NpuConfig, base: NpuConfig, knob: str) -> float:
    """How much of a thing a machine has, over what the base has."""
    part, field = knob.split(".")
    return float(getattr(getattr(config, part), field) / getattr(getattr(base, part), field))
