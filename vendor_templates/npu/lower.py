"""Segment -> int8 graph: follow floats symbolically from dequantize to quantize.

Walking the nodes once, each value is one of::

    Stored   int8 bytes on the device          (quantize, or an int8 input)
    Real     a Stored seen through a scale     (dequantize)
    Params   a constant with scales            (dequantize of a constant)
    Pending  a float op not quantised yet      (conv2d, add, …: until its quantize)

so nothing float is ever stored, and shared or repeated dequantizes cost nothing.

Bytes lie channels last. A value of rank 3 or 4 whose channels are axis 1 ("first": NCHW) lies
permuted; one whose memory is its logical order is "last". Where an op needs the other order, a
Permute is put in; between shapes with one pixel or one channel the two are the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array, Node, Segment

from .functions import FUNCTIONS, make_table
from .graph import Border, Concat, Conv, Elementwise, Graph, Permute, Pool, Window
from .numerics import pair_scale, quantize_array, sum_constant

__all__ = ["lower"]

Layout = Literal["first", "last"]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes on the device and how the logical shape lies in them."""

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
class Pending:
    """A float op waiting for its quantize; `finish(lo, hi, out)` puts it into the graph."""

    finish: Callable[[_Out], Stored]
    shape: Shape
    lo: float = -np.inf
    hi: float = np.inf
    add_bias: Callable[[Params | Array], Pending] | None = None
    node: Node | None = field(default=None)


@dataclass(frozen=True, slots=True)
class _Out:
    """What a quantize asks for: scale, zero point (device), dtype, clamp in steps."""

    scale: float
    zero: int
    dtype: str
    lo: int
    hi: int
    source: str


Value: TypeAlias = Stored | Real | Params | Pending


def lower(segment: Segment) -> Graph:
    """The int8 graph of a segment whose composites passed the checks of patterns.py.

    Raises CompileError naming the op when something in it cannot be computed.
    """
    return _Lowering(segment).run()


def order_of(rank: int, layout: Layout) -> tuple[int, ...]:
    """Logical axes in the order of memory."""
    if layout == "first" and rank >= 3:
        return (0, *range(2, rank), 1)
    return tuple(range(rank))


