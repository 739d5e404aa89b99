"""Maxima of windows, with -inf as the start.

In: calls of ``relax.nn.max_pool1d`` to ``3d``. Out: TE. TOPI pads and starts with the smallest
finite number, so that a window of -inf has the maximum -3.4e38::

    padded[…, h, w]   -inf outside of x
    max_pool[…, i, j] = max over (kh, kw) of padded[…, i·stride + kh·dilation, …]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tvm import te, tirx, topi

from byoc.host.legalize.minmax_reductions import maximum, widely

__all__ = ["MAX_POOLS"]

_FLOATS = ("bfloat16", "float16", "float32", "float64")


def _pool(
    x: Any, kernel: list[int], attrs: Any, before: list[int], after: list[Any], shape: list[Any]
) -> Any:
    where = [str(attrs.layout).index(letter) for letter in "DHW"[3 - len(kernel) :]]
    if any(before) or any(not isinstance(a, int) or a for a in after):
        sides = [[0] * len(x.shape), [0] * len(x.shape)]
        for axis, low, high in zip(where, before, after, strict=True):
            sides[0][axis], sides[1][axis] = low, high
        x = topi.nn.pad(x, *sides, pad_value=tirx.const(-float("inf"), x.dtype), name="pad_temp")
    loops = [te.reduce_axis((0, k), name=f"k{n}") for n, k in enumerate(kernel)]
    strides, dilation = _ints(attrs.strides), _ints(attrs.dilation)

    def element(*index: Any) -> Any:
        at = list(index)
        for axis, loop, stride, step in zip(where, loops, strides, dilation, strict=True):
            at[axis] = index[axis] * stride + loop * step
        return maximum(x(*at), axis=loops)

    return te.compute(shape, element, name="pool_max")


def _ints(values: Any) -> list[int]:
    return [int(v) for v in values]


def _emit(builder: Any, call: Any, *, rank: int) -> Any:
    (x,), attrs = call.args, call.attrs
    layout = str(attrs.layout)
    if str(x.ty.dtype) not in _FLOATS or str(attrs.out_layout) != layout:
        return None
    if sorted(layout) != sorted("NC" + "DHW"[3 - rank :]):
        return None
    kernel, strides, dilation = map(_ints, (attrs.pool_size, attrs.strides, attrs.dilation))
    padding = _ints(attrs.padding)
    shape = list(call.ty.shape.values)
    where = [layout.index(letter) for letter in "DHW"[3 - rank :]]
    before, after = padding[:rank], []
    for axis, low, k, stride, step, high in zip(
        where, before, kernel, strides, dilation, padding[rank:], strict=True
    ):
        size, count = x.ty.shape.values[axis], shape[axis]
        if isinstance(size, tirx.IntImm) and isinstance(count, tirx.IntImm):
            # A last window that is rounded up reads beyond the padding.
            reach = (int(count) - 1) * stride + (k - 1) * step + 1
            high = max(high, reach - int(size) - low)
        elif bool(attrs.ceil_mode):
            high += stride - 1
        after.append(high)
    compute = partial(_pool, kernel=kernel, attrs=attrs, before=before, after=after, shape=shape)
    return builder.call_te(widely(compute), x, primfunc_name_hint=f"max_pool{rank}d")


MAX_POOLS: Mapping[str, Callable[[Any, Any], Any]] = {  # None for other types and layouts
    f"relax.nn.max_pool{rank}d": partial(_emit, rank=rank) for rank in (1, 2, 3)
}
