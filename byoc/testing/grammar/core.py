"""Values of known shape and dtype, and the builder that rules add nodes with.

In: a seeded random generator. Out: one graph in the making, whose every value has a known shape,
dtype and bound, so that any rule can go on from any value. Every draw from the generator is part
of what a seed names: change one, and all graphs after it are others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import helper, numpy_helper

from byoc.segment import Array

__all__ = [
    "ANY",
    "FLOATS",
    "INTS",
    "MAX_ELEMENTS",
    "MAX_SIZE",
    "Case",
    "GraphBuilder",
    "KnownValue",
    "port",
]

FLOATS = ("float32", "float32", "float32", "float16", "float64")
INTS = ("int64", "int32", "int8", "uint8")
ANY = (*FLOATS, *INTS, "bool")
MAX_ELEMENTS = 4096
MAX_SIZE = 50.0

_CONSTANT_NODE = 0.08  # share of stored tensors that are Constant nodes and not initializers
_NEW_INPUT = 0.3  # share of tensors that are inputs of the graph, while there are few
_MOST_INPUTS = 8
_REUSED = 0.9  # share of operands that are values of before, where one fits
_RECENT = 12  # values that an operand is chosen from: chains grow deep, not only wide

_STEP = 64  # random floats are multiples of 1/64,
_MOST_STEPS = 250  # below 4: float16 holds them exactly
_UNSIGNED, _SIGNED = (0, 10), (-9, 10)  # random integers: from, to (not included)


_T = TypeVar("_T")


@dataclass(frozen=True)
class KnownValue:
    """A value of the graph.

    exact: it has the same bits in every right engine. size: no element's magnitude is above it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    exact: bool = False
    size: float = 4.0

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def count(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Case:
    """A model and values for its inputs; more: other values, of other sizes where symbolic;
    given: with weights that have a default; outside: with an index outside its axis.
    """

    seed: int
    model: onnx.ModelProto
    inputs: dict[str, Array]
    rules: tuple[str, ...]
    more: tuple[dict[str, Array], ...] = ()
    given: tuple[dict[str, Array], ...] = ()
    outside: tuple[dict[str, Array], ...] = ()


@dataclass
class GraphBuilder:
    """One graph in the making."""

    rng: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    values: list[KnownValue] = field(default_factory=list)
    stored: list[onnx.TensorProto] = field(default_factory=list)
    inputs: dict[str, Array] = field(default_factory=dict)
    prefix: str = ""
    count: list[int] = field(default_factory=lambda: [0])

    def fresh(self, hint: str) -> str:
        """A name that nothing has."""
        self.count[0] += 1
        return f"{self.prefix}{hint}_{self.count[0]}"

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return bool(self.rng.random() < p)

    def pick(self, items: Sequence[_T]) -> _T:
        """One of the items."""
        return items[int(self.rng.integers(len(items)))]

    def dim(self, low: int = 1, high: int = 6) -> int:
        """Draw an int between two bounds, both included.

        Args:
            low: The smallest value.
            high: The largest value.
        """
        return int(self.rng.integers(low, high + 1))

    def array(self, shape: Sequence[int], dtype: str) -> Array:
        """Draw an array of random values.

        Args:
            shape: Its shape.
            dtype: Its dtype. Floats are multiples of 1/64 whose magnitude is below 4, which float16
                holds exactly; ints are below 10.
        """
        dims = tuple(shape)
        if dtype == "bool":
            return np.asarray(self.rng.random(dims) < 0.5)
        kind = np.dtype(dtype).kind
        if kind == "f":
            steps = np.round(self.rng.standard_normal(dims) * _STEP)
            return np.asarray(np.clip(steps, -_MOST_STEPS, _MOST_STEPS) / _STEP, dtype)
        low, high = _UNSIGNED if kind == "u" else _SIGNED
        return np.asarray(self.rng.integers(low, high, dims), dtype)

    def new_input(self, shape: Sequence[int], dtype: str) -> KnownValue:
        """Add an input to the graph and return it; inside a branch, add a constant instead.

        Args:
            shape: The shape of the input.
            dtype: The dtype of the input.
        """
        array = self.array(shape, dtype)
        if self.prefix:
            return self.const(array)
        name = self.fresh("x")
        self.inputs[name] = array
        value = KnownValue(name, dtype, tuple(shape), True, _size(array))
        self.values.append(value)
        return value

    def const(self, array: Any, dtype: str | None = None) -> KnownValue:
        """Add a constant: a stored tensor, or at times a Constant node.

        Args:
            array: Its value.
            dtype: Its dtype; None: that of `array`.
        """
        array = np.asarray(array, dtype)
        name = self.fresh("w")
        tensor = numpy_helper.from_array(array, name)
        if self.chance(_CONSTANT_NODE):
            self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        else:
            self.stored.append(tensor)
        return KnownValue(name, str(array.dtype), array.shape, True, _size(array))

    def tensor(self, shape: Sequence[int], dtype: str) -> KnownValue:
        """Add a constant or an input, at random.

        Args:
            shape: The shape of the tensor.
            dtype: The dtype of the tensor.
        """
        if self.chance(_NEW_INPUT) and len(self.inputs) < _MOST_INPUTS:
            return self.new_input(shape, dtype)
        return self.const(self.array(shape, dtype))

    def find(
        self,
        fits: Callable[[KnownValue], bool],
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
    ) -> KnownValue:
        """Return a random value of the graph that fits, or add an input.

        Args:
            fits: Tells whether a value may be used.
            shape: Shape of the input to add; None: a random one.
            dtype: Dtype of the input to add; None: a random float dtype.
        """
        found = [v for v in self.values[-_RECENT:] if fits(v)]
        if found and self.chance(_REUSED):
            return self.pick(found)
        new = shape or [self.dim() for _ in range(self.dim(1, 4))]
        return self.new_input(new, dtype or self.pick(FLOATS))

    def random_float(
        self, ranks: Sequence[int] = (1, 2, 3, 4), exact: bool = False, **kwargs: Any
    ) -> KnownValue:
        """Return a value of a float dtype, as `find` does.

        Args:
            ranks: The ranks that are allowed; a new input has one of them.
            exact: Only values that have the same bits in every correct engine.
            **kwargs: Further arguments of `find`.
        """
        rank = self.pick(ranks)
        return self.find(
            lambda v: v.dtype.startswith("float") and v.rank in ranks and (v.exact or not exact),
            [self.dim() for _ in range(rank)],
            **kwargs,
        )

    def exact_value(self) -> KnownValue:
        """An exact value of any dtype."""
        return self.find(lambda v: v.exact and v.rank > 0 and v.count > 0, dtype=self.pick(ANY))

    def random_value(self) -> KnownValue:
        """A value of any dtype."""
        return self.find(lambda v: v.rank > 0 and v.count > 0, dtype=self.pick(ANY))

    def emit(
        self,
        op: str,
        inputs: Sequence[KnownValue | None],
        shape: Sequence[int],
        dtype: str | None = None,
        *,
        exact: bool = False,
        size: float | None = None,
        **attrs: Any,
    ) -> KnownValue:
        """Add a node with one output, and return the output.

        Args:
            op: The ONNX operator.
            inputs: Its inputs; None for an absent one.
            shape: The shape of the output.
            dtype: The dtype of the output; None: that of the first input.
            exact: The operator adds no rounding of its own: the output is exact if all inputs are.
            size: A bound on the magnitude of the output's elements; None: that of the inputs.
            **attrs: The attributes of the node.
        """
        known = [v for v in inputs if v is not None]
        out = KnownValue(
            self.fresh(op.lower()),
            dtype or known[0].dtype,
            tuple(int(d) for d in shape),
            exact and all(v.exact for v in known),
            max((v.size for v in known), default=1.0) if size is None else size,
        )
        names = [v.name if v else "" for v in inputs]
        self.nodes.append(helper.make_node(op, names, [out.name], name=out.name, **attrs))
        return self.keep(out)

    def keep(self, value: KnownValue) -> KnownValue:
        """Note a new value; one that grows goes through Tanh."""
        if value.size > MAX_SIZE and value.dtype.startswith("float"):
            return self.emit("Tanh", [value], value.shape, size=1.0)
        self.values.append(value)
        return value

    def many(
        self, op: str, inputs: Sequence[KnownValue], outs: Sequence[KnownValue], **attrs: Any
    ) -> list[KnownValue]:
        """Add a node with several outputs, and return the outputs.

        Args:
            op: The ONNX operator.
            inputs: Its inputs.
            outs: The outputs, described; the node takes its name from the first.
            **attrs: The attributes of the node.
        """
        names = [v.name for v in inputs]
        self.nodes.append(
            helper.make_node(op, names, [o.name for o in outs], name=outs[0].name, **attrs)
        )
        return [self.keep(o) for o in outs]

    def ints(self, values: Sequence[int]) -> KnownValue:
        """A vector of constants."""
        return self.const(np.array(values, np.int64))


def _size(array: Array) -> float:
    return float(np.abs(array.astype(np.float64)).max(initial=0.0))


def port(value: KnownValue, shape: Sequence[int | str] | None = None) -> onnx.ValueInfoProto:
    """Return the declaration of a value as input or output of a graph.

    Args:
        value: The value.
        shape: The shape to declare, names for symbolic dimensions; None: the value's own.
    """
    element = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    dims = list(value.shape if shape is None else shape)
    return helper.make_tensor_value_info(value.name, element, dims)
