"""Several good plans of one model, for those who can time them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byoc.partition.place.costs import Costs
from byoc.partition.place.strategy import Strategy
from byoc.vendor import Vendor

if TYPE_CHECKING:
    from byoc.partition.policy import Policy

__all__ = ["Alternative", "alternatives"]


@dataclass(frozen=True)
class Alternative:
    """One plan. name: "model", "host", "dnnl only", "search 2". strategy: places exactly so, for
    `partition_module(placement=…)`. predicted: seconds. segments: how many.
    """

    name: str
    strategy: Strategy
    predicted: float
    segments: int


def alternatives(
    mod: Any,
    vendors: Sequence[Vendor],
    *,
    count: int = 4,
    policy: Policy | None = None,
    costs: Costs | None = None,
) -> tuple[Alternative, ...]:
    """The best `count` distinct plans, best first by prediction, and after them all-host and each
    vendor alone where the policy allows (not counted, left out when equal to an earlier one).
    """
    return ()
