"""What each op takes for granted about the shapes of its operands.

A rule is given the builder, typed operands and attributes, and returns operands that fit: the same
ones where nothing is left open, else what comes out of a check (`byoc.frontends.fitting.dims`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from tvm import relax, tirx

from byoc.frontends.fitting.dims import (
    broadcast_dim,
    broadcast_operand,
    dims_of,
    fit,
    hold,
    number,
    product,
    proved_equal,
    repeat,
)
from byoc.frontends.helpers import is_int

__all__ = ["RULES", "Rule"]

Rule = Callable[[Any, list[Any], Any], list[Any]]

_BROADCASTS = (
    "add", "atan2", "bitwise_and", "bitwise_or", "bitwise_xor", "divide", "equal", "floor_divide",
    "floor_mod", "greater", "greater_equal", "left_shift", "less", "less_equal", "log_add_exp",
    "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "mod", "multiply",
    "not_equal", "power", "right_shift", "subtract", "where",
)  # fmt: skip
"""Ops that repeat the elements of one operand along an axis of another."""


def _broadcast(builder: Any, args: list[Any], _: Any) -> list[Any]:
    shapes = [dims_of(a) for a in args]
    if any(s is None for s in shapes):
        return args
    rank = max(len(s or ()) for s in shapes)
    common = _common([[1] * (rank - len(s or ())) + (s or []) for s in shapes])
    return [_open(builder, arg, common) for arg in args]


def _open(builder: Any, arg: Any, common: list[Any]) -> Any:
    """An operand, repeated where only the run can tell whether it must be."""
    dims = dims_of(arg) or []
    pairs = zip(dims, common[len(common) - len(dims) :], strict=True)
    if all((is_int(d) and int(d) == 1) or proved_equal(d, c) for d, c in pairs):
        return arg
    if all(is_int(d) and is_int(c) for d, c in zip(dims, common[-len(dims) :], strict=True)):
        return arg  # TVM refuses it
    lead = len(common) - len(dims)
    wanted = [
        d if is_int(d) and int(d) == 1 else c for d, c in zip(dims, common[lead:], strict=True)
    ]
    return repeat(builder, arg, wanted)


def _common(shapes: list[list[Any]]) -> list[Any]:
    return [broadcast_dim(dims) for dims in zip(*shapes, strict=True)]


def _broadcast_to(builder: Any, args: list[Any], _: Any) -> list[Any]:
    x, shape = args
    dims = dims_of(x)
    if dims is None or not isinstance(shape, relax.ShapeExpr) or len(dims) > len(shape.values):
        return args
    return [broadcast_operand(builder, x, list(shape.values)), shape]


def _matmul(builder: Any, args: list[Any], _: Any) -> list[Any]:
    a, b = args
    left, right = dims_of(a), dims_of(b)
    if not left or not right:
        return args
    inner = max(0, len(right) - 2)
    if is_int(right[inner]):
        a = fit(builder, a, {len(left) - 1: right[inner]})
    else:
        b = fit(builder, b, {inner: left[-1]})
    before = [d[:-2] for d in (left, right)]
    rank = max(map(len, before))
    common = _common([[1] * (rank - len(d)) + d for d in before])
    return [_open(builder, x, [*common, *(dims_of(x) or [])[-2:]]) if len(dims_of(x) or []) > 2
            else x for x in (a, b)]  # fmt: skip


def _alike(builder: Any, fields: list[Any], free: int | None) -> list[Any]:
    """Tensors whose axes are equal, but one that is free."""
    shapes = [dims_of(f) for f in fields]
    if any(s is None or len(s) != len(shapes[0] or ()) for s in shapes):
        return fields
    wanted = {}
    for axis in range(len(shapes[0] or ())):
        if axis != free:
            dims = [s[axis] for s in shapes if s is not None]
            wanted[axis] = next((d for d in dims if is_int(d)), dims[0])
    return [fit(builder, f, wanted) for f in fields]


def _fields(builder: Any, arg: Any) -> list[Any] | None:
    if isinstance(arg, relax.Tuple):
        return list(arg.fields)
    if not isinstance(arg.ty, relax.TupleType):
        return None
    return [builder.emit(relax.TupleGetItem(arg, i)) for i in range(len(arg.ty.fields))]


def _concat(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    fields = _fields(builder, args[0])
    if not fields or dims_of(fields[0]) is None:
        return args
    axis = 0 if attrs.axis is None else int(attrs.axis) % len(dims_of(fields[0]) or [1])
    return [relax.Tuple(_alike(builder, fields, axis)), *args[1:]]


def _stack(builder: Any, args: list[Any], _: Any) -> list[Any]:
    fields = _fields(builder, args[0])
    return args if not fields else [relax.Tuple(_alike(builder, fields, None)), *args[1:]]


def _conv(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    return _channels(builder, args, attrs, int(attrs.groups))


def _transposed_conv(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    return _channels(builder, args, attrs, 1)


def _channels(builder: Any, args: list[Any], attrs: Any, groups: int) -> list[Any]:
    data, weight, *rest = args
    layout, kernel = str(attrs.data_layout), str(attrs.kernel_layout)
    have, want = dims_of(data), dims_of(weight)
    if have is None or want is None or len(layout) != len(have) or len(kernel) != len(want):
        return args
    channels, inner = layout.index("C"), kernel.index("I")
    if is_int(want[inner]):
        data = fit(builder, data, {channels: int(want[inner]) * groups})
    elif groups == 1:
        weight = fit(builder, weight, {inner: have[channels]})
    else:
        data = hold(builder, data, have[channels] == want[inner] * groups)
    return [data, weight, *rest]


def _reshape(builder: Any, args: list[Any], _: Any) -> list[Any]:
    x, shape = args
    dims = dims_of(x)
    if dims is None or not isinstance(shape, relax.ShapeExpr):
        return args
    call = builder.normalize_unchecked(relax.op.reshape(x, shape))
    new = dims_of(call) or list(shape.values)
    if proved_equal(product(dims), product(new)):
        return args
    moving = [i for i, d in enumerate(dims) if not is_int(d)]
    if len(moving) == 1 and all(map(is_int, new)):
        rest, total = prod(int(d) for d in dims if is_int(d)), prod(map(int, new))
        if rest and total % rest == 0 and total >= 0:
            return [fit(builder, x, {moving[0]: total // rest}), shape]
    return [hold(builder, x, product(dims) == product(new)), shape]


def _squeeze(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    dims = dims_of(args[0])
    if dims is None or attrs.axis is None:
        return args
    return [fit(builder, args[0], {int(a) % len(dims): 1 for a in attrs.axis})]


def _per_channel(axis: Callable[[Any, int], list[int]]) -> Rule:
    """A norm: its parameters have the lengths of some axes of the data."""

    def rule(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
        data, *rest = args
        dims = dims_of(data)
        if dims is None:
            return args
        for position, parameter in enumerate(rest):
            have = dims_of(parameter)
            at = axis(attrs, len(dims))
            if have is None or len(have) != len(at):
                continue
            data = fit(builder, data, {a: d for a, d in zip(at, have, strict=True) if is_int(d)})
            now = dims_of(data) or dims
            rest[position] = fit(builder, parameter, {i: now[a] for i, a in enumerate(at)})
        return [data, *rest]

    return rule


def _gather_elements(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    data, indices, *rest = args
    have, want = dims_of(data), dims_of(indices)
    if have is None or want is None or len(have) != len(want):
        return args
    axis = int(attrs.axis) % len(have)
    for i, (there, here) in enumerate(zip(have, want, strict=True)):
        if i != axis and not (is_int(there) and is_int(here)):
            indices = hold(builder, indices, number(here) <= there)
    if rest:
        rest = [fit(builder, rest[0], dict(enumerate(want))), *rest[1:]]
    return [data, indices, *rest]


def _scatter_nd(builder: Any, args: list[Any], _: Any) -> list[Any]:
    data, indices, updates = args
    have, at, new = map(dims_of, args)
    if have is None or not at or new is None or not is_int(at[-1]):
        return args
    wanted = [*at[:-1], *have[int(at[-1]) :]]
    if len(wanted) != len(new):
        return args
    return [data, indices, fit(builder, updates, dict(enumerate(wanted)))]


def _gather_nd(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    data, indices = args
    have, at = dims_of(data), dims_of(indices)
    batch = int(attrs.batch_dims or 0)
    if have is None or at is None or not batch:
        return args
    return [data, fit(builder, indices, dict(enumerate(have[:batch])))]


def _attention(builder: Any, args: list[Any], _: Any) -> list[Any]:
    """Queries, keys and values of [batch, length, heads, width]."""
    query, key, value, *rest = args
    shapes = [dims_of(a) for a in args[:3]]
    if any(s is None or len(s) != 4 for s in shapes):
        return args
    q, k = shapes[0] or [], shapes[1] or []
    key = fit(builder, key, {0: q[0], 3: q[3]})
    value = fit(builder, value, {0: q[0], 1: k[1], 2: k[2]})
    if rest and dims_of(rest[0]) is not None and len(dims_of(rest[0]) or []) == 4:
        bias = dims_of(rest[0]) or []
        want = {0: q[0], 1: q[2], 2: q[1], 3: k[1]}
        open_axes = {a: w for a, w in want.items() if not is_int(bias[a]) or int(bias[a]) != 1}
        rest[0] = fit(builder, rest[0], open_axes)
    return [query, key, value, *rest]


def _topk(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    dims = dims_of(args[0])
    if dims is None or int(attrs.k) < 0:
        return args
    return [hold(builder, args[0], number(dims[int(attrs.axis) % len(dims)]) >= int(attrs.k))]


def _pad(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    data, *rest = args
    dims = dims_of(data)
    if dims is None or str(attrs.pad_mode) == "constant":
        return args
    width = [int(w) for w in attrs.pad_width]
    for dim, before, after in zip(dims, width[::2], width[1::2], strict=True):
        most = max(before, after)
        if not is_int(dim) and most > 0:
            least = {"reflect": most + 1, "replicate": 1}.get(str(attrs.pad_mode), most)
            data = hold(builder, data, dim >= least)
    return [data, *rest]


def _einsum(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    fields = _fields(builder, args[0])
    terms = str(attrs.subscripts).replace(" ", "").split("->")[0].split(",")
    if not fields or "." in "".join(terms) or len(terms) != len(fields):
        return args
    lengths: dict[str, Any] = {}
    for field, term in zip(fields, terms, strict=True):
        dims = dims_of(field)
        if dims is None or len(dims) != len(term):
            return args
        for letter, dim in zip(term, dims, strict=True):
            if letter not in lengths or (is_int(dim) and not is_int(lengths[letter])):
                lengths[letter] = dim
    made = [
        fit(builder, field, {i: lengths[letter] for i, letter in enumerate(term)})
        for field, term in zip(fields, terms, strict=True)
    ]
    return [relax.Tuple(made), *args[1:]]


def _split(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    """Parts of given lengths, the last of which is what is left: not less than nothing."""
    dims = dims_of(args[0])
    places = attrs.indices_or_sections
    if dims is None or isinstance(places, (int, tirx.IntImm)) or not len(places):
        return args
    length = dims[int(attrs.axis) % len(dims)]
    return args if is_int(length) else [hold(builder, args[0], length >= int(places[-1]))]


def _slice(builder: Any, args: list[Any], attrs: Any) -> list[Any]:
    """TVM counts axes of symbolic tensors from the front alone."""
    data, axes, *rest = args
    dims = dims_of(data)
    if dims is None or not isinstance(axes, relax.Tuple):
        return args
    counted = [tirx.const(int(a) % len(dims), "int64") for a in axes.fields]
    return [data, relax.Tuple(counted), *rest]


def _same_batch(builder: Any, args: list[Any], _: Any) -> list[Any]:
    data, grid, *rest = args
    have = dims_of(data)
    if not have or not dims_of(grid):
        return args
    return [data, fit(builder, grid, {0: have[0]}), *rest]


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_BROADCASTS, _broadcast),
    "broadcast_to": _broadcast_to,
    "concat": _concat,
    "einsum": _einsum,
    "gather_elements": _gather_elements,
    "gather_nd": _gather_nd,
    "image.grid_sample": _same_batch,
    "matmul": _matmul,
    "nn.attention": _attention,
    "nn.attention_bias": _attention,
    "nn.batch_norm": _per_channel(lambda attrs, rank: [int(attrs.axis) % rank]),
    "nn.conv1d": _conv,
    "nn.conv1d_transpose": _transposed_conv,
    "nn.conv2d": _conv,
    "nn.conv2d_transpose": _transposed_conv,
    "nn.conv3d": _conv,
    "nn.conv3d_transpose": _transposed_conv,
    "nn.group_norm": _per_channel(lambda attrs, rank: [int(attrs.channel_axis) % rank]),
    "nn.instance_norm": _per_channel(lambda attrs, rank: [int(attrs.channel_axis) % rank]),
    "nn.layer_norm": _per_channel(lambda attrs, rank: [int(a) % rank for a in attrs.axes]),
    "nn.pad": _pad,
    "nn.prelu": _per_channel(lambda attrs, rank: [int(attrs.axis) % rank]),
    "nn.rms_norm": _per_channel(lambda attrs, rank: [int(a) % rank for a in attrs.axes]),
    "reshape": _reshape,
    "scatter_elements": _gather_elements,
    "scatter_nd": _scatter_nd,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "strided_slice": _slice,
    "topk": _topk,
}
"""Op → its rule; ops that are not here take one tensor, or look at nothing but its rank."""
