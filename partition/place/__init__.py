"""Which candidate gets which op: costs, strategies, search."""

from byoc.partition.place.costs import HOST_RATES, Costs, Measured
from byoc.partition.place.plans import Alternative, alternatives
from byoc.partition.place.strategy import Strategy, fixed, resolve_strategy, strategies

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
