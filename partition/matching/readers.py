"""One reader per kind of `tvm.relax.dpl` pattern: from a pattern node to a matcher.

A new kind of pattern is a new reader and a line in `READERS`; `compile_pattern.py` walks the
pattern and asks the reader of each node.

A reader returns None for "always fits, binds nothing". Matchers that fail leave no slot bound,
and tell the state why when it wants to know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import tvm
import tvm_ffi
from tvm import relax
from tvm.relax import dpl
from tvm.relax.dpl import pattern as dpl_pattern

from byoc.errors import VendorError
from byoc.ir.decode import items
from byoc.partition.matching.matcher import Matcher, MatchState
from byoc.partition.snapshot.bindings import RawArg, ValueRef

__all__ = ["LEGAL_KINDS", "READERS", "WRAPPERS", "Compiler", "brief", "operators"]

_COMMUTATIVE = frozenset({"add", "multiply"})


class Compiler(Protocol):
    """What readers need of the compiler that calls them.

    Attributes:
        who: opens every message to the vendor's author.
        calls: slots of the calls read so far.
        ops: kinds of op named so far.
        open_ended: whether some call of the pattern takes more arguments than it names.
    """

    who: str
    calls: list[int]
    ops: set[str]
    open_ended: bool

    def visit(self, pattern: Any) -> Matcher | None:
        """The matcher of a sub-pattern; None when it always fits and binds nothing."""
        ...


def brief(pattern: Any) -> str:
    """A pattern's text, cut to fit into a message."""
    text = str(pattern)
    return text if len(text) <= 80 else text[:77] + "..."


def _shape_text(values: Any) -> str:
    return "[" + ", ".join(str(v) for v in values) + "]"


def _proves_equal(left: Any, right: Any) -> bool:
    """True when two lists of dimensions are provably equal."""
    if len(left) != len(right):
        return False
    analyzer = tvm.sym.Analyzer()
    return all(analyzer.can_prove_equal(a, b) for a, b in zip(left, right, strict=True))


# -- one reader per kind of pattern --------------------------------------------------------------


def _wildcard(_compiler: Compiler, _pattern: Any) -> Matcher | None:
    return None


def _constant(_compiler: Compiler, _pattern: Any) -> Matcher:
    def run(state: MatchState, ref: ValueRef) -> bool:
        if type(ref) is int:
            if ref in state.graph.values.constants:
                return True
            if state.lenient and state.graph.values.producer[ref] < 0:
                return True
        return state.note is not None and state.miss(f"{_what(state, ref)} is not a constant")

    return run


def _variable(compiler: Compiler, pattern: Any) -> Matcher:
    name = str(pattern.name)
    if type(pattern) is dpl.DataflowVarPattern:
        # Every dataflow variable of a function is bound, and what is bound is looked through.
        raise VendorError(
            f"{compiler.who}: is_dfv() never fits, since variables are looked through to the op "
            f"that computes them; use wildcard()"
        )

    def run(state: MatchState, ref: ValueRef) -> bool:
        graph = state.graph
        if (
            type(ref) is int
            and graph.values.producer[ref] < 0
            and ref not in graph.values.constants
        ):
            found = str(getattr(graph.values.typed_by[ref], "name", ""))
            if name in ("", found):
                return True
        return state.note is not None and state.miss(
            f"{_what(state, ref)} is not the function's input {name}".rstrip()
        )

    return run


def _expression(compiler: Compiler, pattern: Any) -> Matcher:
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

    def run(state: MatchState, ref: ValueRef) -> bool:
        found = ref.expr if type(ref) is RawArg else None
        if type(ref) is int:
            found = state.graph.values.constants.get(ref)
        if found is not None and tvm_ffi.structural_equal(expr, found):
            return True
        return state.note is not None and state.miss(f"{_what(state, ref)} is not {expr}")

    return run


def operators(compiler: Compiler, pattern: Any) -> frozenset[str] | None:
    """List the ops that a pattern in operator position stands for.

    Args:
        compiler: for messages.
        pattern: `is_op(…)`, alternatives of these, or a wildcard.

    Returns:
        Names without prefix, or None for any op.

    Raises:
        VendorError: the pattern is of another kind.
    """
    kind = type(pattern)
    if kind is dpl.ExprPattern and type(pattern.expr) is tvm.ir.Op:
        return frozenset({str(pattern.expr.name).removeprefix("relax.")})
    if kind is dpl.OrPattern:
        left = operators(compiler, pattern.left)
        right = operators(compiler, pattern.right)
        return None if left is None or right is None else left | right
    if kind is dpl.WildcardPattern:
        return None
    raise VendorError(
        f"{compiler.who}: cannot read a {kind.__name__} ({brief(pattern)}) as the operator of a "
        f"call; legal: is_op(...), is_op(...) | is_op(...), wildcard()"
    )


