"""Reads a function into values: expressions.

    self.norm(x)             layer("norm", x); what the layer is stands in `__init__`
    [f(h) for h in heads]    collect(heads, f(loopvar)), and so is a list that a loop appends to

What is not understood is a value of its own that equals nothing ("opaque"), so that a rule can
never match across it.
"""

from __future__ import annotations

import ast
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from byoc.adopt.operators import (
    arrange,
    canonical,
)
from byoc.adopt.source import ClassSource, SourceFile
from byoc.adopt.values import Frame, SourceValue, constant

__all__ = ["Reader", "root_name", "taint"]

_MOST_VALUES = 8_000  # of one function
_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.MatMult: "matmul",
           ast.Pow: "pow", ast.FloorDiv: "floordiv", ast.Mod: "mod"}  # fmt: skip
_COMPARE = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.Gt: "gt", ast.LtE: "le", ast.GtE: "ge",
            ast.Is: "is", ast.IsNot: "isnot"}  # fmt: skip


class Reader(ABC):
    """What one function of a class, or a plain function, computes.

    Args:
        file: Where it is written.
        owner: The class whose attributes ``self`` has; None for a plain function.
        layers: What ``__init__`` says of each attribute.
    """

    def __init__(
        self,
        file: SourceFile,
        owner: ClassSource | None,
        layers: Mapping[str, SourceValue] | None = None,
    ) -> None:
        self.file = file
        self.owner = owner
        self.layers = dict(layers or {})
        self.values: list[SourceValue] = []
        self.sinks: list[SourceValue] = []
        self.stored: dict[str, SourceValue] = {}
        self.places: dict[str, tuple[ast.stmt, Frame]] = {}
        self.context: tuple[int, ...] = ()
        self.statement: ast.stmt | None = None

    # Values.

    def make(
        self,
        op: str,
        args: tuple[SourceValue, ...] = (),
        detail: object = None,
        expr: ast.AST | None = None,
        frame: Frame | None = None,
    ) -> SourceValue:
        """Return a new value that is written at `expr`."""
        value = SourceValue(op, args, detail, expr, self.statement, frame, self.context)
        self.values.append(value)
        return value

    def number(self, value: object, expr: ast.AST, frame: Frame) -> SourceValue:
        """Return a constant that is written at `expr`."""
        return SourceValue("const", (), value, expr, self.statement, frame, self.context)

    def opaque(
        self, *args: SourceValue, expr: ast.AST | None = None, frame: Frame | None = None
    ) -> SourceValue:
        """Return a value of which nothing is known but what it is made of."""
        return self.make("opaque", args, None, expr, frame)

    def operation(
        self,
        op: str,
        args: list[SourceValue],
        keywords: Mapping[str, SourceValue],
        expr: ast.AST,
        frame: Frame,
    ) -> SourceValue:
        """Return an operation in its one spelling."""
        found = arrange(op, args, keywords)
        if found is None:
            return self.opaque(*args, *keywords.values(), expr=expr, frame=frame)
        placed, extra = found
        if op == "contiguous":
            return placed[0]
        op, placed = canonical(op, placed, extra)
        return self.make(op, placed, extra or None, expr, frame)

    def binary(
        self, op: str, a: SourceValue, b: SourceValue, expr: ast.AST, frame: Frame
    ) -> SourceValue:
        """Return an operation of two values; of constants, the constant."""
        if a.is_number and b.is_number:
            try:
                value = _fold(op, a.detail, b.detail)
            except (ArithmeticError, ValueError):
                value = None
            if isinstance(value, (int, float)):
                return self.number(value, expr, frame)
        if op == "pow":
            return self.operation("pow", [a, b], {}, expr, frame)
        op, args = canonical(op, (a, b), ())
        return self.make(op, args, None, expr, frame)

    # Expressions.

    def expression(self, node: ast.expr, frame: Frame) -> SourceValue:
        """Return the value of an expression."""
        if len(self.values) > _MOST_VALUES:
            return self.opaque(expr=node, frame=frame)
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is not None:
            found: SourceValue = method(node, frame)
            return found
        args = [
            self.expression(c, frame) for c in ast.iter_child_nodes(node) if isinstance(c, ast.expr)
        ]
        return self.opaque(*args, expr=node, frame=frame)

    def _constant(self, node: ast.Constant, frame: Frame) -> SourceValue:
        return self.number(node.value, node, frame)

    def _name(self, node: ast.Name, frame: Frame) -> SourceValue:
        if node.id in frame.names:
            value = frame.names[node.id]
            frame.reads[id(node)] = value
            return value
        full = frame.file.qualified(node)
        return self.make("name", (), full or f"<{node.id}>", node, frame)

    def _attribute(self, node: ast.Attribute, frame: Frame) -> SourceValue:
        full = frame.file.qualified(node)
        if full is not None and root_name(node) not in frame.names:
            if full in ("math.inf", "torch.inf", "numpy.inf"):
                return constant(math.inf, node)
            if full == "math.pi":
                return constant(math.pi, node)
            return self.make("name", (), full, node, frame)
        base = self.expression(node.value, frame)
        in_init = getattr(frame.function, "name", "") == "__init__"
        if base.op == "self" and in_init and node.attr in self.stored:
            return self.stored[node.attr]
        if node.attr == "mT":
            return self.make("mT", (base,), None, node, frame)
        return self.make("attr", (base,), node.attr, node, frame)

    def _binop(self, node: ast.BinOp, frame: Frame) -> SourceValue:
        a, b = self.expression(node.left, frame), self.expression(node.right, frame)
        op = _BINARY.get(type(node.op))
        if op is None:
            return self.opaque(a, b, expr=node, frame=frame)
        return self.binary(op, a, b, node, frame)

    def _unaryop(self, node: ast.UnaryOp, frame: Frame) -> SourceValue:
        value = self.expression(node.operand, frame)
        if isinstance(node.op, ast.USub):
            if value.is_number:
                return self.number(-value.detail, node, frame)
            return self.make("neg", (value,), None, node, frame)
        if isinstance(node.op, (ast.Invert, ast.Not)):
            op = "not" if isinstance(node.op, ast.Invert) else "isfalse"
            return self.make(op, (value,), None, node, frame)
        return value

    def _compare(self, node: ast.Compare, frame: Frame) -> SourceValue:
        args = [self.expression(c, frame) for c in (node.left, *node.comparators)]
        op = _COMPARE.get(type(node.ops[0]))
        if op is None or len(args) != 2:
            return self.opaque(*args, expr=node, frame=frame)
        return self.make(op, tuple(args), None, node, frame)

    def _ifexp(self, node: ast.IfExp, frame: Frame) -> SourceValue:
        args = tuple(self.expression(c, frame) for c in (node.test, node.body, node.orelse))
        return self.make("phi", args, None, node, frame)

    def _tuple(self, node: ast.Tuple, frame: Frame) -> SourceValue:
        return self._sequence("tuple", node, frame)

    def _list(self, node: ast.List, frame: Frame) -> SourceValue:
        return self._sequence("list", node, frame)

    def _sequence(self, op: str, node: ast.Tuple | ast.List, frame: Frame) -> SourceValue:
        return self.make(op, tuple(self.expression(c, frame) for c in node.elts), None, node, frame)

    def _subscript(self, node: ast.Subscript, frame: Frame) -> SourceValue:
        base = self.expression(node.value, frame)
        index = self.expression(node.slice, frame)
        whole = index.op == "const" and type(index.detail) is int and base.op in ("tuple", "list")
        if whole and -len(base.args) <= index.detail < len(base.args):
            part: SourceValue = base.args[index.detail]
            return part
        places = index.args if index.op == "tuple" else (index,)
        new = _new_axis(places)
        if new is not None:
            return self.make("unsqueeze", (base, constant(new)), None, node, frame)
        return self.make("index", (base, *places), None, node, frame)

    def _slice(self, node: ast.Slice, frame: Frame) -> SourceValue:
        parts = (node.lower, node.upper, node.step)
        args = tuple(self.expression(p, frame) if p else constant(None) for p in parts)
        return self.make("slice", args, None, node, frame)

    def _starred(self, node: ast.Starred, frame: Frame) -> SourceValue:
        return self.make("star", (self.expression(node.value, frame),), None, node, frame)

    def _lambda(self, node: ast.Lambda, frame: Frame) -> SourceValue:
        return self.opaque(expr=node, frame=frame)

    def _namedexpr(self, node: ast.NamedExpr, frame: Frame) -> SourceValue:
        value = self.expression(node.value, frame)
        frame.names[node.target.id] = self.opaque(value, expr=node, frame=frame)
        return frame.names[node.target.id]

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp, frame: Frame) -> SourceValue:
        generator = node.generators[0]
        over = self.expression(generator.iter, frame)
        names = frame.names
        frame.names = dict(names)
        try:
            variable = self.bind_loop(generator.target, over, frame)
            body = self.expression(node.elt, frame)
            more = [self.expression(i, frame) for i in generator.ifs]
            if len(node.generators) > 1 or more or variable is None or generator.is_async:
                return self.opaque(over, body, *more, expr=node, frame=frame)
        finally:
            frame.names = names
        return self.make("collect", (over, variable, body), None, node, frame)

    _generatorexp = _listcomp

    def bind_loop(self, target: ast.expr, over: SourceValue, frame: Frame) -> SourceValue | None:
        """Give a loop's names their values; return its variable, None where it has several."""
        if isinstance(target, ast.Name):
            frame.names[target.id] = self.make("loopvar", (over,), None, target, frame)
            return frame.names[target.id]
        if isinstance(target, ast.Tuple) and all(isinstance(t, ast.Name) for t in target.elts):
            variable = self.make("loopvar", (over,), None, target, frame)
            for number, name in enumerate(target.elts):
                assert isinstance(name, ast.Name)
                frame.names[name.id] = self.make("pick", (variable,), number, name, frame)
            return variable
        for child in ast.walk(target):
            if isinstance(child, ast.Name):
                frame.names[child.id] = self.opaque(over, expr=target, frame=frame)
        return None

    @abstractmethod
    def _call(self, node: ast.Call, frame: Frame) -> SourceValue:
        """What a call is; `byoc.adopt.calls` says how."""


