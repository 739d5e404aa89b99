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
`marks` tell whether what stands there is still the same op (`byoc.partition.snapshot.identity`),
`patterns` what the vendor matched. `names` are for the reader: renaming tensors changes them and
nothing else. The same placement of the same model is the same text, byte for byte.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from byoc.errors import LockError
from byoc.placement.lock_text import parse_lock, render_lock
from byoc.placement.lock_values import Group, Lock
from byoc.support.files import atomic_write

if TYPE_CHECKING:
    import tvm

    from byoc.partition import PartitionReport
    from byoc.vendor import Vendor

__all__ = ["Group", "Lock", "lock_placement", "make_lock", "read_lock", "write_lock"]

_HOST = "host"


def lock_placement(
    path: str | os.PathLike[str],
    mod: tvm.IRModule,
    report: PartitionReport,
    vendors: Iterable[Vendor],
) -> None:
    """Write a placement to a file: `make_lock`, then `write_lock`.

    Args:
        path: the file; one that exists is replaced.
        mod: the module before it was partitioned.
        report: of partitioning it.
        vendors: those that were asked for.

    Raises:
        LockError: the file cannot be written.
    """
    lock = make_lock(mod, report, vendors)
    write_lock(lock, path)


def make_lock(mod: tvm.IRModule, report: PartitionReport, vendors: Iterable[Vendor]) -> Lock:
    """Write a placement down as a lock.

    Args:
        mod: the module before it was partitioned.
        report: of partitioning it.
        vendors: those that were asked for; the lock keeps the versions of those that got an op.

    Returns:
        The lock; equal placements of equal models have equal locks.

    Raises:
        LockError: the report is not of this module.
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
    """Write a lock to a file, whole or not at all.

    Args:
        lock: what to write.
        path: the file; one that exists is replaced.

    Raises:
        LockError: the file cannot be written.
    """
    try:
        with atomic_write(path) as file:
            file.write(render_lock(lock).encode())
    except OSError as error:
        raise LockError(f"cannot write the lock {path}: {error}") from error


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """Read a lock from a file.

    Args:
        path: what `write_lock` wrote, perhaps edited by hand.

    Returns:
        The lock.

    Raises:
        LockError: the file cannot be read, is no lock, is of another schema version or is damaged;
            the message has line and column where there are any.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LockError(f"cannot read the lock {path}: {error}") from error
    return parse_lock(text, str(path))
