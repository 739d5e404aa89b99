"""What nodes of a graph read and make: values, and arguments that are none.

Input ─┐            args, users: both directions of every edge
Const ─┴▶ Node ─▶ Node          (a tuple argument is a Python tuple, a shape is a Leaf)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import tvm
import tvm_ffi
from tvm import relax

from byoc.frontends.normalise.tensors import to_numpy
from byoc.segment import Array

if TYPE_CHECKING:
    from byoc.frontends.normalise.graph import Graph

__all__ = [
    "Arg",
    "Array",
    "Const",
    "Input",
    "Leaf",
    "Node",
    "Value",
    "expression",
    "flat_values",
    "plain",
    "same_dims",
    "swap",
]

Dims: TypeAlias = "tuple[Any, ...]"


class Value:
    """Something with a type that nodes can read.

    expr: the Relax expression that stands for the value in expressions given to `emit`.
    users: the nodes that read it, in the order they began to.
    """

    def __init__(self, expr: Any) -> None:
        self.expr = expr
        self.users: dict[Node, None] = {}

    @cached_property
    def shape(self) -> Dims | None:
        """Dimensions as ints, or TVM expressions where symbolic; None when not a known shape."""
        shape = getattr(self.expr.ty, "shape", None)
        if shape is None or not isinstance(shape, relax.ShapeExpr):
            return None
        return tuple(_dim(d) for d in shape.values)

    @cached_property
    def static_shape(self) -> tuple[int, ...] | None:
        """The shape when every dimension is an int, else None."""
        if self.shape is None or not all(isinstance(d, int) for d in self.shape):
            return None
        return self.shape

    @cached_property
    def dtype(self) -> str:
        """Element type as numpy spells it; empty when unknown or not a tensor."""
        return str(getattr(self.expr.ty, "dtype", None) or "")

    @property
    def ndim(self) -> int:
        """Number of dimensions, -1 when unknown."""
        return int(getattr(self.expr.ty, "ndim", -1))


class Input(Value):
    """A parameter of the function."""


class Const(Value):
    """A constant tensor."""

    @cached_property
    def array(self) -> Array:
        """The data, not to be written to."""
        return to_numpy(self.expr.value)

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.static_shape or ())

    @cached_property
    def number(self) -> float | None:
        """The number when there is one element, or a few thousand equal ones, else None."""
        if not 0 < self.size <= 4096:
            return None
        flat = self.array.reshape(-1)
        first: float = flat[0].item()
        return first if self.size == 1 or bool((flat == flat[0]).all()) else None


class Node(Value):
    """One binding: an op call, or "tuple", "get", "if", "match_cast" and other plain bindings.

    op: Relax name without prefix ("nn.conv2d"); "call" for anything that is no operator.
    name: the source name, written to the binding's variable.
    key: where the node stood, to keep the order of the source.
    """

    def __init__(
        self, graph: Graph, op: str, call: Any, args: list[Any], expr: Any, name: str, key: int
    ) -> None:
        super().__init__(expr)
        self.graph = graph
        self.op = op
        self.call = call
        self.args = args
        self.name = name
        self.key = key
        self.branches: tuple[Graph, ...] = ()
        self.pure = True
        self.dead = False
        for value in self.inputs():
            value.users[self] = None

    @property
    def attrs(self) -> Any:
        """The op's attributes."""
        return self.call.attrs

    def inputs(self) -> Iterator[Value]:
        """Every value the node reads, tuples flattened; inner graphs not included."""
        return flat_values(self.args)

    def leaf(self, index: int) -> Any:
        """A non-tensor argument (a shape, a number, a tuple of them) as plain Python."""
        return plain(self.args[index])


@dataclass(frozen=True, eq=False)
class Leaf:
    """A non-tensor argument: a shape, a number, a dtype, a function."""

    expr: Any


Arg: TypeAlias = "Value | Leaf | tuple[Arg, ...]"


def plain(arg: Any) -> Any:
    """Python value of a non-tensor argument; symbolic dimensions stay TVM expressions."""
    if isinstance(arg, tuple):
        return tuple(plain(a) for a in arg)
    expr = arg.expr
    if isinstance(expr, relax.ShapeExpr):
        return tuple(_dim(d) for d in expr.values)
    if isinstance(expr, (tvm.tirx.IntImm, tvm.tirx.FloatImm, tvm.ir.StringImm)):
        return expr.value
    return expr


def same_dims(a: Dims | None, b: Dims | None) -> bool:
    """True when both shapes are known and equal, symbolic dimensions included."""
    if a is None or b is None or len(a) != len(b):
        return False
    return all(_same_dim(x, y) for x, y in zip(a, b, strict=True))


def _same_dim(a: Any, b: Any) -> bool:
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return bool(a.same_as(b)) or bool(tvm_ffi.structural_equal(a, b))


def _dim(d: Any) -> Any:
    return int(d) if isinstance(d, tvm.tirx.IntImm) else d


def flat_values(arg: Any) -> Iterator[Value]:
    """The values in a tuple of arguments, inner tuples flattened."""
    for a in arg:
        if isinstance(a, Value):
            yield a
        elif isinstance(a, tuple):
            yield from flat_values(a)


def expression(arg: Any, table: dict[Value, Any] | None = None) -> Any:
    """The Relax expression of an argument, values taken from `table` where given."""
    if isinstance(arg, tuple):
        fields = [expression(a, table) for a in arg]
        return relax.Tuple(fields)
    if table is not None and not isinstance(arg, (Leaf, Const)):
        return table[arg]
    return arg.expr


def swap(arg: Any, old: Value, new: Any) -> Any:
    """The argument with `new` for every `old` in it."""
    if arg is old:
        return new
    if isinstance(arg, tuple):
        return tuple(swap(a, old, new) for a in arg)
    return arg
