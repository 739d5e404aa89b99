"""Relax ops as kernels, where TVM's own legalisation is missing, wrong or slow."""

__all__ = [
    "checks",
    "guard",
    "hyperbolic",
    "minmax_reductions",
    "op_rewriter",
    "rules",
    "runtime_functions",
    "sort_keys",
    "type_promotion",
    "wide_sums",
]
