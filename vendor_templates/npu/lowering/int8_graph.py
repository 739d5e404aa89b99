"""The int8 graph: the values between a segment and its instructions.

Every tensor is int8, dense, its channels last: n x h x w x c bytes in that order. An operation
reads and writes tensors with a geometry of its own; a tensor is bytes with a scale::

    quantize(relu(conv2d(dequantize(x), W) + b))   ──lower──▶   Conv(x, y, weights, bias, …)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Border",
    "Concat",
    "Conv",
    "Elementwise",
    "Int8Graph",
    "Int8Tensor",
    "Operation",
    "Permute",
    "Pool",
    "Residual",
    "Window",
]

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class Int8Tensor:
    """int8 values in memory, with what they stand for.

    Args:
        nbytes: How many values.
        scale: Real value of one step.
        zero: Zero point as the device counts (-128..127).
        name: For messages.
        base: Id of the tensor whose bytes these are (a reshape), or None.
        data: A constant's values.
    """

    nbytes: int
    scale: float
    zero: int
    name: str = ""
    base: int | None = None
    data: Int8 | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window.

    Args:
        kernel: Size in (rows, columns), as all of these.
        stride: Input positions between outputs.
        dilation: Input positions between those of the kernel.
        pad: Positions before the first row and column.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)

    def extent(self, axis: int) -> int:
        """Return the input positions that one output looks at, first to last, along an axis."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1


@dataclass(slots=True, eq=False)
class Residual:
    """A tensor added after the first requantisation; clamp of the sum.

    Of the operands q (the first result) and r (the tensor): `clamp(zero + round(fma(q - q_zero, m1,
    fma(r - r_zero, m2, c))), lo, hi)`, the two exchanged with `r_first`.
    """

    tensor: int
    m1: float
    m2: float
    c: float
    q_zero: int
    r_zero: int
    zero: int
    r_first: bool = False
    lo: int = -128
    hi: int = 127


@dataclass(slots=True, eq=False)
class Conv:
    """Convolution or matrix product, requantised.

    Args:
        x: Input tensor.
        y: Output tensor.
        shape_in: (n, h, w, c) of the input.
        shape_out: (n, h, w, c) of the output.
        window: The sliding window.
        groups: Groups of channels.
        weights: int8[out channels, kernel rows, kernel columns, in channels / groups].
        bias: int32[out channels]; the input's zero point is folded in.
        scale: float32[out channels], of sums in steps of the output.
        x_zero: Zero point of the input, which is what padding holds.
        zero: Zero point of the output.
        lo: Least value of the output.
        hi: Largest value of the output.
        residual: A tensor that is added after requantisation.
        table: int8[256]: what each value becomes in the end.
        source: Name of the op, for messages.
    """

    x: int
    y: int
    shape_in: tuple[int, int, int, int]
    shape_out: tuple[int, int, int, int]
    window: Window
    groups: int
    weights: Int8
    bias: Int32
    scale: Float32
    x_zero: int
    zero: int
    lo: int = -128
    hi: int = 127
    residual: Residual | None = None
    table: Int8 | None = None
    source: str = ""

    @property
    def depthwise(self) -> bool:
        """Whether each output channel reads exactly its own input channel."""
        return self.groups > 1 and self.groups == self.shape_in[3] == self.shape_out[3]

    @property
    def macs(self) -> int:
        """Number of multiply-accumulates."""
        n, h, w, c = self.shape_out
        return n * h * w * c * int(self.weights[0].size)


@dataclass(slots=True, eq=False)
class Elementwise:
    """kind "add", "mul" (two operands) or "lookup" (one): pixels x channels.

    broadcast: b has one pixel per image, of `channels` values (b is [n, channels]). m1, m2, c, zero
    points: the fields of the instruction `kind`.
    """

    kind: str
    x: int
    y: int
    images: int
    pixels: int
    channels: int
    b: int | None = None
    broadcast: bool = False
    m1: float = 0.0
    m2: float = 0.0
    c: float = 0.0
    a_zero: int = 0
    b_zero: int = 0
    zero: int = 0
    lo: int = -128
    hi: int = 127
    table: Int8 | None = None
    source: str = ""


@dataclass(slots=True, eq=False)
class Pool:
    """kind "max" or "avg". exclude_pad: an average counts positions inside the input only.

    An average needs the scales of x and y; the count is divided out per window.
    """

    kind: str
    x: int
    y: int
    shape_in: tuple[int, int, int, int]
    shape_out: tuple[int, int, int, int]
    window: Window
    exclude_pad: bool = False
    x_scale: float = 1.0
    y_scale: float = 1.0
    x_zero: int = 0
    zero: int = 0
    table: Int8 | None = None
    source: str = ""


@dataclass(slots=True, eq=False)
class Concat:
    """y[o] = parts[0][o] ++ parts[1][o] ++ …, each part `rows` runs; a table rescales a part."""

    parts: tuple[tuple[int, int, Int8 | None], ...]  # (tensor, bytes of one run, table)
    y: int
    rows: int
    source: str = ""


@dataclass(slots=True, eq=False)
class Permute:
    """Swap the two inner axes of each image: [outer, a, b] -> [outer, b, a]."""

    x: int
    y: int
    outer: int
    a: int
    b: int
    source: str = ""


Operation: TypeAlias = Conv | Elementwise | Pool | Concat | Permute


@dataclass(frozen=True, slots=True)
class Border:
    """An input or output of the segment: which argument, how it looks to the host.

    order: host axes in the order of the device. dtype: "float32", "int8" or "uint8".
    """

    tensor: int
    argument: int
    shape: tuple[int, ...]
    order: tuple[int, ...]
    dtype: str
    scale: float
    zero: int


@dataclass(slots=True)
class Int8Graph:
    """One segment as int8 operations, in an order that can be executed."""

    name: str
    tensors: list[Int8Tensor] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    feeds: list[Border] = field(default_factory=list)
    results: list[Border] = field(default_factory=list)
    inputs: int = 0
    outputs: int = 0

    def base(self, tensor: int) -> int:
        """Return the tensor that owns the bytes of a tensor."""
        while (below := self.tensors[tensor].base) is not None:
            tensor = below
        return tensor

    def new(self, nbytes: int, scale: float, zero: int, name: str = "") -> int:
        """Add a tensor to the graph and return its id.

        Args:
            nbytes: Bytes of the tensor.
            scale: Real value of one step.
            zero: Zero point as the device counts.
            name: Name of the tensor, for messages.
        """
        self.tensors.append(Int8Tensor(nbytes, scale, zero, name))
        return len(self.tensors) - 1

    def reads(self, op: Operation) -> tuple[int, ...]:
        """Return the owners of the bytes that an operation reads."""
        if isinstance(op, Concat):
            ids: list[int] = [part[0] for part in op.parts]
        else:
            ids = [op.x]
        if isinstance(op, Elementwise) and op.b is not None:
            ids.append(op.b)
        if isinstance(op, Conv) and op.residual is not None:
            ids.append(op.residual.tensor)
        return tuple(self.base(i) for i in ids)
