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
field itself, and ``(a * b) / c`` does not stand for ``a * (b / c)``. What a match binds lives in *slots*, one per call, per named part
and per shared object, with an undo trail.

Not readable from here, hence refused with a message for the vendor's author: patterns of
functions and of called functions. Constraints that TVM keeps in a `PatternContext` (`used_by`,
`only_used_by`, `same_shape_as`) do not travel with a pattern; `only_used_by` holds anyway, as
the partitioner refuses a match whose inner values are used outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import relax
from tvm.relax import dpl
from tvm.relax.dpl import pattern as dpl_pattern

from byoc.errors import VendorError
from byoc.partition.graph import OpGraph, Raw, Ref

__all__ = ["LEGAL_KINDS", "CompiledPattern", "MatchState", "compile_pattern"]

_ANY_FIELD = -1  # the root is some field of a multi-output op
_ANY = -2  # the root is the op itself or some field of it

_COMMUTATIVE = frozenset({"add", "multiply"})

Matcher = Callable[["MatchState", Ref], bool]


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
        self.slots: list[Ref | None] = []
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
    """The field of a multi-output op that is the root; None for the op, else see `_ANY`."""

    def match(self, state: MatchState, node: int) -> bool:
        """Try the pattern with its root at `node`; the slots of `state` hold the match."""
        graph = state.graph
        state.slots = [None] * self.slot_count
        state.trail = []
        state.scope = graph.scope_of[node]
        value = graph.result[node]
        index = self.index
        if index is None or index == _ANY:
            if self.run(state, value):
                return True
            if index is None:
                return False
        fields = graph.fields.get(value, ())
        chosen = fields if index < 0 else fields[index : index + 1]
        return any(self.run(state, part) for part in chosen)

    def nodes(self, state: MatchState) -> list[int]:
        """The matched nodes, topological."""
        producer = state.graph.producer
        bound = (state.slots[k] for k in self.call_slots)
        return sorted({producer[ref] for ref in bound if type(ref) is int})

    def parts(self, state: MatchState) -> dict[str, int]:
        """The named parts that took part, as values; a tuple counts as its first field."""
        found = {}
        for name, slot in self.part_slots.items():
            ref = state.slots[slot]
            if type(ref) is int:
                found[name] = next(state.graph.leaves(ref), ref)
        return found


def _shape_text(values: Any) -> str:
    return "[" + ", ".join(str(v) for v in values) + "]"


def _proves_equal(left: Any, right: Any) -> bool:
    """True when two lists of dimensions are provably equal."""
    if len(left) != len(right):
        return False
    analyzer = tvm.sym.Analyzer()
    return all(analyzer.can_prove_equal(a, b) for a, b in zip(left, right, strict=True))


