"""Operators by family: what Relay means, written in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from byoc.frontends import import_model

HEAD = '#[version = "0.0.5"]\n'
RNG = np.random.default_rng(3)


def f32(*shape):
    return RNG.normal(0, 1, shape).astype(np.float32)


X = f32(2, 3, 4, 4)
M = f32(3, 5)
W = f32(6, 3, 3, 3)
D = f32(3, 2, 3, 3)
V = f32(3)
P = np.abs(V) + np.float32(0.5)
I = np.array([[0, 2], [1, 0]], np.int32)  # noqa: E741
Q = RNG.integers(-100, 100, (2, 3, 4, 4)).astype(np.int8)


def conv(x, w, pad=0, stride=1, groups=1):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    n, _, h, v = x.shape
    o, i, kh, kw = w.shape
    out = np.zeros((n, o, (h - kh) // stride + 1, (v - kw) // stride + 1), np.float64)
    for f in range(o):
        g = f // (o // groups) * i
        for y in range(out.shape[2]):
            for z in range(out.shape[3]):
                part = x[:, g : g + i, y * stride : y * stride + kh, z * stride : z * stride + kw]
                out[:, f, y, z] = (part * w[f]).sum((1, 2, 3))
    return out


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def normal(x, mean, var, gamma, beta):
    return (x - mean) / np.sqrt(var + 1e-5) * gamma + beta


def c(v):
    return v.reshape(-1, 1, 1)


# call, arguments (%a, %b, …), expected
CASES = {
    "conv2d": ("nn.conv2d(%a, %b, padding=[1, 1, 1, 1], strides=[2, 2], channels=6, "
               "kernel_size=[3, 3])", (X, W), conv(X, W, 1, 2)),
    "conv2d NHWC": ('nn.conv2d(%a, %b, data_layout="NHWC", kernel_layout="HWIO", padding=[0, 0])',
                    (X.transpose(0, 2, 3, 1), W.transpose(2, 3, 1, 0)),
                    conv(X, W).transpose(0, 2, 3, 1)),
    "depthwise with multiplier": ("nn.conv2d(%a, %b, groups=3, channels=6, kernel_size=[3, 3])",
                                  (X, D), conv(X, D.reshape(6, 1, 3, 3), groups=3)),
    "conv1d": ("nn.conv1d(%a, %b, channels=6, kernel_size=[3])", (X[:, :, 0], W[:, :, 0]),
               conv(X[:, :, :1], W[:, :, :1])[:, :, 0]),
    "dense": ("nn.dense(%a, %b, units=4)", (M, f32(4, 5)), lambda a, b: a @ b.T),
    "matmul": ("nn.matmul(%a, %b, transpose_a=True)", (M, f32(3, 2)), lambda a, b: a.T @ b),
    "batch_matmul": ("nn.batch_matmul(%a, %b)", (f32(2, 3, 4), f32(2, 5, 4)),
                     lambda a, b: a @ b.transpose(0, 2, 1)),
    "bias_add": ("nn.bias_add(%a, %b)", (X, V), X + c(V)),
    "bias_add last": ("nn.bias_add(%a, %b, axis=-1)", (M.T, V), M.T + V),
    "batch_norm": ("nn.batch_norm(%a, %b, %c, %d, %e).0", (X, V, V, V, P),
                   normal(X, c(V), c(P), c(V), c(V))),
    "layer_norm": ("nn.layer_norm(%a, %b, %c)", (M.T, V, P),
                   normal(M.T, M.T.mean(-1, keepdims=True), M.T.var(-1, keepdims=True), V, P)),
    "instance_norm": ("nn.instance_norm(%a, %b, %c)", (X, V, P),
                      normal(X, X.mean((2, 3), keepdims=True), X.var((2, 3), keepdims=True),
                             c(V), c(P))),
    "group_norm": ("nn.group_norm(%a, %b, %c, num_groups=1)", (X, V, P),
                   normal(X, X.mean((1, 2, 3), keepdims=True), X.var((1, 2, 3), keepdims=True),
                          c(V), c(P))),
    "l2_normalize": ("nn.l2_normalize(%a, eps=1e-6f, axis=[1])", (M,),
                     M / np.sqrt((M * M).sum(1, keepdims=True))),
    "max_pool2d": ("nn.max_pool2d(%a, pool_size=[2, 2], strides=[2, 2])", (X,),
                   X.reshape(2, 3, 2, 2, 2, 2).max((3, 5))),
    "avg_pool2d": ("nn.avg_pool2d(%a, pool_size=[2, 2], strides=[2, 2], padding=[0, 0, 0, 0])",
                   (X,), X.reshape(2, 3, 2, 2, 2, 2).mean((3, 5))),
    "avg_pool2d NHWC": ('nn.avg_pool2d(%a, pool_size=[4, 4], layout="NHWC")',
                        (X.transpose(0, 2, 3, 1),), X.mean((2, 3))[:, None, None]),
    "global_max_pool2d": ("nn.global_max_pool2d(%a)", (X,), X.max((2, 3), keepdims=True)),
    "adaptive_avg": ("nn.adaptive_avg_pool2d(%a, output_size=[1])", (X,),
                     X.mean((2, 3), keepdims=True)),
    "adaptive_max": ("nn.adaptive_max_pool2d(%a, output_size=[2, 2])", (X,),
                     X.reshape(2, 3, 2, 2, 2, 2).max((3, 5))),
    "softmax": ("nn.softmax(%a, axis=1)", (X,), softmax(X, 1)),
    "log_softmax": ("nn.log_softmax(%a)", (M,), np.log(softmax(M, -1))),
    "leaky_relu": ("nn.leaky_relu(%a, alpha=0.1f)", (M,), np.where(M > 0, M, M * 0.1)),
    "prelu": ("nn.prelu(%a, %b)", (X, V), np.where(X > 0, X, X * c(V))),
    "dropout": ("nn.dropout(%a, rate=0.3f).0", (M,), M),
    "lrn": ("nn.lrn(%a, size=1, bias=1f, alpha=0.5f, beta=1f)", (X,), X / (1 + 0.5 * X * X)),
    "pad": ("nn.pad(%a, 2f, pad_width=[[1, 0], [0, 2]])", (M,),
            np.pad(M, ((1, 0), (0, 2)), constant_values=2)),
    "mirror_pad": ('nn.mirror_pad(%a, mode="REFLECT", pad_width=[[1, 1], [0, 0]])', (M,),
                   np.pad(M, ((1, 1), (0, 0)), mode="reflect")),
    "batch_flatten": ("nn.batch_flatten(%a)", (X,), X.reshape(2, -1)),
    "space_to_depth": ("nn.depth_to_space(nn.space_to_depth(%a, block_size=2), block_size=2)",
                       (X,), X),
    "space_to_batch": ("nn.batch_to_space_nd(nn.space_to_batch_nd(%a, block_shape=[2, 2], "
                       "paddings=[[1, 1], [0, 0]]), block_shape=[2, 2], crops=[[1, 1], [0, 0]])",
                       (X.transpose(0, 2, 3, 1),), X.transpose(0, 2, 3, 1)),
    "dilate": ("nn.dilate(%a, strides=[1, 2])", (M,),
               np.insert(M, range(1, 5), 0, axis=1)),
    "sum": ("sum(%a, axis=[1, 2])", (X,), X.sum((1, 2))),
    "sum exclude": ("sum(%a, axis=[1], exclude=True)", (X,), X.sum((0, 2, 3))),
    "mean all": ("mean(%a)", (X,), X.mean()),
    "variance": ("variance(%a, mean(%a, axis=[1], keepdims=True), axis=[1])", (M,), M.var(1)),
    "prod": ("prod(%a, axis=[-1], keepdims=True)", (M,), M.prod(-1, keepdims=True)),
    "all": ("all(%a > 0f, axis=[1])", (M,), (M > 0).all(1)),
    "any": ("any(%a > 0f)", (M,), (M > 0).any()),
    "argmax": ("argmax(%a, axis=[1])", (M,), M.argmax(1).astype(np.int32)),
    "argmin all": ("argmin(%a)", (M,), np.int32(M.argmin())),
    "cumsum": ("cumsum(%a, axis=1)", (M,), M.cumsum(1)),
    "topk": ('topk(%a, k=2, ret_type="values")', (M,), -np.sort(-M, -1)[:, :2]),
    "topk indices": ("topk(%a, k=2).1", (M,), np.argsort(-M, -1)[:, :2].astype(np.int32)),
    "argsort": ("argsort(%a)", (M,), np.argsort(M, -1).astype(np.int32)),
    "sort": ("sort(%a, axis=0, is_ascend=False)", (M,), -np.sort(-M, 0)),
    "reshape codes": ("reshape(%a, newshape=[0, -3, -1])", (X,), X.reshape(2, 12, 4)),
    "reshape split": ("reshape(%a, newshape=[-4, 1, -1, -2])", (X,), X[None]),
    "reverse_reshape": ("reverse_reshape(%a, newshape=[-1, 0])", (M,), M.reshape(3, 5)),
    "reshape_like": ("reshape_like(%a, %b)", (M, f32(5, 3)), M.reshape(5, 3)),
    "transpose": ("transpose(%a, axes=[0, 2, 3, 1])", (X,), X.transpose(0, 2, 3, 1)),
    "expand_dims": ("expand_dims(%a, axis=-1, num_newaxis=2)", (M,), M[..., None, None]),
    "squeeze": ("squeeze(expand_dims(%a, axis=0), axis=[0])", (M,), M),
    "concatenate": ("concatenate((%a, %b), axis=-1)", (M, M), np.hstack([M, M])),
    "stack": ("stack((%a, %b), axis=1)", (M, M), np.stack([M, M], 1)),
    "split": ("split(%a, indices_or_sections=[1, 3], axis=1).1", (M,), M[:, 1:3]),
    "strided_slice": ("strided_slice(%a, begin=[0, 4], end=[2, 0], strides=[1, -2])", (M,),
                      M[:2, 4:0:-2]),
    "slice size": ('strided_slice(%a, begin=[1, 0], end=[-1, 2], slice_mode="size")', (M,),
                   M[1:, :2]),
    "slice axes": ("strided_slice(%a, begin=[1], end=[3], axes=[1])", (M,), M[:, 1:3]),
    "slice_like": ("slice_like(%a, %b)", (M, f32(2, 2)), M[:2, :2]),
    "take": ("take(%a, %b, axis=1)", (M, I), M[:, I]),
    "take clips": ("take(%a, 99, axis=0)", (M,), M[-1]),
    "gather": ("gather(%a, axis=1, %b)", (M[:2], I.astype(np.int64)),
               np.take_along_axis(M[:2], I, 1)),
    "gather_nd": ("gather_nd(%a, %b)", (M, I), M[I[0], I[1]]),
    "scatter_elements": ('scatter_elements(%a, %b, %c, axis=1, reduction="add")',
                         (M[:2], I.astype(np.int64), f32(2, 2)), None),
    "broadcast_to": ("broadcast_to(%a, shape=[2, 3, 5])", (M,), np.broadcast_to(M, (2, 3, 5))),
    "tile": ("tile(%a, reps=[2, 1])", (M,), np.tile(M, (2, 1))),
    "repeat": ("repeat(%a, repeats=2, axis=1)", (M,), M.repeat(2, 1)),
    "reverse": ("reverse(%a, axis=1)", (M,), M[:, ::-1]),
    "one_hot": ('one_hot(%a, 1f, 0f, depth=3, axis=-1, dtype="float32")', (I,),
                np.eye(3, dtype=np.float32)[I]),
    "arange": ('add(%a, arange(0f, 5f, 1f, start=0, stop=5, step=1, dtype="float32"))', (M,),
               M + np.arange(5, dtype=np.float32)),
    "full": ('add(%a, full(2f, shape=[5], dtype="float32"))', (M,), M + 2),
    "shape_of": ('add(%a, cast(take(shape_of(%a), 1), dtype="float32"))', (M,), M + 5),
    "layout_transform": ('layout_transform(%a, src_layout="NCHW", dst_layout="NHWC")', (X,),
                         X.transpose(0, 2, 3, 1)),
    "trilu": ("trilu(%a, 0, upper=False)", (M,), np.tril(M)),
    "einsum": ('einsum((%a, %b), equation="ij,kj->ik")', (M, M), M @ M.T),
    "where": ("where(%a > %b, %a, %b)", (M, M[::-1].copy()), np.maximum(M, M[::-1])),
    "clip ints": ("clip(%a, a_min=-3f, a_max=500f)", (Q,), np.clip(Q, -3, 127)),
    "mod": ("mod(%a, 7)", (I - 5,), np.fmod(I - 5, 7)),
    "floor_divide": ("floor_divide(%a, 2)", (I - 5,), (I - 5) // 2),
    "power": ("power(%a, 2f)", (M,), M**2),
    "logical": ("logical_and(%a > 0f, logical_not(%a > 1f))", (M,), (M > 0) & ~(M > 1)),
    "log2": ("log2(abs(%a))", (M,), np.log2(np.abs(M))),
    "dyn reshape": ("dyn.reshape(%a, shape_of(%b))", (M, f32(5, 3)), M.reshape(5, 3)),
    "upsampling": ("nn.upsampling(%a, scale_h=2f, scale_w=2f)", (X,), X.repeat(2, 2).repeat(2, 3)),
    "resize nearest": ('image.resize2d(%a, size=[2, 2], method="nearest_neighbor", '
                       'coordinate_transformation_mode="asymmetric")', (X,), X[:, :, ::2, ::2]),
    "resize linear": ('image.resize2d(%a, size=[2, 2], method="linear")', (X,),
                      X.reshape(2, 3, 2, 2, 2, 2).mean((3, 5))),
    "sequence_mask": ("sequence_mask(%a, %b)", (M, np.array([1, 2, 3, 0, 2], np.int32)),
                      np.where(np.arange(3)[:, None] < [1, 2, 3, 0, 2], M, 0)),
}  # fmt: skip
del CASES["scatter_elements"]


def evaluate(tools, call, args):
    params = ", ".join(
        f"%{name}: Tensor[({', '.join(map(str, np.shape(a)))}), {np.asarray(a).dtype}]"
        for name, a in zip("abcdefgh", args, strict=False)
    )
    text = f"{HEAD}def @main({params}) {{\n  %0 = {call};\n  %0\n}}\n"
    (found,) = tools.run(import_model(text).mod, *args)
    return found


@pytest.mark.parametrize("name", CASES)
def test_operators_are_what_relay_says(name, tools):
    call, args, expected = CASES[name]
    expected = np.asarray(expected(*args) if callable(expected) else expected)
    found = evaluate(tools, call, args)
    assert found.shape == expected.shape
    assert found.dtype.kind == expected.dtype.kind
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def quantise(x, scale, zero, dtype=np.int8):
    limits = np.iinfo(dtype)
    return np.clip(np.rint(x / np.float32(scale)) + zero, limits.min, limits.max).astype(dtype)


def real(q, scale, zero):
    return (q.astype(np.float32) - zero) * np.float32(scale)


A, B = Q, RNG.integers(-100, 100, (2, 3, 4, 4)).astype(np.int8)
QW = RNG.integers(-127, 127, (6, 3, 3, 3)).astype(np.int8)
SUMS = conv(A.astype(np.int64) - 3, QW.astype(np.int64)).astype(np.int32)

QNN = {
    "quantize": ('qnn.quantize(%a, 0.02f, 5, out_dtype="uint8")', (X,),
                 quantise(X, 0.02, 5, np.uint8)),
    "dequantize": ("qnn.dequantize(%a, 0.5f, -3)", (A,), real(A, 0.5, -3)),
    "requantize": ('qnn.requantize(%a, 0.5f, 2, 0.25f, -7, out_dtype="int8")', (A,),
                   quantise(real(A, 0.5, 2), 0.25, -7)),
    "add": ("qnn.add(%a, %b, 0.1f, 1, 0.2f, -2, 0.3f, 4)", (A, B),
            quantise(real(A, 0.1, 1) + real(B, 0.2, -2), 0.3, 4)),
    "mul": ("qnn.mul(%a, %b, 0.1f, 1, 0.2f, -2, 0.9f, 4)", (A, B),
            quantise(real(A, 0.1, 1) * real(B, 0.2, -2), 0.9, 4)),
    "concatenate": ("qnn.concatenate((%a, %b), (0.1f, 0.2f), (1, -2), 0.3f, 4, axis=1)", (A, B),
                    quantise(np.concatenate([real(A, 0.1, 1), real(B, 0.2, -2)], 1), 0.3, 4)),
    "conv2d alone": ("qnn.conv2d(%a, %b, 3, 0, 0.1f, 0.01f, channels=6, kernel_size=[3, 3])",
                     (A, QW), SUMS),
    "conv2d, bias, requantize": (
        "qnn.requantize(nn.bias_add(qnn.conv2d(%a, %b, 3, 0, 0.1f, 0.01f, channels=6, "
        "kernel_size=[3, 3]), full(70, shape=[6], dtype=\"int32\")), 0.001f, 0, 0.5f, 2)",
        (A, QW), quantise((SUMS + 70) * 0.001, 0.5, 2)),
    "requantize, clip, cast": (
        'cast(clip(qnn.requantize(qnn.conv2d(%a, %b, 3, 0, 0.1f, 0.01f, channels=6, '
        'kernel_size=[3, 3]), 0.001f, 0, 0.5f, 2, out_dtype="int32"), a_min=2f, a_max=30f), '
        'dtype="uint8")', (A, QW),
        np.clip(np.rint(SUMS * 0.001 / 0.5) + 2, 2, 30).astype(np.uint8)),
    "requantize that stays wide": (
        'qnn.requantize(%a, 0.5f, 2, 0.001f, 0, out_dtype="int32")', (A,),
        np.rint(real(A, 0.5, 2) / np.float32(0.001)).astype(np.int32)),
    "dense": ("qnn.dequantize(qnn.dense(%a, %b, 1, 0, 0.5f, 0.25f, units=2), 0.125f, 0)",
              (A[0, 0], B[0, 1, :2]),
              ((A[0, 0].astype(int) - 1) @ B[0, 1, :2].astype(int).T * 0.125).astype(np.float32)),
    "sigmoid": ("qnn.sigmoid(%a, 0.05f, 0, 0.00390625f, -128)", (A,),
                quantise(1 / (1 + np.exp(-real(A, 0.05, 0))), 1 / 256, -128)),
}  # fmt: skip


@pytest.mark.parametrize("name", QNN)
def test_quantised_operators_are_within_one_unit(name, tools):
    call, args, expected = QNN[name]
    found = evaluate(tools, call, args)
    assert found.dtype == expected.dtype
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    else:
        assert np.abs(found.astype(np.int64) - expected.astype(np.int64)).max() <= 1


def test_a_convolution_that_nobody_scales_is_exact(tools):
    call, args, expected = QNN["conv2d alone"]
    np.testing.assert_array_equal(evaluate(tools, call, args), expected)


BOXES = np.array([[[0, 0.9, 0, 0, 4, 4], [0, 0.8, 0, 0, 4, 4.2], [1, 0.7, 8, 8, 9, 9],
                   [0, 0.01, 0, 0, 1, 1]]], np.float32)  # fmt: skip


def test_valid_boxes_are_counted(tools):
    call = "vision.get_valid_counts(%a, 0.1f, id_index=0, score_index=1).0"
    np.testing.assert_array_equal(evaluate(tools, call, (BOXES,)), [3])


def test_overlapping_boxes_are_suppressed(tools):
    call = (
        "vision.non_max_suppression(%a, %b, %c, -1, 0.5f, return_indices=False, "
        "invalid_to_bottom=True)"
    )
    args = (BOXES, np.array([3], np.int32), np.array([[0, 1, 2, 3]], np.int32))
    found = evaluate(tools, call, args)
    np.testing.assert_allclose(found[0, 0], BOXES[0, 0])
    np.testing.assert_allclose(found[0, 1], BOXES[0, 2])
    assert (found[0, 2:, 1] < 0).all()


def test_rois_are_averaged(tools):
    ramp = np.tile(np.arange(8, dtype=np.float32), (1, 1, 8, 1))
    call = "vision.roi_align(%a, %b, pooled_size=[1, 1], spatial_scale=1f, sample_ratio=2)"
    found = evaluate(tools, call, (ramp, np.array([[0, 2, 2, 6, 6]], np.float32)))
    np.testing.assert_allclose(found, [[[[4]]]], rtol=1e-5)


def test_rois_are_pooled(tools):
    ramp = np.tile(np.arange(8, dtype=np.float32), (1, 1, 8, 1))
    call = "vision.roi_pool(%a, %b, pooled_size=[1, 1], spatial_scale=1f)"
    found = evaluate(tools, call, (ramp, np.array([[0, 2, 2, 6, 6]], np.float32)))
    np.testing.assert_allclose(found, [[[[6]]]])


def test_prior_boxes_follow_from_the_shape(tools):
    call = (
        "add(%a, reshape(vision.multibox_prior(%b, sizes=[0.5f], ratios=[1f, 4f]), newshape=[-1]))"
    )
    found = evaluate(tools, call, (np.zeros(8, np.float32), f32(1, 3, 1, 1)))
    np.testing.assert_allclose(found, [0.25, 0.25, 0.75, 0.75, 0, 0.375, 1, 0.625])


def test_boxes_of_an_ssd_are_decoded_and_those_that_are_found_come_first(tools):
    classes = np.array([[[0.9, 0.1, 0.2, 0.3], [0.06, 0.7, 0.0, 0.3], [0.04, 0.2, 0.8, 0.4]]], "f4")
    classes[0, 1:, 0] = 0.005  # below the threshold
    moves, anchors = f32(1, 16), np.abs(f32(1, 4, 4)) * np.float32(0.2)
    anchors[..., 2:] += anchors[..., :2]
    steps = (0.1, 0.1, 0.2, 0.2)
    size, middle = anchors[..., 2:] - anchors[..., :2], (anchors[..., 2:] + anchors[..., :2]) / 2
    m = moves.reshape(1, 4, 4)
    centre = m[..., :2] * steps[:2] * size + middle
    half = np.exp(m[..., 2:] * steps[2:]) * size / 2
    corners = np.clip(np.concatenate([centre - half, centre + half], -1), 0, 1)
    expected = np.full((1, 4, 6), -1.0)
    for place, (anchor, kind) in enumerate(((1, 0), (2, 1), (3, 1))):
        expected[0, place] = [kind, classes[0, kind + 1, anchor], *corners[0, anchor]]
    call = "vision.multibox_transform_loc(%a, %b, %c)"
    np.testing.assert_allclose(
        evaluate(tools, f"{call}.0", (classes, moves, anchors)), expected, rtol=1e-5, atol=1e-6
    )
    assert evaluate(tools, f"{call}.1", (classes, moves, anchors)) == [3]
