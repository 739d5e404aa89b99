"""The syntax tree of a Relay module: what the text reader and the JSON reader both deliver.

    Module ── functions: name → Function(params, body: LetBlock, attrs)
    LetBlock  ── bindings (name, expression) in order, then the result
    Expr   ── Local, Global, OperatorName, Constant, Meta, Call, Tuple, Project, If, Function,
              LetBlock

A node knows its place in the file (`At`) and how deep it is nested; trees deeper than `MAX_DEPTH`
are refused while they are made, so that walks over them may recurse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from byoc.errors import ModelError
from byoc.segment import Array

__all__ = [
    "MAX_DEPTH",
    "Absent",
    "At",
    "Call",
    "Constant",
    "Expr",
    "Function",
    "Global",
    "If",
    "LetBinding",
    "LetBlock",
    "Local",
    "Meta",
    "Module",
    "OperatorName",
    "OtherType",
    "Param",
    "PlaceError",
    "Project",
    "RelayTensorType",
    "Tuple",
    "TupleType",
    "Type",
    "known_dtype",
    "nested",
]

MAX_DEPTH = 100
"""How deep expressions may be nested; text that TVM printed nests a handful deep."""


class At(NamedTuple):
    """A place in a file: line and column from 1; where column is 0, line is a JSON node."""

    line: int
    column: int = 0

    def __str__(self) -> str:
        return f"{self.line}:{self.column}" if self.column else f"node {self.line}"


@dataclass(frozen=True, slots=True)
class RelayTensorType:
    """A tensor; None stands for a dimension of any size. dtype as numpy spells it."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class TupleType:
    """A tuple."""

    fields: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class OtherType:
    """A type that holds no tensors: a function, a reference, an algebraic data type."""

    text: str


Type: TypeAlias = "RelayTensorType | TupleType | OtherType | None"
"""None: left to inference."""

Attrs: TypeAlias = "Mapping[str, Any]"
"""Attribute → number, text, bool, None, a list or dict of these, or an array."""


@dataclass(frozen=True, slots=True)
class Local:
    """A variable, `%name`.

    Attributes:
        hint: How messages and results spell it.
    """

    name: str
    at: At
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Global:
    """A function of the module, `@name`."""

    name: str
    at: At
    depth: int = 0


@dataclass(frozen=True, slots=True)
class OperatorName:
    """An operator's name."""

    name: str
    at: At
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor known at compile time."""

    array: Array
    at: At
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Meta:
    """`meta[key][index]`, an entry of the metadata section, as an expression or an attribute."""

    key: str
    index: int
    at: At
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Absent:
    """A construct without a place in Relax, refused only when it is reached.

    Attributes:
        reason: What it is, for the message.
    """

    reason: str
    at: At
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """`callee(args, attributes)`.

    Attributes:
        source: The name that the model's first framework gave it.
    """

    callee: Expr
    args: tuple[Expr, ...]
    attrs: Attrs
    at: At
    depth: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class Tuple:
    """`(a, b)`."""

    fields: tuple[Expr, ...]
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class Project:
    """`tuple.index`."""

    value: Expr
    index: int
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class If:
    """`if (condition) { … } else { … }`."""

    condition: Expr
    then: LetBlock
    other: LetBlock
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a function.

    Attributes:
        name: Its key in scopes.
        label: As the file spells it.
    """

    name: str
    type: Type
    at: At
    label: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function; attrs hold Composite and Compiler of functions made for a vendor."""

    params: tuple[Param, ...]
    body: LetBlock
    attrs: Attrs
    at: At
    depth: int


@dataclass(frozen=True, slots=True)
class LetBinding:
    """`name = value` before the rest of a block.

    Attributes:
        label: The name as the file spells it.
        once: True when a second binding of the name in the same block is an error (`%0 = …`, not
            `let`).
    """

    name: str
    value: Expr
    at: At
    label: str
    once: bool = True


@dataclass(frozen=True, slots=True)
class LetBlock:
    """Bindings, then the value of the whole."""

    bindings: tuple[LetBinding, ...]
    result: Expr
    at: At
    depth: int


@dataclass(frozen=True)
class Module:
    """A Relay module: functions by name.

    Attributes:
        where: The file, as messages begin.
        metadata: Type key → the section's entries (arrays, and attributes as plain values); None
            when the text has no such section.
        version: Of the TVM that wrote the file, where it tells.
    """

    functions: Mapping[str, Function]
    where: str
    metadata: Mapping[str, list[Any]] | None = None
    version: str = ""


Expr: TypeAlias = (
    "Local | Global | OperatorName | Constant | Meta | Absent | Call | Tuple | Project | If"
    " | Function | LetBlock"
)


class PlaceError(Exception):
    """Something is wrong at a place of the file; readers put the file's name before it."""

    def __init__(self, at: At, text: str) -> None:
        super().__init__(text)
        self.at = at

    def at_file(self, where: str) -> ModelError:
        """The error for users, ``file:line:column: what``."""
        return ModelError(f"{where}:{self.at}: {self}")


def nested(children: Iterable[Expr], at: At) -> int:
    """Return how deep a node over some children is nested.

    Args:
        children: The node's children.
        at: Where the node stands.

    Raises:
        PlaceError: It is too deep.
    """
    depth = 1 + max((child.depth for child in children), default=0)
    if depth > MAX_DEPTH:
        raise PlaceError(
            at, f"expressions are nested deeper than {MAX_DEPTH}; bind parts of it to variables"
        )
    return depth


_DTYPES = {
    "float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool",
}  # fmt: skip

_OTHER_NAMES = {"uint1": "bool", "int": "int32", "uint": "uint32", "float": "float32"}
"""What TVM takes for the same dtype: without a number of bits, 32 are meant."""


def known_dtype(text: Any) -> str | None:
    """The dtype as numpy spells it, None when byoc has none of that name."""
    if not isinstance(text, str):
        return None
    text = _OTHER_NAMES.get(text, text)
    return text if text in _DTYPES else None