class _Lowering:
    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.graph = Graph(segment.name, inputs=len(segment.inputs), outputs=len(segment.outputs))
        self.values: dict[int, Value] = {}
        self.fed: dict[tuple[int, float, int, str], Stored] = {}
        self.zeros: dict[int, tuple[float, int]] = {}
        layouts = {str(n.attrs.get("data_layout") or n.attrs.get("layout")) for n in segment}
        self.default: Layout = "last" if layouts & {"NHWC", "NWC"} else "first"

    def run(self) -> Graph:
        for index, value in enumerate(self.segment.inputs):
            kind = self.segment.type(value)
            if kind.dtype in ("int8", "uint8"):
                stored = self._new(self._shape(value), self.default, kind.dtype, 1.0, 0, "input")
                self.values[value] = stored
                self._border(self.graph.feeds, stored, index, kind.dtype, 1.0, 0)
        for node in self.segment.nodes:
            rule = _RULES.get(node.op)
            if rule is None:
                raise CompileError(f"{self._where(node)}: the npu has no rule for {node.op!r}")
            self.values[node.outputs[0]] = rule(self, node)
        for index, value in enumerate(self.segment.outputs):
            found = self.values[value]
            if isinstance(found, Stored):
                self._border(self.graph.results, found, index, found.dtype, 1.0, 0)
            elif isinstance(found, Real):
                self._border(
                    self.graph.results, found.stored, index, "float32", found.scale, found.zero
                )
            else:
                raise CompileError(
                    f"segment {self.segment.name!r}: output {index} is float and not quantised"
                )
        return self.graph

    # -- values ---------------------------------------------------------------------------------

    def _where(self, node: Node) -> str:
        name = node.source[0] if node.source else node.op
        return f"npu: op {name!r} of segment {self.segment.name!r}"

    def _shape(self, value: int) -> Shape:
        return tuple(int(d) for d in self.segment.type(value).shape)

    def _new(
        self, shape: Shape, layout: Layout, dtype: str, scale: float, zero: int, name: str
    ) -> Stored:
        return Stored(self.graph.new(prod(shape), scale, zero, name), shape, layout, dtype)

    def _border(
        self,
        borders: list[Border],
        stored: Stored,
        argument: int,
        dtype: str,
        scale: float,
        zero: int,
    ) -> None:
        order = order_of(len(stored.shape), stored.layout)
        borders.append(Border(stored.tensor, argument, stored.shape, order, dtype, scale, zero))

    def _value(self, node: Node, index: int) -> Value | Array:
        value = node.inputs[index]
        if value in self.values:
            return self.values[value]
        constant = self.segment.constants.get(value)
        if constant is None:
            raise CompileError(f"{self._where(node)}: input {index} is float, not dequantised")
        return constant

    def _real(self, node: Node, index: int) -> Real:
        found = self._value(node, index)
        if not isinstance(found, Real):
            raise CompileError(
                f"{self._where(node)}: input {index} must be a dequantised tensor, "
                f"found {type(found).__name__.lower()}"
            )
        return found

    def _constant(self, node: Node, index: int) -> Params | Array | None:
        found = self._value(node, index)
        return found if isinstance(found, (Params, np.ndarray)) else None

    def in_layout(self, stored: Stored, layout: Layout) -> Stored:
        """The same values with memory in the given order; a Permute when the bytes differ."""
        if stored.layout == layout:
            return stored
        rank = len(stored.shape)
        if rank < 3 or stored.shape[1] == 1 or prod(stored.shape[2:]) == 1:
            return replace(stored, layout=layout)
        channels, pixels = stored.shape[1], prod(stored.shape[2:])
        a, b = (pixels, channels) if stored.layout == "first" else (channels, pixels)
        old = self.graph.tensors[stored.tensor]
        moved = self._new(stored.shape, layout, stored.dtype, old.scale, old.zero, old.name)
        self.graph.operations.append(
            Permute(stored.tensor, moved.tensor, stored.shape[0], a, b, old.name)
        )
        return moved

    # -- quantize, dequantize -------------------------------------------------------------------

    def _scale_zero(self, node: Node) -> tuple[float, int]:
        """Per-tensor scale and device zero point of a quantize or dequantize."""
        scale, zero = (self.segment.constants.get(v) for v in node.inputs[1:3])
        if scale is None or zero is None:
            raise CompileError(f"{self._where(node)}: scale and zero point must be constants")
        if np.ptp(scale) != 0 or np.ptp(zero.astype(np.int64)) != 0:
            raise CompileError(f"{self._where(node)}: an activation needs one scale, found many")
        unsigned = 128 if zero.dtype == np.uint8 else 0
        return float(np.ravel(scale)[0]), int(np.ravel(zero)[0]) - unsigned

    def dequantize(self, node: Node) -> Value:
        source = self.values.get(node.inputs[0])
        if isinstance(source, Stored):
            return Real(source, *self._scale_zero(node))
        data = self.segment.constants.get(node.inputs[0])
        if data is None:
            raise CompileError(f"{self._where(node)}: what is dequantised is not on the device")
        scale, zero = (self.segment.constants[v] for v in node.inputs[1:3])
        axis = int(node.attrs.get("axis", -1))
        spread = [1] * data.ndim
        if np.size(scale) > 1:
            spread[axis] = np.size(scale)
        shaped = np.reshape(scale, spread if data.ndim else ()).astype(np.float64)
        zeros = np.asarray(zero, np.int64)
        zeros = zeros.reshape(spread) if zeros.size > 1 else zeros.reshape(())
        return Params(data.astype(np.int64) - zeros, shaped)

    def quantize(self, node: Node) -> Value:
        scale, zero = self._scale_zero(node)
        kind = self.segment.type(node.outputs[0])
        shape = self._shape(node.outputs[0])
        source = node.inputs[0]
        name = node.source[0] if node.source else ""
        if source in self.segment.inputs and source not in self.values:
            key = (source, scale, zero, kind.dtype)
            if key not in self.fed:
                stored = self._new(shape, self.default, kind.dtype, scale, zero, name)
                self.fed[key] = stored
                argument = self.segment.inputs.index(source)
                self._border(self.graph.feeds, stored, argument, "float32", scale, zero)
            return self.fed[key]
        found = self.values.get(source)
        if isinstance(found, Real):
            found = self._unary(node, found, lambda x: x)
        if not isinstance(found, Pending):
            raise CompileError(f"{self._where(node)}: what is quantised is not on the device")
        if found.node is not None and found.node.source:
            name = found.node.source[0]
        lo = -128 if found.lo == -np.inf else int(quantize_array(np.array(found.lo), scale, zero))
        hi = 127 if found.hi == np.inf else int(quantize_array(np.array(found.hi), scale, zero))
        return found.finish(_Out(scale, zero, kind.dtype, lo, hi, name))

    # -- functions of one value -----------------------------------------------------------------

    def _unary(self, node: Node, x: Real, function: Callable[[Any], Any]) -> Pending:
        def finish(out: _Out) -> Stored:
            table = make_table(function, x.scale, x.zero, out.scale, out.zero)
            table = np.clip(table, out.lo, out.hi).astype(np.int8)
            return self._lookup(x.stored, table, out)

        return Pending(finish, x.stored.shape, node=node)

    def _lookup(self, x: Stored, table: Array, out: _Out) -> Stored:
        y = self._new(x.shape, x.layout, out.dtype, out.scale, out.zero, out.source)
        if (table == np.arange(-128, 128)).all():  # the same steps: the same bytes
            self.graph.tensors[y.tensor].base = x.tensor
            return y
        self.graph.operations.append(
            Elementwise(
                "lookup", x.tensor, y.tensor, 1, 1, prod(x.shape), table=table, source=out.source
            )
        )
        return y

    def unary(self, node: Node) -> Value:
        found = self._value(node, 0)
        attrs = {**node.attrs, **self._clip_bounds(node)}
        if isinstance(found, Pending):
            bounds = (0.0, np.inf) if node.op == "nn.relu" else None
            if node.op == "clip":
                bounds = (float(attrs["min"]), float(attrs["max"]))
            if bounds is None:
                raise CompileError(f"{self._where(node)}: {node.op} needs a quantised input")
            # Quantisation is monotonic: clamping before it and after it are the same.
            return replace(
                found,
                lo=min(max(found.lo, bounds[0]), bounds[1]),
                hi=max(min(found.hi, bounds[1]), bounds[0]),
            )
        return self._unary(node, self._real(node, 0), lambda x: FUNCTIONS[node.op](x, attrs))

    def _clip_bounds(self, node: Node) -> dict[str, Any]:
        if node.op != "clip" or "min" in node.attrs:
            return {}
        bounds = [self.segment.constants[v] for v in node.inputs[1:3]]
        return {"min": float(np.ravel(bounds[0])[0]), "max": float(np.ravel(bounds[1])[0])}

    # -- two values -----------------------------------------------------------------------------

    def binary(self, node: Node) -> Value:
        left, right = self._value(node, 0), self._value(node, 1)
        if isinstance(left, (Params, np.ndarray)):
            left, right = right, left
        if isinstance(left, Pending):
            if isinstance(right, (Params, np.ndarray)) and left.add_bias and node.op == "add":
                return left.add_bias(right)
            raise CompileError(f"{self._where(node)}: an operand is not quantised")
        if not isinstance(left, Real):
            raise CompileError(f"{self._where(node)}: an operand is not quantised")
        shape = self._shape(node.outputs[0])
        if isinstance(right, (Params, np.ndarray)):
            values = right.real if isinstance(right, Params) else right
            if values.size == 1:
                number = float(np.ravel(values)[0])
                if node.op == "add":
                    return self._unary(node, left, lambda x: x + number)
                return self._unary(node, left, lambda x: x * number)
            right = self._constant_tensor(node, right, left.stored)
        if not isinstance(right, Real):
            raise CompileError(f"{self._where(node)}: an operand is not quantised")
        if prod(right.stored.shape) > prod(left.stored.shape):
            left, right = right, left
        pair = (left, right)
        return Pending(lambda out: self._pair(node, *pair, shape, out), shape, node=node)

    def _constant_tensor(self, node: Node, value: Params | Array, like: Stored) -> Real:
        """A constant operand as a tensor of the same shape (or one pixel) in constant memory."""
        if not isinstance(value, Params) or value.scale.size != 1:
            raise CompileError(f"{self._where(node)}: a constant operand needs one scale")
        data = value.data
        low, high = int(data.min()), int(data.max())
        zero = -128 - low if low < -128 else 127 - high if high > 127 else 0
        if low + zero < -128 or high + zero > 127:
            raise CompileError(f"{self._where(node)}: a constant operand spans over 256 steps")
        full = np.broadcast_to(data + zero, like.shape).astype(np.int8)
        memory = full.transpose(order_of(len(like.shape), like.layout))
        stored = self._new(like.shape, like.layout, "int8", 1.0, zero, "constant")
        self.graph.tensors[stored.tensor].data = np.ravel(memory)
        return Real(stored, float(np.ravel(value.scale)[0]), zero)

    def _pair(self, node: Node, a: Real, b: Real, shape: Shape, out: _Out) -> Stored:
        layout = a.stored.layout
        left, right = a.stored, self.in_layout(b.stored, layout)
        y = self._new(shape, layout, out.dtype, out.scale, out.zero, out.source)
        channels = shape[order_of(len(shape), layout)[-1]]
        images = shape[0] if len(shape) >= 3 else 1
        full = prod(right.shape) == prod(shape)
        if not full and (len(right.shape) != len(shape) or prod(right.shape) != images * channels):
            raise CompileError(
                f"{self._where(node)}: {right.shape} does not broadcast over the pixels of {shape}"
            )
        op = Elementwise(
            "mul", left.tensor, y.tensor, images, prod(shape) // (images * channels), channels,
            b=right.tensor, broadcast=not full, a_zero=a.zero, b_zero=b.zero, zero=out.zero,
            lo=out.lo, hi=out.hi, source=out.source,
        )  # fmt: skip
        if node.op == "add":
            self._sum(op, a, b, out)
        else:
            op.m1 = float(pair_scale(a.scale, b.scale, out.scale))
        self.graph.operations.append(op)
        return y

    def _sum(self, op: Elementwise, a: Real, b: Real, out: _Out) -> None:
        """Make `op` a sum. Zero points are in its constant, as they are in ONNX Runtime's."""
        op.kind = "add"
        op.m1, op.m2 = (float(pair_scale(v.scale, 1.0, out.scale)) for v in (a, b))
        # What the device subtracts only takes it from its own int8 to the numbers of the model.
        dtypes = (a.stored.dtype, b.stored.dtype, out.dtype)
        op.a_zero, op.b_zero, op.zero = (-128 if d == "uint8" else 0 for d in dtypes)
        op.c = sum_constant(
            op.m1, a.zero - op.a_zero, op.m2, b.zero - op.b_zero, out.zero - op.zero
        )

    # -- convolution, matrix product ------------------------------------------------------------

    def _weights(self, node: Node) -> Params:
        found = self._constant(node, 1)
        if not isinstance(found, Params):
            raise CompileError(f"{self._where(node)}: weights must be a dequantised constant")
        return found

    def _product(
        self,
        node: Node,
        x: Real,
        weights: Array,
        scales: Array,
        layout: Layout,
        geometry: tuple[tuple[int, int, int, int], tuple[int, int, int, int], Window, int],
        bias: Array | None = None,
    ) -> Pending:
        """weights: [o, kh, kw, i] integers; scales: [o] or one. bias: float or int32, [o]."""
        shape = self._shape(node.outputs[0])
        count = weights.shape[0]
        steps = np.broadcast_to(np.ravel(scales), (count,)) * x.scale
        narrow = weights.astype(np.int8)
        if (narrow != weights).any():
            raise CompileError(f"{self._where(node)}: weights do not fit int8 without zero point")

        def add_bias(value: Params | Array) -> Pending:
            if isinstance(value, Params):
                ratio = np.broadcast_to(np.ravel(value.scale), (count,)) / steps
                exact = bool((np.abs(ratio - 1) < 1e-5).all())
                value = value.data if exact else value.real
            flat = np.broadcast_to(np.ravel(value), (count,))
            if not np.issubdtype(flat.dtype, np.integer):
                flat = np.rint(flat.astype(np.float64) / steps)
            total = flat.astype(np.float64) + (0 if bias is None else bias)
            return self._product(node, x, weights, scales, layout, geometry, total)

        def finish(out: _Out) -> Stored:
            total = np.zeros(count) if bias is None else bias
            total = total - x.zero * weights.reshape(count, -1).sum(1).astype(np.float64)
            if np.abs(total).max(initial=0) >= 2**31:
                raise CompileError(f"{self._where(node)}: the bias does not fit 32 bits")
            scale = np.broadcast_to(pair_scale(x.scale, np.ravel(scales), out.scale), (count,))
            source = self.in_layout(x.stored, layout)
            y = self._new(shape, layout, out.dtype, out.scale, out.zero, out.source)
            self.graph.operations.append(
                Conv(
                    source.tensor, y.tensor, *geometry, narrow, total.astype(np.int32),
                    scale, x.zero, out.zero, out.lo, out.hi, source=out.source,
                )
            )  # fmt: skip
            return y

        return Pending(finish, shape, add_bias=add_bias, node=node)

    def conv(self, node: Node) -> Value:
        x, params = self._real(node, 0), self._weights(node)
        data_layout = str(node.attrs["data_layout"])
        kernel_layout = str(node.attrs["kernel_layout"])
        layout: Layout = "first" if data_layout[1] == "C" else "last"
        one_d = len(data_layout) == 3
        axes = [kernel_layout.index(letter) for letter in ("OWI" if one_d else "OHWI")]
        weights = params.data.transpose(axes)
        scales = np.broadcast_to(params.scale, params.data.shape).transpose(axes)
        per_channel = scales.reshape(scales.shape[0], -1)[:, 0]
        shape_in = _nhwc(x.stored.shape, layout)
        shape_out = _nhwc(self._shape(node.outputs[0]), layout)
        if one_d:
            weights = weights[:, None]
        pads = _pads(node.attrs["padding"], 1 if one_d else 2)
        window = Window(
            (weights.shape[1], weights.shape[2]),
            _two(node.attrs["strides"], one_d),
            _two(node.attrs["dilation"], one_d),
            pads,
        )
        geometry = (shape_in, shape_out, window, int(node.attrs["groups"]))
        return self._product(node, x, weights, per_channel, layout, geometry)

    def matmul(self, node: Node) -> Value:
        x, params = self._real(node, 0), self._weights(node)
        k, n = params.data.shape[-2:]
        weights = params.data.reshape(k, n).T.reshape(n, 1, 1, k)
        scales = np.broadcast_to(params.scale, params.data.shape).reshape(k, n)[0]
        rows = prod(x.stored.shape[:-1])
        geometry = ((1, 1, rows, k), (1, 1, rows, n), Window(), 1)
        return self._product(node, x, weights, scales, "last", geometry)

    # -- pooling --------------------------------------------------------------------------------

    def pool(self, node: Node) -> Value:
        x = self._real(node, 0)
        layout: Layout = "first" if str(node.attrs["layout"])[1] == "C" else "last"
        kernel = node.attrs["pool_size"]
        window = Window(
            _two(kernel), _two(node.attrs["strides"]), _two(node.attrs["dilation"]),
            _pads(node.attrs["padding"], 2),
        )  # fmt: skip
        kind = "max" if "max" in node.op else "avg"
        exclude = kind == "avg" and not node.attrs.get("count_include_pad")
        return self._pool(node, x, layout, kind, window, exclude)

    def adaptive_pool(self, node: Node) -> Value:
        x = self._real(node, 0)
        layout: Layout = "first" if str(node.attrs["layout"])[1] == "C" else "last"
        (_, h, w, _), (_, oh, ow, _) = (
            _nhwc(shape, layout) for shape in (x.stored.shape, self._shape(node.outputs[0]))
        )
        step = (h // oh, w // ow)
        return self._pool(node, x, layout, "avg", Window(step, step), False)

    def mean(self, node: Node) -> Value:
        x = self._real(node, 0)
        rank = len(x.stored.shape)
        axes = sorted(int(a) % rank for a in node.attrs["axis"])
        layout: Layout = "first" if axes[-1] == rank - 1 else "last"
        inner = [x.stored.shape[a] for a in axes]
        kernel = (inner[0], inner[1]) if len(inner) == 2 else (inner[0], 1)
        return self._pool(node, x, layout, "avg", Window(kernel), False)

    def _pool(
        self, node: Node, x: Real, layout: Layout, kind: str, window: Window, exclude: bool
    ) -> Pending:
        shape = self._shape(node.outputs[0])
        n, h, w, c = _nhwc(x.stored.shape, layout)
        if node.op == "mean":
            (h, w), (oh, ow) = window.kernel, (1, 1)
            n, c = x.stored.shape[0], prod(x.stored.shape) // (x.stored.shape[0] * h * w)
        else:
            _, oh, ow, _ = _nhwc(shape, layout)

        def finish(out: _Out) -> Stored:
            source = self.in_layout(x.stored, layout)
            y_layout: Layout = layout if len(shape) == len(source.shape) else "last"
            y = self._new(shape, y_layout, out.dtype, out.scale, out.zero, out.source)
            table = None
            if kind == "max":
                table = make_table(lambda v: v, x.scale, x.zero, out.scale, out.zero)
            elif out.lo > -128 or out.hi < 127:
                table = np.arange(-128, 128)
            if table is not None:
                table = np.clip(table, out.lo, out.hi).astype(np.int8)
                table = None if (table == np.arange(-128, 128)).all() else table
            self.graph.operations.append(
                Pool(
                    kind, source.tensor, y.tensor, (n, h, w, c), (n, oh, ow, c), window, exclude,
                    x.scale, out.scale, x.zero, out.zero, table, out.source,
                )
            )  # fmt: skip
            return y

        return Pending(finish, shape, node=node)

    # -- moving ---------------------------------------------------------------------------------

    def concat(self, node: Node) -> Value:
        parts = [self._real(node, i) for i in range(len(node.inputs))]
        shape = self._shape(node.outputs[0])
        axis = int(node.attrs["axis"]) % len(shape)

        def finish(out: _Out) -> Stored:
            layout = parts[0].stored.layout
            order = order_of(len(shape), layout)
            at = order.index(axis)
            rows = prod(shape[a] for a in order[:at])
            pieces = []
            for part in parts:
                stored = self.in_layout(part.stored, layout)
                table = make_table(lambda v: v, part.scale, part.zero, out.scale, out.zero)
                table = np.clip(table, out.lo, out.hi).astype(np.int8)
                same = (table == np.arange(-128, 128)).all()
                run = prod(stored.shape) // rows
                pieces.append((stored.tensor, run, None if same else table))
            y = self._new(shape, layout, out.dtype, out.scale, out.zero, out.source)
            self.graph.operations.append(Concat(tuple(pieces), y.tensor, rows, out.source))
            return y

        return Pending(finish, shape, node=node)

    def reshape(self, node: Node) -> Value:
        found = self._value(node, 0)
        shape = self._shape(node.outputs[0])
        if isinstance(found, Params):
            scale = np.broadcast_to(found.scale, found.data.shape).reshape(shape)
            return Params(found.data.reshape(shape), scale)
        x = self._real(node, 0)

        def finish(out: _Out) -> Stored:
            flat = replace(self.in_layout(x.stored, "last"), shape=shape)
            table = make_table(lambda v: v, x.scale, x.zero, out.scale, out.zero)
            return self._lookup(flat, np.clip(table, out.lo, out.hi), out)

        return Pending(finish, shape, node=node)

    def permute(self, node: Node) -> Value:
        found = self._value(node, 0)
        if not isinstance(found, Params):
            raise CompileError(f"{self._where(node)}: only weights can be transposed")
        axes: Sequence[int] | None = node.attrs.get("axes")
        scale = np.broadcast_to(found.scale, found.data.shape)
        return Params(found.data.transpose(axes), scale.transpose(axes))


def _nhwc(shape: Shape, layout: Layout) -> tuple[int, int, int, int]:
    """(n, h, w, c) of a logical shape of rank 3 (h = 1) or 4; lower ranks are rows of channels."""
    if len(shape) < 3:
        return (1, 1, prod(shape[:-1]), shape[-1])
    dims = [shape[a] for a in order_of(len(shape), layout)]
    if len(dims) == 3:
        dims.insert(1, 1)
    return (dims[0], dims[1], dims[2], dims[3])


def _two(value: Any, one_d: bool = False) -> tuple[int, int]:
    items = [int(v) for v in (value if isinstance(value, (tuple, list)) else (value,))]
    if one_d:
        return (1, items[-1])
    return (items[0], items[-1])


def _pads(padding: Any, dims: int) -> tuple[int, int]:
    items = [int(v) for v in (padding if isinstance(padding, (tuple, list)) else (padding,))]
    if dims == 1:
        return (0, items[0])
    return (items[0], items[1] if len(items) > 1 else items[0])


_RULES: Mapping[str, Callable[[_Lowering, Node], Value]] = {
    "quantize": _Lowering.quantize,
    "dequantize": _Lowering.dequantize,
    "nn.conv2d": _Lowering.conv,
    "nn.conv1d": _Lowering.conv,
    "matmul": _Lowering.matmul,
    "add": _Lowering.binary,
    "multiply": _Lowering.binary,
    "nn.max_pool2d": _Lowering.pool,
    "nn.avg_pool2d": _Lowering.pool,
    "nn.adaptive_avg_pool2d": _Lowering.adaptive_pool,
    "mean": _Lowering.mean,
    "concat": _Lowering.concat,
    "reshape": _Lowering.reshape,
    "flatten": _Lowering.reshape,
    "squeeze": _Lowering.reshape,
    "expand_dims": _Lowering.reshape,
    "permute_dims": _Lowering.permute,
    **dict.fromkeys(FUNCTIONS, _Lowering.unary),
}
