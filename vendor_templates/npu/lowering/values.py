"""What a value of a segment is on its way from floats to bytes.

::

    Stored   int8 bytes on the device          (quantize, or an int8 input)
    Real     a Stored seen through a scale     (dequantize)
    Params   a constant with scales            (dequantize of a constant)
    PendingOp  a float op not quantised yet      (conv2d, add, …: until its quantize)

Bytes lie channels last. A value of rank 3 or 4 whose channels are axis 1 ("first": NCHW) lies
permuted; one whose memory is its logical order is "last".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np

from byoc.segment import Array, Node

__all__ = [
    "Layout",
    "Out",
    "Params",
    "PendingOp",
    "Real",
    "Shape",
    "Stored",
    "Value",
    "nhwc",
    "order_of",
    "pads_of",
    "pair_of",
]


Layout = Literal["first", "last"]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes on the device, and how the logical shape lies in them.

    Args:
        tensor: Id in the int8 graph.
        shape: Logical shape.
        layout: Where the channels lie: "first" (NCHW, permuted in memory) or "last".
        dtype: "int8" or "uint8", as the model counts.
    """

    tensor: int
    shape: Shape
    layout: Layout
    dtype: str


@dataclass(frozen=True, slots=True)
class Real:
    """A Stored times a scale; zero as the device counts."""

    stored: Stored
    scale: float
    zero: int


@dataclass(frozen=True, slots=True)
class Params:
    """A constant: integers, a scale for each of them (broadcastable)."""

    data: Array
    scale: Array

    @property
    def real(self) -> Array:
        """The float values."""
        return self.data.astype(np.float64) * self.scale


@dataclass(frozen=True, slots=True)
class PendingOp:
    """A float op waiting for its quantize.

    Args:
        finish: Puts the op into the graph, given what the quantize asks for.
        shape: Logical shape of its result.
        lo: Least real value, of a clamp after it.
        hi: Largest real value.
        add_bias: The same op with a bias, where it takes one.
        node: The op, for messages.
    """

    finish: Callable[[Out], Stored]
    shape: Shape
    lo: float = -np.inf
    hi: float = np.inf
    add_bias: Callable[[Params | Array], PendingOp] | None = None
    node: Node | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Out:
    """What a quantize asks for.

    Args:
        scale: Real value of one step.
        zero: Zero point as the device counts.
        dtype: "int8" or "uint8".
        lo: Least value, in steps.
        hi: Largest value, in steps.
        source: Name of the op, for messages.
    """

    scale: float
    zero: int
    dtype: str
    lo: int
    hi: int
    source: str


Value: TypeAlias = Stored | Real | Params | PendingOp


def order_of(rank: int, layout: Layout) -> tuple[int, ...]:
    """Return the logical axes of a tensor in the order in which memory has them.

    Args:
        rank: How many axes there are.
        layout: Where its channels lie.
    """
    if layout == "first" and rank >= 3:
        return (0, *range(2, rank), 1)
    return tuple(range(rank))


def nhwc(shape: Shape, layout: Layout) -> tuple[int, int, int, int]:
    """Return a logical shape as (n, h, w, c); ranks below 3 are rows of channels.

    Args:
        shape: Logical shape, of rank 4, 3 (its h is 1) or less.
        layout: Where its channels lie.
    """
    if len(shape) < 3:
        return (1, 1, prod(shape[:-1]), shape[-1])
    dims = [shape[a] for a in order_of(len(shape), layout)]
    if len(dims) == 3:
        dims.insert(1, 1)
    return (dims[0], dims[1], dims[2], dims[3])


def pair_of(value: Any, one_d: bool = False) -> tuple[int, int]:
    """Return an attribute of one or two numbers as (rows, columns).

    Args:
        value: One number for both, or a list of one or two.
        one_d: The attribute has one dimension, columns; rows are 1 then.
    """
    items = [int(v) for v in (value if isinstance(value, (tuple, list)) else (value,))]
    if one_d:
        return (1, items[-1])
    return (items[0], items[-1])


def pads_of(padding: Any, dims: int) -> tuple[int, int]:
    """Return the padding at the top and the left, as (rows, columns).

    Args:
        padding: One number, or a list that begins with the numbers for the front of each dimension.
        dims: How many dimensions are padded: 1 (no rows) or 2.
    """
    items = [int(v) for v in (padding if isinstance(padding, (tuple, list)) else (padding,))]
    if dims == 1:
        return (0, items[0])
    return (items[0], items[1] if len(items) > 1 else items[0])