def taint(value: SourceValue) -> None:
    """Say that a value is changed in place: it, and what it may share memory with."""
    while True:
        value.tainted = True
        if value.op not in (
            "reshape",
            "transpose",
            "mT",
            "permute",
            "index",
            "unsqueeze",
            "chunk",
            "split",
            "method",
            "item",
        ):
            return
        value = value.args[0]


def _fold(op: str, a: float, b: float) -> object:
    if op == "pow" and (abs(a) > 1e6 or abs(b) > 64):
        return None
    table: dict[str, Callable[[], float]] = {
             "add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b, "div": lambda: a / b,
             "pow": lambda: a**b, "floordiv": lambda: a // b}  # fmt: skip
    return table[op]() if op in table else None


def _new_axis(places: tuple[SourceValue, ...]) -> int | None:
    """The axis that ``[:, None]`` and the like add; None where they do anything else."""

    def whole(place: SourceValue) -> bool:
        return place.op == "slice" and all(p.detail is None and p.op == "const" for p in place.args)

    news = [n for n, p in enumerate(places) if p.op == "const" and p.detail is None]
    dots = [n for n, p in enumerate(places) if p.op == "const" and p.detail is ...]
    if len(news) != 1 or not all(whole(p) for n, p in enumerate(places) if n not in (*news, *dots)):
        return None
    if not dots:
        return news[0]
    return news[0] - len(places) if dots == [0] else None


def root_name(node: ast.expr) -> str:
    """Return the name that a dotted name begins with, "" for none."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
