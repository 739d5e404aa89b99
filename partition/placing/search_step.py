"""What the search knows of one op, in numbers that do not depend on where it stands in the model.

`steps.make_steps` makes a `SearchStep` per op, `dp_search` walks over them. All are named tuples,
because steps are keys of a dict: equal layers of a model make equal steps, and share what was
worked out for one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "NOWHERE",
    "Beginning",
    "HostSeconds",
    "Kept",
    "LiveRead",
    "Offer",
    "OpOutput",
    "Perturbation",
    "SearchStep",
    "Unfinished",
]

NOWHERE = -1
"""The position of a value that is not among the live ones."""


@dataclass(frozen=True)
class Perturbation:
    """A change of the costs that pushes the search elsewhere.

    Attributes:
        scale: backend → factor on its composites or host ops.
        border: factor on borders.
        launch: seconds more per segment.
        weight: processor → seconds more per byte of weights.
    """

    scale: Mapping[str, float] = field(default_factory=dict)
    border: float = 1.0
    launch: float = 0.0
    weight: Mapping[str, float] = field(default_factory=dict)


class LiveRead(NamedTuple):
    """A live value that is read: its position in the list of live values, its bytes."""

    position: int
    size: int


class OpOutput(NamedTuple):
    """A value that the op makes: its bytes, and whether something outside the scope reads it."""

    size: int
    leaves: bool


class Unfinished(NamedTuple):
    """A candidate of several ops, seen from a step: steps to its last op, its number there."""

    ahead: int
    number: int


class Beginning(NamedTuple):
    """A candidate of several ops that begins here, and those that share an op with it."""

    candidate: Unfinished
    clashes: frozenset[Unfinished]


class HostSeconds(NamedTuple):
    """Seconds of the op on the host: as a kernel of its own, and fused into its producer's."""

    alone: float
    fused: float


class Kept(NamedTuple):
    """A value that is alive after the step.

    Attributes:
        position: in the list of live, fresh and made values.
        future: mask of the backends whose segments may still read it.
        waiting: when no op to come reads it: the unfinished candidates that do; else None.
    """

    position: int
    future: int
    waiting: frozenset[Unfinished] | None


class Offer(NamedTuple):
    """A candidate that ends at this op.

    Attributes:
        number: among the candidates that end here.
        backend: number of its vendor, from 1.
        seconds: of the candidate, perturbations and penalties included, without borders.
        single: whether it covers this op alone.
        reads: what comes from outside of it.
    """

    number: int
    backend: int
    seconds: float
    single: bool
    reads: tuple[LiveRead, ...]


class SearchStep(NamedTuple):
    """One op, as the search sees it.

    Attributes:
        fresh: how many values from outside the scope are read first here; the host has them.
        host: seconds on the host, penalties included.
        fed: position of the live value into whose kernel the op may be fused, or `NOWHERE`.
        reads: what the op reads when it runs on the host.
        offers: candidates that end here.
        begins: candidates of several ops that begin here.
        covers: all candidates of several ops that cover this op.
        outs: the values it makes.
        keep: the values that are alive afterwards, in their new order.
    """

    fresh: int
    host: HostSeconds
    fed: int
    reads: tuple[LiveRead, ...]
    offers: tuple[Offer, ...]
    begins: tuple[Beginning, ...]
    covers: frozenset[Unfinished]
    outs: tuple[OpOutput, ...]
    keep: tuple[Kept, ...]
