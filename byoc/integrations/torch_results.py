"""From what a compiled graph computes to the tensors that torch's own graph would return.

torch's tracing says of every result what its strides are, and which results lie in one memory. A
caller may rely on both: ``view`` depends on strides, a write to one result is seen in the others,
and torch itself makes views of results by their strides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from byoc.frontends.torch.strides import hint, is_dense, stored_order

__all__ = ["WITHOUT_NUMPY", "Results"]

_Args = list[Any]
_Size = Callable[[_Args], int]
_View = Callable[[_Args, Any], Any]

WITHOUT_NUMPY = {torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2}
"""What only DLPack takes."""

_BY_NAME = {str(d).removeprefix("torch."): d for d in WITHOUT_NUMPY}


class Results:
    """The results of one graph, as functions of its arguments and of what is computed."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        """Find out which results share memory, and which of them is all of it.

        Args:
            module: The graph, as torch traced it.
        """
        self._module = module
        self._sizes = _sizes_in_arguments(module)
        (output,) = module.graph.find_nodes(op="output")
        self._given = list(output.args[0])
        self._views: dict[int, tuple[int, _View]] = {}
        self._joined: list[tuple[_Size, dict[int, _View]]] = []
        for group in self._shared():
            views = {i: self._view(self._fake(i)) for i in group}
            base = next((i for i in group if _fills_its_memory(self._fake(i))), None)
            if base is None:
                self._joined.append((self._elements(self._fake(group[0])), views))
            else:
                self._views |= {i: (base, views[i]) for i in group if i != base}
        self.computed = tuple(i for i in range(len(self._given)) if i not in self._views)
        self._finish: list[Callable[[_Args, list[Any]], Any]] = []

    def bind(self, sources: Sequence[int | tuple[str, Any]], places: Mapping[str, int]) -> None:
        """Say where the results come from that are no views.

        Args:
            sources: For each of `computed`, as `read_graph` says it.
            places: Placeholder → its place among the arguments.
        """
        self._finish = [
            self._source(i, source, places)
            for i, source in zip(self.computed, sources, strict=True)
        ]

    def of(self, args: _Args, outputs: list[Any]) -> list[Any]:
        """Return all results.

        Args:
            args: What the graph was called with.
            outputs: What the executable computed of it.
        """
        found: list[Any] = [None] * len(self._given)
        for i, finish in zip(self.computed, self._finish, strict=True):
            found[i] = finish(args, outputs)
        for i, (base, view) in self._views.items():
            found[i] = view(args, found[base])
        for elements, views in self._joined:
            whole = torch.empty(elements(args), dtype=found[next(iter(views))].dtype)
            for i, view in views.items():
                found[i] = view(args, whole).copy_(found[i])
        return found

    # -- views

    def _shared(self) -> list[list[int]]:
        """Results that lie in one memory, which is no argument's: of those torch takes care."""
        groups: dict[Any, list[int]] = {}
        arguments = {
            _memory(node.meta["val"])
            for node in self._module.graph.find_nodes(op="placeholder")
            if isinstance(node.meta["val"], torch.Tensor)
        }
        for i in range(len(self._given)):
            fake = self._fake(i)
            if isinstance(fake, torch.Tensor) and _memory(fake) not in arguments:
                groups.setdefault((_memory(fake), fake.dtype), []).append(i)
        return [group for group in groups.values() if len(group) > 1]

    def _fake(self, i: int) -> Any:
        node = self._given[i]
        return node.meta.get("val") if isinstance(node, torch.fx.Node) else None

    def _elements(self, fake: Any) -> _Size:
        size, itemsize = self._number(fake.untyped_storage().nbytes()), fake.element_size()
        return lambda args: size(args) // itemsize

    def _view(self, fake: Any) -> _View:
        shape, strides = self._numbers(fake.shape), self._numbers(fake.stride())
        offset = self._numbers([fake.storage_offset()])
        return lambda args, base: base.as_strided(shape(args), strides(args), *offset(args))

    # -- what is computed

    def _source(
        self, i: int, source: int | tuple[str, Any], places: Mapping[str, int]
    ) -> Callable[[_Args, list[Any]], Any]:
        if isinstance(source, int):
            return self._output(self._given[i].meta["val"], source)
        kind, value = source
        if kind == "number":
            return lambda args, outputs: outputs[value].item()
        if kind == "input":
            place = places[value]
            return lambda args, outputs: args[place]
        if kind == "value" or not isinstance(value, torch.SymInt):
            return lambda args, outputs: value
        size = self._number(value)
        return lambda args, outputs: size(args)

    def _output(self, fake: Any, place: int) -> Callable[[_Args, list[Any]], Any]:
        """An output of the executable, which has the axes in the order of torch's memory."""
        order = stored_order(fake)
        back = [order.index(axis) for axis in range(len(order))]
        plain = back == list(range(len(order)))
        sizes, strides = [hint(s) for s in fake.shape], [hint(s) for s in fake.stride()]
        dense = is_dense(sizes, strides)
        if plain and dense and 1 not in sizes and 0 not in sizes:
            return lambda args, outputs: _to_torch(outputs[place])
        expected = self._numbers(fake.stride())

        def output(args: _Args, outputs: list[Any]) -> torch.Tensor:
            found = _to_torch(outputs[place]).permute(back)
            steps = expected(args)
            if found.stride() == steps:
                return found
            if dense:  # only axes of size 1 differ, or there are no elements
                return found.as_strided(found.shape, steps)
            return _with_strides(found, steps)

        return output

    # -- sizes

    def _numbers(self, values: Sequence[Any]) -> Callable[[_Args], tuple[int, ...]]:
        if all(isinstance(v, int) for v in values):
            known = tuple(values)
            return lambda args: known
        found = [self._number(v) for v in values]
        return lambda args: tuple(f(args) for f in found)

    def _number(self, value: Any) -> _Size:
        if isinstance(value, int):
            return lambda args: value
        expr = value.node.expr
        places = {s: self._sizes[s] for s in expr.free_symbols if s in self._sizes}
        return lambda args: int(expr.subs({s: find(args) for s, find in places.items()}))


