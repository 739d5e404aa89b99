"""What a partition report holds: where every op went, and why; plain frozen values.

The partitioner makes them (`byoc.partition.explaining`), `byoc.report.render` shows them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = [
    "HOST",
    "BorderRecord",
    "Counterfactual",
    "Coverage",
    "OpRecord",
    "PlanRecord",
    "ReasonCount",
    "Refusal",
    "ReportRecords",
    "SegmentRecord",
    "SplitRecord",
    "Verdict",
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
class Verdict:
    """What one vendor says of one op, whether it got it or not.

    kind: "taken", "offered" (it would have, another place gained more) or "refused". pattern:
    the match that counts, "" for none. reason: why refused, or who won and by how much. cost:
    seconds of the match on that vendor as far as known.
    """

    vendor: str
    kind: str
    pattern: str
    reason: str
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class OpRecord:
    """One op of the model.

    index: position in the module. function: the Relax function it is in. op: Relax name without
    prefix. name: its name in the model file. place: a vendor or "host". segment, pattern: None on
    the host. flops: floating-point operations, bytes: read and written; None when a dimension is
    symbolic. type: of its result. refusals: at most one per vendor, empty when it was placed at
    the first. verdicts: one per vendor asked, in their order. cost: predicted seconds where it is.
    inputs: indices of the ops whose results it reads.
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
    verdicts: tuple[Verdict, ...] = ()
    cost: float | None = None
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One segment: ops and composites counted, flops, and bytes of weights and at its border.

    None where a dimension is symbolic. predicted, measured: seconds of one run, without borders.
    on_host: predicted seconds of its ops on the host.
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
    processor: str = "cpu"
    predicted: float | None = None
    measured: float | None = None
    on_host: float | None = None


@dataclass(frozen=True, slots=True)
class BorderRecord:
    """What crosses from one place to another. source, target: a segment's name, "host", or
    "input" and "output" for the model's own. bytes: None where a dimension is symbolic.
    predicted, measured: seconds of the crossing.
    """

    function: str
    source: str
    target: str
    tensors: int
    bytes: int | None
    predicted: float | None = None
    measured: float | None = None


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """One whole placement that was considered. name: "host", "dnnl only", "model", "search 2".

    predicted, measured: seconds of one run (median); noise: half the spread between quartiles
    over the median. shipped: True for the one that was kept.
    """

    name: str
    predicted: float | None
    measured: float | None = None
    noise: float | None = None
    segments: int = 0
    shipped: bool = False


@dataclass(frozen=True, slots=True)
class SplitRecord:
    """Two neighbouring segments of one vendor, and why they are not one.

    reason: "path" (a path leaves the first and comes back to the second: joined they would wait
    for themselves), "limit" (the search for such a path was given up), "depth" (both read one
    value, but on different depths) or "choice" (nothing forbids it, the placement kept them
    apart). path: ops from the last in the first segment to the first in the second, as (op, name,
    place); place is a segment's name or "host". text: the sentence to show.
    """

    first: str
    second: str
    path: tuple[tuple[str, str, str], ...]
    text: str
    reason: str = "path"


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What would change if `vendor` took every `op` that is on the host now.

    op: kinds of op, joined by ", ". count: how many ops. segments, segments_after: of the whole
    model. gain: predicted seconds saved, negative when it would be slower; None when not known.
    border_bytes, border_bytes_after: what crosses between places. text: the sentence to show.
    """

    vendor: str
    op: str
    count: int
    segments: int
    segments_after: int
    gain: float | None
    text: str
    border_bytes: int | None = None
    border_bytes_after: int | None = None


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
class ReportRecords:
    """Everything a partition report holds; `byoc.PartitionReport` is this and its renderings."""

    vendors: tuple[str, ...]
    ops: tuple[OpRecord, ...]
    segments: tuple[SegmentRecord, ...]
    placement: str = "order"
    """Name of the strategy."""
    borders: tuple[BorderRecord, ...] = ()
    plans: tuple[PlanRecord, ...] = ()
    splits: tuple[SplitRecord, ...] = ()
    counterfactuals: tuple[Counterfactual, ...] = ()
    advice: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    peak_bytes: int | None = field(default=None, compare=False)
    """Memory of one request at a time, all told; None until the model is loaded somewhere."""

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
        """The ops that TVM compiles, in the order of the model."""
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
