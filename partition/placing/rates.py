"""What a place costs: predicted from rates, or looked up where somebody has measured it.

    composite on a vendor   estimate(match), else max(flops / rate, bytes / rate)
    op on the host          launch + max(flops / rate, bytes / rate)
    segment                 launch + its composites
    border                  leaving one place + entering the other: border + bytes / border_bytes

All figures are seconds. A composite moves the bytes that enter and leave it; what stays inside
is free: that is why long patterns gain. On the host every op is a kernel, except that TVM fuses
element-wise ops into their producer: these cost their arithmetic and no launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from byoc.errors import OptionError, choices
from byoc.report.records import HOST
from byoc.vendor import Match, Rates, Vendor

__all__ = ["HOST_RATES", "Costs", "Measured"]

HOST_RATES = Rates(
    flops=12e9,
    bytes=8e9,
    launch=1.5e-6,
    border=0.0,
    border_bytes=float("inf"),
    by_op={"nn.conv2d": 10e9, "matmul": 10e9},
)
"""TVM's own kernels on one core."""


class Measured(Protocol):
    """Measured seconds; every answer may be None: not known, go by the rates.

    `match` describes the ops as vendors see them (`Match.nodes`, `type`, `constant`): enough for
    a key that does not depend on names. On the host `match.pattern` is "".
    """

    def piece(self, place: str, match: Match) -> float | None:
        """Seconds of one composite inside a segment of `place`, or of one host op; without
        launch and borders. Infinity when the place failed to build it.
        """
        ...

    def segment(self, place: str, match: Match) -> float | None:
        """Seconds of a whole segment, launch included, borders not."""
        ...

    def border(self, source: str, target: str, nbytes: int) -> float | None:
        """Seconds for one tensor from place to place."""
        ...


@dataclass(frozen=True)
class Costs:
    """Where the figures come from.

    rates: place ("host" or a vendor) → rates that replace its own. measured: what is known better.
    """

    rates: Mapping[str, Rates] = field(default_factory=dict)
    measured: Measured | None = None

    def check(self, vendors: Mapping[str, Vendor]) -> None:
        """Raises OptionError when `rates` names a place that does not take part."""
        legal = [HOST, *vendors]
        for place in self.rates:
            if place not in legal:
                raise OptionError(
                    f"costs.rates names {place!r}, which is no place here; {choices(place, legal)}"
                )

    def of(self, place: str, vendor: Vendor | None) -> Rates:
        """The rates of a place; `vendor` is None for the host."""
        own = HOST_RATES if vendor is None else vendor.rates
        return self.rates.get(place, own)
