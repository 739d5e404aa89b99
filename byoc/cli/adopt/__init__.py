"""``byoc adopt check | fix``: the change of a model's source, a folder as `byoc.adopt` is one."""

from __future__ import annotations

from byoc.cli.adopt.commands import app

__all__ = ["app"]
