"""Where blocks and ops lie in the picture of the page: layers, folded into columns.

    ┌ dnnl_0 ───────────┐   ┌ dnnl_1 ──┐     A block is a segment, or host ops that hang together
    │  conv     matmul  │   │  conv    │     and may be drawn as one without a cycle. Its ops lie in
    │   └── add ──┘     │   │  relu    │     rows by their longest path from a source of the block;
    └───────────────────┘   └──────────┘     blocks lie in rows the same way. A long column of rows
    ┌ host ─┐                   ▲            is folded into several, side by side: 25,000 ops in a
    │  exp  │ ──────────────────┘            row would be a line nobody can look at.
    └───────┘

Everything is one pass over ops and edges, but for sorting rows and a bisection for the fold.
Units are pixels at zoom 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from byoc.report.records import HOST, ReportRecords

__all__ = ["OP_HEIGHT", "OP_WIDTH", "DrawnBlock", "Layout", "layout"]

OP_WIDTH, OP_HEIGHT = 168, 34
_GAP_X, _GAP_Y = 20, 26
_PAD, _TITLE = 18, 34
_BLOCK_GAP = 60
_ROW_OPS = 12
"""Ops side by side, at most; wider layers take several rows."""
_ROW_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class DrawnBlock:
    """A box of the picture.

    Attributes:
        name: Of the segment, or "host 3".
        place: A vendor or "host".
        ops: Positions in `report.ops`, in order.
        x: Left, as the next three in pixels at zoom 1.
        y: Top.
        width: Of its border.
        height: Of its border.

    """

    name: str
    place: str
    ops: tuple[int, ...]
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies.

    Attributes:
        blocks: In topological order.
        x: Left of each op, by position.
        y: Top of each op, by position.
        width: Of it all.
        height: Of it all.

    """

    blocks: tuple[DrawnBlock, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]
    width: int
    height: int


@dataclass(slots=True)
class _Box:
    """Something with a size that is placed in a row."""

    width: int
    height: int
    x: int = 0
    y: int = 0


def layout(report: ReportRecords) -> Layout:
    """Lay out a report's ops; a report without edges (schema version 1) is drawn as a chain."""
    preds = _preds(report)
    blocks = _blocks(report, preds)
    owner = [0] * len(preds)
    for k, (_, members) in enumerate(blocks):
        for op in members:
            owner[op] = k
    xs, ys = [0] * len(preds), [0] * len(preds)
    boxes = []
    for k, (_, members) in enumerate(blocks):
        number = {op: at for at, op in enumerate(members)}
        inner = [[number[p] for p in preds[op] if owner[p] == k] for op in members]
        ops = [_Box(OP_WIDTH, OP_HEIGHT) for _ in members]
        width, height = _place(inner, ops, _GAP_X, _GAP_Y, _ROW_OPS, 1.25)
        for op, box in zip(members, ops, strict=True):
            xs[op], ys[op] = box.x, box.y
        boxes.append(_Box(width + 2 * _PAD, height + _PAD + _TITLE))
    outer: list[dict[int, None]] = [{} for _ in blocks]
    for op, before in enumerate(preds):
        for p in before:
            if owner[p] != owner[op]:
                outer[owner[op]][owner[p]] = None
    width, height = _place(
        [list(o) for o in outer], boxes, _BLOCK_GAP, _BLOCK_GAP, _ROW_BLOCKS, 1.7
    )
    made, hosts = [], 0
    for (name, members), box in zip(blocks, boxes, strict=True):
        for op in members:
            xs[op] += box.x + _PAD
            ys[op] += box.y + _TITLE
        place = report.ops[members[0]].place
        if not name:
            hosts += 1
            name = f"{HOST} {hosts}"
        made.append(DrawnBlock(name, place, tuple(members), box.x, box.y, box.width, box.height))
    return Layout(tuple(made), tuple(xs), tuple(ys), width, height)


def _preds(report: ReportRecords) -> list[list[int]]:
    position = {op.index: k for k, op in enumerate(report.ops)}
    found = [
        [position[i] for i in op.inputs if position.get(i, k) != k]
        for k, op in enumerate(report.ops)
    ]
    if not any(found):
        return [[k - 1] if k else [] for k in range(len(found))]
    return found


