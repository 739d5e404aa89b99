"""A report as a terminal table, JSON, flat rows, words, and a self-contained page."""

__all__ = ["html", "json", "layout", "pack", "rows", "table", "timeline", "why"]
