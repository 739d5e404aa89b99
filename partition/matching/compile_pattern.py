"""Compile a `tvm.relax.dpl` pattern into a matcher over the snapshot.

TVM's own matcher rebuilds its variable table at every call, which costs time proportional to
the function for each op tried. Here a pattern is read once and becomes a closure per pattern
node, over ints::

    relu(add(conv2d(x, is_const()), bias))
      │    │    │
      ▼    ▼    ▼
    call(relu, [call(add, [call(conv2d, [-, const]), -])])       "-": always fits, costs nothing

The meaning is the stock one: alternatives are tried left to right and the first that fits is
kept; a pattern object that occurs twice must fit the same value; ``add`` and ``multiply`` also
fit with swapped arguments. Two things differ: a field of a tuple made in the same block is the
field itself, and ``(a * b) / c`` does not stand for ``a * (b / c)``. What a match binds lives in
*slots*, one per call, per named part and per shared object, with an undo trail.

Not readable from here, hence refused with a message for the vendor's author: patterns of
functions and of called functions. Constraints that TVM keeps in a `PatternContext` (`used_by`,
`only_used_by`, `same_shape_as`) do not travel with a pattern; `only_used_by` holds anyway, as
the partitioner refuses a match whose inner values are used outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm.relax import dpl

from byoc.errors import VendorError
from byoc.partition.matching.matcher import ANY, ANY_FIELD, CompiledPattern, Matcher, MatchState
from byoc.partition.matching.readers import LEGAL_KINDS, READERS, WRAPPERS, brief, operators
from byoc.partition.snapshot.bindings import ValueRef

__all__ = ["LEGAL_KINDS", "compile_pattern"]


class _Compiler:
    """Reads one pattern. `who` opens every message to the vendor's author."""

    def __init__(self, name: str, parts: Mapping[str, Any], who: str) -> None:
        self.who = who
        self.name = name
        self.slots = 0
        self.calls: list[int] = []
        self.parts: dict[str, int] = {}
        self.ops: set[str] = set()
        self.open_ended = False
        """Whether some call of the pattern takes more arguments than it names."""
        self._done: dict[int, Matcher] = {}
        self._uses: dict[int, int] = {}
        self._keep: list[Any] = []
        self._names: dict[int, list[str]] = {}
        for part, pattern in parts.items():
            if not isinstance(pattern, dpl.DFPattern):
                raise VendorError(
                    f"{who}: part {part!r} is a {type(pattern).__name__}, expected a "
                    f"tvm.relax.dpl pattern that occurs in expr"
                )
            self._names.setdefault(pattern.__chandle__(), []).append(part)
            self._keep.append(pattern)

    def slot(self) -> int:
        self.slots += 1
        return self.slots - 1

    # -- walking the pattern -------------------------------------------------------------------

    def count(self, pattern: Any) -> None:
        """Count how often each pattern object occurs."""
        key = pattern.__chandle__()
        self._uses[key] = self._uses.get(key, 0) + 1
        if self._uses[key] == 1:
            self._keep.append(pattern)
            for inner in _children(pattern):
                self.count(inner)

    def visit(self, pattern: Any) -> Matcher | None:
        """The matcher of a pattern; None when it always fits and binds nothing."""
        key = pattern.__chandle__()
        if key in self._done:
            return self._done[key]
        reader = READERS.get(type(pattern))
        if reader is None:
            raise VendorError(
                f"{self.who}: cannot read a {type(pattern).__name__} "
                f"({brief(pattern)}); legal: {', '.join(LEGAL_KINDS)}"
            )
        names = self._names.get(key, [])
        is_call = type(pattern) is dpl.CallPattern
        bind = is_call or bool(names) or self._uses.get(key, 0) > 1
        if not bind:
            return reader(self, pattern)
        slot = self.slot()
        if is_call:
            self.calls.append(slot)
        for name in names:
            self.parts[name] = slot

        inner = reader(self, pattern)
        shared = self._uses.get(key, 0) > 1

        def run(state: MatchState, ref: ValueRef) -> bool:
            bound = state.slots[slot]
            if bound is not None:
                return bound == ref
            trail = state.trail
            mark = len(trail)
            if inner is not None and not inner(state, ref):
                if len(trail) > mark:
                    state.undo(mark)
                return False
            state.slots[slot] = ref
            trail.append(slot)
            return True

        if shared:
            self._done[key] = run
        return run


