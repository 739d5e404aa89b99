"""Reports of partitions and of runs: their records, and what they can be shown as.

Records are imported with the room, renderings when first used: loading a model imports none.
"""

from typing import TYPE_CHECKING

from byoc.support.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from byoc.report.partition_report import PartitionReport
    from byoc.report.profile import Profile
    from byoc.report.reader import READ_VERSIONS, report_from_json
    from byoc.report.render.html import render_html, write_html, write_profile
    from byoc.report.render.json import SCHEMA_VERSION, render_json, to_dict
    from byoc.report.render.rows import rows
    from byoc.report.render.table import render_table
    from byoc.report.render.why import find_ops, why

__all__ = [
    "READ_VERSIONS",
    "SCHEMA_VERSION",
    "PartitionReport",
    "Profile",
    "find_ops",
    "render_html",
    "render_json",
    "render_table",
    "report_from_json",
    "rows",
    "to_dict",
    "why",
    "write_html",
    "write_profile",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "byoc.report.partition_report": ("PartitionReport",),
        "byoc.report.profile": ("Profile",),
        "byoc.report.reader": ("READ_VERSIONS", "report_from_json"),
        "byoc.report.render.html": ("render_html", "write_html", "write_profile"),
        "byoc.report.render.json": ("SCHEMA_VERSION", "render_json", "to_dict"),
        "byoc.report.render.rows": ("rows",),
        "byoc.report.render.table": ("render_table",),
        "byoc.report.render.why": ("find_ops", "why"),
    },
)
