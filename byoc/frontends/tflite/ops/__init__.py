"""Converters of TFLite operators, by family."""

__all__ = [
    "data_movement",
    "elementwise",
    "images",
    "indexing",
    "int16",
    "int16_arithmetic",
    "products",
    "reductions",
    "stock",
    "table",
]
