"""What a search for culprits found: records that are printed, written as JSON, or bundled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from byoc.segment import Array, Segment

__all__ = ["KINDS", "Culprit", "Diagnosis", "Evidence", "Kind", "Op", "Row"]

Kind = Literal["crash", "hang", "error", "nan", "wrong", "slow"]

KINDS: Mapping[Kind, str] = {
    "crash": "the vendor's process dies",
    "hang": "the vendor does not answer in time",
    "error": "the vendor refuses or raises",
    "nan": "not a number, or infinite, where the host has a number",
    "wrong": "other numbers than the host's, beyond rounding",
    "slow": "far slower than the vendor's other ops let expect",
}
"""What can be wrong with a vendor's ops; the worst first."""


@dataclass(frozen=True, slots=True)
class Op:
    """An op of the model.

    Attributes:
        name: its name in the model.
        kind: the Relax name ("nn.conv2d").
    """

    name: str
    kind: str

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


@dataclass(frozen=True, slots=True)
class Row:
    """One piece that was tried: a segment, or what the vendor takes as one inside of it.

    Attributes:
        segment: name of the segment.
        vendor: who ran it.
        ops: what it consists of.
        pattern: the vendor's pattern; empty for a whole segment.
        found: what is wrong with it; empty when it is fine.
        gap: relative distance to the host; None where nothing was computed.
        tolerance: what rounding explains.
        against: relative distance of the host to ONNX Runtime; None where that was not asked.
        seconds: of the vendor; None where nothing was computed.
        host_seconds: of the host; None where they are not known.
        note: what else there is to say.
    """

    segment: str
    vendor: str
    ops: tuple[Op, ...]
    pattern: str = ""
    found: Kind | Literal[""] = ""
    gap: float | None = None
    tolerance: float = 0.0
    against: float | None = None
    seconds: float | None = None
    host_seconds: float | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that is needed to see a fault again, without the model.

    Attributes:
        segment: the ops, as the vendor compiles them.
        inputs: what they are given, in order.
        expected: what the host computes, in order.
    """

    segment: Segment
    inputs: tuple[Array, ...]
    expected: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Culprit:
    """Ops that a vendor does not do right.

    Attributes:
        kind: what is wrong (`KINDS`).
        vendor: who runs them.
        segment: the segment that they are in.
        ops: the ops, as few as show the fault.
        step: "build", "load" or "run": when it shows.
        message: what was observed, in one sentence.
        gap: relative distance to the host; None where nothing was computed.
        tolerance: what rounding explains.
        seconds: of the vendor; None where nothing was computed.
        host_seconds: of the host; None where they are not known.
        evidence: to see it again.
    """

    kind: Kind
    vendor: str
    segment: str
    ops: tuple[Op, ...]
    step: str
    message: str
    gap: float | None
    tolerance: float
    seconds: float | None
    host_seconds: float | None
    evidence: Evidence = field(repr=False)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The answer of `byoc.debug.find`.

    Attributes:
        model: the model's name.
        culprits: what is at fault, the worst kind first; empty when nothing was found.
        segments: every segment, as a whole.
        ops: what was tried inside of segments.
        outputs: output → relative distance of the host to ONNX Runtime; empty where that was not
            asked.
        reference: who was compared with ("the host", "the host and onnxruntime 1.20").
        options: vendor → its options, as JSON holds them.
        vendor_versions: vendor → its version.
        remarks: what could not be tried, and what explains gaps.
    """

    model: str
    culprits: tuple[Culprit, ...]
    segments: tuple[Row, ...]
    ops: tuple[Row, ...]
    outputs: Mapping[str, float]
    reference: str
    options: Mapping[str, Mapping[str, Any]]
    vendor_versions: Mapping[str, str]
    remarks: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.culprits)

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as plain values, for JSON; infinite gaps are texts."""
        return {
            "model": self.model,
            "reference": self.reference,
            "culprits": [
                {
                    "kind": c.kind,
                    "vendor": c.vendor,
                    "segment": c.segment,
                    "ops": _ops(c.ops),
                    "step": c.step,
                    "message": c.message,
                    "gap": _number(c.gap),
                    "seconds": c.seconds,
                    "host_seconds": c.host_seconds,
                }
                for c in self.culprits
            ],
            "segments": [_row(row) for row in self.segments],
            "ops": [_row(row) for row in self.ops],
            "outputs": {name: _number(gap) for name, gap in self.outputs.items()},
            "remarks": list(self.remarks),
        }


def _ops(ops: tuple[Op, ...]) -> list[dict[str, str]]:
    return [{"name": op.name, "kind": op.kind} for op in ops]


def _row(row: Row) -> dict[str, Any]:
    return {
        "segment": row.segment,
        "vendor": row.vendor,
        "ops": _ops(row.ops),
        "pattern": row.pattern,
        "found": row.found,
        "gap": _number(row.gap),
        "tolerance": row.tolerance,
        "second_opinion": _number(row.against),
        "seconds": row.seconds,
        "host_seconds": row.host_seconds,
        "note": row.note,
    }


def _number(value: float | None) -> float | str | None:
    return str(value) if value is not None and abs(value) == float("inf") else value
