"""`placement.lock`: where every op of a model runs, as a text to keep beside the model.

    schema: byoc.placement-lock
    version: 1
    model: {structure: ddab46e105cc6814, ops: 93}
    vendors: {dnnl: 3.2.0}
    placement: model
    estimate: {us: 8214.2, segments: 1, borders: 0}
    groups:
    - {place: dnnl, ops: 0-91, segment: dnnl_0, us: 8214, kinds: [nn.conv2d, nn.relu, …], …}
    - {place: host, ops: '92', kinds: [reshape], …}

One line per *group*: the ops of a segment, or a run of ops of the host. An op is its position;
`marks` tell whether what stands there is still the same op (see `byoc.partition.snapshot.identity`),
`patterns` what the vendor matched. `names` are for the reader: renaming tensors changes them and
nothing else. The same placement of the same model is the same text, byte for byte.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from byoc.errors import LockError, choices
from byoc.placement.lock_text import parse_lock, render_lock
from byoc.support.files import atomic_write

if TYPE_CHECKING:
    import tvm

    from byoc.partition import PartitionReport
    from byoc.partition.placing import Strategy
    from byoc.partition.snapshot.identity import Identity
    from byoc.vendor import Vendor

__all__ = ["Group", "Lock", "make_lock", "read_lock", "write_lock"]

_HOST = "host"


@dataclass(frozen=True, slots=True)
class Group:
    """Ops of one segment, or neighbours on the host.

    ops: their positions. kinds, names, marks: one per op. patterns: one per op, none on the host.
    segment: its name, "" on the host. function: the Relax function. us: predicted microseconds
    of one run of the segment, without borders.
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
    """A placement. structure: what the model is, names and weights left out. vendors: name →
    version. placement: the strategy's name. us: predicted microseconds of one run.
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
        return sum(group.place != _HOST for group in self.groups)

    @property
    def places(self) -> dict[int, str]:
        """Position of an op → "host" or "vendor.pattern"."""
        return {
            op: group.place if group.place == _HOST else f"{group.place}.{group.patterns[k]}"
            for group in self.groups
            for k, op in enumerate(group.ops)
        }

    def strategy(self, mod: tvm.IRModule, vendors: Sequence[Vendor]) -> Strategy:
        """The strategy that places the ops of `mod` as the lock says.

        Raises LockError when the model is not the locked one (naming the first op that differs)
        or a vendor of the lock is not among `vendors`.
        """
        from byoc.partition.placing.strategy import fixed
        from byoc.partition.snapshot.identity import identify

        given = {vendor.name for vendor in vendors}
        for name in sorted({g.place for g in self.groups} - {_HOST}):
            if name not in given:
                raise LockError(
                    f"{self._who} puts ops on {name!r}, which is not among the vendors of this "
                    f"run; {choices(name, given)}"
                )
        identity = identify(mod)
        if identity.structure != self.structure:
            raise LockError(
                f"{self._who} does not fit the model: {self._difference(mod, identity)}"
            )
        return fixed({op: p for op, p in self.places.items() if p != _HOST}, name=self.placement)

    def check(self, report: PartitionReport) -> None:
        """Raise LockError when a placement made with `strategy` is not the locked one, naming
        the first op that differs.
        """
        found = {op.index: (op.segment or _HOST, op) for op in report.ops}
        for group in self.groups:
            for index in group.ops:
                segment, op = found[index]
                if segment != (group.segment or _HOST):
                    raise LockError(
                        f"{self._who} puts op {index}, {op.op} ({op.name}), in "
                        f"{group.segment or _HOST}; now it would be in {segment}; drop what limits "
                        f"segments, or make the lock again"
                    )

    def outdated(self, vendors: Iterable[Vendor]) -> tuple[str, ...]:
        """One warning per vendor whose version is not the locked one."""
        return tuple(
            f"{self._who} was made with {vendor.name} {self.vendors[vendor.name]}, here is "
            f"{vendor.version}: its figures may no longer hold"
            for vendor in vendors
            if self.vendors.get(vendor.name, vendor.version) != vendor.version
        )

    @property
    def _who(self) -> str:
        return f"the lock {self.path}" if self.path else "the lock"

    def _difference(self, mod: tvm.IRModule, identity: Identity) -> str:
        """The first op that is not the locked one."""
        from byoc.ir.decode import Decoder
        from byoc.partition.pipeline import functions_of
        from byoc.partition.snapshot.graph import OpGraph

        advice = "make the lock again, or `byoc partition --diff` it with one of this model"
        decoder, here = Decoder(), []
        for _, func in functions_of(mod):
            graph = OpGraph(func, "", decoder)
            here += list(zip(graph.op, graph.names, strict=True))
        locked = {
            op: (group.kinds[k], group.names[k], group.marks[k])
            for group in self.groups
            for k, op in enumerate(group.ops)
        }
        for index, (kind, name) in enumerate(here):
            if index not in locked:
                return (
                    f"op {index}, {kind} ({name}), is not in it: it has {len(locked)} ops, the "
                    f"model {len(here)}; {advice}"
                )
            known, called, mark = locked[index]
            if known != kind:
                return f"op {index} is {kind} ({name}), locked is {known} ({called}); {advice}"
            if mark != identity.marks[index]:
                return (
                    f"op {index}, {kind} ({name}), has other shapes, attributes or inputs than "
                    f"the locked {known} ({called}); {advice}"
                )
        if len(locked) > len(here):
            known, called, _ = locked[len(here)]
            return (
                f"op {len(here)}, {known} ({called}), is no longer in the model, which has "
                f"{len(here)} ops; {advice}"
            )
        return f"its inputs or results are others; {advice}"


def make_lock(mod: tvm.IRModule, report: PartitionReport, vendors: Iterable[Vendor]) -> Lock:
    """The lock of a placement.

    mod: the module before it was partitioned. report: of partitioning it. vendors: those that
    were asked for; the lock keeps the versions of those that got an op.
    """
    from byoc.partition.snapshot.identity import identify

    identity = identify(mod)
    if len(identity.marks) != len(report.ops):
        raise LockError(
            f"the report has {len(report.ops)} ops and the module {len(identity.marks)}; lock "
            f"with the module as it was before it was partitioned"
        )
    predicted = {segment.name: segment.predicted for segment in report.segments}
    used = {segment.vendor for segment in report.segments}
    shipped = next((plan for plan in report.plans if plan.shipped), None)
    total = None if shipped is None else shipped.measured or shipped.predicted
    return Lock(
        structure=identity.structure,
        vendors={v.name: v.version for v in vendors if v.name in used},
        placement=report.placement,
        groups=tuple(_groups(report, identity.marks, predicted)),
        us=_us(total),
        borders=sum(b.source != "input" and b.target != "output" for b in report.borders),
    )


def _us(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e6, 1)


def _groups(
    report: PartitionReport, marks: Sequence[str], predicted: Mapping[str, float | None]
) -> Iterable[Group]:
    """Groups in the order of their first op."""
    members: dict[tuple[str, str, int], list[int]] = {}
    run, last = 0, None
    for at, op in enumerate(report.ops):
        here = (op.function, op.place == _HOST)
        run += here != last
        last = here
        key = (op.function, op.segment, 0) if op.segment else (op.function, "", run)
        members.setdefault(key, []).append(at)
    for (function, segment, _), ats in members.items():
        ops = [report.ops[at] for at in ats]
        yield Group(
            place=ops[0].place,
            ops=tuple(ats),
            kinds=tuple(op.op for op in ops),
            names=tuple(op.name for op in ops),
            marks=tuple(marks[at] for at in ats),
            patterns=tuple(op.pattern or "" for op in ops) if segment else (),
            segment=segment,
            function=function,
            us=_us(predicted.get(segment)) if segment else None,
        )


def write_lock(lock: Lock, path: str | os.PathLike[str]) -> None:
    """Write a lock, whole or not at all. Raises LockError when it cannot be written."""
    try:
        with atomic_write(path) as file:
            file.write(render_lock(lock).encode())
    except OSError as error:
        raise LockError(f"cannot write the lock {path}: {error}") from error


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """Read a lock.

    Raises LockError, with line and column where there are any, on a file that cannot be read, is
    no lock, is of another schema version or is damaged.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LockError(f"cannot read the lock {path}: {error}") from error
    return parse_lock(text, str(path))
