"""The report as one self-contained page: no network, no files beside it.

The folder `page` holds its frame, looks and script; here they are put together with the records,
packed as columns, and with the layout of the graph.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import resources
from os import PathLike
from typing import Any

from byoc.report.records import ReportRecords
from byoc.report.render.json import to_dict
from byoc.report.render.layout import OP_HEIGHT, OP_WIDTH, layout
from byoc.report.render.pack import pack
from byoc.report.render.timeline import timeline_data
from byoc.report.times import RunTimes
from byoc.support.files import write_text

__all__ = ["page_data", "render_html", "write_html", "write_profile"]

_SCRIPTS = (
    "data.js", "graph.js", "panel.js", "tables.js", "times.js", "timeline.js", "main.js"
)  # fmt: skip
_TABLES = ("ops", "segments", "reasons", "borders", "plans", "splits", "counterfactuals")


def page_data(report: ReportRecords, profile: RunTimes | None = None) -> dict[str, Any]:
    """Return the data that the HTML page embeds as JSON.

    Args:
        report: The records of the report.
        profile: A run whose timeline the page shows, or None.

    Returns:
        The report's fields, its tables packed by column, the layout of the graph, and the timeline
        or None.
    """
    data = to_dict(report)
    for split in data["splits"]:
        if split["path"]:  # the page draws the path; the sentence says the same
            split["text"] = ""
    tables = {name: pack(data.pop(name)) for name in _TABLES}
    made = layout(report)
    owner = [0] * len(report.ops)
    boxes = []
    for k, block in enumerate(made.blocks):
        box = asdict(block)
        for op in box.pop("ops"):
            owner[op] = k
        boxes.append(box)
    drawn = {
        "blocks": pack(boxes), "owner": owner, "x": made.x, "y": made.y, "width": made.width,
        "height": made.height, "op_width": OP_WIDTH, "op_height": OP_HEIGHT,
    }  # fmt: skip
    run = None if profile is None else timeline_data(profile)
    return {**data, "tables": tables, "layout": drawn, "profile": run}


def render_html(report: ReportRecords, profile: RunTimes | None = None) -> str:
    """Return the report as one HTML page.

    Args:
        report: The records of the report.
        profile: A run whose timeline the page shows too, or None.
    """
    data = page_data(report, profile)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Inside <script>, "</" and "<!" could end or hide it; as escapes they are plain JSON.
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    style, script = _read("page.css"), "".join(map(_read, _SCRIPTS))
    # The data go in last: nothing in them is taken for a place to fill.
    page = _read("page.html").replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    before, after = page.split("/*REPORT*/null")
    return before + text + after


def _read(name: str) -> str:
    return resources.files("byoc.report").joinpath("page", name).read_text(encoding="utf-8")


def write_html(
    report: ReportRecords, path: str | PathLike[str], profile: RunTimes | None = None
) -> None:
    """Write the page, whole or not at all.

    Args:
        report: What it shows.
        path: Where to.
        profile: Of a run of the same model; the page then opens on its timeline.

    Raises:
        ArtifactError: The file cannot be written.

    """
    write_text(path, render_html(report, profile), "the report")


def write_profile(
    profile: RunTimes, path: str | PathLike[str], report: ReportRecords | None = None
) -> None:
    """Write the page of a profile.

    Args:
        profile: What it shows.
        path: Where to.
        report: Of the same model: its graph and tables are then on the page as well.

    Raises:
        ArtifactError: The file cannot be written.

    """
    write_html(report or ReportRecords((), (), ()), path, profile)
