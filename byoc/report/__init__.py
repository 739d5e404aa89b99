"""A partition report as terminal table, JSON, rows, words, and as a self-contained page."""

from byoc.report.html import render_html, write_html, write_profile
from byoc.report.json import READ_VERSIONS, SCHEMA_VERSION, render_json, report_from_json, to_dict
from byoc.report.rows import rows
from byoc.report.table import render_table
from byoc.report.why import find_ops, why

__all__ = [
    "READ_VERSIONS",
    "SCHEMA_VERSION",
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
