"""Design space exploration: which machine a vendor should be for some models.

In: a vendor's `byoc.design.DesignSpace`, a space (YAML) and limits. Out: the best machine, the
front of speed against area, and the way that led there::

    space ─▶ Space ─┐                  ┌─▶ pareto, report, page
    limits ─────────┼─▶ search ◀──▶ ladder ◀──▶ DesignSpace (the vendor's)
                    │     bottlenecks ─▶ candidates ─▶ evaluations
"""

from byoc.dse.limits import parse_limits
from byoc.dse.page import page
from byoc.dse.pareto import pareto_front
from byoc.dse.report import describe_step, table, to_dict
from byoc.dse.search import Exploration, explore
from byoc.dse.space import Space, parse_space, read_space

__all__ = [
    "Exploration",
    "Space",
    "describe_step",
    "explore",
    "page",
    "pareto_front",
    "parse_limits",
    "parse_space",
    "read_space",
    "table",
    "to_dict",
]
