"""A partition report as a terminal table, as JSON and as a self-contained page."""

from byoc.report.html import write_html
from byoc.report.json import SCHEMA_VERSION, render_json, report_from_json
from byoc.report.table import render_table

__all__ = ["SCHEMA_VERSION", "render_json", "render_table", "report_from_json", "write_html"]
