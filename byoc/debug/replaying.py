"""A bundle once more: does the fault show here, too?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from byoc.debug.bundle import BundleCase, read_bundle, versions_here
from byoc.debug.diagnosis import Kind, Op
from byoc.debug.gap import gap_of, tolerance_of
from byoc.debug.outcome import TrialOutcome
from byoc.debug.trials import Trials
from byoc.plugins.discovery import Requested, VendorSpec, resolve
from byoc.segment import TensorType

__all__ = ["Replay", "Replayed", "replay"]

_CALLS = 8


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one culprit.

    Attributes:
        vendor: who was tried.
        ops: which ops.
        kind: what was wrong with them then.
        again: the same is wrong here.
        message: what was observed here.
    """

    vendor: str
    ops: tuple[Op, ...]
    kind: Kind
    again: bool
    message: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of a bundle.

    Attributes:
        model: the model that its culprits were found in.
        cases: its culprits.
        changed: what differs between then and now: a name → both versions.
    """

    model: str
    cases: tuple[Replayed, ...]
    changed: Mapping[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return any(case.again for case in self.cases)


def replay(
    path: str | os.PathLike[str], vendors: VendorSpec | None = None, *, limit: float = 30.0
) -> Replay:
    """Try the culprits of a bundle again, each in a process of its own.

    Args:
        path: the bundle.
        vendors: vendors to try, with options; None: the installed ones of the same names, with the
            options of the bundle.
        limit: seconds a call may take.

    Returns:
        Whether their faults show here, and what differs from the machine they were found on. It is
        true when one does.

    Raises:
        ArtifactError: the file is no bundle.
        VendorError: a vendor is not installed.
    """
    bundle = read_bundle(path)
    given = {r.vendor.name: r for r in resolve(vendors)} if vendors is not None else {}
    changed = {
        name: (bundle.versions.get(name, "none"), found)
        for name, found in versions_here().items()
        if bundle.versions.get(name, "none") != found
    }
    cases = []
    for case in bundle.cases:
        name = case.evidence.segment.vendor
        request = given.get(name) or resolve({name: case.options})[0]
        if request.vendor.version != case.vendor_version:
            changed[name] = (case.vendor_version, request.vendor.version)
        cases.append(_replayed(case, request, limit))
    return Replay(bundle.model, tuple(cases), changed)


def _replayed(case: BundleCase, request: Requested, limit: float) -> Replayed:
    segment, expected = case.evidence.segment, case.evidence.expected
    types = [
        TensorType(array.shape, segment.type(v).dtype)
        for v, array in zip(segment.outputs, expected, strict=True)
    ]
    with closing(Trials(request, limit)) as trials:
        outcome = trials.run(
            segment, case.evidence.inputs, types, calls=_CALLS if case.kind == "slow" else 1
        )
    again, message = _judged(case, outcome)
    return Replayed(segment.vendor, case.ops, case.kind, again, message)


def _judged(case: BundleCase, outcome: TrialOutcome) -> tuple[bool, str]:
    if outcome.state != "done":
        return outcome.state == case.kind, f"{outcome.state} ({outcome.step}): {outcome.message}"
    if case.kind == "slow":
        then, now = case.seconds or 0.0, outcome.seconds or 0.0
        return now > then / 2, f"{now * 1e3:.3g} ms, then {then * 1e3:.3g} ms"
    evidence = case.evidence
    gap = gap_of(
        outcome.outputs,
        evidence.expected,
        evidence.inputs,
        rounded=tolerance_of(evidence.segment) > 0,
    )
    told = "not a number" if gap.not_finite else f"a gap of {gap.relative:.2g}"
    wrong = gap.not_finite or gap.relative > case.tolerance
    return wrong and case.kind in ("nan", "wrong"), told
