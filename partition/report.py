"""Pass 6: report. Where every op went, and why; plain frozen data.

How it looks (table, JSON, page) is the business of `byoc.report`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from os import PathLike

__all__ = [
    "HOST",
    "Coverage",
    "OpRecord",
    "PartitionReport",
    "ReasonCount",
    "Refusal",
    "SegmentRecord",
]

HOST = "host"
"""The place of an op that TVM compiles."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one vendor did not take an op. pattern: the one that came nearest, "" for none."""

    vendor: str
    pattern: str
    reason: str

    def __str__(self) -> str:
        return f"{self.vendor}{f'.{self.pattern}' if self.pattern else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class OpRecord:
    """One op of the model.

    index: position in the module. function: the Relax function it is in. op: Relax name without
    prefix. name: its name in the model file. place: a vendor or "host". segment, pattern: None on
    the host. flops: floating-point operations, bytes: read and written; None when a dimension is
    symbolic. type: of its result. refusals: at most one per vendor, empty when it was placed at
    the first.
    """

    index: int
    function: str
    op: str
    name: str
    place: str
    segment: str | None
    pattern: str | None
    flops: int | None
    bytes: int | None
    type: str
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One segment: ops and composites counted, flops, and bytes of weights and at its border.

    None where a dimension is symbolic.
    """

    name: str
    vendor: str
    function: str
    ops: int
    composites: int
    flops: int | None
    weight_bytes: int
    input_bytes: int | None
    output_bytes: int | None
    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of the work that vendors do, 0..1.

    flops: of the floating-point operations; None when those of some op are not known. ops: of
    the ops. by_vendor: each vendor's share of the ops.
    """

    flops: float | None
    ops: float
    by_vendor: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """One reason to refuse, and how many host ops it kept there."""

    vendor: str
    reason: str
    count: int
    ops: tuple[str, ...]
    """Kinds of op it concerns."""


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """What `partition_module` did. Print it, or ask `table`, `to_json`, `to_html`."""

    vendors: tuple[str, ...]
    ops: tuple[OpRecord, ...]
    segments: tuple[SegmentRecord, ...]

    @property
    def coverage(self) -> Coverage:
        """Shares of FLOPs and of ops that went to vendors."""
        placed = [op for op in self.ops if op.place != HOST]
        total = len(self.ops)
        by_vendor = Counter(op.place for op in placed)
        flops: float | None = None
        if all(op.flops is not None for op in self.ops):
            whole = sum(op.flops or 0 for op in self.ops)
            done = sum(op.flops or 0 for op in placed)
            flops = done / whole if whole else 0.0
        return Coverage(
            flops=flops,
            ops=len(placed) / total if total else 0.0,
            by_vendor=tuple((v, by_vendor[v] / total) for v in self.vendors if by_vendor[v]),
        )

    @property
    def host_ops(self) -> tuple[OpRecord, ...]:
        """The ops that TVM compiles."""
        return tuple(op for op in self.ops if op.place == HOST)

    def reasons(self) -> tuple[ReasonCount, ...]:
        """Why ops are on the host: equal reasons counted together, most frequent first."""
        count: Counter[tuple[str, str]] = Counter()
        kinds: dict[tuple[str, str], dict[str, None]] = {}
        for op in self.host_ops:
            for refusal in op.refusals:
                key = (refusal.vendor, refusal.reason)
                count[key] += 1
                kinds.setdefault(key, {})[op.op] = None
        return tuple(
            ReasonCount(vendor, reason, n, tuple(kinds[vendor, reason]))
            for (vendor, reason), n in count.most_common()
        )

    def table(self, *, ops: bool = False, width: int | None = None) -> str:
        """The report for a terminal; `ops` adds one line per op."""
        from byoc.report import render_table

        return render_table(self, ops=ops, width=width)

    def to_json(self, *, indent: int | None = 2) -> str:
        """The report as JSON; the schema is versioned and documented in docs/report.md."""
        from byoc.report import render_json

        return render_json(self, indent=indent)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the report as one self-contained page.

        Raises ArtifactError when the file cannot be written; no half-written file is left.
        """
        from byoc.report import write_html

        write_html(self, path)

    def __str__(self) -> str:
        return self.table()
