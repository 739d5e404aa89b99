"""Commands for those who design accelerators."""

__all__ = ["dse"]
