"""A model partitioned as a lock says, or an error that names the first op where it cannot be.

    lock ──▶ vendors there? ──▶ same model? ──▶ partition ──▶ same segments? ──▶ PartitionResult

In: a module, the vendors of this run and the path of a lock. Out: the placement of the lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from byoc.errors import LockError, choices
from byoc.placement.constraints import PlacementConstraints
from byoc.placement.lock import read_lock
from byoc.placement.lock_values import Lock

if TYPE_CHECKING:
    import tvm

    from byoc.partition import PartitionResult
    from byoc.partition.placing import Strategy
    from byoc.partition.snapshot.identity import Identity
    from byoc.vendor import Vendor

__all__ = ["partition_locked"]

_HOST = "host"


def partition_locked(
    mod: tvm.IRModule,
    vendors: Sequence[Vendor],
    path: str | os.PathLike[str],
    constraints: PlacementConstraints,
) -> PartitionResult:
    """Split a module as a lock says.

    Args:
        mod: Relax in normal form, before it is partitioned.
        vendors: those of this run.
        path: the lock's file.
        constraints: what else has to hold.

    Returns:
        The placement of the lock; a warning for every vendor that has another version now.

    Raises:
        LockError: the file is no lock, the model is not the locked one (the message names the first
            op that differs), or a vendor of the lock is not among `vendors`.
    """
    lock = read_lock(path)
    strategy = _strategy(lock, mod, vendors)
    outdated = _outdated(lock, vendors)
    parts = constraints.partition(mod, vendors, strategy)
    moved = lock.first_moved(parts.report.ops)
    if moved is not None:
        op, segment = moved
        raise LockError(
            f"{lock.title} puts op {op.index}, {op.op} ({op.name}), in {segment}; now it would be "
            f"in {op.segment or _HOST}; drop what limits segments, or make the lock again"
        )
    warnings = (*parts.report.warnings, *outdated)
    return replace(parts, report=replace(parts.report, warnings=warnings))


def _strategy(lock: Lock, mod: tvm.IRModule, vendors: Sequence[Vendor]) -> Strategy:
    """The strategy that places the ops of `mod` as the lock says. Raises LockError."""
    from byoc.partition.placing.strategy import fixed
    from byoc.partition.snapshot.identity import identify

    given = {vendor.name for vendor in vendors}
    for name in sorted({group.place for group in lock.groups} - {_HOST}):
        if name not in given:
            raise LockError(
                f"{lock.title} puts ops on {name!r}, which is not among the vendors of this "
                f"run; {choices(name, given)}"
            )
    identity = identify(mod)
    if identity.structure != lock.structure:
        raise LockError(f"{lock.title} does not fit the model: {_difference(lock, mod, identity)}")
    return fixed({op: p for op, p in lock.places.items() if p != _HOST}, name=lock.placement)


def _outdated(lock: Lock, vendors: Iterable[Vendor]) -> tuple[str, ...]:
    """One warning per vendor whose version is not the locked one."""
    return tuple(
        f"{lock.title} was made with {vendor.name} {lock.vendors[vendor.name]}, here is "
        f"{vendor.version}: its figures may no longer hold"
        for vendor in vendors
        if lock.vendors.get(vendor.name, vendor.version) != vendor.version
    )


def _difference(lock: Lock, mod: tvm.IRModule, identity: Identity) -> str:
    """The first op that is not the locked one."""
    from byoc.ir.decode import Decoder
    from byoc.partition.snapshot.functions import functions_of
    from byoc.partition.snapshot.walk import take_snapshot

    advice = "make the lock again, or `byoc partition --diff` it with one of this model"
    decoder, here = Decoder(), []
    for _, func in functions_of(mod):
        graph = take_snapshot(func, "", decoder)
        here += list(zip(graph.ops.kind, graph.ops.names, strict=True))
    locked = {
        op: (group.kinds[k], group.names[k], group.marks[k])
        for group in lock.groups
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
