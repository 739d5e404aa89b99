"""Ops with weights and what may follow them, in all the forms that vendors get wrong.

    Layer(op, data, weight, attrs) ─▶ steps: bias, residual, functions ─▶ result

Each layer says its own right result in numpy. `standing_layers` are tried with every vendor; those
that lie at the ends of what one vendor says as data come from `boundaries`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype
from byoc.testing.conformance.claim import Claim
from byoc.testing.conformance.edges import FLOATS, edge_values, filled
from byoc.testing.conformance.elementwise import looseness, unary_meaning
from byoc.testing.conformance.meanings import convolve, pool, softmax

__all__ = ["LAYERED", "Layer", "as_claim", "relax_function", "standing_layers"]

Step = tuple[str, Any]

_FUNCTIONS = ("nn.relu", "sigmoid", "tanh", "nn.silu", "nn.gelu")

LAYERED = ("matmul", "nn.conv1d", "nn.conv2d", "nn.conv3d", "nn.max_pool2d", "nn.avg_pool2d", "add",
           "subtract", "multiply", "nn.softmax")  # fmt: skip
"""The ops that `Layer` knows the meaning of, beside those of one tensor."""


@dataclass(frozen=True)
class Layer:
    """One op and what follows it.

    Attributes:
        op: The Relax name without its prefix.
        shape: Of the data.
        weight: The second operand; None where there is none.
        attrs: Of the op.
        steps: What follows: ("bias", array), ("residual", None), ("nn.relu", None), …
        label: Which form this is.
        dtype: Of all tensors.
        given: The weight comes at run time.
        left: The weight is the first operand.
        special: Numbers among the data that are none: NaN and the like.
        outside: Why a vendor must refuse this; empty where it need not.
    """

    op: str
    shape: tuple[int, ...]
    weight: Array | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    label: str = ""
    dtype: str = "float32"
    given: bool = False
    left: bool = False
    special: tuple[float, ...] = ()
    outside: str = ""

    def then(self, *steps: Step, label: str = "") -> Layer:
        """Return the same with more steps."""
        names = label or " ".join(name for name, _ in steps)
        return replace(self, steps=(*self.steps, *steps), label=f"{self.label} {names}".strip())

    def feed(self, seed: int) -> tuple[Array, ...]:
        """Return numbers for all inputs: the data, the weight where it is given, what is added."""
        data = filled(self.dtype, self.shape, seed, special=self.special, share=0.05)
        found = [data]
        if self.given and self.weight is not None:
            found.append(self.weight + np.asarray(seed % 2, self.weight.dtype))
        for number, (step, value) in enumerate(self.steps):
            if step in ("residual", "given bias"):
                shape = self._result_shape if step == "residual" else np.shape(value)
                found.append(filled(self.dtype, shape, seed + 7 + number))
        return tuple(found)

    @property
    def kinds(self) -> frozenset[str]:
        """The ops it is made of."""
        return frozenset((self.op, *(_OP_OF.get(step, step) for step, _ in self.steps)))

    def reseeded(self, seed: int) -> Layer:
        """Return a layer of the same structure with other weights.

        Args:
            seed: Of its numbers.
        """
        steps = tuple(
            (step, filled(self.dtype, value.shape, seed + 1 + number))
            if isinstance(value, np.ndarray)
            else (step, value)
            for number, (step, value) in enumerate(self.steps)
        )
        weight = None if self.weight is None else filled(self.dtype, self.weight.shape, seed)
        return replace(self, weight=weight, steps=steps)

    @property
    def _result_shape(self) -> tuple[int, ...]:
        zeros = np.zeros(self.shape)
        weight = None if self.weight is None else self.weight.astype(np.float64)
        return self._core(zeros, weight).shape

    def build(self, inputs: Sequence[Any], see: Callable[[Any], Any] = lambda y: y) -> Any:
        """Return the Relax expression over variables for `feed`.

        Args:
            inputs: The variables.
            see: Given the result of each step, returns what stands for it from there on.
        """
        from tvm.relax import op as ops

        left = list(inputs)
        operands = [left.pop(0)]
        if self.weight is not None:
            weight = left.pop(0) if self.given else _constant(self.weight)
            operands = [weight, *operands] if self.left else [*operands, weight]
        y = see(relax_function(self.op)(*operands, **self.attrs))
        for step, value in self.steps:
            if step in ("residual", "given bias"):
                y = ops.add(y, left.pop(0))
            elif step == "bias":
                y = ops.add(y, _constant(value))
            elif step == "bias first":
                y = ops.add(_constant(value), y)
            elif step == "from":
                y = ops.subtract(_constant(value), y)
            elif step in ("subtract", "multiply"):
                y = getattr(ops, step)(y, _constant(value))
            elif step == "twice":
                y = ops.add(y, y)
            elif step == "clip":
                y = ops.clip(y, *value)
            elif step == "nn.leakyrelu":
                y = ops.nn.leakyrelu(y, value)
            else:
                y = relax_function(step)(y)
            y = see(y)
        return y

    def right(self, *arrays: Array, see: Callable[[Array], Any] | None = None) -> Array:
        """Return the right result of the numbers of `feed`.

        Args:
            arrays: The numbers.
            see: Given the result of each step.
        """
        wide = np.float64 if self.dtype in FLOATS else numpy_dtype(self.dtype)
        left = [a.astype(wide) for a in arrays]
        data = left.pop(0)
        weight = None if self.weight is None else self.weight.astype(wide)
        if self.given:
            weight = left.pop(0)
        seen = see or (lambda y: y)
        y = self._core(data, weight)
        seen(y)
        for step, value in self.steps:
            if step in ("residual", "given bias"):
                y = y + left.pop(0)
            elif step in _WITH_CONSTANT:
                y = _WITH_CONSTANT[step](y, np.asarray(value, wide))
            elif step == "twice":
                y = y + y
            elif step == "clip":
                y = np.minimum(np.maximum(y, value[0]), value[1])
            elif step == "nn.leakyrelu":
                y = np.where(y < 0, y * value, y)
            else:
                function = unary_meaning(step)
                assert function is not None, step
                y = function(y)
            seen(y)
        return np.asarray(y.astype(numpy_dtype(self.dtype)))

    def _core(self, x: Array, w: Array | None) -> Array:
        if w is not None and self.op in _PAIRS:
            return _PAIRS[self.op](w, x) if self.left else _PAIRS[self.op](x, w)
        if w is not None:
            dims = w.ndim - 2
            layout = str(self.attrs.get("data_layout", ""))
            if layout.endswith("C"):
                x, w = np.moveaxis(x, -1, 1), np.moveaxis(w, (-1, -2), (0, 1))
            strides, padding, dilation = (_spread(self.attrs, name, dims) for name in _FORM)
            y = convolve(x, w, strides, padding, dilation, self._groups)
            return np.moveaxis(y, 1, -1) if layout.endswith("C") else y
        if "pool" in self.op:
            size = self.attrs["pool_size"]
            strides, padding, _ = (_spread(self.attrs, name, len(size)) for name in _FORM)
            how = np.max if "max" in self.op else np.mean
            return pool(x, size, strides, padding, how, count_padding=False)
        if self.op == "nn.softmax":
            return softmax(x, self.attrs.get("axis", -1))
        function = unary_meaning(self.op)
        assert function is not None, self.op
        return function(x)

    @property
    def _groups(self) -> int:
        return int(self.attrs.get("groups", 1))


_OP_OF = {
    "bias": "add", "bias first": "add", "given bias": "add", "residual": "add", "twice": "add",
    "from": "subtract",
}  # fmt: skip
_FORM = ("strides", "padding", "dilation")
_PAIRS: Mapping[str, Callable[[Array, Array], Array]] = {
    "matmul": np.matmul, "add": np.add, "subtract": np.subtract, "multiply": np.multiply
}  # fmt: skip
_WITH_CONSTANT: Mapping[str, Callable[[Array, Array], Array]] = {
    "bias": np.add,
    "bias first": np.add,
    "from": lambda y, c: c - y,
    "subtract": np.subtract,
    "multiply": np.multiply,
}


def _spread(attrs: Mapping[str, Any], name: str, dims: int) -> list[int]:
    """An attribute of windows, one number for each axis, paddings for each end."""
    value = attrs.get(name, 0 if name == "padding" else 1)
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(values) == 1:
        values *= dims
    return values * 2 if name == "padding" and len(values) == dims else values


def relax_function(op: str) -> Any:
    """Return the function of Relax that builds calls of an op.

    Args:
        op: Its name without the prefix.
    """
    from tvm.relax import op as ops

    made: Any = ops
    for part in op.split("."):
        made = getattr(made, part)
    return made


def _constant(array: Array) -> Any:
    from tvm import relax

    from byoc.ir.arrays import from_numpy

    return relax.const(from_numpy(np.array(array, order="C")))


def as_claim(layer: Layer, seeds: Sequence[int] = (1, 2)) -> Claim:
    """Return a layer as a claim, to be tried with the numbers of several seeds.

    Args:
        layer: The layer.
        seeds: Of its numbers.
    """
    loose = looseness.get(layer.dtype, 0.0)
    return Claim(
        layer.op,
        f"layer {layer.dtype} {layer.label}".strip(),
        layer.build,
        tuple(layer.feed(seed) for seed in seeds),
        layer.right,
        loose,
        loose * 20,
        outside=layer.outside,
    )


def standing_layers() -> Iterator[Layer]:
    """Yield the layers that every vendor is tried with."""
    yield from _products()
    yield from _convolutions()
    pools = {"pool_size": (2, 3), "strides": (2, 1), "padding": (0, 1, 0, 1)}
    for op in ("nn.max_pool2d", "nn.avg_pool2d"):
        plain = Layer(op, (1, 3, 8, 7), attrs=pools)
        yield from (plain, plain.then(("nn.relu", None)))
    for op in ("add", "subtract", "multiply"):
        for label, other in (
            ("row", (5,)),
            ("column", (3, 1)),
            ("same", (3, 5)),
            ("wider", (2, 3, 5)),
        ):
            plain = Layer(op, (3, 5), filled("float32", other, 3), label=f"constant {label}")
            yield from (plain, replace(plain, given=True, label=f"given {label}"))
            yield replace(plain, left=True, label=f"constant {label} first")
            yield plain.then(("nn.relu", None))
    for op in _FUNCTIONS:
        yield from (
            Layer(op, shape, label=str(shape)) for shape in ((3, 5), (2, 3, 4, 5), (7,), ())
        )
    for axis in (-1, 0, 1):
        yield Layer("nn.softmax", (3, 5, 4), attrs={"axis": axis}, label=f"axis {axis}")


def _tails(layer: Layer, bias: Sequence[int], odd: Mapping[str, Sequence[int]]) -> Iterator[Layer]:
    """What may follow; `odd` are shapes of constants that are added and are no bias."""
    add = ("bias", filled(layer.dtype, bias, 11))
    more = ("bias", filled(layer.dtype, bias, 12))
    relu: Step = ("nn.relu", None)
    for function in _FUNCTIONS:
        yield layer.then((function, None))
        yield layer.then(add, (function, None))
    yield from (
        layer.then(add),
        layer.then(add, more),
        layer.then(relu, add),
        layer.then(relu, relu),
    )
    yield layer.then(add, ("clip", (0.0, 2.0)))
    yield layer.then(add, ("clip", (-1.0, 1.0)), label="bias clip below 0")
    yield from (layer.then(("clip", (0.0, 2.0))), layer.then(add, ("nn.leakyrelu", 0.2)))
    yield from (layer.then(("residual", None)), layer.then(add, ("residual", None), relu))
    yield from (layer.then(("residual", None), relu), layer.then(add, ("residual", None)))
    yield from (layer.then(("residual", None), add, relu), layer.then(("given bias", add[1]), relu))
    yield layer.then(("bias first", add[1]), relu)
    yield from (layer.then(("from", add[1]), relu), layer.then(("subtract", add[1]), relu))
    yield from (layer.then(("multiply", add[1])), layer.then(add, ("multiply", more[1])))
    yield from (layer.then(("twice", None)), layer.then(add, ("twice", None), relu))
    for label, shape in odd.items():
        other = ("bias", filled(layer.dtype, shape, 13))
        yield layer.then(other, label=f"plus {label}")
        yield layer.then(other, relu, label=f"plus {label} nn.relu")


def _products() -> Iterator[Layer]:
    def product(data: tuple[int, ...], weight: tuple[int, ...], label: str, **more: Any) -> Layer:
        dtype = more.get("dtype", "float32")
        return Layer("matmul", data, filled(dtype, weight, 9), label=label, **more)

    relu: Step = ("nn.relu", None)
    plain = product((3, 5), (5, 4), "")
    yield plain
    yield from _tails(
        plain,
        (4,),
        {
            "a number": (),
            "a row of rank 2": (1, 4),
            "a column": (3, 1),
            "a matrix": (3, 4),
            "one": (1,),
        },
    )
    yield from _tails(product((2, 3, 5), (5, 4), "stack"), (4,), {"a plane": (3, 4)})
    for label, data, weight in (
        ("deep stack", (2, 1, 3, 5), (5, 4)),
        ("square", (4, 4), (4, 4)),
        ("one row", (1, 5), (5, 4)),
        ("one column", (3, 5), (5, 1)),
        ("depth 1", (3, 1), (1, 4)),
        ("large", (33, 70), (70, 65)),
        ("even", (16, 32), (32, 16)),
        ("no rows", (0, 5), (5, 4)),
        ("no batch", (0, 3, 5), (5, 4)),
        ("depth 0", (3, 0), (0, 4)),
        ("vector", (5,), (5, 4)),
    ):
        layer = product(data, weight, label)
        yield layer
        yield layer.then(("bias", filled("float32", weight[-1:], 10)), relu)
    yield product((2, 3, 5), (2, 5, 4), "stacked weights")
    yield product((3, 5), (2, 5, 4), "more weights than data")
    yield product((3, 5), (5,), "vector weight")
    yield product((4, 5), (3, 4), "weight first", left=True)
    yield product((4, 4), (4, 4), "square weight first", left=True)
    yield product((4, 4), (4, 4), "square given weight", given=True)
    for given in (product((3, 5), (5, 4), "given weight", given=True),):
        yield from (given, given.then(("bias", filled("float32", (4,), 10)), relu))
    wider = product((1, 5), (5, 4), "one row").then(
        ("bias", filled("float32", (6, 4), 12)), label="plus more rows"
    )
    yield from (wider, wider.then(relu))
    for special in ((np.nan,), (np.inf, -np.inf), (1e-40, -1e-42)):
        layer = product((6, 5), (5, 4), f"data with {special[0]}", special=special)
        yield from (layer, layer.then(("bias", filled("float32", (4,), 10)), relu))
    for dtype in ("float16", "float64", "bfloat16", "int32", "int8", "uint8"):
        layer = product((3, 5), (5, 4), "", dtype=dtype)
        yield from (layer, layer.then(("bias", filled(dtype, (4,), 10)), relu))
        if dtype in ("int8", "uint8"):
            wide = np.resize(edge_values(dtype), (5, 4))
            yield replace(layer, weight=wide, label="edges")


def _convolutions() -> Iterator[Layer]:
    def conv(data: tuple[int, ...], weight: tuple[int, ...], label: str, **more: Any) -> Layer:
        dtype = more.pop("dtype", "float32")
        keep = {key: more.pop(key) for key in ("given", "special") if key in more}
        op = f"nn.conv{len(data) - 2}d"
        return Layer(op, data, filled(dtype, weight, 9), more, (), label, dtype, **keep)

    relu: Step = ("nn.relu", None)
    bias = ("bias", filled("float32", (1, 4, 1, 1), 10))
    plain = conv((1, 3, 8, 7), (4, 3, 3, 3), "", padding=1)
    yield plain
    yield from _tails(
        plain,
        (1, 4, 1, 1),
        {
            "a number": (),
            "a row": (7,),
            "rank 3": (4, 1, 1),
            "a plane": (8, 7),
            "one": (1, 1, 1, 1),
        },
    )
    for label, data, weight, attrs in (
        ("valid", (1, 3, 8, 7), (4, 3, 3, 3), {}),
        ("uneven padding", (1, 3, 8, 7), (4, 3, 3, 3), {"padding": (0, 1, 2, 1)}),
        ("strides 2", (1, 3, 8, 7), (4, 3, 3, 3), {"strides": 2, "padding": 1}),
        ("strides 2, 1", (1, 3, 8, 7), (4, 3, 3, 3), {"strides": (2, 1)}),
        ("dilation 2", (1, 3, 8, 7), (4, 3, 3, 3), {"dilation": 2}),
        ("dilation 1, 2", (1, 3, 8, 7), (4, 3, 3, 3), {"dilation": (1, 2), "padding": 1}),
        ("by channel", (1, 4, 8, 7), (4, 1, 3, 3), {"groups": 4, "padding": 1}),
        ("two of each channel", (1, 2, 8, 7), (4, 1, 3, 3), {"groups": 2, "padding": 1}),
        ("groups", (1, 6, 8, 7), (4, 3, 3, 3), {"groups": 2, "padding": 1}),
        ("kernel 1", (1, 3, 8, 7), (4, 3, 1, 1), {}),
        ("kernel 1, strides 2", (1, 3, 8, 7), (4, 3, 1, 1), {"strides": 2}),
        ("kernel 3, 1", (1, 3, 8, 7), (4, 3, 3, 1), {"padding": (1, 0, 1, 0)}),
        ("kernel as large as the data", (1, 3, 5, 4), (4, 3, 5, 4), {}),
        ("batch 2", (2, 3, 8, 7), (4, 3, 3, 3), {"padding": 1}),
        ("no batch", (0, 3, 8, 7), (4, 3, 3, 3), {"padding": 1}),
        ("even", (2, 16, 8, 8), (4, 16, 3, 3), {"padding": 1}),
    ):
        layer = conv(data, weight, label, **attrs)
        yield from (layer, layer.then(bias, relu))
    yield conv((1, 3, 8, 7), (4, 3, 3, 3), "given weight", padding=1, given=True)
    last = {"data_layout": "NHWC", "kernel_layout": "HWIO", "padding": 1}
    nhwc = conv((1, 8, 7, 3), (3, 3, 3, 4), "channels last", **last)
    yield from (nhwc, nhwc.then(("bias", filled("float32", (4,), 10)), relu))
    for special in ((np.nan,), (np.inf, -np.inf)):
        layer = conv((1, 3, 8, 7), (4, 3, 3, 3), f"data with {special[0]}", special=special)
        yield from (layer, layer.then(bias, relu))
    for dtype in ("float16", "float64", "bfloat16", "int8"):
        layer = conv((1, 3, 8, 7), (4, 3, 3, 3), "", padding=1, dtype=dtype)
        yield from (layer, layer.then(("bias", filled(dtype, (1, 4, 1, 1), 10)), relu))
    yield conv((2, 3, 9), (4, 3, 3), "", padding=(1, 2), strides=2)
    yield conv((1, 2, 5, 6, 4), (4, 2, 2, 3, 2), "", padding=(1, 0, 1, 0, 1, 1))
