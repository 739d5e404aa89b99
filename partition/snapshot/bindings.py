"""What the snapshot of a function is made of (see graph.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Union

__all__ = ["ESCAPE", "Binding", "BindingScope", "OpInfo", "RawArg", "ValueRef", "flatten"]

ESCAPE = -1
"""The user of a value that leaves its function or branch as (part of) the result."""


class RawArg:
    """An argument that is no tensor: a shape, a number, a data type, a function."""

    __slots__ = ("expr",)

    def __init__(self, expr: Any) -> None:
        self.expr = expr


ValueRef = Union[int, tuple["ValueRef", ...], RawArg]  # noqa: UP007 - recursive, evaluated on Python 3.10


def flatten(ref: ValueRef) -> Iterator[int]:
    """The value ids in a ref, in order."""
    if type(ref) is int:
        yield ref
    elif type(ref) is tuple:
        for inner in ref:
            yield from flatten(inner)


@dataclass(slots=True)
class OpInfo:
    """What is known about an operator: once per operator, not per call."""

    name: str
    arguments: tuple[str, ...]
    host: bool
    """No vendor can take it: it calls a function, or has a side effect."""
    pure: bool


@dataclass(slots=True)
class Binding:
    """One binding: its variable's handle, its node or -1 when it is only another name, the
    handles of the variables it reads, what it stands for.
    """

    binding: Any
    key: int
    node: int
    reads: tuple[int, ...]
    ref: ValueRef


@dataclass(slots=True)
class BindingScope:
    """One binding block. `holder`: index of the SeqExpr it belongs to."""

    block: Any
    dataflow: bool
    entries: list[Binding] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    escaping: set[int] = field(default_factory=set)
    """Handles of variables that are read outside the block."""
