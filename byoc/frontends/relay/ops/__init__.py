"""Relay operators in Relax, by family; `table.OPERATORS` is all of them."""

__all__ = [
    "blocks",
    "elementwise",
    "helpers",
    "image",
    "indexing",
    "neural",
    "qnn",
    "reductions",
    "table",
    "transforms",
    "vision",
]
