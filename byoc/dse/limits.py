"""What a machine may take of the chip: ``lut=200k,dsp=900,bram=300``.

In: text of a user and the resources that a vendor counts. Out: numbers, and how far a machine fills
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byoc.dse.expressions import parse_number
from byoc.errors import OptionError, choices

__all__ = ["fits", "parse_limits", "utilisation"]


def parse_limits(text: str, resources: Sequence[str]) -> dict[str, int]:
    """Return the limit of each resource that is named.

    Args:
        text: ``NAME=NUMBER,…``; numbers may end in k, M, KiB, ….
        resources: What the vendor counts.

    Raises:
        OptionError: A resource is unknown or named twice, or a number is none.
    """
    limits: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in resources:
            raise OptionError(f"limits: unknown resource {name!r}: {choices(name, resources)}")
        value = parse_number(number, f"limits: {name}")
        if limits.setdefault(name, value) != value:
            raise OptionError(f"limits: {name} is {limits[name]} and {value}: name it once")
    return limits


def fits(area: Mapping[str, int], limits: Mapping[str, int]) -> bool:
    """Return whether an area keeps all limits.

    Args:
        area: Of a machine.
        limits: By resource.
    """
    return all(area[name] <= limit for name, limit in limits.items())


def utilisation(area: Mapping[str, int], limits: Mapping[str, int]) -> float:
    """Return the largest share of a limit that an area fills; 1 is full.

    Args:
        area: Of a machine.
        limits: By resource.
    """
    return max((area[name] / max(limit, 1) for name, limit in limits.items()), default=0.0)
