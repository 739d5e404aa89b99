"""Small models around a layer that a vendor takes, each of which some vendor has got wrong.

A trap is drawn once, by a function of a `Pen` and the inputs. One pen writes Relax, the other
computes in numpy, so that the model and its right answer cannot differ::

    def diamond(pen, x):
        y = pen.layer(layer, x)
        return [pen.add(pen.layer(other, y), pen.on_host(y))]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from byoc.segment import Array
from byoc.testing.conformance.edges import filled
from byoc.testing.conformance.elementwise import looseness
from byoc.testing.conformance.layers import Layer

if TYPE_CHECKING:
    import tvm

__all__ = ["Pen", "Trap", "square", "traps"]


class Pen(Protocol):
    """Draws a graph: as Relax, or as numbers."""

    def layer(self, layer: Layer, *inputs: Any) -> Any:
        """A layer."""
        ...

    def steps(self, layer: Layer, *inputs: Any) -> list[Any]:
        """A layer and all that is computed on the way to its result, the result last."""
        ...

    def on_host(self, x: Any) -> Any:
        """Something that vendors hardly take: a cosine, which stays on the host."""
        ...

    def add(self, x: Any, y: Any) -> Any:
        """A sum."""
        ...

    def join(self, *parts: Any) -> Any:
        """Parts one after the other, along the first axis."""
        ...


class _Relax:
    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def layer(self, layer: Layer, *inputs: Any) -> Any:
        return layer.build(inputs, self._builder.emit)

    def steps(self, layer: Layer, *inputs: Any) -> list[Any]:
        seen: list[Any] = []

        def see(y: Any) -> Any:
            seen.append(self._builder.emit(y))
            return seen[-1]

        layer.build(inputs, see)
        return seen

    def on_host(self, x: Any) -> Any:
        from tvm.relax import op

        return self._builder.emit(op.cos(x))

    def add(self, x: Any, y: Any) -> Any:
        from tvm.relax import op

        return self._builder.emit(op.add(x, y))

    def join(self, *parts: Any) -> Any:
        from tvm.relax import op

        return self._builder.emit(op.concat(list(parts), 0))


class _Numbers:
    def layer(self, layer: Layer, *inputs: Array) -> Array:
        return layer.right(*inputs)

    def steps(self, layer: Layer, *inputs: Array) -> list[Array]:
        seen: list[Array] = []
        layer.right(*inputs, see=lambda y: seen.append(y.astype(layer.dtype)))
        return seen

    def on_host(self, x: Array) -> Array:
        return np.asarray(np.cos(x))

    def add(self, x: Array, y: Array) -> Array:
        return x + y

    def join(self, *parts: Array) -> Array:
        return np.concatenate(parts, 0)


@dataclass(frozen=True)
class Trap:
    """A small model with what must come out of it.

    Attributes:
        name: What it tries.
        draw: (pen, inputs) → results.
        shapes: Of the inputs; "n" is a size that is known at run time only.
        dtype: Of all tensors.
        sizes: Values of "n" that are tried.
        same: Whether all inputs are given as one array.
        offset: How many elements beyond an aligned address inputs begin.
    """

    name: str
    draw: Callable[..., Sequence[Any]]
    shapes: tuple[tuple[int | str, ...], ...]
    dtype: str = "float32"
    sizes: tuple[int, ...] = ()
    same: bool = False
    offset: int = 0

    def module(self) -> tvm.IRModule:
        """Return the model as Relax."""
        from tvm import relax, tirx

        sizes: dict[str, Any] = {}

        def dim(size: int | str) -> Any:
            if isinstance(size, int):
                return size
            return sizes.setdefault(size, tirx.Var(size, "int64"))

        inputs = [
            relax.Var(f"x{k}", relax.TensorType([dim(d) for d in shape], self.dtype))
            for k, shape in enumerate(self.shapes)
        ]
        builder = relax.BlockBuilder()
        with builder.function("main", inputs):
            with builder.dataflow():
                results = self.draw(_Relax(builder), *inputs)
                made = results[0] if len(results) == 1 else relax.Tuple(list(results))
                output = builder.emit_output(made)
            builder.emit_func_output(output)
        return builder.get()

    def runs(self) -> Iterator[tuple[Array, ...]]:
        """Yield the numbers of each run: new ones, then the first again, also in another order."""
        sizes = self.sizes or (1, 1)
        first: tuple[Array, ...] = ()
        for seed, size in enumerate(sizes):
            given = tuple(
                self._placed(filled(self.dtype, [d if isinstance(d, int) else size for d in shape],
                                    41 + seed + 7 * k))
                for k, shape in enumerate(self.shapes)
            )  # fmt: skip
            given = (given[0],) * len(given) if self.same else given
            first = first or given
            yield given
        if len(set(self.shapes)) < len(self.shapes) and not self.same:
            yield _exchanged(first)
        yield first

    def _placed(self, array: Array) -> Array:
        if not self.offset:
            return array
        memory = np.empty(array.size + 64, array.dtype)
        start = (-memory.ctypes.data // array.itemsize) % (64 // array.itemsize) + self.offset
        placed = memory[start : start + array.size].reshape(array.shape)
        placed[...] = array
        return placed

    def right(self, given: Sequence[Array]) -> list[Array]:
        """Return what must come out."""
        with np.errstate(all="ignore"):
            return [np.asarray(y) for y in self.draw(_Numbers(), *given)]

    @property
    def loose(self) -> float:
        """The relative difference that is allowed."""
        return looseness.get(self.dtype, 0.0) * 5


def _exchanged(given: tuple[Array, ...]) -> tuple[Array, ...]:
    """The same numbers, but inputs of one shape in the opposite order."""
    by_shape: dict[tuple[int, ...], list[Array]] = {}
    for array in given:
        by_shape.setdefault(array.shape, []).append(array)
    return tuple(by_shape[array.shape].pop() for array in given)


def square(layer: Layer) -> Layer:
    """Return a layer like this one whose result has the shape of its data, where there is one.

    Args:
        layer: One that a vendor takes.
    """
    if layer.weight is None or layer.op in ("add", "subtract", "multiply") or layer.given:
        return layer
    weight: tuple[int, ...]
    channels: tuple[int, ...]
    if layer.op == "matmul":
        if len(layer.shape) < 2 or layer.weight.ndim != 2 or layer.left:
            return layer
        k = layer.shape[-1]
        weight, channels, shape = (k, k), (k,), layer.shape
    else:
        if layer.attrs.get("groups", 1) != 1 or "HWIO" in layer.attrs.values():
            return layer
        c = layer.shape[1]
        weight, shape = (c, c, *[1] * (layer.weight.ndim - 2)), layer.shape
        channels = (1, c, *[1] * (layer.weight.ndim - 2))
        if any(layer.attrs.get(name) not in (None, 0, 1) for name in ("strides", "padding")):
            return layer
        if layer.attrs.get("padding"):
            weight = (c, c, *[3] * (layer.weight.ndim - 2))
    steps = []
    for step, value in layer.steps:
        if isinstance(value, np.ndarray):
            if value.size != max(layer.weight.shape[-1 if layer.op == "matmul" else 0], 1):
                return layer
            value = filled(layer.dtype, channels, 51)
        steps.append((step, value))
    made = filled(layer.dtype, weight, 52)
    return replace(layer, shape=shape, weight=made, steps=tuple(steps))


def traps(layer: Layer) -> Iterator[Trap]:
    """Yield the traps around a layer that a vendor takes.

    Args:
        layer: It.
    """
    inputs = tuple(array.shape for array in layer.feed(1))
    dtype = layer.dtype

    def trap(
        name: str, draw: Callable[..., Sequence[Any]], shapes: Any = inputs, **more: Any
    ) -> Trap:
        return Trap(name, draw, tuple(shapes), dtype, **more)

    other = layer.reseeded(61)
    extra = inputs[1:]
    yield trap(
        "intermediate results are results, too", lambda pen, *x: [*pen.steps(layer, *x)][::-1]
    )
    yield trap(
        "one structure, other weights, side by side",
        lambda pen, *x: [pen.layer(layer, *x), pen.layer(other, *x)],
    )
    yield trap(
        "shared weights, data of its own",
        lambda pen, x, y, *more: [pen.layer(layer, y, *more), pen.layer(layer, x, *more)],
        (inputs[0], inputs[0], *extra),
    )
    yield trap(
        "a result that the host reads, too",
        lambda pen, *x: [pen.on_host(y := pen.layer(layer, *x)), y],
    )
    yield trap(
        "data whose memory begins anywhere", lambda pen, *x: [pen.layer(layer, *x)], offset=1
    )
    yield trap(
        "what the host computed", lambda pen, x, *more: [pen.layer(layer, pen.on_host(x), *more)]
    )
    if layer.shape:
        yield trap(
            "parts of a tuple",
            lambda pen, *x: [pen.join(pen.layer(other, *x), pen.layer(layer, *x))],
        )
        free = tuple(("n", *shape[1:]) if k == 0 or shape[:1] == layer.shape[:1] else shape
                     for k, shape in enumerate(inputs))  # fmt: skip
        fixed = layer.weight is not None and layer.weight.ndim > len(layer.shape)
        if not fixed and not layer.given and layer.op not in ("add", "subtract", "multiply"):
            draw = lambda pen, *x: [pen.layer(layer, *x)]  # noqa: E731
            yield trap("a size of run time", draw, free, sizes=(2, 5, 1, 0))
            if not extra:
                yield trap(
                    "a size that only an input tells which no op reads",
                    lambda pen, x: [pen.layer(layer, pen.on_host(pen.join(x, x)))],
                    free,
                    sizes=(2, 5, 1, 0),
                )
    flat = square(layer)
    if flat.right(*flat.feed(1)).shape != flat.shape or flat.given:
        return
    more = [array.shape for array in flat.feed(1)][1:]
    a, b, c = (flat.reseeded(seed) for seed in (71, 81, 91))
    one = (flat.shape, *more)
    yield trap(
        "one after the other, other weights",
        lambda pen, x, *more: [pen.layer(b, pen.layer(a, x, *more), *more)],
        one,
    )
    yield trap(
        "the same weights twice",
        lambda pen, x, *more: [pen.layer(a, pen.layer(a, x, *more), *more)],
        one,
    )
    yield trap(
        "results in another order than they are made",
        lambda pen, x, *more: [
            pen.layer(c, z := pen.layer(b, y := pen.layer(a, x, *more), *more), *more),
            y,
            z,
        ],
        one,
    )
    yield trap(
        "a diamond through the host",
        lambda pen, x, *more: [
            pen.layer(
                c, pen.add(pen.layer(b, y := pen.layer(a, x, *more), *more), pen.on_host(y)), *more
            )
        ],
        one,
    )
    yield trap(
        "the data is added again",
        lambda pen, x, *more: [pen.add(pen.layer(a, x, *more), x)],
        one,
    )
    plain = replace(a, steps=tuple(step for step in a.steps if step[0] == "bias"))
    joined = plain.then(("residual", None))
    if not more:
        yield trap(
            "two inputs of one shape",
            lambda pen, x, y: [pen.layer(joined, x, y)],
            (flat.shape, flat.shape),
        )
    yield trap(
        "one array as two inputs",
        lambda pen, x, y, *more: [pen.add(pen.layer(a, x, *more), y), pen.layer(b, y, *more)],
        (flat.shape, *one),
        same=True,
    )
    yield trap(
        "two inputs in another order",
        lambda pen, x, y, *more: [pen.add(pen.layer(a, y, *more), pen.layer(b, x, *more))],
        (flat.shape, *one),
    )
