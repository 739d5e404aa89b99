"""`CompileOptions`: what users ask of a compilation, and what excludes what.

In: the keywords of `byoc.compile` and `byoc.partition_model`. Out: one frozen value that every
recipe takes. Combinations that make no sense are refused when the value is made, by one table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from byoc.build.readiness import Background
from byoc.build.segments import HealSpec
from byoc.errors import OptionError, choices
from byoc.placement.constraints import PlacementConstraints
from byoc.runtime.program import Healing, Isolation
from byoc.specialise.options import Specialise
from byoc.support.arguments import check_kind, check_path

if TYPE_CHECKING:
    from byoc.partition.placing import Strategy

__all__ = ["MEASURED", "ORDER", "CompileOptions"]

MEASURED = "measured"
"""The name of the strategy that builds and times (`byoc.measure`)."""

ORDER = "order"
"""The name of the strategy that asks vendors in their order."""


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
        for refusal in _REFUSALS:
            if refusal.met(self):
                raise OptionError(refusal.text.format(options=self))

    @property
    def measured(self) -> bool:
        """Whether plans are built and timed to choose among them."""
        return self.placement == MEASURED and self.locked is None


def _check_strategy(name: str, dry_run: bool) -> None:
    from byoc.partition.placing import strategies

    legal = strategies() if dry_run else (*strategies(), MEASURED)
    if name not in (*legal, MEASURED):
        raise OptionError(f"placement {name!r} is no strategy: {choices(name, legal)}")


_KINDS = (
    ("dims", Mapping, "a mapping of symbolic dimensions to sizes"),
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
