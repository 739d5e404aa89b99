"""Evaluations of machines, each done once, and what they come to as one number.

In: a vendor's `DesignSpace`, a space, limits, weights of models. Out: scores. The score of a
machine is the weighted geometric mean of its models' cycles over those of the vendor's default
machine: 0.8 is one that needs a fifth less. One that some model does not fit scores infinity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byoc.design import DesignSpace, Evaluation, Values
from byoc.dse.limits import fits
from byoc.dse.space import Point, Space
from byoc.errors import CompileError, OptionError, choices

__all__ = ["Ladder", "Scored", "model_weights"]


@dataclass(frozen=True, slots=True)
class Scored:
    """A machine that reached the top of the ladder.

    Attributes:
        point: Where it is in the space; None for the default machine.
        values: Its knobs.
        score: Weighted mean of cycles, over the default machine's; less is better.
        area: What it takes of each resource.
        evaluation: What the last level said.
    """

    point: Point | None
    values: Values
    score: float
    area: Mapping[str, int]
    evaluation: Evaluation


def model_weights(given: Mapping[str, float], models: Sequence[str]) -> dict[str, float]:
    """Return a weight for each model; they add up to 1.

    Args:
        given: Weights by name; a model that is left out weighs 1.
        models: All names.

    Raises:
        OptionError: A weight is for no model.
    """
    for name in given:
        if name not in models:
            raise OptionError(f"weights: no model {name!r}: {choices(name, models)}")
    total = sum(given.get(name, 1.0) for name in models)
    return {name: given.get(name, 1.0) / total for name in models}


class Ladder:
    """Evaluators, remembered.

    Args:
        design: The vendor's machines.
        space: Which of them there are to choose from.
        limits: What a machine may take, by resource.
    """

    def __init__(self, design: DesignSpace, space: Space, limits: Mapping[str, int]) -> None:
        self.design, self.space, self.limits = design, space, limits
        self.weights = model_weights(space.weights, design.models)
        self.counts = dict.fromkeys(design.levels, 0)
        """Evaluations done, by level."""
        self.equal = 0
        """Machines whose emitted code another one had."""
        self.scored: dict[Point, Scored] = {}
        """Machines that reached the last level, by point."""
        self._codes: set[str] = set()
        self._seen: dict[tuple[str, Point], float] = {}
        self._areas: dict[Point, Mapping[str, int] | None] = {}
        self._bases: dict[str, Mapping[str, int]] = {}
        self._default: Scored | None = None

    @property
    def last(self) -> str:
        """Name of the level that decides."""
        return self.design.levels[-1]

    @property
    def default(self) -> Scored:
        """The vendor's default machine."""
        if self._default is None:
            values = self.space.defaults
            self.counts[self.last] += 1
            found = self.design.evaluate(values, self.last)
            self._bases[self.last] = found.cycles
            self._codes.add(found.code)
            self._default = Scored(None, values, 1.0, self.design.area(values), found)
        return self._default

    def area(self, point: Point) -> Mapping[str, int] | None:
        """Return what a machine takes; None where there is none at this point."""
        if point not in self._areas:
            values = self.space.values(point)
            self._areas[point] = None if values is None else self.design.area(values)
        return self._areas[point]

    def legal(self, point: Point) -> bool:
        """Return whether there is a machine at a point, and within the limits."""
        area = self.area(point)
        return area is not None and fits(area, self.limits)

    def score(self, point: Point, level: str) -> float:
        """Return the score of a legal point on a level; infinity where a model does not fit.

        Args:
            point: The point.
            level: Name of the level.
        """
        key = (level, point)
        if key not in self._seen:
            self._seen[key] = self._evaluate(point, level)
        return self._seen[key]

    def is_new(self, scored: Scored) -> bool:
        """Return whether nothing before had this machine's code, and remember it."""
        code = scored.evaluation.code
        new = not code or code not in self._codes
        self._codes.add(code)
        self.equal += not new
        return new

    def _evaluate(self, point: Point, level: str) -> float:
        values, area = self.space.values(point), self.area(point)
        assert values is not None and area is not None
        base = self._base(level)
        self.counts[level] += 1
        try:
            found = self.design.evaluate(values, level)
        except CompileError:
            return math.inf
        score = math.exp(
            sum(w * math.log(found.cycles[m] / base[m]) for m, w in self.weights.items())
        )
        if level == self.last:
            self.scored[point] = Scored(point, values, score, area, found)
        return score

    def _base(self, level: str) -> Mapping[str, int]:
        """Cycles of the default machine; those of the last level count as an evaluation."""
        if level == self.last:
            return self.default.evaluation.cycles
        if level not in self._bases:
            self.counts[level] += 1
            self._bases[level] = self.design.evaluate(self.space.defaults, level).cycles
        return self._bases[level]
