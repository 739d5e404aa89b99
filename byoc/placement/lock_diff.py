"""What changed between two locks: ops that moved, segments, borders, predicted time.

    4 ops moved to host, +1 segment, +1 border, est. +0.40 ms (12.10 → 12.50 ms, +3.3 %)
      dnnl → host  4  nn.softmax (/attn/Softmax), …

Ops of one model are paired by position. When the model itself changed they are paired by name,
where a name is unique and of the same kind on both sides, then by what they are (`marks`), in
order; the rest was added or removed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from math import isinf
from typing import Any

from byoc.errors import LockError, OptionError
from byoc.placement.lock_values import Lock

__all__ = ["LockDiff", "Moved", "diff_locks", "parse_percent"]

SCHEMA_VERSION = 1
_SHOWN = 5
"""Ops named per kind of move."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One op in two placements.

    Attributes:
        kind: its Relax name.
        name: what the source model calls it.
        old: its position in the old model; None where that does not have it.
        new: its position in the new model; None where that does not have it.
        before: the old place.
        after: the new place.
    """

    kind: str
    name: str
    old: int | None
    new: int | None
    before: str | None
    after: str | None


@dataclass(frozen=True)
class LockDiff:
    """What changed from one lock to another.

    Attributes:
        moved: ops of both models with another place.
        added: ops of the new model only.
        removed: ops of the old model only.
        same_model: whether the structures agree.
        renamed: ops of both whose names differ.
        segments: how many there are, old and new.
        borders: tensors that cross, old and new.
        us: predicted microseconds of one run, old and new.
        vendors: name → old and new version where they differ, "" for none.
        placements: old and new strategy.
    """

    moved: tuple[Moved, ...]
    added: tuple[Moved, ...]
    removed: tuple[Moved, ...]
    same_model: bool
    renamed: int
    segments: tuple[int, int]
    borders: tuple[int, int]
    us: tuple[float | None, float | None]
    vendors: Mapping[str, tuple[str, str]]
    placements: tuple[str, str]

    @property
    def regression(self) -> float | None:
        """How much slower the new one is predicted, in percent (negative: faster); None when one
        lock has no estimate.
        """
        old, new = self.us
        if old is None or new is None:
            return None
        return 100 * (new - old) / old if old else (0.0 if new == old else float("inf"))

    def exceeds(self, percent: float) -> bool:
        """Ask whether the new placement is predicted slower by more than a share.

        Args:
            percent: of the old placement's time.

        Returns:
            True when it is.

        Raises:
            LockError: a lock has no estimate; nothing can be said then.
        """
        slower = self.regression
        if slower is None:
            which = "old" if self.us[0] is None else "new"
            raise LockError(
                f"the {which} lock has no estimate, so a regression cannot be judged; make the "
                f"lock again, or drop --max-regression"
            )
        return slower > percent + 1e-9

    def summary(self) -> str:
        """One line; "no change" when there is none."""
        parts = []
        targets = Counter(str(op.after) for op in self.moved)
        for place, count in targets.most_common():
            parts.append(f"{_count(count, 'op')} moved to {place}")
        for word, ops in (("added", self.added), ("removed", self.removed)):
            if ops:
                parts.append(f"{_count(len(ops), 'op')} {word}")
        for word, (old, new) in (("segment", self.segments), ("border", self.borders)):
            if old != new:
                parts.append(f"{new - old:+d} {word}{'' if abs(new - old) == 1 else 's'}")
        old_us, new_us = self.us
        if old_us is not None and new_us is not None and old_us != new_us:
            parts.append(
                f"est. {(new_us - old_us) / 1e3:+.4g} ms ({old_us / 1e3:.4g} → "
                f"{new_us / 1e3:.4g} ms, {self.regression:+.1f} %)"
            )
        elif (old_us is None) != (new_us is None):
            parts.append(f"est. {'lost' if new_us is None else 'gained'}")
        if self.renamed:
            parts.append(f"{_count(self.renamed, 'op')} renamed")
        if not parts:
            parts = ["no change" if self.same_model else "the model changed, no place did"]
        return ", ".join(parts)

    def text(self) -> str:
        """The summary, then moves by where from and where to, versions and strategies."""
        lines = [self.summary()]
        moves: dict[tuple[str, str], list[Moved]] = {}
        for op in (*self.moved, *self.added, *self.removed):
            moves.setdefault((op.before or "(new)", op.after or "(gone)"), []).append(op)
        for (before, after), ops in moves.items():
            shown = ", ".join(f"{op.kind} ({op.name})" for op in ops[:_SHOWN])
            more = ", …" if len(ops) > _SHOWN else ""
            lines.append(f"  {before} → {after}: {_count(len(ops), 'op')}: {shown}{more}")
        if not self.same_model:
            lines.append("  the models differ")
        for vendor, (old, new) in self.vendors.items():
            lines.append(f"  {vendor}: {old or '(none)'} → {new or '(none)'}")
        if self.placements[0] != self.placements[1]:
            lines.append(f"  placement: {self.placements[0]} → {self.placements[1]}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: schema "byoc.lock-diff"."""
        slower = self.regression
        return {
            "schema": "byoc.lock-diff",
            "version": SCHEMA_VERSION,
            "summary": self.summary(),
            "regression_percent": None if slower is None or isinf(slower) else slower,
            **asdict(self),
        }


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class _Op:
    kind: str
    name: str
    mark: str
    place: str


