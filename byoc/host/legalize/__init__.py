"""Relax ops as kernels, where TVM's own legalisation is missing, wrong or slow."""

__all__ = [
    "arg_reductions",
    "checks",
    "guard",
    "hyperbolic",
    "max_pools",
    "minmax_reductions",
    "not_numbers",
    "op_rewriter",
    "rules",
    "runtime_functions",
    "sort_keys",
    "type_promotion",
    "wide_sums",
]
