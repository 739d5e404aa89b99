"""Which backend gets which op: candidates weighed by costs, constraints, strategies, search."""

from byoc.partition.placing.plans import Alternative, alternatives
from byoc.partition.placing.rates import HOST_RATES, Costs, Measured
from byoc.partition.placing.strategy import Strategy, fixed, resolve_strategy, strategies

__all__ = [
    "HOST_RATES",
    "Alternative",
    "Costs",
    "Measured",
    "Strategy",
    "alternatives",
    "fixed",
    "resolve_strategy",
    "strategies",
]
