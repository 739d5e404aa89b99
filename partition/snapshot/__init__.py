"""Pass 1: a Relax function as flat tables, and what each op is and costs in work."""

__all__ = ["bindings", "flops", "functions", "graph", "identity", "topological", "walk"]
