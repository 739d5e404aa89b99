"""Fixed placements: which backend each op gets is given (by a lock file, a measurement, by hand).

Candidates that lie wholly in ops given to their vendor (and to their pattern, where one is named)
are taken as `order` would. Where that leaves an op over, because a match that came first took
part of what another needs, the search looks for a cover that leaves none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from byoc.errors import OptionError, choices
from byoc.partition.placing.dp_search import search
from byoc.partition.placing.problem import Problem
from byoc.report.records import HOST

__all__ = ["place_fixed"]

_MISSED = 1e9
"""Seconds that an op given to a vendor costs on the host: no cover with fewer such ops loses."""


def place_fixed(problem: Problem, places: Mapping[int | str, str]) -> Iterable[int]:
    """Choose the candidates that put every op on the backend that is given for it.

    Args:
        problem: one scope.
        places: index of an op, or its name → "host", a vendor, or "vendor.pattern"; see
            `strategy.fixed`.

    Raises:
        OptionError: an op cannot be where it should, with the reason.
    """
    wanted = _wanted(problem, places)
    legal = [
        k
        for k in problem.legal
        if all(_fits(problem, k, wanted.get(node)) for node in problem[k].nodes)
    ]
    chosen = problem.candidates.greedy(problem.vendors, frozenset(legal).__contains__)
    missed = _missed(problem, chosen, wanted)
    if missed:
        strict = problem.restricted(legal, {(node, HOST): _MISSED for node in wanted})
        chosen = list(search(strict).chosen)
        missed = _missed(problem, chosen, wanted)
    if missed:
        raise OptionError(_why(problem, missed[0], wanted))
    return chosen


def _wanted(problem: Problem, places: Mapping[int | str, str]) -> dict[int, str]:
    """Node → the backend it is given, the host's left out."""
    found: dict[int, str] = {}
    names = problem.graph.ops.names
    for node in problem.nodes:
        backend = places.get(problem.first + node, places.get(names[node], HOST))
        vendor = backend.partition(".")[0]
        if vendor not in (HOST, *problem.vendors):
            raise OptionError(
                f"placement of {problem.named(node)}: {backend!r} is no place here; "
                f"{choices(vendor, (HOST, *problem.vendors))}"
            )
        if vendor != HOST:
            found[node] = backend
    return found


def _fits(problem: Problem, index: int, backend: str | None) -> bool:
    composite = problem[index]
    return backend in (composite.vendor, f"{composite.vendor}.{composite.pattern}")


def _missed(problem: Problem, chosen: Iterable[int], wanted: Mapping[int, str]) -> list[int]:
    covered = {node for k in chosen for node in problem[k].nodes}
    return [node for node in wanted if node not in covered]


def _why(problem: Problem, node: int, wanted: Mapping[int, str]) -> str:
    backend = wanted[node]
    vendor, _, pattern = backend.partition(".")
    head = f"placement puts {problem.named(node)} on {backend}, which cannot take it there: "
    offers = [k for k in problem.candidates.covering[node] if problem[k].vendor == vendor]
    if not offers:
        return head + problem.refusal(node, vendor)
    allowed = [k for k in offers if k in problem.legal]
    if not allowed:
        return head + "the policy forbids it"
    if pattern and not any(problem[k].pattern == pattern for k in allowed):
        names = sorted({problem[k].pattern for k in allowed})
        return head + f"{choices(pattern, names)}"
    # All of its matches reach beyond what the placement gives this vendor.
    other = next(
        (n for k in allowed for n in problem[k].nodes if not _fits(problem, k, wanted.get(n))), node
    )
    if other == node:
        return head + "its matches overlap those of neighbours that need the same ops"
    return head + (
        f"its match {problem[allowed[0]].pattern!r} also needs {problem.named(other)}, which is "
        f"put on {wanted.get(other, HOST)}"
    )
