"""Strategies as values: a name and a function from a `Problem` to the candidates it takes.

    mine = Strategy("mine", lambda problem: [...])      # indices into problem.candidates
    partition_module(mod, vendors, placement=mine)

Nothing is registered: a strategy is passed in, like a vendor. The names are those that byoc has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from byoc.errors import OptionError, choices
from byoc.partition.placing.fixed_placement import place_fixed
from byoc.partition.placing.local_search import confident_choice
from byoc.partition.placing.problem import Problem

__all__ = ["MODEL", "ORDER", "Strategy", "fixed", "resolve_strategy", "strategies"]


@dataclass(frozen=True)
class Strategy:
    """A way to choose who gets an op that several could take.

    Examples:
        >>> first = Strategy("first", lambda problem: problem.legal[:1])
        >>> report = partition_module(mod, [vendor], placement=first, min_segment_ops=1).report
        >>> report.placement, len(report.segments)
        ('first', 1)

    Attributes:
        name: shown in reports.
        place: (Problem) → indices of the candidates to take, no two of which share an op; what no
            candidate covers is the host's. Called once per scope.
        costed: it weighs costs, so segments need no minimum unless one is asked for.
        places: what it was given, for a fixed placement (see `fixed`): its keys are checked against
            the model.
    """

    name: str
    place: Callable[[Problem], Iterable[int]]
    costed: bool = True
    places: Mapping[int | str, str] | None = field(default=None, hash=False)


def _order(problem: Problem) -> Iterable[int]:
    """Who comes first in the list of vendors, as `match.py` would."""
    return problem.greedy()


def _model(problem: Problem) -> Iterable[int]:
    """Least predicted time."""
    return confident_choice(problem).chosen


ORDER = Strategy("order", _order, costed=False)
MODEL = Strategy("model", _model)


def strategies() -> tuple[str, ...]:
    """The names that ``placement=`` understands."""
    return (ORDER.name, MODEL.name)


def resolve_strategy(placement: str | Strategy) -> Strategy:
    """Find a strategy by its name; a strategy is returned as it is.

    Raises:
        OptionError: the name is unknown.
    """
    if isinstance(placement, Strategy):
        return placement
    for known in (ORDER, MODEL):
        if placement == known.name:
            return known
    raise OptionError(
        f"placement {placement!r} is no strategy; {choices(str(placement), strategies())}"
    )


def fixed(places: Mapping[int | str, str], name: str = "fixed") -> Strategy:
    """Make a strategy that puts every op on the backend that is given for it.

    Args:
        places: index of an op in the report, or its name (then every op of that name) → "host", a
            vendor, or "vendor.pattern"; ops that are not named are the host's.
        name: shown in reports.

    Returns:
        A strategy. Partitioning with it raises OptionError for an op that the vendor cannot take
        there, with its reason, and for a key that names no op.
    """
    given = dict(places)
    return Strategy(name, lambda problem: place_fixed(problem, given), places=given)
