"""What the tables of a snapshot are made of: references, operators, bindings and their blocks.

`walk.py` makes these values while it reads a function. The matcher needs references, outlining
needs bindings to write the function again; so they stand beside the tables, not inside of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Union

__all__ = ["ESCAPE", "BindingScope", "BlockBinding", "OpInfo", "RawArg", "ValueRef", "flatten"]

ESCAPE = -1
"""The user of a value that leaves its function or branch as (part of) the result."""


class RawArg:
    """An argument that is no tensor: a shape, a number, a data type, a function.

    Attributes:
        expr: the TVM expression; decoded only when attributes are asked for.
    """

    __slots__ = ("expr",)

    def __init__(self, expr: Any) -> None:
        self.expr = expr


# Recursive, and evaluated on Python 3.10.
ValueRef = Union[int, tuple["ValueRef", ...], RawArg]  # noqa: UP007
"""What an argument stands for: the number of a value, a tuple of references, or no tensor."""


def flatten(ref: ValueRef) -> Iterator[int]:
    """Yield the values in a reference, tuples flattened, in order."""
    if type(ref) is int:
        yield ref
    elif type(ref) is tuple:
        for inner in ref:
            yield from flatten(inner)


@dataclass(slots=True)
class OpInfo:
    """What is known about an operator: made once per operator, not per call.

    Attributes:
        name: Relax name without prefix.
        arguments: names of its arguments, in order.
        host: no vendor can take it: it calls a function, or has a side effect.
        pure: it has no side effect.
    """

    name: str
    arguments: tuple[str, ...]
    host: bool
    pure: bool


@dataclass(slots=True)
class BlockBinding:
    """One binding of a block, as the snapshot reads it.

    Attributes:
        relax: TVM's binding (VarBinding or MatchCast).
        key: handle of the variable that is bound.
        node: the op it computes; -1 when the variable is only another name.
        reads: handles of the variables it reads.
        ref: what the variable stands for.
    """

    relax: Any
    key: int
    node: int
    reads: tuple[int, ...]
    ref: ValueRef


@dataclass(slots=True)
class BindingScope:
    """One binding block of the function or of a branch.

    Attributes:
        block: TVM's block.
        dataflow: whether it is a DataflowBlock.
        bindings: in order.
        nodes: the ops among them, in order, which is topological.
        escaping: handles of variables that are read outside the block.
    """

    block: Any
    dataflow: bool
    bindings: list[BlockBinding] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    escaping: set[int] = field(default_factory=set)
