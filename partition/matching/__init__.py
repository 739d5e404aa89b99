"""Pass 2: which ops a vendor's patterns take, and the reason where they do not."""

__all__ = [
    "candidates",
    "compile_pattern",
    "explain",
    "match",
    "matcher",
    "readers",
    "stock_context",
]
