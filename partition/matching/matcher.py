"""What a compiled pattern is and what one matching run knows. See `compile.py` for the idea."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from byoc.partition.snapshot.bindings import ValueRef
from byoc.partition.snapshot.graph import OpGraph

__all__ = ["ANY", "ANY_FIELD", "CompiledPattern", "MatchState", "Matcher"]

ANY_FIELD = -1  # the root is some field of a multi-output op
ANY = -2  # the root is the op itself or some field of it


Matcher = Callable[["MatchState", ValueRef], bool]
"""Whether a ref fits; binds slots when it does, and leaves them as they were when not."""


class MatchState:
    """What one matching run knows: the graph, the nodes already taken, the slots.

    taken: node -> claimed (truthy) or free. lenient: constants may be any leaf (used when
        weights were made parameters). note: when set, called with the depth and the reason
        of each mismatch.
    """

    __slots__ = ("graph", "lenient", "note", "scope", "slots", "taken", "trail")

    def __init__(self, graph: OpGraph, taken: list[int], lenient: bool = False) -> None:
        self.graph = graph
        self.taken = taken
        self.lenient = lenient
        self.slots: list[ValueRef | None] = []
        self.trail: list[int] = []
        self.scope = -1
        self.note: Callable[[int, str], None] | None = None

    def undo(self, mark: int) -> None:
        """Unbind every slot bound since `mark`."""
        trail, slots = self.trail, self.slots
        while len(trail) > mark:
            slots[trail.pop()] = None

    def miss(self, reason: str) -> bool:
        """Record why something does not fit; always False."""
        if self.note is not None:
            self.note(len(self.trail), reason)
        return False


@dataclass(frozen=True, slots=True)
class CompiledPattern:
    """One pattern, ready to run.

    roots: ops its last node can be, None for any. needs: for each argument that must itself be
    a call, the ops it can be; a cheap filter. ops: every op it names. calls: number of calls.
    """

    name: str
    roots: frozenset[str] | None
    needs: tuple[frozenset[str], ...]
    ops: frozenset[str]
    calls: int
    slot_count: int
    call_slots: tuple[int, ...]
    part_slots: Mapping[str, int]
    run: Matcher
    index: int | None
    """The field of a multi-output op that is the root; None for the op, else see `ANY`."""

    def match(self, state: MatchState, node: int) -> bool:
        """Try the pattern with its root at `node`; the slots of `state` hold the match."""
        graph = state.graph
        state.slots = [None] * self.slot_count
        state.trail = []
        state.scope = graph.ops.scope[node]
        value = graph.ops.result[node]
        index = self.index
        if index is None or index == ANY:
            if self.run(state, value):
                return True
            if index is None:
                return False
        fields = graph.values.fields.get(value, ())
        chosen = fields if index < 0 else fields[index : index + 1]
        return any(self.run(state, part) for part in chosen)

    def nodes(self, state: MatchState) -> list[int]:
        """The matched nodes, topological."""
        producer = state.graph.values.producer
        if len(self.call_slots) == 1:
            ref = state.slots[self.call_slots[0]]
            return [producer[ref]] if type(ref) is int else []
        bound = (state.slots[k] for k in self.call_slots)
        return sorted({producer[ref] for ref in bound if type(ref) is int})

    def parts(self, state: MatchState) -> dict[str, int]:
        """The named parts that took part, as values; a tuple counts as its first field."""
        found = {}
        for name, slot in self.part_slots.items():
            ref = state.slots[slot]
            if type(ref) is int:
                found[name] = next(state.graph.values.leaves(ref), ref)
        return found
