"""Why one op is where it is, in words."""

from __future__ import annotations

import difflib

from byoc.errors import OptionError
from byoc.report.records import HOST, OpRecord, ReportRecords, SegmentRecord
from byoc.support.text import count, seconds, size

__all__ = ["find_ops", "why"]


def why(report: ReportRecords, op: str) -> str:
    """Explain in words where an op is placed and why: verdicts, cost, segment and splits.

    Args:
        report: The records of the report.
        op: The name of the op, or its index as ``"#12"``. All ops of a shared name are explained.

    Raises:
        OptionError: The report has no such op.
    """
    return "\n\n".join(_why(report, found) for found in find_ops(report, op))


def find_ops(report: ReportRecords, op: str) -> tuple[OpRecord, ...]:
    """Return the ops of a name, or the one of an index.

    Args:
        report: The records of the report.
        op: The name, which several ops may share, or the index as ``"#12"``.

    Raises:
        OptionError: The report has no such op; the message suggests similar names.
    """
    found = tuple(record for record in report.ops if record.name == op)
    if not found and op.startswith("#") and op[1:].isdecimal():
        found = tuple(record for record in report.ops if record.index == int(op[1:]))
        if not found:
            raise OptionError(f"the model has no op {op}; it has {len(report.ops)}, from #0")
    if found:
        return found
    names = dict.fromkeys(record.name for record in report.ops)
    near = difflib.get_close_matches(op, names, n=3, cutoff=0.5)
    near += [name for name in names if op.lower() in name.lower() and name not in near][:3]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see `--ops` for their list"
    raise OptionError(f"the model has no op named {op!r} among its {len(report.ops)}; {hint}")


def _why(report: ReportRecords, op: OpRecord) -> str:
    where = "on the host" if op.place == HOST else f"on {op.place}, in segment {op.segment}"
    lines = [f"#{op.index} {op.op} ({op.name}) in {op.function}: {where}"]
    work = f"{count(op.flops)} FLOPs, {size(op.bytes)} read and written, {op.type}"
    lines.append(f"  work: {work}")
    if op.cost is not None:
        lines.append(f"  cost: {seconds(op.cost)} where it is, predicted")
    lines += [f"  {line}" for line in verdicts(op, report.vendors)]
    segment = next((s for s in report.segments if s.name == op.segment), None)
    if segment is not None:
        lines.append(f"  {_segment(segment)}")
    step = (op.op, op.name, op.segment or op.place)
    for split in report.splits:
        if op.segment in (split.first, split.second) or step in split.path:
            lines.append(f"  apart: {split.text}")
    return "\n".join(lines)


def verdicts(op: OpRecord, vendors: tuple[str, ...]) -> list[str]:
    """One line per vendor: what it says of the op."""
    told = {v.vendor: v for v in op.verdicts}
    refused = {r.vendor: r for r in op.refusals}
    lines = []
    for vendor in vendors:
        cost = ""
        if vendor in told:
            verdict = told[vendor]
            kind, pattern, reason = verdict.kind, verdict.pattern, verdict.reason
            cost = "" if verdict.cost is None else f", {seconds(verdict.cost)}"
        elif vendor in refused:
            kind, pattern, reason = "refused", refused[vendor].pattern, refused[vendor].reason
        elif vendor == op.place:
            kind, pattern, reason = "taken", op.pattern or "", ""
        else:
            kind, pattern, reason = "not asked", "", ""
        by = f" by pattern {pattern}" if pattern else ""
        lines.append(f"{vendor}: {kind}{by}{cost}{f': {reason}' if reason else ''}")
    return lines


def _segment(segment: SegmentRecord) -> str:
    text = (
        f"segment {segment.name}: {segment.ops} op{'s' * (segment.ops != 1)}, "
        f"{count(segment.flops)} FLOPs, "
        f"{segment.inputs} in ({size(segment.input_bytes)}), "
        f"{segment.outputs} out ({size(segment.output_bytes)})"
    )
    if segment.predicted is not None:
        text += f", predicted {seconds(segment.predicted)}"
    if segment.measured is not None:
        text += f", measured {seconds(segment.measured)}"
    if segment.on_host is not None:
        text += f", on the host {seconds(segment.on_host)}"
    return text
