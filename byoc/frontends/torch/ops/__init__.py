"""Converters of ATen operators, by family."""

__all__ = [
    "activations",
    "arithmetic",
    "attention",
    "creation",
    "elementwise",
    "helpers",
    "indexing",
    "logic",
    "norms",
    "pools",
    "products",
    "reductions",
    "resizing",
    "shapes",
    "slicing",
    "table",
]