def _blocks(report: ReportRecords, preds: Sequence[Sequence[int]]) -> list[tuple[str, list[int]]]:
    """(segment or "", ops) in topological order.

    Host ops join along edges on one level, as in `byoc.partition.grouping.group`: the level of an
    item counts how often the longest path to it left the host, so no cycle appears.
    """
    unit: list[int] = []
    names: list[str] = []
    first: dict[str, int] = {}
    for record in report.ops:
        segment = record.segment if record.place != HOST else None
        if segment is None or segment not in first:
            if segment is not None:
                first[segment] = len(names)
            unit.append(len(names))
            names.append(segment or "")
        else:
            unit.append(first[segment])
    before: list[dict[int, None]] = [{} for _ in names]
    for op, found in enumerate(preds):
        for p in found:
            if unit[p] != unit[op]:
                before[unit[op]][unit[p]] = None
    level = [0] * len(names)
    root = list(range(len(names)))

    def find(item: int) -> int:
        while root[item] != item:
            root[item] = item = root[root[item]]
        return item

    for item in _order([list(b) for b in before]):
        for p in before[item]:
            level[item] = max(level[item], level[p] + (not names[p] and bool(names[item])))
        if not names[item]:
            for p in before[item]:
                if not names[p] and level[p] == level[item]:
                    root[find(p)] = find(item)
    members: dict[int, list[int]] = {}
    for op, item in enumerate(unit):
        members.setdefault(find(item), []).append(op)
    return [(names[item], ops) for item, ops in members.items()]


def _order(preds: Sequence[Sequence[int]]) -> list[int]:
    """Items, each after those before it; of a cycle (a report made by hand) in any order."""
    succs: list[list[int]] = [[] for _ in preds]
    waiting = [len(before) for before in preds]
    for item, before in enumerate(preds):
        for p in before:
            succs[p].append(item)
    order = [item for item, count in enumerate(waiting) if count == 0]
    for item in order:
        for succ in succs[item]:
            waiting[succ] -= 1
            if waiting[succ] == 0:
                order.append(succ)
    if len(order) < len(preds):
        seen = set(order)
        order += [item for item in range(len(preds)) if item not in seen]
    return order


def _place(
    preds: Sequence[Sequence[int]], boxes: Sequence[_Box], gap_x: int, gap_y: int, most: int,
    aspect: float,
) -> tuple[int, int]:  # fmt: skip
    """Give every box its x and y; the size of it all."""
    rows = _rows(preds, most)
    sizes = [
        (
            sum([boxes[b].width for b in row]) + gap_x * (len(row) - 1),
            max([boxes[b].height for b in row]),
        )
        for row in rows
    ]
    left, bottom = 0, 0
    for column in _fold(sizes, gap_x, gap_y, aspect):
        wide = max([sizes[r][0] for r in column])
        top = 0
        for r in column:
            x = left + (wide - sizes[r][0]) // 2
            for b in rows[r]:
                boxes[b].x, boxes[b].y = x, top
                x += boxes[b].width + gap_x
            top += sizes[r][1] + gap_y
        left += wide + 2 * gap_x
        bottom = max(bottom, top - gap_y)
    return max(left - 2 * gap_x, 0), bottom


def _rows(preds: Sequence[Sequence[int]], most: int) -> list[list[int]]:
    """Items by longest path, each row in the order of the middles of what they read."""
    layer = [0] * len(preds)
    succs: list[list[int]] = [[] for _ in preds]
    order = _order(preds)
    for item in order:
        for p in preds[item]:
            layer[item] = max(layer[item], layer[p] + 1)
            succs[p].append(item)
    for item in order:  # sources go down to where they are needed
        if not preds[item] and succs[item]:
            layer[item] = max(0, min([layer[s] for s in succs[item]]) - 1)
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for item in order:
        rows[layer[item]].append(item)
    middle = [0.0] * len(preds)
    found: list[list[int]] = []
    for row in rows:
        if not row:
            continue
        keyed = {
            item: sum([middle[p] for p in preds[item]]) / len(preds[item]) if preds[item] else 0.0
            for item in row
        }
        row.sort(key=keyed.__getitem__)
        for k, item in enumerate(row):
            middle[item] = k - (len(row) - 1) / 2
        found += [row[k : k + most] for k in range(0, len(row), most)]
    return found


def _fold(
    sizes: Sequence[tuple[int, int]], gap_x: int, gap_y: int, aspect: float
) -> Iterable[list[int]]:
    """Rows as columns no higher than what gives the whole about this width / height."""
    low = max([h for _, h in sizes], default=0)
    high = sum([h + gap_y for _, h in sizes])
    best = _columns(sizes, gap_y, high)
    while high - low > gap_y:
        limit = (low + high) // 2
        columns = _columns(sizes, gap_y, limit)
        wide = sum([max([sizes[r][0] for r in column]) + 2 * gap_x for column in columns])
        if wide <= aspect * limit:
            high, best = limit, columns
        else:
            low = limit
    return best


def _columns(sizes: Sequence[tuple[int, int]], gap_y: int, limit: int) -> list[list[int]]:
    columns: list[list[int]] = []
    used = 0
    for r, (_, height) in enumerate(sizes):
        if not columns or used + height > limit:
            columns.append([])
            used = 0
        columns[-1].append(r)
        used += height + gap_y
    return columns
