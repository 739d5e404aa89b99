"""Integer arithmetic for quantised models, which spell it as floats between `dequantize`s.

::

    x8 ─ dequantize ─ conv(W8 dequantized) ─ relu ─ quantize ─ y8       three steps:

    take_integers       x8 ── qconvolution(W8) ─ relu ─ quantize         before weights are folded
    (weights, post_ops) x8 ── qconvolution(W8, bias) post relu ─ quantize
    store_integers      x8 ── qconvolution(W8, bias) post relu ── y8     after post-ops are fused

Rounding is kept: where a sum reads a convolution's int8 result, the convolution rounds as that
result would be before it adds (post-op ``requantize``), though the integers never reach memory.
What has no integer form (average pools, softmax, …) stays float between a dequantize and a
quantize.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from byoc.segment import Array
from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp, PostOp

__all__ = ["fold_dequantized", "store_integers", "take_integers"]

_MOVES = frozenset({"reshape", "transpose", "slice", "concat"})


class _QuantParams(NamedTuple):
    """How integers stand for reals: ``real = (integer - zero) * scale``."""

    scale: float
    zero: int
    dtype: str


def fold_dequantized(graph: DnnlGraph) -> None:
    """Quantised constants that no op takes as integers become floats."""
    for op in graph.walk():
        if op.kind == "dequantize_constant":
            array = graph.constants[op.inputs[0]]
            scale, zero = _spread(op, "scale", array.ndim), _spread(op, "zero", array.ndim)
            whole = array.astype(np.int32) - zero.astype(np.int32)
            graph.replace(op.out, graph.constant((whole * scale).astype(np.float32)))
    graph.prune()


def _spread(op: DnnlOp, name: str, rank: int) -> Array:
    """Scales or zero points in a shape that broadcasts to the constant's."""
    vector: Array = op.attrs[name]
    shape = [1] * rank
    if vector.size > 1:
        shape[op.attrs["axis"]] = -1
    return vector.reshape(shape if rank else ())


# Products of integers


def take_integers(graph: DnnlGraph) -> None:
    """Convolutions and matrix products whose operands were dequantised read the integers."""
    for op in graph.walk():
        if op.kind in ("convolution", "matmul") and len(op.inputs) == 2 and not op.post:
            _take(graph, op)
        elif _moves(op) and len(op.inputs) == 1:
            _sink(graph, op)


def _moves(op: DnnlOp) -> bool:
    """The op chooses among elements: it gives the same before and after rounding."""
    if op.kind == "pooling":
        return op.attrs["alg"] == "max" and not op.post
    return op.kind in _MOVES and not op.post


def _sink(graph: DnnlGraph, op: DnnlOp) -> None:
    """move(dequantize(x8)) = dequantize(move(x8))"""
    source = graph.made_by(op.inputs[0], "dequantize", alone=False)
    if source is not None:
        dtype = graph.type(source.inputs[0]).dtype
        moved = graph.emit(op.kind, source.inputs, graph.shape(op.out), dtype, **op.attrs)
        graph.morph(op, "dequantize", [moved], source.attrs)


def _take(graph: DnnlGraph, op: DnnlOp) -> None:
    source = graph.made_by(op.inputs[0], "dequantize", alone=False)
    if source is None:
        return
    attrs = {**op.attrs, "x_zero": source.attrs["zero"]}
    if op.kind == "matmul":
        if attrs.pop("transpose_a") or graph.rank(op.inputs[0]) < 2:
            return
        found = _weights(graph, op.inputs[1], 0 if attrs.pop("transpose_b") else 1, rank=2)
    else:
        found = _weights(graph, op.inputs[1], 0, rank=graph.rank(op.inputs[1]))
    if found is None:
        return
    weights, scale = found
    if op.kind == "matmul" and op.attrs["transpose_b"]:
        weights = np.ascontiguousarray(weights.T)
    # One factor for both scales, computed as wide as it can be.
    factor = (scale.astype(np.float64) * source.attrs["scale"]).astype(np.float32)
    if not ((factor > 0) & np.isfinite(factor)).all():
        return
    operands = [source.inputs[0], graph.constant(weights), graph.constant(factor)]
    graph.morph(op, f"q{op.kind}", operands, attrs)


def _weights(graph: DnnlGraph, value: int, axis: int, rank: int) -> tuple[Array, Array] | None:
    """(int8 values, scale of each output channel or one) of symmetric quantised weights.

    axis: that of the output channels.
    """
    moves: list[DnnlOp] = []
    op = graph.producer.get(value)
    while op is not None and op.kind in ("transpose", "reshape"):
        moves.append(op)
        op = graph.producer.get(op.inputs[0])
    if op is None or op.kind != "dequantize_constant":
        return None
    array, scale, zero = graph.constants[op.inputs[0]], op.attrs["scale"], op.attrs["zero"]
    along = op.attrs["axis"]
    for move in reversed(moves):
        if move.kind == "transpose":
            array, along = np.transpose(array, move.attrs["axes"]), move.attrs["axes"].index(along)
            continue
        shape = tuple(int(d) for d in graph.shape(move.out))
        place = _axis_after(array.shape, along, shape) if scale.size > 1 else 0
        if place is None:
            return None
        array, along = array.reshape(shape), place
    if array.ndim != rank or (scale.size > 1 and along != axis):
        return None
    middle = {"int8": 0, "uint8": 128}.get(array.dtype.name)
    if middle is None or (zero != middle).any():
        return None
    signed = array if middle == 0 else (array.astype(np.int16) - middle).astype(np.int8)
    return np.ascontiguousarray(signed), scale


