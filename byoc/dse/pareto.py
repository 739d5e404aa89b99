"""The machines that no other one beats in both speed and area.

In: everything that reached the top of the ladder. Out: the front, the fastest machine first. Area
is the share of the limits that a machine fills, so that resources of all kinds can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from byoc.dse.ladder import Scored
from byoc.dse.limits import utilisation

__all__ = ["pareto_front"]


def pareto_front(machines: Iterable[Scored], limits: Mapping[str, int]) -> list[Scored]:
    """Return the machines than which none is both as fast and smaller, or as small and faster.

    Args:
        machines: All of them.
        limits: What areas are shares of.
    """
    front: list[Scored] = []
    for machine in sorted(machines, key=lambda m: (m.score, utilisation(m.area, limits))):
        if not front or utilisation(machine.area, limits) < utilisation(front[-1].area, limits):
            front.append(machine)
    return front
