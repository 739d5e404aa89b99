"""What a compiled pattern is, and what one matching run knows.

`compile_pattern.py` makes a `CompiledPattern` of a vendor's pattern (the idea stands there), out of
the matchers of `readers.py`; `match.py` and `candidates.py` run it over a snapshot.
"""

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
    """What one matching run knows: the graph, the ops already taken, what slots are bound to.

    Attributes:
        graph: snapshot of the function.
        taken: op → 0 or more when it is taken, -1 while it is free.
        lenient: constants may be any leaf (used when weights were made parameters).
        slots: slot → what it is bound to, or None.
        trail: slots in the order they were bound, to undo them.
        scope: the scope of the root; ops of other scopes do not match.
        note: when set, called with the depth and the reason of each mismatch.
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
        """Unbind every slot that was bound since the trail had this length."""
        trail, slots = self.trail, self.slots
        while len(trail) > mark:
            slots[trail.pop()] = None

    def miss(self, reason: str) -> bool:
        """Record why something does not fit; always returns False."""
        if self.note is not None:
            self.note(len(self.trail), reason)
        return False


@dataclass(frozen=True, slots=True)
class CompiledPattern:
    """One pattern, ready to run.

    Attributes:
        name: of the pattern.
        roots: kinds its last op can be; None for any.
        needs: for each argument that must itself be a call, the kinds it can be: a cheap filter.
        ops: every kind it names.
        calls: number of calls.
        slot_count: number of slots.
        call_slots: slots of the calls.
        part_slots: named part → slot.
        run: the matcher.
        index: the field of a multi-output op that is the root; None for the op, else see `ANY`.
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
        """Try the pattern with its last op at a node.

        Args:
            state: afterwards its slots hold the match, when there is one.
            node: where the pattern must end.
        """
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
        """The matched ops, in topological order."""
        producer = state.graph.values.producer
        if len(self.call_slots) == 1:
            ref = state.slots[self.call_slots[0]]
            return [producer[ref]] if type(ref) is int else []
        bound = (state.slots[k] for k in self.call_slots)
        return sorted({producer[ref] for ref in bound if type(ref) is int})

    def parts(self, state: MatchState) -> dict[str, int]:
        """Named parts that took part → values; a tuple counts as its first field."""
        found = {}
        for name, slot in self.part_slots.items():
            ref = state.slots[slot]
            if type(ref) is int:
                found[name] = next(state.graph.values.leaves(ref), ref)
        return found