def _axis_after(before: Sequence[int], axis: int, after: Sequence[int]) -> int | None:
    """Where an axis is after a reshape that leaves it whole."""
    for place, size in enumerate(after):
        if size == before[axis] and prod(after[:place]) == prod(before[:axis]):
            return place
    return None


# Results that are integers


def store_integers(graph: DnnlGraph) -> None:
    """Quantizations join what feeds them; sums and moves of int8 values stay int8."""
    for op in graph.walk():
        if op.kind == "quantize":
            _store(graph, op)
    graph.prune()


def _quant_params(graph: DnnlGraph, op: DnnlOp, value: int) -> _QuantParams:
    """Those of a `quantize` or `dequantize`, whose integers are `value`."""
    return _QuantParams(op.attrs["scale"], op.attrs["zero"], graph.type(value).dtype)


def _store(graph: DnnlGraph, op: DnnlOp) -> None:
    value = op.inputs[0]
    made = graph.producer.get(value)
    if made is None:
        return
    if made.kind == "dequantize":
        _requantize(graph, op, made)
    elif graph.uses(value) != 1:
        return
    elif made.kind in ("qconvolution", "qmatmul"):
        result = {"y_scale": op.attrs["scale"], "y_zero": op.attrs["zero"]}
        graph.morph(op, made.kind, made.inputs, {**made.attrs, **result}, made.post, [made])
    elif made.kind == "binary":
        _add(graph, op, made)
    elif _moves(made):
        _move(graph, op, made)


def _requantize(graph: DnnlGraph, op: DnnlOp, source: DnnlOp) -> None:
    """quantize(dequantize(x8)): nothing, or other quant params."""
    old, new = _quant_params(graph, source, source.inputs[0]), _quant_params(graph, op, op.out)
    if old == new and op.out not in graph.outputs:
        graph.replace(op.out, source.inputs[0])
    elif old == new:
        graph.morph(op, "reshape", [source.inputs[0]], absorbed=[source])
    else:
        graph.morph(
            op, "requantize", [source.inputs[0]], _requantize_attrs(old, new), absorbed=[source]
        )


def _requantize_attrs(old: _QuantParams, new: _QuantParams) -> dict[str, Any]:
    return {
        "x_scale": old.scale, "x_zero": old.zero, "scale": new.scale, "zero": new.zero
    }  # fmt: skip


def _move(graph: DnnlGraph, op: DnnlOp, made: DnnlOp) -> None:
    """Move the integers. Inputs with other quant params are requantized to the result's first."""
    target = _quant_params(graph, op, op.out)
    sources = list[DnnlOp]()
    for moved in made.inputs:
        source = graph.made_by(moved, "dequantize", alone=False)
        if source is None:
            return
        sources.append(source)
    inputs = []
    for source in sources:
        value = source.inputs[0]
        own = _quant_params(graph, source, value)
        if own != target:
            attrs = _requantize_attrs(own, target)
            value = graph.emit("requantize", [value], graph.shape(value), target.dtype, **attrs)
        inputs.append(value)
    graph.morph(op, made.kind, inputs, made.attrs, absorbed=[made])


def _add(graph: DnnlGraph, op: DnnlOp, made: DnnlOp) -> None:
    """quantize(dequantize(a8) + dequantize(b8)), post-ops between."""
    sources = [graph.made_by(v, "dequantize", alone=False) for v in made.inputs]
    a, b = sources
    if made.attrs["alg"] != "add" or a is None or b is None or a is b:
        return
    if any(p.value is not None for p in made.post):
        return
    if any(graph.shape(v) != graph.shape(op.out) for v in made.inputs):
        return
    result = {"y_scale": op.attrs["scale"], "y_zero": op.attrs["zero"]}
    if _add_to_product(graph, op, made, (a, b), result):
        return
    attrs: dict[str, Any] = {
        "a_scale": a.attrs["scale"], "a_zero": a.attrs["zero"],
        "b_scale": b.attrs["scale"], "b_zero": b.attrs["zero"],
    }  # fmt: skip
    inputs = [a.inputs[0], b.inputs[0]]
    graph.morph(op, "qadd", inputs, {**attrs, **result}, made.post, [made])


def _add_to_product(
    graph: DnnlGraph, op: DnnlOp, made: DnnlOp, sources: Sequence[DnnlOp], result: Mapping[str, Any]
) -> bool:
    """The product computed last, when its integers have no other reader, adds the other value."""
    order = {id(other): place for place, other in enumerate(graph.ops)}
    best: tuple[int, DnnlOp, DnnlOp, DnnlOp] | None = None
    for mine, other in (tuple(sources), tuple(sources[::-1])):
        value = mine.inputs[0]
        product = graph.producer.get(value)
        if product is None or product.kind not in ("qconvolution", "qmatmul"):
            continue
        attrs = product.attrs
        same = (attrs.get("y_scale"), attrs.get("y_zero")) == (
            mine.attrs["scale"],
            mine.attrs["zero"],
        )
        if not same or graph.uses(value) != 1 or graph.uses(mine.out) != 1 or len(product.post) > 6:
            continue
        place = order.get(id(product), -1)
        if best is None or place > best[0]:
            best = (place, product, mine, other)
    if best is None:
        return False
    _, product, mine, other = best
    limits = np.iinfo(graph.type(mine.inputs[0]).dtype)
    rounding = PostOp(
        "requantize",
        scale=mine.attrs["scale"],
        zero=mine.attrs["zero"],
        alpha=float(limits.min),
        beta=float(limits.max),
    )
    plus = PostOp(
        "add", value=other.inputs[0], scale=other.attrs["scale"], zero=other.attrs["zero"]
    )
    posts = [*product.post, rounding, plus, *made.post]
    attrs = {**product.attrs, **result}
    graph.morph(op, product.kind, product.inputs, attrs, posts, [product, made])
    return True
