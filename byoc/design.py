"""What a vendor says of the accelerators it could be: the contract of design space exploration.

A vendor whose machine has parameters gives `byoc.vendor.Vendor.design`, which takes the segments
that its machine would run and returns a `DesignSpace`: the knobs, what an accelerator costs in
area, and a ladder of evaluators, each dearer and nearer to the truth than the one before.
`byoc.dse` searches through these values alone; nothing in it knows a machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from byoc.segment import Segment

__all__ = ["Bottleneck", "DesignSpace", "Evaluation", "Knob", "ModelSegments", "Value", "Values"]

Value: TypeAlias = "int | str"
"""What a knob is set to: a whole number, or a word."""

Values: TypeAlias = Mapping[str, Value]
"""One accelerator: a value for every knob."""

ModelSegments: TypeAlias = "Mapping[str, Sequence[Segment]]"
"""Name of a model → the segments of it that the vendor would run."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One parameter of the machine that a designer may choose.

    Attributes:
        default: Its value in the vendor's default machine.
        words: The legal words, for a knob that is no number; such values have no order.
        meaning: What it is, in a few words.
    """

    default: Value
    words: tuple[str, ...] = ()
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """One unit that a machine waits for.

    Attributes:
        unit: Name of the unit.
        share: How much of the time goes to it, 0 to 1, over all models by their weights.
        knobs: Knobs that move it, the most promising first, each with the share of the time that
            twice its value would save, as far as the vendor can tell without a new evaluation.
    """

    unit: str
    share: float
    knobs: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How fast one machine is, as one level of the ladder has it.

    Attributes:
        level: Name of the level.
        cycles: Name of the model → cycles of one call, of its segments together.
        code: What tells emitted programs apart: machines with equal code are evaluated once. Empty
            where nothing was emitted.
        detail: The vendor's own, for `DesignSpace.bottlenecks`.
    """

    level: str
    cycles: Mapping[str, int]
    code: str = ""
    detail: Any = None


class DesignSpace(Protocol):
    """Machines that a vendor can be, for the segments of some models."""

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """Every parameter that may be chosen, by its name ("array.rows")."""
        ...

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        ...

    @property
    def resources(self) -> tuple[str, ...]:
        """What area is counted in ("lut", "dsp", "bram")."""
        ...

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the evaluators, cheapest first; two at least."""
        ...

    def configuration(self, values: Values) -> Mapping[str, Any]:
        """Return what the vendor's option ``config`` takes for this machine.

        Args:
            values: The machine; knobs that are left out have their defaults.

        Raises:
            OptionError: A value is not legal; the message names knob and value.
        """
        ...

    def area(self, values: Values) -> Mapping[str, int]:
        """Return what the machine takes of each resource.

        Args:
            values: The machine.
        """
        ...

    def evaluate(self, values: Values, level: str) -> Evaluation:
        """Return how fast the machine is.

        Args:
            values: The machine.
            level: One of `levels`.

        Raises:
            CompileError: A model does not fit the machine.
        """
        ...

    def bottlenecks(
        self, values: Values, evaluation: Evaluation, weights: Mapping[str, float]
    ) -> Sequence[Bottleneck]:
        """Return the units that the machine waits for, the worst first.

        Args:
            values: The machine.
            evaluation: What the last level of the ladder said of it.
            weights: Name of the model → its weight; they add up to 1.
        """
        ...
