"""The report for a terminal: segments, coverage, and why the rest stayed on the host."""

from __future__ import annotations

from collections import Counter

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from byoc.report.records import HOST, ReportRecords
from byoc.support.text import count, percent, seconds, size

__all__ = ["render_table", "renderables"]

SHOWN_SEGMENTS = 40
SHOWN_REASONS = 20
SHOWN_SPLITS = 5


def render_table(report: ReportRecords, *, ops: bool = False, width: int | None = None) -> str:
    """Return the report as plain text.

    Args:
        report: The report.
        ops: Add one line per op.
        width: Columns; default 120.

    """
    console = Console(width=width or 120, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(renderables(report, ops=ops))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def renderables(report: ReportRecords, *, ops: bool = False) -> RenderableType:
    """Return the report as tables and text that a rich Console prints.

    Args:
        report: The records of the report.
        ops: Also list every op.
    """
    parts: list[RenderableType] = []
    if report.segments:
        parts.append(_segments(report))
    parts.append(_coverage(report))
    if report.host_ops:
        parts.append(_host(report))
    if len(report.plans) > 1:
        parts.append(_plans(report))
    parts += _sentences(report)
    if ops:
        parts.append(_ops(report))
    return Group(*parts)


def _row(table: Table, *cells: str | Text) -> None:
    """Add a row; names from models are text, not markup."""
    table.add_row(*[Text(c) if isinstance(c, str) else c for c in cells])


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in columns:
        table.add_column(name, justify="right" if side == ">" else "left", overflow="fold")
    return table


def _segments(report: ReportRecords) -> Table:
    table = _table(
        ("segment", "<"), ("ops", ">"), ("composites", ">"), ("FLOPs", ">"), ("weights", ">"),
        ("inputs", ">"), ("in", ">"), ("outputs", ">"), ("out", ">"), ("function", "<"),
    )  # fmt: skip
    for s in report.segments[:SHOWN_SEGMENTS]:
        _row(
            table,
            Text(s.name, style="green"), str(s.ops), str(s.composites), count(s.flops),
            size(s.weight_bytes), str(s.inputs), size(s.input_bytes), str(s.outputs),
            size(s.output_bytes), s.function,
        )  # fmt: skip
    hidden = len(report.segments) - SHOWN_SEGMENTS
    if hidden > 0:
        _row(table, Text(f"… and {hidden} more", style="dim"))
    return table


def _coverage(report: ReportRecords) -> Text:
    coverage = report.coverage
    places = Counter(op.place for op in report.ops)
    where = ", ".join(f"{n} {place}" for place, n in places.most_common()) or "none"
    flops = "unknown (symbolic)" if coverage.flops is None else percent(coverage.flops)
    text = Text(f"\ncoverage: {flops} of FLOPs, {percent(coverage.ops)} of ops ({where})")
    text.append(f"; {len(report.segments)} segment{'s' * (len(report.segments) != 1)}\n")
    return text


def _host(report: ReportRecords) -> RenderableType:
    kinds = Counter(op.op for op in report.host_ops)
    shown = ", ".join(f"{n} {op}" for op, n in kinds.most_common(12))
    more = ", …" if len(kinds) > 12 else ""
    head = Text(f"on the host: {shown}{more}")
    reasons = report.reasons()
    if not reasons:
        return head
    table = _table(("ops", ">"), ("vendor", "<"), ("reason", "<"), ("kinds of op", "<"))
    for reason in reasons[:SHOWN_REASONS]:
        kinds_text = ", ".join(reason.ops[:4]) + (", …" if len(reason.ops) > 4 else "")
        _row(table, str(reason.count), reason.vendor, reason.reason, kinds_text)
    hidden = len(reasons) - SHOWN_REASONS
    if hidden > 0:
        _row(table, "", "", Text(f"… and {hidden} more reasons", style="dim"))
    return Group(head, table)


def _plans(report: ReportRecords) -> RenderableType:
    table = _table(
        ("plan", "<"), ("segments", ">"), ("predicted", ">"), ("measured", ">"), ("noise", ">"),
        ("", "<"),
    )  # fmt: skip
    for plan in report.plans:
        noise = "" if plan.noise is None else f"± {percent(plan.noise)}"
        kept = Text("kept", style="green") if plan.shipped else ""
        _row(
            table, plan.name, str(plan.segments), seconds(plan.predicted), seconds(plan.measured),
            noise, kept,
        )  # fmt: skip
    return Group(Text(""), table)


def _sentences(report: ReportRecords) -> list[RenderableType]:
    """Splits, counterfactuals, advice and warnings, each under its heading."""
    splits = [split.text for split in report.splits[:SHOWN_SPLITS]]
    hidden = len(report.splits) - SHOWN_SPLITS
    if hidden > 0:
        splits.append(f"… and {hidden} more")
    parts: list[RenderableType] = []
    for title, style, lines in (
        ("not joined", "", splits),
        ("what if", "", [c.text for c in report.counterfactuals]),
        ("advice", "green", report.advice),
        ("warning", "yellow", report.warnings),
    ):
        if lines:
            parts.append(Text(f"\n{title}:"))
            parts += [Text(f"  {line}", style=style) for line in lines]
    return parts


def _ops(report: ReportRecords) -> RenderableType:
    table = _table(
        ("#", ">"), ("op", "<"), ("name", "<"), ("place", "<"), ("pattern", "<"), ("FLOPs", ">"),
        ("type", "<"), ("why not", "<"),
    )  # fmt: skip
    for op in report.ops:
        style = "yellow" if op.place == HOST else "green"
        _row(
            table,
            str(op.index), op.op, op.name, Text(op.segment or op.place, style=style),
            op.pattern or "", count(op.flops), op.type, "; ".join(map(str, op.refusals)),
        )  # fmt: skip
    return Group(Text(""), table)