def _call(compiler: Compiler, pattern: Any) -> Matcher:
    ops = operators(compiler, pattern.op)
    compiler.ops |= ops or frozenset()
    args = [compiler.visit(arg) for arg in pattern.args]
    count = len(args)
    # Whether more arguments are allowed is not reflected; TVM prints it as a last "...".
    more = compiler.open_ended and str(pattern).endswith("...)")
    todo = [(k, arg) for k, arg in enumerate(args) if arg is not None]
    swappable = bool(todo) and (ops is None or bool(ops & _COMMUTATIVE))
    label = " or ".join(sorted(ops)) if ops is not None else "an op"

    def run(state: MatchState, ref: ValueRef) -> bool:
        graph = state.graph
        node = graph.values.producer[ref] if type(ref) is int else -1
        table = graph.ops
        if (
            node < 0
            or (ops is not None and table.kind[node] not in ops)
            or table.result[node] != ref
            or table.opaque[node]
        ):
            return state.note is not None and state.miss(f"{_what(state, ref)} is not {label}")
        if state.taken[node] >= 0 or table.scope[node] != state.scope:
            return state.note is not None and state.miss(f"{_what(state, ref)} is already placed")
        given = table.args[node]
        if len(given) != count and (not more or len(given) < count):
            return state.note is not None and state.miss(
                f"{graph.ops.kind[node]} has {len(given)} arguments, the pattern {count}"
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
        if swappable and graph.ops.kind[node] in _COMMUTATIVE:
            for k, arg in todo:
                if not arg(state, given[-1 - k]):
                    break
            else:
                return True
            if len(state.trail) > mark:
                state.undo(mark)
        return False

    return run


def _or(compiler: Compiler, pattern: Any) -> Matcher | None:
    left, right = compiler.visit(pattern.left), compiler.visit(pattern.right)
    if left is None:
        return None

    def run(state: MatchState, ref: ValueRef) -> bool:
        return left(state, ref) or right is None or right(state, ref)

    return run


def _and(compiler: Compiler, pattern: Any) -> Matcher | None:
    left, right = compiler.visit(pattern.left), compiler.visit(pattern.right)
    if left is None or right is None:
        return right if left is None else left

    def run(state: MatchState, ref: ValueRef) -> bool:
        mark = len(state.trail)
        if left(state, ref):
            if right(state, ref):
                return True
            state.undo(mark)
        return False

    return run


def _not(compiler: Compiler, pattern: Any) -> Matcher:
    first = len(compiler.calls)
    inner = compiler.visit(pattern.reject)
    del compiler.calls[first:]  # what must not be there is no part of the match
    text = brief(pattern.reject)

    def run(state: MatchState, ref: ValueRef) -> bool:
        mark = len(state.trail)
        note, state.note = state.note, None
        fits = inner is None or inner(state, ref)
        state.undo(mark)
        state.note = note
        return not fits or (note is not None and state.miss(f"{_what(state, ref)} is {text}"))

    return run


def _tuple(compiler: Compiler, pattern: Any) -> Matcher:
    fields = [compiler.visit(f) for f in pattern.fields]

    def run(state: MatchState, ref: ValueRef) -> bool:
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


def _unordered_tuple(compiler: Compiler, pattern: Any) -> Matcher:
    fields = [compiler.visit(f) for f in pattern.fields]

    def fit(state: MatchState, k: int, left: tuple[ValueRef, ...]) -> bool:
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

    def run(state: MatchState, ref: ValueRef) -> bool:
        if type(ref) is tuple and len(ref) == len(fields) and fit(state, 0, ref):
            return True
        return state.note is not None and state.miss(
            f"{_what(state, ref)} is not a tuple of these {len(fields)}"
        )

    return run


def _tuple_get_item(compiler: Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.tuple)
    index = int(pattern.index)

    def run(state: MatchState, ref: ValueRef) -> bool:
        home = state.graph.values.field_of.get(ref) if type(ref) is int else None
        if home is not None and index in (-1, home[1]):
            return inner is None or inner(state, home[0])
        return state.note is not None and state.miss(
            f"{_what(state, ref)} is not field {index} of a tuple"
        )

    return run


def _both(inner: Matcher | None, test: Matcher) -> Matcher:
    """Fits when `inner` fits and `test`, which binds nothing, holds."""

    def run(state: MatchState, ref: ValueRef) -> bool:
        return test(state, ref) and (inner is None or inner(state, ref))

    return run


def _attrs(compiler: Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.pattern)
    wanted = {str(k): pattern.attrs[k] for k in pattern.attrs.keys()}  # noqa: SIM118

    def test(state: MatchState, ref: ValueRef) -> bool:
        graph = state.graph
        node = graph.values.producer[ref] if type(ref) is int else -1
        if node < 0 or graph.ops.result[node] != ref or graph.ops.infos[node] is None:
            return state.note is not None and state.miss(f"{_what(state, ref)} has no attributes")
        found = graph.node(node).attrs
        for key, value in wanted.items():
            expected = graph.decoder.attr(value)
            if key not in found or found[key] != expected:
                return state.note is not None and state.miss(
                    f"attribute {key} of {graph.ops.kind[node]} is {found.get(key)!r}, "
                    f"not {expected!r}"
                )
        return True

    return _both(inner, test)


def _dtype(compiler: Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.pattern)
    wanted = pattern.dtype

    def test(state: MatchState, ref: ValueRef) -> bool:
        found = state.graph.values.types[ref] if type(ref) is int else None
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


def _raw_type(state: MatchState, ref: ValueRef) -> Any:
    """TVM's type of a ref, None when it has none."""
    if type(ref) is int:
        source = state.graph.values.typed_by[ref]
        return getattr(source, "ty", source)
    return ref.expr.ty if type(ref) is RawArg else None


def _shape(compiler: Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.pattern)
    wanted = list(pattern.shape)
    static = _static_dims(wanted)

    def test(state: MatchState, ref: ValueRef) -> bool:
        found = state.graph.values.types[ref] if type(ref) is int else None
        if found is not None and static is not None and found.is_static:
            fits = found.shape == static
        else:
            shape = getattr(_raw_type(state, ref), "shape", None)
            fits = isinstance(shape, relax.ShapeExpr) and _proves_equal(wanted, items(shape.values))
        if fits:
            return True
        return state.note is not None and state.miss(
            f"shape of {_what(state, ref)} is not {_shape_text(wanted)}"
        )

    return _both(inner, test)


def _prim_array(_compiler: Compiler, pattern: Any) -> Matcher:
    wanted = list(pattern.fields)

    def run(state: MatchState, ref: ValueRef) -> bool:
        expr = ref.expr if type(ref) is RawArg else None
        if isinstance(expr, relax.ShapeExpr) and _proves_equal(wanted, items(expr.values)):
            return True
        return state.note is not None and state.miss(
            f"{_what(state, ref)} is not the shape {_shape_text(wanted)}"
        )

    return run


def _typed(compiler: Compiler, pattern: Any) -> Matcher:
    inner = compiler.visit(pattern.pattern)
    wanted = pattern.ty

    def test(state: MatchState, ref: ValueRef) -> bool:
        found = _raw_type(state, ref)
        if found is not None and wanted.is_base_of(found):
            return True
        return state.note is not None and state.miss(f"type of {_what(state, ref)} is not {wanted}")

    return _both(inner, test)


def _what(state: MatchState, ref: ValueRef) -> str:
    """A ref in words, for reasons."""
    if type(ref) is tuple:
        return f"a tuple of {len(ref)}"
    if type(ref) is not int:
        return "an argument that is no tensor"
    node = state.graph.values.producer[ref]
    if node >= 0:
        return f"{state.graph.named(node)}"
    if ref in state.graph.values.constants:
        return "a constant"
    return f"input {getattr(state.graph.values.typed_by[ref], 'name', '?')}"


WRAPPERS = (dpl.AttrPattern, dpl.DataTypePattern, dpl.ShapePattern, dpl_pattern.TypePattern)


READERS: dict[type, Callable[[Compiler, Any], Matcher | None]] = {
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

LEGAL_KINDS: tuple[str, ...] = tuple(kind.__name__ for kind in READERS)
"""Kinds of pattern a vendor may use."""
