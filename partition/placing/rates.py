"""What a backend costs: predicted from rates, or looked up where somebody has measured it.

Here is what users give (``costs=``): rates per backend, and an object that answers with measured
seconds. `cost_model.py` turns it into the seconds of one function by these rules:

    composite on a vendor   estimate(match), else max(flops / rate, bytes / rate)
    op on the host          launch + max(flops / rate, bytes / rate)
    segment                 launch + its composites
    border                  leaving one backend + entering the other: border + bytes / border_bytes

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

    `match` describes the ops as vendors see them (`Match.nodes`, `type`, `constant`): enough for a
    key that does not depend on names. On the host `match.pattern` is "". A `place` is a backend: a
    vendor's name, or "host".
    """

    def piece(self, place: str, match: Match) -> float | None:
        """Seconds of one composite inside a segment, or of one host op.

        Args:
            place: the backend.
            match: its ops.

        Returns:
            Seconds without launch and borders; infinity when the backend failed to build it.
        """
        ...

    def segment(self, place: str, match: Match) -> float | None:
        """Seconds of a whole segment, launch included, borders not.

        Args:
            place: the vendor.
            match: the ops of the segment.
        """
        ...

    def border(self, source: str, target: str, nbytes: int) -> float | None:
        """Seconds for one tensor from one backend to another.

        Args:
            source: a vendor or "host".
            target: a vendor or "host".
            nbytes: size of the tensor.
        """
        ...


@dataclass(frozen=True)
class Costs:
    """Where the cost model's figures come from (``partition_module(costs=…)``).

    Examples:
        >>> costs = Costs(rates={"dnnl": Rates(flops=256e9), "host": Rates(flops=12e9)})
        >>> parts = byoc.partition_model(model, ["dnnl"], placement="model", costs=costs)
        >>> parts.report.placement
        'model'

    Attributes:
        rates: backend ("host" or a vendor) → rates that replace its own.
        measured: answers that are better than rates, or None.
    """

    rates: Mapping[str, Rates] = field(default_factory=dict)
    measured: Measured | None = None

    def check(self, vendors: Mapping[str, Vendor]) -> None:
        """Check that `rates` names backends of this run only.

        Args:
            vendors: name → vendor.

        Raises:
            OptionError: a name is unknown.
        """
        legal = [HOST, *vendors]
        for backend in self.rates:
            if backend not in legal:
                raise OptionError(
                    f"costs.rates names {backend!r}, which is no place here; "
                    f"{choices(backend, legal)}"
                )

    def of(self, backend: str, vendor: Vendor | None) -> Rates:
        """The rates of a backend.

        Args:
            backend: a vendor's name, or "host".
            vendor: the vendor; None for the host.
        """
        own = HOST_RATES if vendor is None else vendor.rates
        return self.rates.get(backend, own)