class _Compiler:
    """Reads one pattern. `who` opens every message to the vendor's author."""

    def __init__(self, name: str, parts: Mapping[str, Any], who: str) -> None:
        self.who = who
        self.name = name
        self.slots = 0
        self.calls: list[int] = []
        self.parts: dict[str, int] = {}
        self.ops: set[str] = set()
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
        reader = _READERS.get(type(pattern))
        if reader is None:
            raise VendorError(
                f"{self.who}: cannot read a {type(pattern).__name__} "
                f"({_brief(pattern)}); legal: {', '.join(LEGAL_KINDS)}"
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

        def run(state: MatchState, ref: Ref) -> bool:
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


def _brief(pattern: Any) -> str:
    text = str(pattern)
    return text if len(text) <= 80 else text[:77] + "..."


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
    if kind in _WRAPPERS:
        return [pattern.pattern]
    return []


# -- one reader per kind of pattern --------------------------------------------------------------


def _wildcard(_compiler: _Compiler, _pattern: Any) -> Matcher | None:
    return None


def _constant(_compiler: _Compiler, _pattern: Any) -> Matcher:
    def run(state: MatchState, ref: Ref) -> bool:
        if type(ref) is int:
            if ref in state.graph.constants:
                return True
            if state.lenient and state.graph.producer[ref] < 0:
                return True
        return state.note is not None and state.miss(f"{_what(state, ref)} is not a constant")

    return run


def _variable(compiler: _Compiler, pattern: Any) -> Matcher:
    name = str(pattern.name)
    if type(pattern) is dpl.DataflowVarPattern:
        # Every dataflow variable of a function is bound, and what is bound is looked through.
        raise VendorError(
            f"{compiler.who}: is_dfv() never fits, since variables are looked through to the op "
            f"that computes them; use wildcard()"
        )

    def run(state: MatchState, ref: Ref) -> bool:
        graph = state.graph
        leaf = type(ref) is int and graph.producer[ref] < 0 and ref not in graph.constants
        if leaf and (not name or str(getattr(graph.typed_by[ref], "name", "")) == name):
            return True
        return state.note is not None and state.miss(
            f"{_what(state, ref)} is not the function's input {name}".rstrip()
        )

    return run


def _expression(compiler: _Compiler, pattern: Any) -> Matcher:
    expr = pattern.expr
    kind = type(expr)
    if kind is tvm.ir.Op:
        raise VendorError(
            f"{compiler.who}: is_op({str(expr.name)!r}) stands where a value is expected; call "
            f"it with its arguments"
        )
    if kind not in (tvm.ir.GenericConst, relax.ShapeExpr) and not tvm.ir.is_prim_expr(expr):
        raise VendorError(
            f"{compiler.who}: is_expr() takes an operator, a constant, a shape or a number here, "
            f"found a {kind.__name__}"
        )

    def run(state: MatchState, ref: Ref) -> bool:
        found = ref.expr if type(ref) is Raw else None
        if type(ref) is int:
            found = state.graph.constants.get(ref)
        if found is not None and tvm_ffi.structural_equal(expr, found):
            return True
        return state.note is not None and state.miss(f"{_what(state, ref)} is not {expr}")

    return run


def _operators(compiler: _Compiler, pattern: Any) -> frozenset[str] | None:
    """Names of the ops an operator pattern stands for; None for any."""
    kind = type(pattern)
    if kind is dpl.ExprPattern and type(pattern.expr) is tvm.ir.Op:
        return frozenset({str(pattern.expr.name).removeprefix("relax.")})
    if kind is dpl.OrPattern:
        left = _operators(compiler, pattern.left)
        right = _operators(compiler, pattern.right)
        return None if left is None or right is None else left | right
    if kind is dpl.WildcardPattern:
        return None
    raise VendorError(
        f"{compiler.who}: cannot read a {kind.__name__} ({_brief(pattern)}) as the operator of a "
        f"call; legal: is_op(...), is_op(...) | is_op(...), wildcard()"
    )


def _call(compiler: _Compiler, pattern: Any) -> Matcher:
    ops = _operators(compiler, pattern.op)
    compiler.ops |= ops or frozenset()
    args = [compiler.visit(arg) for arg in pattern.args]
    count = len(args)
    # Whether more arguments are allowed is not reflected; TVM prints it as a last "...".
    more = str(pattern).endswith("...)")
    todo = [(k, arg) for k, arg in enumerate(args) if arg is not None]
    swappable = count == 2 and bool(todo) and (ops is None or bool(ops & _COMMUTATIVE))
    label = " or ".join(sorted(ops)) if ops is not None else "an op"

    def run(state: MatchState, ref: Ref) -> bool:
        graph = state.graph
        node = graph.producer[ref] if type(ref) is int else -1
        if (
            node < 0
            or (ops is not None and graph.op[node] not in ops)
            or graph.result[node] != ref
            or graph.opaque[node]
        ):
            return state.note is not None and state.miss(f"{_what(state, ref)} is not {label}")
        if state.taken[node] >= 0 or graph.scope_of[node] != state.scope:
            return state.note is not None and state.miss(f"{_what(state, ref)} is already placed")
        given = graph.args[node]
        if len(given) != count and (not more or len(given) < count):
            return state.note is not None and state.miss(
                f"{graph.op[node]} has {len(given)} arguments, the pattern {count}"
            )
        if not todo:
            return True
        mark = len(state.trail)
        for k, arg in todo:
            if not arg(state, given[k]):
                break
        else:
            return True
        if len(state.trail) > mark:
            state.undo(mark)
        if swappable and len(given) == 2 and graph.op[node] in _COMMUTATIVE:
            for k, arg in todo:
                if not arg(state, given[1 - k]):
                    break
            else:
                return True
            if len(state.trail) > mark:
                state.undo(mark)
        return False

    return run


def _or(compiler: _Compiler, pattern: Any) -> Matcher | None:
    left, right = compiler.visit(pattern.left), compiler.visit(pattern.right)
    if left is None:
        return None

    def run(state: MatchState, ref: Ref) -> bool:
        return left(state, ref) or right is None or right(state, ref)

    return run


def _and(compiler: _Compiler, pattern: Any) -> Matcher | None:
    left, right = compiler.visit(pattern.left), compiler.visit(pattern.right)
    if left is None or right is None:
        return right if left is None else left

    def run(state: MatchState, ref: Ref) -> bool:
        mark = len(state.trail)
        if left(state, ref):
            if right(state, ref):
                return True
            state.undo(mark)
        return False

    return run


def _not(compiler: _Compiler, pattern: Any) -> Matcher:
    first = len(compiler.calls)
    inner = compiler.visit(pattern.reject)
    del compiler.calls[first:]  # what must not be there is no part of the match
    text = _brief(pattern.reject)

    def run(state: MatchState, ref: Ref) -> bool:
        mark = len(state.trail)
        note, state.note = state.note, None
        fits = inner is None or inner(state, ref)
        state.undo(mark)
        state.note = note
        return not fits or (note is not None and state.miss(f"{_what(state, ref)} is {text}"))

    return run


def _tuple(compiler: _Compiler, pattern: Any) -> Matcher:
    fields = [compiler.visit(f) for f in pattern.fields]

    def run(state: MatchState, ref: Ref) -> bool:
        if type(ref) is not tuple or len(ref) != len(fields):
            return state.note is not None and state.miss(
                f"{_what(state, ref)} is not a tuple of {len(fields)}"
            )
        mark = len(state.trail)
        for inner, part in zip(fields, ref, strict=True):
            if inner is not None and not inner(state, part):
                state.undo(mark)
                return False
        return True

    return run


def _unordered_tuple(compiler: _Compiler, pattern: Any) -> Matcher:
    fields = [compiler.visit(f) for f in pattern.fields]

    def fit(state: MatchState, k: int, left: tuple[Ref, ...]) -> bool:
        if k == len(fields):
            return True
        inner = fields[k]
        for at, part in enumerate(left):
            mark = len(state.trail)
            if inner is None or inner(state, part):
                if fit(state, k + 1, left[:at] + left[at + 1 :]):
                    return True
                state.undo(mark)
        return False

    def run(state: MatchState, ref: Ref) -> bool:
        if type(ref) is tuple and len(ref) == len(fields) and fit(state, 0, ref):
            return True
        return state.note is not None and state.miss(
            f"{_what(state, ref)} is not a tuple of these {len(fields)}"
        )

    return run


def _tuple_get_item(compiler: _Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.tuple)
    index = int(pattern.index)

    def run(state: MatchState, ref: Ref) -> bool:
        home = state.graph.field_of.get(ref) if type(ref) is int else None
        if home is not None and index in (-1, home[1]):
            return inner is None or inner(state, home[0])
        return state.note is not None and state.miss(
            f"{_what(state, ref)} is not field {index} of a tuple"
        )

    return run


def _both(inner: Matcher | None, test: Matcher) -> Matcher:
    """Fits when `inner` fits and `test`, which binds nothing, holds."""

    def run(state: MatchState, ref: Ref) -> bool:
        return test(state, ref) and (inner is None or inner(state, ref))

    return run


def _attrs(compiler: _Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.pattern)
    wanted = {str(k): pattern.attrs[k] for k in pattern.attrs.keys()}  # noqa: SIM118

    def test(state: MatchState, ref: Ref) -> bool:
        graph = state.graph
        node = graph.producer[ref] if type(ref) is int else -1
        if node < 0 or graph.result[node] != ref or graph.infos[node] is None:
            return state.note is not None and state.miss(f"{_what(state, ref)} has no attributes")
        found = graph.node(node).attrs
        for key, value in wanted.items():
            want = graph.decoder.attr(value)
            if key not in found or found[key] != want:
                return state.note is not None and state.miss(
                    f"attribute {key} of {graph.op[node]} is {found.get(key)!r}, not {want!r}"
                )
        return True

    return _both(inner, test)


def _dtype(compiler: _Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.pattern)
    wanted = pattern.dtype

    def test(state: MatchState, ref: Ref) -> bool:
        found = state.graph.types[ref] if type(ref) is int else None
        if found is not None and found.dtype == state.graph.decoder.dtype(wanted):
            return True
        return state.note is not None and state.miss(
            f"dtype of {_what(state, ref)} is {found.dtype if found else 'unknown'}, not {wanted}"
        )

    return _both(inner, test)


def _static_dims(values: Any) -> tuple[int, ...] | None:
    """The dimensions as ints, None when one is symbolic."""
    dims = []
    for value in values:
        if not hasattr(value, "value"):
            return None
        dims.append(int(value.value))
    return tuple(dims)


def _raw_type(state: MatchState, ref: Ref) -> Any:
    """TVM's type of a ref, None when it has none."""
    if type(ref) is int:
        source = state.graph.typed_by[ref]
        return getattr(source, "ty", source)
    return ref.expr.ty if type(ref) is Raw else None


def _shape(compiler: _Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.pattern)
    wanted = list(pattern.shape)
    static = _static_dims(wanted)

    def test(state: MatchState, ref: Ref) -> bool:
        found = state.graph.types[ref] if type(ref) is int else None
        if found is not None:
            if static is not None and found.is_static:
                if found.shape == static:
                    return True
            else:
                shape = _raw_type(state, ref).shape
                if type(shape) is relax.ShapeExpr and _proves_equal(wanted, list(shape.values)):
                    return True
        return state.note is not None and state.miss(
            f"shape of {_what(state, ref)} is not {_shape_text(wanted)}"
        )

    return _both(inner, test)


def _prim_array(_compiler: _Compiler, pattern: Any) -> Matcher:
    wanted = list(pattern.fields)

    def run(state: MatchState, ref: Ref) -> bool:
        expr = ref.expr if type(ref) is Raw else None
        if type(expr) is relax.ShapeExpr and _proves_equal(wanted, list(expr.values)):
            return True
        return state.note is not None and state.miss(
            f"{_what(state, ref)} is not the shape {_shape_text(wanted)}"
        )

    return run


def _typed(compiler: _Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.pattern)
    wanted = pattern.ty

    def test(state: MatchState, ref: Ref) -> bool:
        found = _raw_type(state, ref)
        if found is not None and wanted.is_base_of(found):
            return True
        return state.note is not None and state.miss(f"type of {_what(state, ref)} is not {wanted}")

    return _both(inner, test)


_WRAPPERS = (dpl.AttrPattern, dpl.DataTypePattern, dpl.ShapePattern, dpl_pattern.TypePattern)

_READERS: dict[type, Callable[[_Compiler, Any], Matcher | None]] = {
    dpl.WildcardPattern: _wildcard,
    dpl.ConstantPattern: _constant,
    dpl.VarPattern: _variable,
    dpl.DataflowVarPattern: _variable,
    dpl.ExprPattern: _expression,
    dpl.CallPattern: _call,
    dpl.OrPattern: _or,
    dpl.AndPattern: _and,
    dpl.NotPattern: _not,
    dpl.TuplePattern: _tuple,
    dpl.UnorderedTuplePattern: _unordered_tuple,
    dpl.TupleGetItemPattern: _tuple_get_item,
    dpl.AttrPattern: _attrs,
    dpl.DataTypePattern: _dtype,
    dpl.ShapePattern: _shape,
    dpl.PrimArrPattern: _prim_array,
    dpl_pattern.TypePattern: _typed,
}

LEGAL_KINDS: tuple[str, ...] = tuple(kind.__name__ for kind in _READERS)
"""Kinds of pattern a vendor may use."""


def _what(state: MatchState, ref: Ref) -> str:
    """A ref in words, for reasons."""
    if type(ref) is tuple:
        return f"a tuple of {len(ref)}"
    if type(ref) is not int:
        return "an argument that is no tensor"
    node = state.graph.producer[ref]
    if node >= 0:
        return f"{state.graph.op[node]} ({state.graph.names[node]})"
    if ref in state.graph.constants:
        return "a constant"
    return f"input {getattr(state.graph.typed_by[ref], 'name', '?')}"


def _root_ops(compiler: _Compiler, pattern: Any) -> frozenset[str] | None:
    """The ops a pattern's last node can be; None for any."""
    kind = type(pattern)
    if kind is dpl.CallPattern:
        return _operators(compiler, pattern.op)
    if kind in _WRAPPERS:
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
    if kind in _WRAPPERS:
        return _root_index(pattern.pattern)
    if kind in (dpl.OrPattern, dpl.AndPattern):
        left, right = _root_index(pattern.left), _root_index(pattern.right)
        if left == right:
            return left
        return _ANY if left is None or right is None or _ANY in (left, right) else _ANY_FIELD
    return None


def _needs(compiler: _Compiler, pattern: Any) -> tuple[frozenset[str], ...]:
    """For arguments of the root that must be calls: the ops they can be."""
    kind = type(pattern)
    if kind in _WRAPPERS:
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
    """Compile one pattern of a vendor.

    Raises VendorError, in words for the vendor's author, on a kind of pattern that cannot be
    read, a pattern without an op, or a part that does not occur in `expr`.
    """
    who = f"vendor author: pattern {name!r} of {vendor!r}"
    if not isinstance(expr, dpl.DFPattern):
        raise VendorError(
            f"{who}: expr is a {type(expr).__name__}, expected a tvm.relax.dpl pattern"
        )
    compiler = _Compiler(name, parts, who)
    compiler.count(expr)
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