def _ops(lock: Lock) -> list[_Op]:
    """The ops of a lock by position."""
    found = {
        at: _Op(group.kinds[k], group.names[k], group.marks[k], group.place)
        for group in lock.groups
        for k, at in enumerate(group.ops)
    }
    return [found[at] for at in range(len(found))]


def diff_locks(old: Lock, new: Lock) -> LockDiff:
    """Tell what changed from one lock to another.

    Args:
        old: the lock before.
        new: the lock after; of the same model or of another.

    Returns:
        What moved, came and went.
    """
    before, after = _ops(old), _ops(new)
    same = old.structure == new.structure
    pairs = dict(enumerate(range(len(before)))) if same else _pairs(before, after)
    moved = [
        Moved(after[j].kind, after[j].name, i, j, before[i].place, after[j].place)
        for i, j in pairs.items()
        if before[i].place != after[j].place
    ]
    met = set(pairs.values())
    removed = [
        Moved(op.kind, op.name, i, None, op.place, None)
        for i, op in enumerate(before)
        if i not in pairs
    ]
    added = [
        Moved(op.kind, op.name, None, j, None, op.place)
        for j, op in enumerate(after)
        if j not in met
    ]
    versions = {
        name: (old.vendors.get(name, ""), new.vendors.get(name, ""))
        for name in sorted({*old.vendors, *new.vendors})
    }
    return LockDiff(
        moved=tuple(moved),
        added=tuple(added),
        removed=tuple(removed),
        same_model=same,
        renamed=sum(before[i].name != after[j].name for i, j in pairs.items()),
        segments=(old.segments, new.segments),
        borders=(old.borders, new.borders),
        us=(old.us, new.us),
        vendors={name: pair for name, pair in versions.items() if pair[0] != pair[1]},
        placements=(old.placement, new.placement),
    )


def _pairs(before: list[_Op], after: list[_Op]) -> dict[int, int]:
    """Old position → new position of the ops that both models have, in the old order."""
    places = _unique(after)
    pairs = {i: places[key] for key, i in _unique(before).items() if key in places}
    met = set(pairs.values())
    left = [i for i in range(len(before)) if i not in pairs]
    right = [j for j in range(len(after)) if j not in met]
    pairs.update(
        (left[a], right[b])
        for a, b in _aligned(
            [(before[i].kind, before[i].mark) for i in left],
            [(after[j].kind, after[j].mark) for j in right],
        )
    )
    return dict(sorted(pairs.items()))


def _aligned(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> Iterator[tuple[int, int]]:
    """Positions of equal elements, in order. The ends are walked: the matcher takes what occurs
    often, as every op of a deep model does, for noise.
    """
    short, head, tail = min(len(one), len(other)), 0, 0
    while head < short and one[head] == other[head]:
        head += 1
    while tail < short - head and one[-1 - tail] == other[-1 - tail]:
        tail += 1
    yield from ((k, k) for k in range(head))
    middle = one[head : len(one) - tail], other[head : len(other) - tail]
    if all(middle):
        for a, b, size in SequenceMatcher(None, *middle).get_matching_blocks():
            yield from ((head + a + k, head + b + k) for k in range(size))
    yield from ((len(one) - k, len(other) - k) for k in range(tail, 0, -1))


def _unique(ops: Iterable[_Op]) -> dict[tuple[str, str], int]:
    """(name, kind) → position, of ops that are alone with their name."""
    found: dict[tuple[str, str], int] = {}
    count: Counter[str] = Counter()
    for at, op in enumerate(ops):
        found[op.name, op.kind] = at
        count[op.name] += 1
    return {key: at for key, at in found.items() if count[key[0]] == 1}


def parse_percent(text: str) -> float:
    """Read a percentage.

    Args:
        text: "5%" or "5".

    Returns:
        The number, here 5.0.

    Raises:
        OptionError: the text is no percentage.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", text)
    if not found:
        raise OptionError(f"expected a percentage such as 5%, found {text!r}")
    return float(found[1])
