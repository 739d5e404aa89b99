"""Finds a rule's values among those of a function: unification of graphs, with backtracking.

    rule      matmul(softmax(mul(matmul(q, mT(k)), scale)), v)          q, k, scale, v stand for any
    function  matmul(softmax(mul(0.5, matmul(a, mT(b)))), layer("v", x))

Both operands' orders of sums, products and comparisons are tried. A value that two places of the
rule share must be one value, or two that are equal whatever the inputs are (`same`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from byoc.adopt.values import SourceValue, same

__all__ = ["Unified", "unify"]

_COMMUTATIVE = {"add", "mul", "eq", "ne", "maximum", "minimum"}
_CHAINS = {"add", "mul"}
_MOST_STEPS = 4000


@dataclass(frozen=True)
class Unified:
    """What the parts of a rule stand for.

    Attributes:
        inputs: Name of a parameter → value.
        layers: Attribute of the rule → attribute of the class.
        nodes: The rule's inner values, by identity → value.
        inside: Identities of the values that the rule computes.
    """

    inputs: Mapping[str, SourceValue]
    layers: Mapping[str, str]
    nodes: Mapping[int, SourceValue]
    inside: frozenset[int]


EMPTY = Unified({}, {}, {}, frozenset())


def unify(
    root: SourceValue, value: SourceValue, layers: Mapping[str, SourceValue],
    known: Mapping[str, SourceValue], bound: Unified = EMPTY,
) -> Iterator[Unified]:  # fmt: skip
    """Yield every way in which a value is what a rule's root describes.

    Args:
        root: Of the rule.
        value: Of the function.
        layers: What the rule's ``__init__`` says.
        known: What the class's ``__init__`` says.
        bound: What is bound already.
    """
    yield from _Search(layers, known).values(root, value, bound)


class _Search:
    def __init__(self, layers: Mapping[str, SourceValue], known: Mapping[str, SourceValue]) -> None:
        self._layers = layers
        self._known = known
        self._left = _MOST_STEPS

    def values(self, p: SourceValue, t: SourceValue, bound: Unified) -> Iterator[Unified]:
        self._left -= 1
        if self._left < 0 or t.tainted:
            return
        if p.op != t.op and p.op != "input":
            return
        if p.op == "input":
            yield from self._input(p, t, bound)
            return
        if id(p) in bound.nodes:
            first = bound.nodes[id(p)]
            if first is t or same(first, t):
                yield Unified(
                    bound.inputs,
                    bound.layers,
                    bound.nodes,
                    bound.inside | _all_inside(first, t, bound),
                )
            return
        if p.op == "const":
            if t.op == "const" and _equal(p.detail, t.detail):
                yield bound
            return
        if p.op == "self":
            if t.op == "self":
                yield bound
            return
        if p.op == "layer":
            for more in self._layer(p, t, bound):
                yield from self._args(p.args, t.args, _with(more, p, t))
            return
        if p.op == "attr" and p.args[0].op == "self" and p.detail in self._layers:
            if t.args[0].op == "self":
                for more in self._layer(p, t, bound):
                    yield _with(more, p, t)
            return
        if p.detail != t.detail and p.op not in ("loopvar",):
            return
        if p.op in _CHAINS:
            yield from self._chain(p, t, bound)
            return
        here = _with(bound, p, t)
        yield from self._args(p.args, t.args, here)
        if p.op in _COMMUTATIVE and len(p.args) == len(t.args) == 2:
            yield from self._args(p.args, t.args[::-1], here)

    def _args(
        self, ps: tuple[SourceValue, ...], ts: tuple[SourceValue, ...], bound: Unified
    ) -> Iterator[Unified]:
        if len(ps) != len(ts):
            return
        if not ps:
            yield bound
            return
        for more in self.values(ps[0], ts[0], bound):
            yield from self._args(ps[1:], ts[1:], more)

    def _chain(self, p: SourceValue, t: SourceValue, bound: Unified) -> Iterator[Unified]:
        """a · b · c in any order and grouping."""
        wanted = _operands(p, p.op, [])
        inner: list[SourceValue] = []
        found = _operands(t, p.op, inner, len(wanted))
        if len(wanted) != len(found):
            return
        here = _with(bound, p, t)
        inside = here.inside | {id(v) for v in inner}
        here = Unified(here.inputs, here.layers, here.nodes, inside)
        yield from self._any_order(sorted(wanted, key=lambda w: w.op == "input"), found, here)

    def _any_order(
        self, ps: list[SourceValue], ts: list[SourceValue], bound: Unified
    ) -> Iterator[Unified]:
        if not ps:
            yield bound
            return
        for number, t in enumerate(ts):
            for more in self.values(ps[0], t, bound):
                yield from self._any_order(ps[1:], ts[:number] + ts[number + 1 :], more)

    def _input(self, p: SourceValue, t: SourceValue, bound: Unified) -> Iterator[Unified]:
        name, kind = p.detail
        if name in bound.inputs:
            if same(bound.inputs[name], t):
                yield bound
            return
        kind = kind.strip("\"'")
        if kind == "number" and not is_python_number(t, self._known):
            return
        if kind == "constant" and not _is_constant(t):
            return
        yield Unified({**bound.inputs, name: t}, bound.layers, bound.nodes, bound.inside)

    def _layer(self, p: SourceValue, t: SourceValue, bound: Unified) -> Iterator[Unified]:
        if not isinstance(p.detail, str) or not isinstance(t.detail, str):
            return
        if p.detail == "":
            if t.detail == "":
                yield bound
            return
        mine = bound.layers.get(p.detail)
        if mine is not None:
            if mine == t.detail:
                yield bound
            return
        if t.detail in bound.layers.values() or t.detail not in self._known:
            return
        more = Unified(
            bound.inputs, {**bound.layers, p.detail: t.detail}, bound.nodes, bound.inside
        )
        yield from self._definition(p.detail, t.detail, more)

    def _definition(self, wanted: str, name: str, bound: Unified) -> Iterator[Unified]:
        if wanted in self._layers and name in self._known:
            yield from self.values(self._layers[wanted], self._known[name], bound)


def _with(bound: Unified, p: SourceValue, t: SourceValue) -> Unified:
    return Unified(bound.inputs, bound.layers, {**bound.nodes, id(p): t}, bound.inside | {id(t)})


def _all_inside(first: SourceValue, other: SourceValue, bound: Unified) -> frozenset[int]:
    """Of a value that is written twice: what is inside of the first, is inside of the other."""
    if first is other:
        return frozenset()
    found, left = set(), [(first, other)]
    while left:
        a, b = left.pop()
        if id(a) in bound.inside and a is not b:
            found.add(id(b))
            left += zip(a.args, b.args, strict=True)
    return frozenset(found)


def _operands(
    value: SourceValue, op: str, inner: list[SourceValue], most: int = 6
) -> list[SourceValue]:
    """The operands of a chain; products inside are opened from the left as far as is needed."""
    found = list(value.args)
    while len(found) < most:
        for number, part in enumerate(found):
            if part.op == op and not part.tainted:
                inner.append(part)
                found[number : number + 1] = part.args
                break
        else:
            break
    return found


def _equal(a: object, b: object) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or not (_number(a) and _number(b)):
        return type(a) is type(b) and a == b
    assert isinstance(a, (int, float)) and isinstance(b, (int, float))
    return a == b or math.isclose(a, b, rel_tol=2e-6)


def _number(value: object) -> bool:
    return isinstance(value, (int, float))


def is_python_number(value: SourceValue, known: Mapping[str, SourceValue], depth: int = 0) -> bool:
    """Return whether a value is a number of Python's, not a tensor, as far as its source tells.

    Args:
        value: The value.
        known: What ``__init__`` says of each attribute.
        depth: How deep this question is in another.
    """
    if depth > 12:
        return False
    if value.op == "const":
        return value.is_number
    if value.op in ("add", "sub", "mul", "div", "pow", "floordiv", "neg", "sqrt", "rsqrt", "square",
                    "python.int", "python.float"):  # fmt: skip
        if value.op in ("python.int", "python.float"):
            return True
        if value.op == "sqrt" and value.expr is not None and _is_math(value):
            return True
        return all(is_python_number(v, known, depth + 1) for v in value.args)
    if value.op == "index":
        return value.args[0].op == "attr" and value.args[0].detail == "shape"
    if value.op == "item":
        return value.args[0].op == "attr" and value.args[0].detail == "shape"
    if value.op == "python.len":
        return True
    if value.op == "attr":
        base = value.args[0]
        if base.op == "self":
            defined = known.get(value.detail)
            return defined is not None and is_python_number(defined, known, depth + 1)
        return (base.op == "input" and _in_init(base)) or (base.op == "attr" and _of_config(base))
    if value.op == "input":
        return _in_init(value)
    return False


def _is_math(value: SourceValue) -> bool:
    import ast

    node = value.expr
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            isinstance(node.func.value, ast.Name) and node.func.value.id in ("math", "np", "numpy")
        )
    )


def _in_init(value: SourceValue) -> bool:
    return value.frame is not None and getattr(value.frame.function, "name", "") == "__init__"


def _of_config(value: SourceValue) -> bool:
    return value.detail == "config" and value.args[0].op == "self"


_MOVES = {"to", "type", "type_as", "cuda", "cpu", "expand", "expand_as"}


def _is_constant(value: SourceValue) -> bool:
    """Whether a tensor is made of the module's own, and of sizes, alone."""
    has_own = False
    left = [value]
    while left:
        v = left.pop()
        if v.op == "attr" and v.detail in ("shape", "device", "dtype"):
            continue
        if v.op == "method" and v.detail[0] in _MOVES:
            left.append(v.args[0])
            continue
        if v.op in ("input", "call", "layer", "opaque", "carried", "loopvar", "method", "phi"):
            return False
        if v.op == "attr" and v.args[0].op == "self":
            has_own = True
            continue
        if v.op == "construct" and v.detail[0].startswith("torch."):
            has_own = True
        left += v.args
    return has_own
