"""Passes 3 and 4: neighbouring composites become segments; small ones go to the host."""

__all__ = ["form", "group", "prune", "splits"]
