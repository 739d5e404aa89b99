"""Cases of windows, products, norms, softmax and attention: where NaN and infinities go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype
from byoc.testing.conformance.claim import Claim
from byoc.testing.conformance.edges import FLOATS, WHOLE, edge_values, filled
from byoc.testing.conformance.elementwise import looseness
from byoc.testing.conformance.meanings import (
    attention,
    convolve,
    convolve_transposed,
    normalised,
    pool,
    softmax,
)

__all__ = ["neural_cases"]

_SPACE = {1: (9,), 2: (9, 8), 3: (5, 6, 4)}
_EPSILON = 1e-5


def neural_cases() -> Iterator[Claim]:
    """Yield the cases of all of them."""
    for dtype in FLOATS:
        for dims in (1, 2, 3):
            yield from _convolutions(dims, dtype)
        yield from _norms(dtype)
        yield from _soft(dtype)
    for dtype in (*FLOATS, *WHOLE):
        for dims in (1, 2, 3):
            yield from _pools(dims, dtype)
        yield from _products(dtype)


def _data(dtype: str, shape: Sequence[int], seed: int = 0) -> list[Array]:
    """Plain numbers; numbers with a NaN or an infinity here and there."""
    plain = filled(dtype, shape, seed)
    if dtype in WHOLE:
        return [plain, np.resize(edge_values(dtype), shape)]
    special = (np.nan, np.inf, -np.inf)
    some = [filled(dtype, shape, seed + 1, special=[value], share=0.02) for value in special]
    return [plain, *some]


def _case(
    op: str,
    label: str,
    dtype: str,
    arguments: Sequence[Any],
    feeds: Sequence[tuple[Array, ...]],
    want: Callable[..., Array],
    **named: Any,
) -> Claim:
    def build(inputs: Sequence[Any]) -> Any:
        from tvm.relax import op as ops

        made: Any = ops
        for part in op.split("."):
            made = getattr(made, part)
        return made(*inputs, *arguments, **named)

    def right(*arrays: Array) -> Array:
        if dtype in WHOLE:
            return np.asarray(want(*arrays).astype(arrays[0].dtype))
        return np.asarray(want(*(a.astype(np.float64) for a in arrays)).astype(arrays[0].dtype))

    loose = looseness.get(dtype, 0.0)
    return Claim(op, f"{dtype} {label}".strip(), build, tuple(feeds), right, loose, loose * 5)


def _convolutions(dims: int, dtype: str) -> Iterator[Claim]:
    ones = [1] * dims
    for label, groups, strides, padding, dilation in (
        ("", 1, ones, [0] * 2 * dims, ones),
        ("padded", 1, [2] * dims, [1] * dims + [2] * dims, ones),
        ("by channel", 4, ones, [1] * 2 * dims, ones),
        ("wide", 2, ones, [2] * 2 * dims, [2] * dims),
    ):
        kernel = (2,) * 3 if dims == 3 else (3,) * dims
        w = filled(dtype, (8, 4 // groups, *kernel), 7)
        feeds = [(x, w) for x in _data(dtype, (2, 4, *_SPACE[dims]))]

        def want(
            x: Array,
            w: Array,
            strides: list[int] = strides,
            padding: list[int] = padding,
            dilation: list[int] = dilation,
            groups: int = groups,
        ) -> Array:
            return convolve(x, w, strides, padding, dilation, groups)

        form = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
        yield _case(f"nn.conv{dims}d", label, dtype, (), feeds, want, **form)
    w = filled(dtype, (4, 3, *[3] * dims), 8)
    strides, padding, more = [2] * dims, [1] * 2 * dims, [1] * dims

    def wanted(x: Array, w: Array) -> Array:
        return convolve_transposed(x, w, strides, padding, more)

    form = {"strides": strides, "padding": padding, "output_padding": more}
    feeds = [(x, w) for x in _data(dtype, (2, 4, *_SPACE[dims]))]
    yield _case(f"nn.conv{dims}d_transpose", "", dtype, (), feeds, wanted, **form)


def _pools(dims: int, dtype: str) -> Iterator[Claim]:
    kernel, strides, padding = [3] * dims, [2] * dims, [1] * 2 * dims
    shape = (2, 4, *_SPACE[dims])
    feeds = [(x,) for x in _data(dtype, shape)]
    low = np.full(shape, -np.inf if dtype in FLOATS else 0).astype(numpy_dtype(dtype))
    form = {"strides": strides, "padding": padding}

    def highest(x: Array) -> Array:
        least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        if x.dtype.kind == "f":
            return pool(x, kernel, strides, padding, np.max)
        width = [(0, 0), (0, 0)] + [(1, 1)] * dims
        padded = np.pad(x, width, constant_values=least)
        return pool(padded, kernel, strides, [0] * 2 * dims, np.max)

    op = f"nn.max_pool{dims}d"
    yield _case(op, "", dtype, (kernel,), [*feeds, (low,)], highest, **form)
    if dtype in WHOLE:
        return
    for counted in (False, True):

        def mean(x: Array, counted: bool = counted) -> Array:
            return pool(x, kernel, strides, padding, np.mean, count_padding=counted)

        label = "counts padding" if counted else ""
        op, more = f"nn.avg_pool{dims}d", {"count_include_pad": counted}
        yield _case(op, label, dtype, (kernel,), feeds, mean, **form, **more)
    axes = tuple(range(2, 2 + dims))
    size = (1,) * dims
    op = f"nn.adaptive_avg_pool{dims}d"
    yield _case(op, "", dtype, (size,), feeds, lambda x: x.mean(axes, keepdims=True))


def _products(dtype: str) -> Iterator[Claim]:
    for label, left, right in (
        ("", (3, 5), (5, 4)),
        ("stack", (2, 3, 5), (2, 5, 4)),
        ("stack by matrix", (2, 3, 5), (5, 4)),
        ("vector", (5,), (5, 4)),
        ("depth 0", (3, 0), (0, 4)),
    ):
        w = filled(dtype, right, 9)
        feeds = [(x, w) for x in _data(dtype, left)] if 0 not in left else []
        feeds = feeds or [(filled(dtype, left, 1), w)]
        yield _case("matmul", label, dtype, (), feeds, np.matmul)


def _norms(dtype: str) -> Iterator[Claim]:
    shape = (2, 4, 6, 8)
    large = (filled("float32", shape, 5) * 300).astype(numpy_dtype(dtype))  # squares overflow fp16
    data = [*_data(dtype, shape), np.zeros_like(large), large]

    def affine(size: Sequence[int]) -> tuple[Array, Array]:
        return filled(dtype, size, 10), filled(dtype, size, 11)

    gamma, beta = affine((8,))
    feeds = [(x, gamma, beta) for x in data]

    def layer(x: Array, g: Array, b: Array) -> Array:
        return normalised(x, (3,), _EPSILON) * g + b

    yield _case("nn.layer_norm", "", dtype, ([-1], _EPSILON), feeds, layer)
    gamma, beta = affine((6, 8))

    def layers(x: Array, g: Array, b: Array) -> Array:
        return normalised(x, (2, 3), _EPSILON) * g + b

    more = [(x, gamma, beta) for x in data]
    yield _case("nn.layer_norm", "two axes", dtype, ([-2, -1], _EPSILON), more, layers)

    def rms(x: Array, g: Array) -> Array:
        return normalised(x, (3,), _EPSILON, centred=False) * g

    yield _case("nn.rms_norm", "", dtype, ([-1], _EPSILON), [f[:2] for f in feeds], rms)
    gamma, beta = affine((4,))

    def instance(x: Array, g: Array, b: Array) -> Array:
        return normalised(x, (2, 3), _EPSILON) * g.reshape(-1, 1, 1) + b.reshape(-1, 1, 1)

    more = [(x, gamma, beta) for x in data]
    yield _case("nn.instance_norm", "", dtype, (1, [2, 3], _EPSILON), more, instance)


def _soft(dtype: str) -> Iterator[Claim]:
    shape = (2, 3, 5)
    hidden = filled(dtype, shape, 12)
    hidden[..., 1:] = -np.inf
    gone = np.full(shape, -np.inf).astype(hidden.dtype)
    feeds = [(x,) for x in (*_data(dtype, shape), hidden, gone, np.full_like(hidden, 60))]
    for axis in (-1, 1):

        def soft(x: Array, axis: int = axis) -> Array:
            return softmax(x, axis)

        def logarithm(x: Array, axis: int = axis) -> Array:
            top = x.max(axis, keepdims=True)
            return np.asarray(x - top - np.log(np.exp(x - top).sum(axis, keepdims=True)))

        yield _case("nn.softmax", f"axis {axis}", dtype, (axis,), feeds, soft)
        yield _case("nn.log_softmax", f"axis {axis}", dtype, (axis,), feeds, logarithm)
    q, k = filled(dtype, (2, 5, 3, 8), 13), filled(dtype, (2, 7, 3, 8), 14)
    v, bias = filled(dtype, (2, 7, 3, 8), 15), filled(dtype, (2, 3, 5, 7), 16)
    bias[:, :, :, 3:] = -np.inf
    bad = filled(dtype, (2, 5, 3, 8), 17, special=[np.nan], share=0.05)
    yield _case("nn.attention", "", dtype, (), [(q, k, v), (bad, k, v)], attention)
    yield _case("nn.attention_bias", "", dtype, (), [(q, k, v, bias)], attention)
