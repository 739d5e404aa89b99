"""What a piece of a model's source computes: a graph of values, each with the place it is written.

    scores = q @ k.transpose(-2, -1)         matmul(input q, transpose(input k, -2, -1))
    return scores.softmax(-1) @ v            matmul(softmax(…, -1), input v)

Names of variables, aliases of modules, calls of a class's own methods and the order of statements
are gone; that is what lets a rule written in one style find code written in another.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Frame", "SourceValue", "constant", "same", "walk"]


@dataclass(eq=False)
class Frame:
    """One function as it is being read.

    Attributes:
        function: its syntax tree.
        owner: the method's class, as `byoc.adopt.source` knows it; None of a plain function.
        file: the file that it is written in.
        names: what each local name holds now.
        before: statement → what each local name held before it.
        assigned: statement → what it gave to names.
        reads: a name in the source → the value that was read there.
        returns: what it returns, in the order of the source.
        depth: how many calls lie between it and the function that is analysed.
    """

    function: Any
    owner: Any
    file: Any
    names: dict[str, SourceValue] = field(default_factory=dict)
    before: dict[int, dict[str, SourceValue]] = field(default_factory=dict)
    assigned: dict[int, list[SourceValue]] = field(default_factory=dict)
    reads: dict[int, SourceValue] = field(default_factory=dict)
    returns: list[SourceValue] = field(default_factory=list)
    depth: int = 0


@dataclass(eq=False)
class SourceValue:
    """One value.

    Attributes:
        op: what makes it: "matmul", "const", "input", "layer", …
        args: what it is made of.
        detail: what is no value: a constant, the name of a layer or attribute, keywords.
        expr: where it is written: an expression, or a statement such as ``x *= 2``.
        statement: the statement that `expr` is in.
        frame: the function that `expr` is in.
        context: the ``with`` blocks around it.
        tainted: it, or what it shares memory with, is changed in place.
    """

    op: str
    args: tuple[SourceValue, ...] = ()
    detail: Any = None
    expr: ast.AST | None = None
    statement: ast.stmt | None = None
    frame: Frame | None = None
    context: tuple[int, ...] = ()
    tainted: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it is a constant number."""
        return self.op == "const" and type(self.detail) in (int, float)


def constant(value: Any, expr: ast.AST | None = None) -> SourceValue:
    """Return a constant."""
    return SourceValue("const", (), value, expr)


_UNIQUE = {"opaque", "carried", "item", "input", "meta", "loopvar", "call", "dropout"}


def same(a: SourceValue, b: SourceValue, most: int = 200) -> bool:
    """Return whether two values are the same whatever the inputs are.

    Args:
        a: One.
        b: The other.
        most: How many values are compared at most.
    """
    left = [(a, b)]
    while left:
        a, b = left.pop()
        if a is b:
            continue
        most -= 1
        if most < 0 or a.op != b.op or a.op in _UNIQUE or a.tainted or b.tainted:
            return False
        if len(a.args) != len(b.args) or type(a.detail) is not type(b.detail):
            return False
        if a.detail != b.detail:
            return False
        left += zip(a.args, b.args, strict=True)
    return True


def walk(root: SourceValue) -> Iterator[SourceValue]:
    """Yield a value and all that it is made of, each once."""
    seen: set[int] = set()
    left = [root]
    while left:
        value = left.pop()
        if id(value) not in seen:
            seen.add(id(value))
            yield value
            left += value.args
