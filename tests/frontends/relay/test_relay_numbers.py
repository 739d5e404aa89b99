"""Operators by the table: many calls in one module, each against what it means in numpy."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from byoc.frontends import import_model
from byoc.frontends.relay.ops.table import OPERATORS

HEAD = '#[version = "0.0.5"]\n'
RNG = np.random.default_rng(11)


def f32(*shape):
    return RNG.normal(0, 1, shape).astype(np.float32)


def of(function):
    return np.vectorize(function, otypes=[np.float32])


def windows(x, size, step):
    """[..., out, size] of the last axis."""
    count = (x.shape[-1] - size) // step + 1
    return np.stack([x[..., i * step : i * step + size] for i in range(count)], -2)


def transposed_conv1d(x, w):
    """Stride 2, no padding; w: [in, out, k]."""
    out = np.zeros((x.shape[0], w.shape[1], (x.shape[2] - 1) * 2 + w.shape[2]))
    for i in range(x.shape[2]):
        out[:, :, 2 * i : 2 * i + w.shape[2]] += np.einsum("nc,cok->nok", x[:, :, i], w)
    return out


def linear(x, size):
    """Linear resizing of the last axis, half-pixel centres."""
    n = x.shape[-1]
    at = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, n - 1)
    return x[..., low] * (1 - (at - low)) + x[..., high] * (at - low)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def quantised(x, scale, zero):
    return np.clip(np.rint(x / np.float32(scale)) + zero, -128, 127).astype(np.int8)


def real(q, scale, zero):
    return (q.astype(np.float32) - zero) * np.float32(scale)


X, Y = f32(3, 5), f32(3, 5)
U = RNG.uniform(-0.95, 0.95, (3, 5)).astype(np.float32)
P = np.abs(X) + np.float32(0.5)
H = np.array([[1.5, -2.5, 0.5, 2.25], [np.nan, np.inf, -np.inf, -0.0]], np.float32)
I, J = (RNG.integers(-9, 9, (3, 5)).astype(np.int32) for _ in range(2))  # noqa: E741
K = np.where(J == 0, 4, J).astype(np.int32)
S = (np.abs(J) % 4).astype(np.int32)
B = X > 0
T = f32(1, 2, 6)
W = f32(2, 3, 3)
V = f32(1, 2, 4, 4, 4)
A = RNG.integers(-100, 100, (2, 3, 4)).astype(np.int8)
C = RNG.integers(-100, 100, (2, 5, 4)).astype(np.int8)

SMALL = {"a": X, "b": Y, "u": U, "p": P, "h": H, "t": B}
WHOLE = {"i": I, "j": J, "k": K, "s": S}
BLOCKS = {"x": T, "w": W, "v": V}
QUANTISED = {"q": A, "r": C}


def q(x, scale=0.05, zero=-3):
    return real(x, scale, zero)


IN = "0.05f, -3"
OUT = "0.04f, 2"

# group: inputs, {call: expected}
GROUPS = {
    "functions": (SMALL, {
        "acos(%u)": np.arccos(U), "acosh(%p + 1f)": np.arccosh(P + 1), "asin(%u)": np.arcsin(U),
        "asinh(%a)": np.arcsinh(X), "atan(%a)": np.arctan(X), "atanh(%u)": np.arctanh(U),
        "atan2(%a, %b)": np.arctan2(X, Y), "cos(%a)": np.cos(X), "cosh(%a)": np.cosh(X),
        "sin(%a)": np.sin(X), "sinh(%a)": np.sinh(X), "tan(%u)": np.tan(U),
        "tanh(%a)": np.tanh(X), "fast_tanh(%a)": np.tanh(X), "exp(%a)": np.exp(X),
        "fast_exp(%a)": np.exp(X), "erf(%a)": of(math.erf)(X), "fast_erf(%a)": of(math.erf)(X),
        "log(%p)": np.log(P), "log10(%p)": np.log10(P), "sqrt(%p)": np.sqrt(P),
        "rsqrt(%p)": 1 / np.sqrt(P), "sigmoid(%a)": 1 / (1 + np.exp(-X)),
        "negative(%a)": -X, "sign(%a)": np.sign(X), "copy(%a)": X, "nn.relu(%a)": np.maximum(X, 0),
        "nn.fast_softmax(%a)": softmax(X), "ones_like(%a)": np.ones_like(X),
        "zeros_like(%a)": np.zeros_like(X), "annotation.checkpoint(%a)": X,
        "annotation.stop_fusion(%a)": X, 'annotation.cast_hint(%a, dtype="float16")': X,
    }),
    "special values": (SMALL, {
        "ceil(%h)": np.ceil(H), "floor(%h)": np.floor(H), "trunc(%h)": np.trunc(H),
        "round(%p)": np.rint(P), "isnan(%h)": np.isnan(H), "isinf(%h)": np.isinf(H),
        "isfinite(%h)": np.isfinite(H),
    }),
    "two floats": (SMALL, {
        "divide(%a, %p)": X / P, "subtract(%a, %b)": X - Y, "multiply(%a, %b)": X * Y,
        "maximum(%a, %b)": np.maximum(X, Y), "minimum(%a, %b)": np.minimum(X, Y),
        "equal(%a, %b)": X == Y, "not_equal(%a, %b)": X != Y, "greater(%a, %b)": X > Y,
        "greater_equal(%a, %b)": X >= Y, "less(%a, %b)": X < Y, "less_equal(%a, %b)": X <= Y,
        "floor_mod(%a, %p)": np.mod(X, P), "trunc_divide(%a, %p)": np.trunc(X / P),
        "trunc_mod(%a, %p)": np.fmod(X, P),
        "logical_or(%t, less(%b, 0f))": B | (Y < 0),
        "logical_xor(%t, less(%b, 0f))": B ^ (Y < 0), "cast_like(%a, %t)": X != 0,
    }),
    "whole numbers": (WHOLE, {
        "bitwise_not(%i)": ~I, "bitwise_and(%i, %j)": I & J, "bitwise_or(%i, %j)": I | J,
        "bitwise_xor(%i, %j)": I ^ J, "left_shift(%i, %s)": I << S, "right_shift(%i, %s)": I >> S,
        "floor_mod(%i, %k)": np.mod(I, K), "trunc_divide(%i, %k)": np.trunc(I / K).astype(np.int32),
        "trunc_mod(%i, %k)": np.fmod(I, K), "divide(%i, %k)": np.trunc(I / K).astype(np.int32),
        "fixed_point_multiply(%i, multiplier=1610612736, shift=2)":
            np.floor(I * 3 + 0.5).astype(np.int32),
        "max(%i, axis=[1])": I.max(1), "min(%i)": I.min(), "cumprod(%s, axis=1)": S.cumprod(1),
    }),
    "shapes": (SMALL, {
        "broadcast_to_like(take(%a, 0, axis=0), %b)": np.broadcast_to(X[0], (3, 5)),
        "collapse_sum_like(%a, take(%b, 0, axis=0))": X.sum(0),
        "contrib_reverse_reshape(%a, newshape=[-1, 0])": X,
        "dyn.broadcast_to(take(%a, 0, axis=0), shape_of(%b))": np.broadcast_to(X[0], (3, 5)),
        "dyn.expand_dims(%a, 1)": X[:, None], "dyn.squeeze(expand_dims(%a, axis=1), 1)": X,
        "dyn.full(2f, shape_of(%a))": np.full((3, 5), 2, np.float32),
        "dyn.ones(shape_of(%a))": np.ones((3, 5), np.float32),
        "dyn.zeros(shape_of(%a))": np.zeros((3, 5), np.float32),
        "dyn.tile(%a, ndarray_size(take(%a, 0, axis=1)))": np.tile(X, 3),
        "full_like(%a, 7f)": np.full_like(X, 7), "ndarray_size(%a)": np.int32(15),
        "ones(shape=[2])": np.ones(2, np.float32),
        'zeros(shape=[2], dtype="int32")': np.zeros(2, np.int32),
        "meshgrid((take(%a, 0, axis=0), take(%b, 0, axis=1))).1":
            np.meshgrid(X[0], Y[:, 0], indexing="ij")[1],
        "dyn.topk(%a, 2).0": -np.sort(-X, -1)[:, :2],
        "dyn.nn.pad(%a, reshape(arange(0, 4, 1, start=0, stop=4, step=1, dtype=\"int32\"), "
        "newshape=[2, 2]), 3f)": np.pad(X, ((0, 1), (2, 3)), constant_values=3),
        "dyn.strided_slice(%a, shape_of(take(%a, 0, axis=0)) - 4, shape_of(take(%a, 0, axis=0)) "
        "- 2, full(1, shape=[1], dtype=\"int32\"))": X[1:3],
    }),
    "parts": (SMALL | WHOLE, {
        "dyn.one_hot(%s, 1f, 0f, 4)": np.eye(4, dtype=np.float32)[S],
        "reverse_sequence(%a, take(%s, 0, axis=1) + 1)": np.stack(
            [np.r_[r[:n][::-1], r[n:]] for r, n in zip(X, S[:, 0] + 1, strict=True)]),
        "scatter_add(%a, cast(%s, dtype=\"int64\"), %b, axis=1)": np.stack(
            [x + np.bincount(s, y, 5) for x, y, s in zip(X, Y, S, strict=True)]),
        'scatter(%a, cast(%s * 0, dtype="int64") + 1i64, %b * 0f, axis=1)':
            np.where(np.arange(5) == 1, 0, X),
        "scatter_nd(%a, cast(reshape(take(%s, 0, axis=1) * 0 + 2, newshape=[1, 3]), "
        "dtype=\"int64\"), %b, mode=\"add\")": np.stack([X[0], X[1], X[2] + Y.sum(0)]),
        "unravel_index(7, shape_of(%a))": np.array([1, 2], np.int32),
    }),
    "blocks": (BLOCKS, {
        "nn.conv1d_transpose(%x, %w, channels=3, kernel_size=[3], strides=[2])":
            transposed_conv1d(T, W),
        "nn.conv2d_transpose(expand_dims(%x, axis=2), expand_dims(%w, axis=2), channels=3, "
        "kernel_size=[1, 3], strides=[1, 2])": transposed_conv1d(T, W)[:, :, None],
        "nn.conv3d_transpose(expand_dims(%x, axis=2, num_newaxis=2), expand_dims(%w, axis=2, "
        "num_newaxis=2), channels=3, kernel_size=[1, 1, 3], strides=[1, 1, 2])":
            transposed_conv1d(T, W)[:, :, None, None],
        "nn.conv3d(%v, full(1f, shape=[1, 2, 4, 4, 4], dtype=\"float32\"), channels=1, "
        "kernel_size=[4, 4, 4])": V.sum((1, 2, 3, 4)).reshape(1, 1, 1, 1, 1),
        "nn.avg_pool1d(%x, pool_size=[3], strides=[2])": windows(T, 3, 2).mean(-1),
        "nn.max_pool1d(%x, pool_size=[3], strides=[2])": windows(T, 3, 2).max(-1),
        "nn.avg_pool3d(%v, pool_size=[4, 4, 2], strides=[1, 1, 2])":
            windows(V, 2, 2).mean((2, 3, 5))[:, :, None, None],
        "nn.max_pool3d(%v, pool_size=[4, 4, 2], strides=[1, 1, 2])":
            windows(V, 2, 2).max((2, 3, 5))[:, :, None, None],
        "nn.global_avg_pool1d(%x)": T.mean(2, keepdims=True),
        "nn.global_max_pool1d(%x)": T.max(2, keepdims=True),
        "nn.global_avg_pool2d(expand_dims(%x, axis=2))": T.mean(2).reshape(1, 2, 1, 1),
        "nn.global_avg_pool3d(%v)": V.mean((2, 3, 4), keepdims=True),
        "nn.global_max_pool3d(%v)": V.max((2, 3, 4), keepdims=True),
        "nn.adaptive_avg_pool1d(%x, output_size=[3])": windows(T, 2, 2).mean(-1),
        "nn.adaptive_max_pool1d(%x, output_size=[3])": windows(T, 2, 2).max(-1),
        "nn.adaptive_avg_pool3d(%v, output_size=[1])": V.mean((2, 3, 4), keepdims=True),
        "nn.adaptive_max_pool3d(%v, output_size=[2, 2, 2])":
            V.reshape(1, 2, 2, 2, 2, 2, 2, 2).max((3, 5, 7)),
    }),
    "images": (BLOCKS, {
        'image.resize1d(%x, size=[9], method="linear")': linear(T, 9),
        'image.resize3d(%v, size=[4, 4, 6], method="linear")': linear(V, 6),
        "nn.upsampling3d(%v, scale_d=2f, scale_h=1f, scale_w=1f, "
        'coordinate_transformation_mode="asymmetric")': V.repeat(2, 2),
        "dyn.image.resize2d(expand_dims(%x, axis=2), full(6, shape=[2], dtype=\"int32\"), "
        'method="nearest_neighbor", coordinate_transformation_mode="asymmetric")':
            T[:, :, None].repeat(6, 2),
        "dyn.nn.upsampling(expand_dims(%x, axis=2), 1f, 2f)": T[:, :, None].repeat(2, 3),
        "image.grid_sample(expand_dims(%x, axis=2), image.affine_grid(full(0f, shape=[1, 2, 3], "
        'dtype="float32"), target_shape=[2, 2]), align_corners=True)':
            T[:, :, 2:4].mean(2)[:, :, None, None].repeat(2, 2).repeat(2, 3),
    }),
    "quantised": (QUANTISED, {
        f"qnn.exp(%q, 0.01f, 0, {OUT})": quantised(np.exp(q(A, 0.01, 0)), 0.04, 2),
        f"qnn.erf(%q, {IN}, {OUT})": quantised(of(math.erf)(q(A)), 0.04, 2),
        f"qnn.tanh(%q, {IN}, {OUT})": quantised(np.tanh(q(A)), 0.04, 2),
        f"qnn.sqrt(%q, 0.05f, -128, {OUT})": quantised(np.sqrt(q(A, 0.05, -128)), 0.04, 2),
        f"qnn.rsqrt(%q, 0.05f, -128, {OUT})": quantised(1 / np.sqrt(q(A, 0.05, -128)), 0.04, 2),
        f"qnn.log(%q, 0.05f, -128, {OUT})": quantised(np.log(q(A, 0.05, -128)), 0.04, 2),
        f"qnn.hardswish(%q, {IN}, {OUT})":
            quantised(q(A) * np.clip(q(A) + 3, 0, 6) / 6, 0.04, 2),
        f"qnn.leaky_relu(%q, {IN}, {OUT}, alpha=0.25f)":
            quantised(np.where(q(A) > 0, q(A), q(A) * 0.25), 0.04, 2),
        "qnn.subtract(%q, %q, 0.05f, -3, 0.02f, 1, 0.04f, 2)":
            quantised(q(A) - q(A, 0.02, 1), 0.04, 2),
        "qnn.softmax(%q, 0.05f, -3, 0.00390625f, -128, axis=-1)":
            quantised(softmax(q(A)), 1 / 256, -128),
        "qnn.batch_matmul(%q, %r, 1, 2, 0.05f, 0.02f)":
            (A.astype(np.int32) - 1) @ (C.astype(np.int32) - 2).transpose(0, 2, 1),
        "qnn.avg_pool2d(expand_dims(%q, axis=0), 0.05f, -3, 0.05f, -3, pool_size=[1, 2], "
        "strides=[1, 2], padding=[0, 0, 0, 0])":
            quantised(q(A).reshape(1, 2, 3, 2, 2).mean(4), 0.05, -3),
        "qnn.conv2d_transpose(expand_dims(%q, axis=0), full(cast(2, dtype=\"int8\"), "
        "shape=[2, 1, 1, 1], dtype=\"int8\"), 1, 0, 0.05f, 0.02f, channels=1, "
        "kernel_size=[1, 1], out_dtype=\"int32\")":
            2 * (A.astype(np.int32) - 1).sum(0)[None, None],
    }),
}  # fmt: skip


@pytest.mark.parametrize("group", GROUPS)
def test_operators_are_what_numpy_says(group, tools):
    inputs, calls = GROUPS[group]
    params = ", ".join(
        f"%{n}: Tensor[({', '.join(map(str, a.shape))}), {a.dtype}]" for n, a in inputs.items()
    )
    lines = [f"  %{i} = {call};" for i, call in enumerate(calls)]
    result = ", ".join(f"%{i}" for i in range(len(calls)))
    text = f"{HEAD}def @main({params}) {{\n" + "\n".join(lines) + f"\n  ({result})\n}}\n"
    found = tools.run(import_model(text).mod, *inputs.values())
    for (call, expected), value in zip(calls.items(), found, strict=True):
        expected = np.asarray(expected)
        assert value.shape == expected.shape, call
        assert value.dtype.kind == expected.dtype.kind, call
        if value.dtype == np.int8:
            assert np.abs(value.astype(int) - expected.astype(int)).max() <= 1, call
        else:
            np.testing.assert_allclose(value, expected, rtol=2e-4, atol=2e-5, err_msg=call)


WITHOUT_NUMBERS = {
    "vision.all_class_non_max_suppression": "TVM's own kernel; its result has a symbolic size",
}


def test_every_operator_is_compared_with_numbers():
    text = "".join(
        Path(__file__).with_name(f"test_relay_{name}.py").read_text(encoding="utf-8")
        for name in ("operators", "numbers", "printed", "defaults")
    )
    missing = {n for n in OPERATORS if not re.search(rf"(?<![\w.]){re.escape(n)}\(", text)}
    assert missing == set(WITHOUT_NUMBERS)
