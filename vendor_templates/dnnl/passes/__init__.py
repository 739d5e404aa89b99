"""Rewrites of the graph, in the order they run."""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Graph

__all__ = ["PASSES"]

PASSES: tuple[Callable[[Graph], None], ...] = ()
