"""What a Relay file asks of the placement: functions made for a vendor, as rules of a policy."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from byoc.frontends.normalise.graph import Graph
from byoc.frontends.relay.syntax import At, Function

if TYPE_CHECKING:
    from byoc.partition.placing.policy import Rule

__all__ = ["Force", "placement_rules", "vendor_of"]


@dataclass(frozen=True)
class Force:
    """Operators that the file places: on a vendor, those with these source names."""

    vendor: str
    names: tuple[str, ...]
    at: At


def placement_rules(forced: Sequence[Force], graph: Graph, where: str) -> tuple[Rule, ...]:
    """The rules that functions made for a vendor ask for.

    Args:
        forced: What each of them holds.
        graph: The model in normal form; operators that are gone by now ask for nothing.
        where: The file, for the rules' own place.
    """
    from byoc.partition.placing.policy import Rule

    left = {node.name for node in graph.order()}
    rules = []
    for force in forced:
        names = tuple(glob.escape(name) for name in force.names if name in left)
        if names:
            rules.append(Rule("force", force.vendor, name=names, where=f"{where}:{force.at}"))
    return tuple(rules)


def vendor_of(function: Function) -> str:
    """The vendor that a function was made for: its Compiler, or the head of its Composite."""
    compiler = function.attrs.get("Compiler")
    if isinstance(compiler, str) and compiler not in ("", "default"):
        return compiler
    composite = function.attrs.get("Composite")
    return composite.partition(".")[0] if isinstance(composite, str) else ""
