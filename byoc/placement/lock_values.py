"""What a placement lock says, as values: `Lock` and its `Group`s.

In: nothing. Out: frozen records that `lock_text` writes and reads, `lock` makes from a report,
`locked` obeys and `lock_diff` compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from byoc.report.records import HOST, OpRecord

__all__ = ["Group", "Lock"]


@dataclass(frozen=True, slots=True)
class Group:
    """Ops of one segment, or neighbouring ops that stay on the host.

    Attributes:
        place: the vendor's name, or "host".
        ops: positions of the ops in the model.
        kinds: the Relax name of each op.
        names: what the source model calls each op; for the reader.
        marks: four characters per op that tell whether it is still the same op.
        patterns: the vendor's pattern of each op; none on the host.
        segment: the segment's name; "" on the host.
        function: the Relax function that holds the ops.
        us: predicted microseconds of one run of the segment, without borders.
    """

    place: str
    ops: tuple[int, ...]
    kinds: tuple[str, ...]
    names: tuple[str, ...]
    marks: tuple[str, ...]
    patterns: tuple[str, ...] = ()
    segment: str = ""
    function: str = "main"
    us: float | None = None


@dataclass(frozen=True)
class Lock:
    """Where every op of a model runs.

    Attributes:
        structure: a digest of what the model is, names and weights left out.
        vendors: name → version of those that got an op.
        placement: the name of the strategy that placed the ops.
        groups: the ops, in the order of each group's first op.
        us: predicted microseconds of one run of the model.
        borders: tensors that pass from one place to another.
        path: the file it was read from, for messages.
    """

    structure: str
    vendors: Mapping[str, str]
    placement: str
    groups: tuple[Group, ...]
    us: float | None = None
    borders: int = 0
    path: str = field(default="", compare=False)

    @property
    def ops(self) -> int:
        """How many ops the model has."""
        return sum(len(group.ops) for group in self.groups)

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return sum(group.place != HOST for group in self.groups)

    @property
    def places(self) -> dict[int, str]:
        """Position of an op → "host" or "vendor.pattern"."""
        return {
            op: group.place if group.place == HOST else f"{group.place}.{group.patterns[k]}"
            for group in self.groups
            for k, op in enumerate(group.ops)
        }

    @property
    def title(self) -> str:
        """What messages call the lock."""
        return f"the lock {self.path}" if self.path else "the lock"

    def first_moved(self, ops: Iterable[OpRecord]) -> tuple[OpRecord, str] | None:
        """Compare a placement with the locked one, op by op.

        Args:
            ops: where each op of the locked model went.

        Returns:
            The first op, in the lock's order, that is in another segment, and the segment that the
            lock has it in (or "host"); None: they agree.
        """
        found = {op.index: op for op in ops}
        for group in self.groups:
            for index in group.ops:
                if found[index].segment != (group.segment or None):
                    return found[index], group.segment or HOST
        return None
