"""Layers at the ends of what a vendor says as data: the last inside, the first outside.

In: a `Capability`. Out: layers; those outside say why (`Layer.outside`). One thing is varied at a
time, starting from a layer in the middle. Ops that `Layer` does not know are left to the sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from byoc.kit.capability import ANY, Capability, Range
from byoc.segment import Array
from byoc.testing.conformance.edges import FLOATS, WHOLE, filled
from byoc.testing.conformance.layers import LAYERED, Layer

__all__ = ["boundary_layers"]

_OTHER: Mapping[str, Sequence[Any]] = {
    "groups": (2,),
    "strides": (2, 3),
    "dilation": (2,),
    "padding": (1, 3),
}
"""Values to try of an attribute, beside those that are named."""


def boundary_layers(capability: Capability) -> Iterator[Layer]:
    """Yield the layers at the ends of a capability.

    Args:
        capability: What the vendor says.
    """
    if capability.op not in LAYERED or capability.op in ("nn.max_pool2d", "nn.avg_pool2d"):
        return
    known = [d for d in capability.dtypes if d in (*FLOATS, *WHOLE)]
    base = _base(capability, known[0]) if known else None
    if base is None:
        return
    yield from _tails(capability, base)
    for dtype in known[1:]:
        other = _base(capability, dtype)
        if other is not None:
            yield other.then(label="dtype")
    yield from _wrong_dtype(capability, base)
    if base.weight is not None:
        yield from _constness(capability, base)
        yield from _elements(capability, base)
    yield from _ranks(capability, base)
    yield from _sizes(capability, base)
    yield from _attributes(capability, base)


def _size(capability: Capability, number: int, axis: int, rank: int, wanted: int) -> int:
    """A legal size of an axis of an input, near the wanted one."""
    for key in (axis, axis - rank):
        legal = capability.operand(number).dims.get(key)
        if isinstance(legal, Range):
            low = int(legal.min or 0)
            high = int(legal.max) if legal.max is not None else max(wanted, low) + legal.multiple
            fitting = [n for n in range(low, high + 1) if n % legal.multiple == 0] or [wanted]
            return min(fitting, key=lambda n: abs(n - wanted))
        if isinstance(legal, list):
            return int(min((n for n in legal if isinstance(n, int)), key=lambda n: abs(n - wanted)))
        if isinstance(legal, int):
            return legal
    return wanted


def _both(
    capability: Capability, first: tuple[int, int], other: tuple[int, int], wanted: int
) -> int:
    """A size that is legal for an axis of the data (number, rank) and one of the weight."""
    (axis, rank), (axis2, rank2) = first, other
    size = _size(capability, 0, axis, rank, wanted)
    again = _size(capability, 1, axis2, rank2, size)
    return again if _size(capability, 0, axis, rank, again) == again else size


def _base(capability: Capability, dtype: str) -> Layer | None:
    """A layer inside; None where this op has no weights and is swept."""
    ranks = capability.operand(0).rank
    data: tuple[int, ...]
    weight: tuple[int, ...]
    if capability.op == "matmul":
        rank = 2 if not ranks or 2 in ranks else ranks[0]
        if rank < 2 or (capability.operand(1).rank and 2 not in capability.operand(1).rank):
            return None
        k = _both(capability, (rank - 1, rank), (0, 2), 5)
        n = _size(capability, 1, 1, 2, 4)
        lead = [_size(capability, 0, a, rank, 2) for a in range(rank - 1)]
        data, weight = (*lead, k), (k, n)
    elif capability.op.startswith("nn.conv"):
        dims = int(capability.op[-2])
        rank = dims + 2
        c = _both(capability, (1, rank), (1, rank), 2)
        o = _size(capability, 1, 0, rank, 4)
        kernel = [_size(capability, 1, 2 + a, rank, 3 - a) for a in range(dims)]
        space = [_size(capability, 0, 2 + a, rank, 9 - a) for a in range(dims)]
        data, weight = (_size(capability, 0, 0, rank, 1), c, *space), (o, c, *kernel)
        layouts = [capability.attrs.get(n, ANY) for n in ("data_layout", "kernel_layout")]
        if any(isinstance(v, str) and v not in (ANY, "NCHW"[: dims + 2], "OIHW") for v in layouts):
            return None  # layouts other than Relax's are tried by the standing layers
    else:
        return None
    array = filled(dtype, weight, 31)
    attrs = {n: _first(v) for n, v in capability.attrs.items() if "." not in n}
    attrs = {n: v for n, v in attrs.items() if v is not None and n not in ("groups", "out_dtype")}
    given = capability.operand(1).constant is False
    return Layer(capability.op, data, array, attrs, label="claimed", dtype=dtype, given=given)


def _first(legal: Any) -> Any:
    if legal == ANY:
        return None
    if isinstance(legal, Range):
        low = None if legal.min is None else int(legal.min)
        return low if low is not None else None if legal.max is None else int(legal.max)
    value = legal[0] if isinstance(legal, list) else legal
    return tuple(value) if isinstance(value, list) else value


def _bias_shape(layer: Layer) -> tuple[int, ...]:
    assert layer.weight is not None
    if layer.op == "matmul":
        return (layer.weight.shape[-1],)
    return (1, layer.weight.shape[0], *[1] * (layer.weight.ndim - 2))


def _tails(capability: Capability, base: Layer) -> Iterator[Layer]:
    """Every way in which the tail can be there."""
    choices = [(*step.kinds, *((None,) if step.optional else ())) for step in capability.steps]
    for way in product(*choices):
        steps: list[tuple[str, Any]] = []
        for kind in filter(None, way):
            if kind == "bias":
                steps.append((kind, filled(base.dtype, _bias_shape(base), 32)))
            elif kind == "clip":
                low = _first(capability.attrs.get("clip.min", ANY))
                high = _first(capability.attrs.get("clip.max", ANY))
                steps.append((kind, (-1.0 if low is None else low, 2.0 if high is None else high)))
            elif kind == "nn.leakyrelu":
                alpha = _first(capability.attrs.get("nn.leakyrelu.alpha", ANY))
                steps.append((kind, 0.2 if alpha is None else alpha))
            else:
                steps.append((kind, None))
        try:
            layer = base.then(*steps)
            layer.right(*layer.feed(1))
        except (AssertionError, KeyError):  # a function whose meaning is not known here
            continue
        yield layer


def _wrong_dtype(capability: Capability, base: Layer) -> Iterator[Layer]:
    legal = {*capability.dtypes, *(d for operand in capability.inputs for d in operand.dtypes)}
    for dtype in ("float64", "float16", "int32"):
        if dtype not in legal:
            weight = None if base.weight is None else base.weight.astype(dtype)
            other = replace(base, dtype=dtype, weight=weight, label=f"claimed not {dtype}")
            yield replace(other, outside=f"its dtypes are {', '.join(capability.dtypes)}")


def _constness(capability: Capability, base: Layer) -> Iterator[Layer]:
    rule = capability.operand(1).constant
    other = replace(base, given=not base.given, label="claimed, weight of the other kind")
    if rule is None:
        yield other
    else:
        kind = "constant" if rule else "given at run time"
        yield replace(other, outside=f"its weight must be {kind}")


def _elements(capability: Capability, base: Layer) -> Iterator[Layer]:
    """Weights that just fit and just do not."""
    most = capability.operand(1).max_elements
    if (
        most is None
        or not 1 <= most <= 1 << 22
        or base.weight is None
        or capability.operand(1).dims
    ):
        return
    for count, outside in ((most, ""), (most + 1, f"weights have at most {most} elements")):
        rank = base.weight.ndim
        shape = (1, count) if base.op == "matmul" else (count, *[1] * (rank - 1))
        axis = -1 if base.op == "matmul" else 1
        data = list(base.shape)
        data[axis] = 1
        label = f"claimed {count} weights"
        weight = filled(base.dtype, shape, 33)
        yield replace(base, shape=tuple(data), weight=weight, label=label, outside=outside)


def _ranks(capability: Capability, base: Layer) -> Iterator[Layer]:
    ranks = capability.operand(0).rank
    if base.op != "matmul" or not ranks:
        return
    for rank in sorted({*ranks, max(ranks) + 1, min(ranks) - 1}):
        if 1 <= rank <= 6 and rank != len(base.shape):
            lead = tuple(_size(capability, 0, a, rank, 2) for a in range(rank - 1))
            other = replace(base, shape=(*lead, base.shape[-1]), label=f"claimed rank {rank}")
            yield replace(other, outside="" if rank in ranks else f"its ranks are {ranks}")


def _sizes(capability: Capability, base: Layer) -> Iterator[Layer]:
    """The ends of the legal sizes of each axis that has some."""
    if base.weight is None:
        return
    for number, shape in enumerate((base.shape, base.weight.shape)):
        for axis, legal in capability.operand(number).dims.items():
            if not isinstance(legal, Range) or not -len(shape) <= axis < len(shape):
                continue
            step = legal.multiple
            low, high = (None if e is None else int(e) for e in (legal.min, legal.max))
            ends = [(low, ""), (high, "")]
            ends += [(high + step, f"at most {high}")] if high is not None else []
            ends += [(low - step, f"at least {low}")] if low is not None and low >= step else []
            ends += [((low or step) + 1, f"multiples of {step}")] if step > 1 else []
            for size, limit in ends:
                if size is None or size > 4096 or (size % step and not limit.startswith("mult")):
                    continue
                label = f"claimed input {number} axis {axis} of {size}"
                made = _resized(base, number, axis % len(shape), size)
                if made is not None:
                    outside = f"axis {axis} of input {number}: {limit}" if limit else ""
                    if not outside and not _fits(capability, made):
                        continue
                    yield replace(made, label=label, outside=outside)


def _fits(capability: Capability, layer: Layer) -> bool:
    """Whether all sizes are legal."""
    shapes = [layer.shape, *([] if layer.weight is None else [layer.weight.shape])]
    return all(
        _size(capability, number, axis, len(shape), size) == size
        for number, shape in enumerate(shapes)
        for axis, size in enumerate(shape)
    )


def _resized(base: Layer, number: int, axis: int, size: int) -> Layer | None:
    """The layer with an axis of another size, and the axis that must be as long as it, too."""
    assert base.weight is not None
    data, weight = list(base.shape), list(base.weight.shape)
    (data if number == 0 else weight)[axis] = size
    inner = (len(data) - 1, 0) if base.op == "matmul" else (1, 1)
    if (number, axis) == (0, inner[0]):
        weight[inner[1]] = size
    if (number, axis) == (1, inner[1]):
        data[inner[0]] = size
    if base.op != "matmul" and any(d < w for d, w in zip(data[2:], weight[2:], strict=True)):
        return None  # no window fits
    return replace(base, shape=tuple(data), weight=filled(base.dtype, weight, 34))


def _attributes(capability: Capability, base: Layer) -> Iterator[Layer]:
    """The ends of each attribute; those that are not named have their defaults."""
    if not base.op.startswith("nn.conv") or base.weight is None:
        return
    for attr in ("groups", "strides", "padding", "dilation"):
        legal: Any = capability.attrs.get(attr)
        inside: list[Any] = []
        beyond: list[Any] = []
        if legal is None:
            beyond = list(_OTHER[attr][:1])
        elif legal == ANY:
            inside = list(_OTHER[attr])
        elif isinstance(legal, Range):
            low, high = (None if e is None else int(e) for e in (legal.min, legal.max))
            inside = [e for e in (low, high) if e is not None]
            beyond = [high + 1] if high is not None else []
            beyond += [low - 1] if low is not None and low > (attr != "padding") else []
        else:
            inside = [tuple(v) if isinstance(v, list) else v
                      for v in (legal if isinstance(legal, list) else [legal])]  # fmt: skip
            whole = [v for v in inside if isinstance(v, int)]
            beyond = [max(whole) + 1] if whole else []
        for value, outside in [
            *((v, "") for v in inside),
            *((v, f"{attr} is not {v}") for v in beyond),
        ]:
            layer = _with_attribute(base, attr, value)
            if layer is None or (not outside and not _fits(capability, layer)):
                continue
            yield replace(layer, label=f"claimed {attr} {value}", outside=outside)


def _with_attribute(base: Layer, attr: str, value: Any) -> Layer | None:
    assert base.weight is not None
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in numbers):
        return None
    attrs = {**base.attrs, attr: value}
    if attr == "groups":
        if not 1 <= value <= 64:
            return None
        shape = list(base.shape)
        shape[1] = base.weight.shape[1] * value
        outputs = -(-base.weight.shape[0] // value) * value
        weight: Array = filled(base.dtype, (outputs, *base.weight.shape[1:]), 35)
        return replace(base, shape=tuple(shape), weight=weight, attrs=attrs)
    if max(numbers) > 64:
        return None
    reach = [
        (k - 1) * (max(numbers) if attr == "dilation" else 1) + 1 for k in base.weight.shape[2:]
    ]
    space = [max(n, r + 1) for n, r in zip(base.shape[2:], reach, strict=True)]
    return replace(base, shape=(*base.shape[:2], *space), attrs=attrs)
