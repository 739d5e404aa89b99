"""Relax functions in normal form (docs/architecture.md), by small passes over a `Graph`."""

from byoc.frontends.normalise.pipeline import normalise_function, normalise_graph, normalise_module

__all__ = ["normalise_function", "normalise_graph", "normalise_module"]