def _sizes_in_arguments(module: torch.fx.GraphModule) -> dict[Any, _Size]:
    """Symbol → where in the arguments its value stands."""
    found: dict[Any, _Size] = {}
    for place, node in enumerate(module.graph.find_nodes(op="placeholder")):
        fake = node.meta["val"]
        if isinstance(fake, torch.SymInt) and fake.node.expr.is_Symbol:
            found.setdefault(fake.node.expr, lambda args, p=place: int(args[p]))  # type: ignore[misc]
        elif isinstance(fake, torch.Tensor):
            for axis, size in enumerate(fake.shape):
                if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                    found.setdefault(
                        size.node.expr,
                        lambda args, p=place, a=axis: int(args[p].shape[a]),  # type: ignore[misc]
                    )
    return found


def _memory(fake: Any) -> Any:
    return fake.untyped_storage()._cdata


def _fills_its_memory(fake: Any) -> bool:
    sizes, strides = [hint(s) for s in fake.shape], [hint(s) for s in fake.stride()]
    elements = 1
    for size in sizes:
        elements *= size
    whole = hint(fake.untyped_storage().nbytes()) == elements * fake.element_size()
    return whole and is_dense(sizes, strides) and hint(fake.storage_offset()) == 0


def _with_strides(tensor: torch.Tensor, strides: tuple[int, ...]) -> torch.Tensor:
    """A copy with these strides; of an axis with stride 0 the first entry stands for all."""
    result = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype)
    once = [slice(0, 1) if step == 0 else slice(None) for step in strides]
    result[tuple(once)] = tensor[tuple(once)]
    return result


def _to_torch(array: Any) -> torch.Tensor:
    """The array's memory as a tensor."""
    dtype = _BY_NAME.get(array.dtype.name)
    if dtype is None:
        return torch.from_numpy(array)
    bits = np.uint16 if array.dtype.itemsize == 2 else np.uint8
    return torch.from_numpy(array.view(bits)).view(dtype)
