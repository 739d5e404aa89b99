"""Random graphs made harder: what suites that feed weights as constants and small numbers miss.

    case(seed)  →  weights become inputs of the run, floats hold NaN and infinities, whole numbers
                   the ends of their types, a symbolic batch is 1 and 0, chains are deep, weights
                   that have a default are given, an index lies outside its axis

Each with a chance of its own, drawn by the same seed. What two right engines may answer otherwise
is left out: NaN where the graph jumps (a cast to integers, arg max, …), the ends of integers where
it divides or sums in another type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from byoc.segment import Array
from byoc.testing.grammar import make_case
from byoc.testing.grammar.core import Case

__all__ = ["make_hard_case"]

_FREED = 0.5  # share of the float weights that are inputs, in a graph that has such
_CHANCES = {
    "parameters": 0.6, "numbers": 0.25, "ends": 0.25, "deep": 0.15, "given": 0.5, "outside": 0.5,
}  # fmt: skip
_DEEP = 40

_JUMPS = {
    "ArgMax", "ArgMin", "Cast", "CastLike", "Ceil", "DynamicQuantizeLinear", "Floor", "Hardmax",
    "If", "Loop", "Mod", "NonZero", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "Round",
    "Scan", "TopK", "Unique", "Compress", "Trilu", "ScatterElements", "ScatterND", "Sign",
}  # fmt: skip
"""Operators with which a graph gets no NaN and no infinities."""

_INDEXED = {"Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"}

_NARROW = {
    "BitShift", "Cast", "CastLike", "Div", "Gather", "GatherElements", "GatherND", "If", "Loop",
    "Mod", "OneHot", "Pow", "QLinearConv", "QLinearMatMul", "Scan", "ScatterElements", "ScatterND",
    "DequantizeLinear", "Range", "Reshape", "Expand", "Tile", "Slice", "ConstantOfShape",
}  # fmt: skip
"""Operators with which whole numbers do not get the ends of their types; nor with reductions."""


def make_hard_case(seed: int) -> Case:
    """The graph of a seed, made harder.

    Args:
        seed: It names the graph, as for `make_case`, and what is done to it.
    """
    rng = np.random.default_rng([seed, 1])
    chosen = {what for what, chance in _CHANCES.items() if rng.random() < chance}
    case = make_case(seed, _DEEP if "deep" in chosen else None)
    operators = {node.op_type for node in _all_nodes(case.model.graph)}
    model, inputs, more = case.model, dict(case.inputs), [dict(m) for m in case.more]
    if more:
        more += [{n: np.zeros((size, *a.shape[1:]), a.dtype) + a[:1] for n, a in inputs.items()}
                 for size in (1, 0)]  # fmt: skip
    if "numbers" in chosen and not operators & _JUMPS:
        inputs = {n: _with_infinities(a, rng) for n, a in inputs.items()}
    if "ends" in chosen and not any(o in _NARROW or "Reduce" in o for o in operators):
        inputs = {n: _with_ends(a, rng) for n, a in inputs.items()}
    if "parameters" in chosen:
        model, freed = _with_free_weights(model, rng)
        inputs |= freed
        more = [m | freed for m in more]
    outside: tuple[dict[str, Array], ...] = ()
    if "outside" in chosen:
        model, freed, outside = _with_indices_outside(model, inputs, rng)
        inputs |= freed
        more = [m | freed for m in more]
    other = _other_defaults(model, rng) if "given" in chosen else {}
    given = (inputs | other,) if other else ()
    rules = (*case.rules, *sorted(chosen))
    return Case(seed, model, inputs, rules, tuple(more), given, outside)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)


def _with_infinities(array: Array, rng: np.random.Generator) -> Array:
    if array.dtype.kind != "f" or not array.size or rng.random() < 0.5:
        return array
    return _with(array, rng, [np.nan, np.inf, -np.inf, -0.0])


def _with_ends(array: Array, rng: np.random.Generator) -> Array:
    if array.dtype.kind not in "iu" or not array.size:
        return array
    ends = np.iinfo(array.dtype)
    return _with(array, rng, [ends.min, ends.max, 0, ends.max - 1])


def _with(array: Array, rng: np.random.Generator, values: list[Any]) -> Array:
    """The array with one or two elements of `values`."""
    flat = array.copy().reshape(-1)
    for _ in range(int(rng.integers(1, 3))):
        flat[int(rng.integers(flat.size))] = values[int(rng.integers(len(values)))]
    return flat.reshape(array.shape)


def _with_free_weights(
    model: onnx.ModelProto, rng: np.random.Generator
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model with some of its float weights as inputs, and their values."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    listed = {port.name for port in graph.input}
    freed: dict[str, Array] = {}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name in listed or array.dtype.kind != "f" or rng.random() > _FREED:
            continue
        freed[tensor.name] = array
        graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    kept = [t for t in model.graph.initializer if t.name not in freed]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return changed, freed


def _other_defaults(model: onnx.ModelProto, rng: np.random.Generator) -> dict[str, Array]:
    """Other values for some of the float weights that are listed as inputs, too."""
    listed = {port.name for port in model.graph.input}
    found = {}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name in listed and array.dtype.kind == "f" and rng.random() < _FREED:
            found[tensor.name] = array[..., ::-1].copy() if array.ndim else -array
    return found


def _with_indices_outside(
    model: onnx.ModelProto, inputs: dict[str, Array], rng: np.random.Generator
) -> tuple[onnx.ModelProto, dict[str, Array], tuple[dict[str, Array], ...]]:
    """The model with the stored indices of one node as an input, these, and inputs with bad ones.

    On both sides of the axis (a few axes are longer than 9), by little and by much: what lies far
    outside is no memory of the process.
    """
    stored = {t.name: t for t in model.graph.initializer}
    listed = {port.name for port in model.graph.input}
    read = Counter(name for node in _all_nodes(model.graph) for name in node.input)
    at = [n.input[1] for n in model.graph.node if n.op_type in _INDEXED and len(n.input) > 1]
    at = [n for n in at if n in stored and n not in listed and read[n] == 1]
    if not at:
        return model, {}, ()
    name = at[int(rng.integers(len(at)))]
    indices = numpy_helper.to_array(stored[name])
    if not indices.size:
        return model, {}, ()
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    (tensor,) = (t for t in changed.graph.initializer if t.name == name)
    changed.graph.input.append(
        onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
    )
    changed.graph.initializer.remove(tensor)
    runs = []
    for bad in (9, -10, 1 << 30, -(1 << 31)):
        other = indices.copy().reshape(-1)
        other[int(rng.integers(other.size))] = bad
        runs.append({**inputs, name: other.reshape(indices.shape)})
    return changed, {name: indices}, tuple(runs)