def _children(pattern: Any) -> list[Any]:
    kind = type(pattern)
    if kind is dpl.CallPattern:
        return [pattern.op, *pattern.args]
    if kind in (dpl.OrPattern, dpl.AndPattern):
        return [pattern.left, pattern.right]
    if kind is dpl.NotPattern:
        return [pattern.reject]
    if kind in (dpl.TuplePattern, dpl.UnorderedTuplePattern):
        return list(pattern.fields)
    if kind is dpl.TupleGetItemPattern:
        return [pattern.tuple]
    if kind in WRAPPERS:
        return [pattern.pattern]
    return []


def _root_ops(compiler: _Compiler, pattern: Any) -> frozenset[str] | None:
    """The ops a pattern's last node can be; None for any."""
    kind = type(pattern)
    if kind is dpl.CallPattern:
        return operators(compiler, pattern.op)
    if kind in WRAPPERS:
        return _root_ops(compiler, pattern.pattern)
    if kind is dpl.TupleGetItemPattern:
        return _root_ops(compiler, pattern.tuple)
    if kind is dpl.OrPattern:
        left, right = _root_ops(compiler, pattern.left), _root_ops(compiler, pattern.right)
        return None if left is None or right is None else left | right
    if kind is dpl.AndPattern:
        left, right = _root_ops(compiler, pattern.left), _root_ops(compiler, pattern.right)
        return right if left is None else left if right is None else left & right
    return None


def _root_index(pattern: Any) -> int | None:
    """Which field of its root op a pattern stands for; None when it is the op itself."""
    kind = type(pattern)
    if kind is dpl.TupleGetItemPattern:
        return int(pattern.index)
    if kind in WRAPPERS:
        return _root_index(pattern.pattern)
    if kind in (dpl.OrPattern, dpl.AndPattern):
        left, right = _root_index(pattern.left), _root_index(pattern.right)
        if left == right:
            return left
        return ANY if left is None or right is None or ANY in (left, right) else ANY_FIELD
    return None


def _needs(compiler: _Compiler, pattern: Any) -> tuple[frozenset[str], ...]:
    """For arguments of the root that must be calls: the ops they can be."""
    kind = type(pattern)
    if kind in WRAPPERS:
        return _needs(compiler, pattern.pattern)
    if kind is not dpl.CallPattern:
        return ()
    found = []
    for arg in pattern.args:
        ops = _root_ops(compiler, arg)
        if ops is not None and _root_index(arg) is None:
            found.append(ops)
    return tuple(found)


def compile_pattern(name: str, expr: Any, parts: Mapping[str, Any], vendor: str) -> CompiledPattern:
    """Compile one pattern of a vendor into a matcher.

    Args:
        name: of the pattern.
        expr: a tvm.relax.dpl pattern; its last node must be a call.
        parts: name → pattern object that occurs in `expr`; a match says which value it is.
        vendor: name of the vendor, for messages.

    Raises:
        VendorError: in words for the vendor's author, on a kind of pattern that cannot be read, a
            pattern without an op, or a part that does not occur in `expr`.
    """
    who = f"vendor author: pattern {name!r} of {vendor!r}"
    if not isinstance(expr, dpl.DFPattern):
        raise VendorError(
            f"{who}: expr is a {type(expr).__name__}, expected a tvm.relax.dpl pattern"
        )
    compiler = _Compiler(name, parts, who)
    compiler.count(expr)
    compiler.open_ended = "..." in str(expr)
    run = compiler.visit(expr)
    if run is None or not compiler.calls:
        raise VendorError(f"{who}: expr names no op; its last node must be a call")
    missing = sorted(set(parts) - set(compiler.parts))
    if missing:
        raise VendorError(
            f"{who}: part {missing[0]!r} does not occur in expr; name pattern objects that "
            f"expr is made of"
        )
    return CompiledPattern(
        name=name,
        roots=_root_ops(compiler, expr),
        needs=_needs(compiler, expr),
        ops=frozenset(compiler.ops),
        calls=len(compiler.calls),
        slot_count=compiler.slots,
        call_slots=tuple(compiler.calls),
        part_slots=compiler.parts,
        run=run,
        index=_root_index(expr),
    )
