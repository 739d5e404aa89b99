"""`CompileOptions`: what users ask of a compilation, and what excludes what.

In: the keywords of `byoc.compile` and `byoc.partition_model`. Out: one frozen value that every
recipe takes. Combinations that make no sense are refused when the value is made, by one table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from byoc.build.readiness import Background
from byoc.build.segments import HealSpec
from byoc.errors import OptionError, choices
from byoc.placement.constraints import PlacementConstraints
from byoc.plugins.precision import FLOAT32, NARROW
from byoc.runtime.program import Healing, Isolation
from byoc.specialise.options import Specialise
from byoc.support.arguments import check_kind, check_number, check_path

if TYPE_CHECKING:
    from byoc.partition.placing import Strategy

__all__ = ["AUTO", "MEASURED", "ORDER", "CompileOptions"]

AUTO = "auto"
"""The precision that is the fastest within the bound of error, segment by segment."""

MEASURED = "measured"
"""The name of the strategy that builds and times (`byoc.measure`)."""

ORDER = "order"
"""The name of the strategy that asks vendors in their order."""


MODEL = "model"
"""The name of the strategy that predicts."""


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """What is asked of one compilation; the recipe follows from it.

    Attributes:
        placement: who gets an op that several could take: "order", "model", "measured", or a
            strategy.
        constraints: what the placement has to obey.
        locked: path of a lock, which then is the placement.
        dry_run: partition and stop; nothing is built.
        budget: how long measuring may take, in seconds or as text ("60s", "2m").
        dims: symbolic dimension → its size: the model is compiled for it alone; measured
            placement keeps it symbolic and measures with this size.
        precision: what vendors compute in: "f32", "bf16", "f16" or "auto".
        max_error: largest relative error, against float32, of what a narrower precision computes;
            None: no bound (of "auto": `DEFAULT_ERROR`).
        calibration: inputs to compare on, each a mapping of names to arrays; None: random ones.
        told: what there is to say of the options, for the report.
        heal: which segments get a host fallback.
        isolation: vendors that run out of process; None: none.
        background: build engines while host fallbacks answer; None: not.
        specialise: build plans for single shapes of a symbolic model; None: not.

    Raises:
        OptionError: an option is of the wrong kind, or two exclude each other; the message says
            which one to leave out.
    """

    placement: str | Strategy = ORDER
    constraints: PlacementConstraints = field(default_factory=PlacementConstraints)
    locked: str | os.PathLike[str] | None = None
    dry_run: bool = False
    budget: float | str | None = None
    dims: Mapping[str, int] | None = None
    precision: str = FLOAT32
    max_error: float | None = None
    calibration: Sequence[Mapping[str, Any]] | None = None
    told: tuple[str, ...] = ()
    heal: HealSpec = None
    isolation: Isolation | None = None
    background: Background | None = None
    specialise: Specialise | None = None

    def __post_init__(self) -> None:
        if self.locked is not None:
            check_path("locked", self.locked)
        for name, kind, words in _KINDS:
            value = getattr(self, name)
            if value is not None:
                check_kind(name, value, kind, words)
        if isinstance(self.placement, str):
            _check_strategy(self.placement, self.dry_run)
        legal = (FLOAT32, *NARROW, AUTO)
        if self.precision not in legal:
            raise OptionError(
                f"precision {self.precision!r}: {choices(str(self.precision), legal)}"
            )
        if self.max_error is not None:
            check_number("max_error", self.max_error)
        for refusal in _REFUSALS:
            if refusal.met(self):
                raise OptionError(refusal.text.format(options=self))

    @property
    def measured(self) -> bool:
        """Whether plans are built and timed to choose among them."""
        return self.placement == MEASURED and self.locked is None

    @property
    def compares(self) -> bool:
        """Whether segments are computed in several precisions to choose among them."""
        return self.precision == AUTO or self.max_error is not None


def _check_strategy(name: str, dry_run: bool) -> None:
    legal = (ORDER, MODEL) if dry_run else (ORDER, MODEL, MEASURED)
    if name not in (*legal, MEASURED):
        raise OptionError(f"placement {name!r} is no strategy: {choices(name, legal)}")


_KINDS = (
    ("dims", Mapping, "a mapping of symbolic dimensions to sizes"),
    ("precision", str, "'f32', 'bf16', 'f16' or 'auto'"),
    ("calibration", Sequence, "a list of mappings of input names to arrays"),
    ("heal", (bool, Healing), "True, False or a byoc.runtime.Healing"),
    ("background", Background, "True, False or a byoc.build.background.Background"),
    ("specialise", Specialise, "True, False or a byoc.specialise.Specialise"),
)
"""Options, what they are instances of, and the same for people."""


class _Refusal(NamedTuple):
    """Options that exclude each other: when that is so, and what is said."""

    met: Callable[[CompileOptions], bool]
    text: str


_REFUSALS = (
    _Refusal(
        lambda o: o.max_error is not None and not 0 < o.max_error < float("inf"),
        "max_error is a relative error above 0, such as 0.02, found {options.max_error}",
    ),
    _Refusal(
        lambda o: o.max_error is not None and o.precision == FLOAT32,
        "max_error bounds what precision='bf16', 'f16' or 'auto' may change: give one of them, "
        "or leave max_error out",
    ),
    _Refusal(
        lambda o: o.calibration is not None and not o.compares,
        "calibration holds inputs to compare precisions on: it belongs to max_error and "
        "precision='auto'",
    ),
    _Refusal(
        lambda o: o.compares and o.measured,
        "placement='measured' times plans of one precision; max_error and precision='auto' choose "
        "one for each segment of a given placement: leave one of the two out",
    ),
    _Refusal(
        lambda o: o.compares and o.background is not None,
        "max_error and precision='auto' run every engine before the first answer: nothing is left "
        "to build in the background; leave one of the two out",
    ),
    _Refusal(
        lambda o: o.compares and o.specialise is not None,
        "max_error and precision='auto' compare at one shape, specialise builds plans for others: "
        "leave one of the two out",
    ),
    _Refusal(
        lambda o: o.dry_run and o.placement == MEASURED,
        "placement 'measured' builds and times, a dry run does neither: use 'model', which "
        "predicts, or byoc.compile(…, placement='measured') and its report",
    ),
    _Refusal(
        lambda o: o.measured and o.specialise is not None,
        "placement='measured' times one shape, specialise builds plans for others: leave "
        "one of the two out",
    ),
    _Refusal(
        lambda o: o.measured and o.background is not None,
        "placement='measured' builds every engine to time it: nothing is left to build in "
        "the background; leave one of the two out",
    ),
    _Refusal(
        lambda o: o.specialise is not None and o.background is not None,
        "background is for models of fixed shapes, specialise for symbolic ones, whose plans "
        "it builds in the background anyway: leave one of the two out",
    ),
    _Refusal(
        lambda o: o.specialise is not None and o.locked is not None,
        "specialise places the ops of every shape anew, which a lock of the symbolic model "
        "cannot tell: leave locked out",
    ),
    _Refusal(
        lambda o: not o.measured and o.budget is not None,
        "budget belongs to placement='measured'",
    ),
    _Refusal(
        lambda o: o.locked is not None and o.placement != ORDER,
        "locked is the placement: placement={options.placement!r} cannot be obeyed too",
    ),
)
"""Read from the top: the first that is met is told."""
