"""Operators that make an image of another size: the axes that change, and how they are sampled."""

__all__ = ["resizing", "resizing_at_run_time", "resizing_axes", "sampling"]
