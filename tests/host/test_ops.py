"""Host kernels against numpy, one op at a time: shapes that divide and shapes that do not."""

from __future__ import annotations

import numpy as np
import pytest
from host_runner import Compiled, module
from tvm import relax

op = relax.op
RNG = np.random.default_rng(7)


def conv_reference(x, w, stride, pad, dilation, groups):
    n = x.shape[0]
    o, ci, kh, kw = w.shape
    (sy, sx), (dy, dx) = stride, dilation
    x = np.pad(x, [(0, 0), (0, 0), (pad[0], pad[2]), (pad[1], pad[3])]).astype("float64")
    oh = (x.shape[2] - (kh - 1) * dy - 1) // sy + 1
    ow = (x.shape[3] - (kw - 1) * dx - 1) // sx + 1
    y = np.zeros((n, o, oh, ow))
    for g in range(groups):
        xs, ws = x[:, g * ci : (g + 1) * ci], w[g * o // groups : (g + 1) * o // groups]
        for i in range(kh):
            for j in range(kw):
                a, b = i * dy, j * dx
                part = xs[:, :, a : a + (oh - 1) * sy + 1 : sy, b : b + (ow - 1) * sx + 1 : sx]
                y[:, g * o // groups : (g + 1) * o // groups] += np.einsum(
                    "nchw,oc->nohw", part, ws[:, :, i, j]
                )
    return y


CONVS = [
    # n, c, h, w, o, kernel, stride, pad, dilation, groups
    (1, 16, 14, 14, 32, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (2, 3, 17, 23, 10, (3, 3), (2, 2), (0, 1, 1, 0), (1, 1), 1),
    (1, 64, 13, 13, 100, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 20, 11, 9, 33, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    (1, 24, 10, 10, 40, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 4),
    (1, 36, 7, 7, 60, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 3),
    (1, 32, 15, 15, 32, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 32),
    (1, 8, 12, 12, 16, (5, 3), (1, 2), (2, 1, 2, 1), (1, 1), 8),
    (3, 5, 6, 19, 7, (2, 4), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 130, 3, 3, 17, (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1),
]


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv2d_with_epilogue(case, constant):
    n, c, h, w, o, kernel, stride, pad, dilation, groups = case
    x = RNG.standard_normal((n, c, h, w)).astype("float32")
    weight = RNG.standard_normal((o, c // groups, *kernel)).astype("float32")
    bias = RNG.standard_normal((1, o, 1, 1)).astype("float32")

    def build(b, x, *rest):
        kernel = relax.const(weight) if constant else rest[0]
        y = b.emit(
            op.nn.conv2d(x, kernel, strides=stride, padding=pad, dilation=dilation, groups=groups)
        )
        return op.nn.relu(b.emit(op.add(y, relax.const(bias))))

    inputs = [(x.shape, "float32")] + ([] if constant else [(weight.shape, "float32")])
    run = Compiled(module(build, *inputs))
    want = np.maximum(conv_reference(x, weight, stride, pad, dilation, groups) + bias, 0)
    got = run(x) if constant else run(x, weight)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    assert set(run.notes.values()) == {"conv"}


MATMULS = [
    ((1, 64), (64, 100)),
    ((7, 33), (33, 65)),
    ((128, 64), (64, 96)),
    ((2, 5, 48), (48, 32)),
    ((2, 3, 17, 20), (2, 3, 20, 19)),
    ((4, 16, 8), (1, 8, 16)),
    ((6, 8), (3, 8, 24)),
    ((197, 12), (12, 5)),
]


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("shapes", MATMULS, ids=str)
def test_matmul(shapes, constant):
    a, b = (RNG.standard_normal(s).astype("float32") for s in shapes)

    def build(builder, x, *rest):
        return op.nn.relu(builder.emit(op.matmul(x, relax.const(b) if constant else rest[0])))

    run = Compiled(module(build, *[(v.shape, "float32") for v in ([a] if constant else [a, b])]))
    got = run(a) if constant else run(a, b)
    np.testing.assert_allclose(got, np.maximum(a @ b, 0), rtol=1e-4, atol=1e-4)
    assert set(run.notes.values()) == {"matmul"}


@pytest.mark.parametrize(
    "shapes", [((5,), (5,)), ((5,), (5, 3)), ((4, 5), (5,)), ((2, 4, 5), (5,))], ids=str
)
def test_matmul_of_vectors(shapes):
    a, b = (RNG.standard_normal(s).astype("float32") for s in shapes)
    run = Compiled(module(lambda _, x, y: op.matmul(x, y), *[(v.shape, "float32") for v in (a, b)]))
    np.testing.assert_allclose(run(a, b), a @ b, rtol=1e-5, atol=1e-5)


def test_half_precision_is_summed_in_single():
    a, b = (RNG.standard_normal(s).astype("float16") for s in ((9, 400), (400, 33)))
    run = Compiled(module(lambda _, x: op.matmul(x, relax.const(b)), (a.shape, "float16")))
    want = (a.astype("float32") @ b.astype("float32")).astype("float16")
    np.testing.assert_allclose(run(a), want, rtol=2e-3, atol=2e-3)


def test_integer_matmul():
    a = RNG.integers(-100, 100, (9, 40)).astype("int32")
    b = RNG.integers(-100, 100, (40, 33)).astype("int32")
    run = Compiled(module(lambda _, x: op.matmul(x, relax.const(b)), (a.shape, "int32")))
    np.testing.assert_array_equal(run(a), a @ b)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def windows(x, size, stride):
    return np.lib.stride_tricks.sliding_window_view(x, size, (2, 3))[
        :, :, :: stride[0], :: stride[1]
    ]


SHAPES = [(2, 3, 5, 7), (1, 16, 14, 14), (1, 64, 55, 55), (1, 3, 1, 197)]
FLOAT = {
    "softmax": (lambda x: op.nn.softmax(x, -1), lambda x: softmax(x, -1)),
    "softmax channels": (lambda x: op.nn.softmax(x, 1), lambda x: softmax(x, 1)),
    "log_softmax": (lambda x: op.nn.log_softmax(x, -1), lambda x: np.log(softmax(x, -1))),
    "mean plane": (lambda x: op.mean(x, [2, 3]), lambda x: x.mean((2, 3))),
    "mean last": (lambda x: op.mean(x, [-1], keepdims=True), lambda x: x.mean(-1, keepdims=True)),
    "sum channels": (lambda x: op.sum(x, [1]), lambda x: x.sum(1)),
    "sum all": (lambda x: op.sum(x), lambda x: x.sum()),
    "max last": (lambda x: op.max(x, [-1]), lambda x: x.max(-1)),
    "min rows": (lambda x: op.min(x, [2], keepdims=True), lambda x: x.min(2, keepdims=True)),
    "prod": (lambda x: op.prod(x, [1]), lambda x: x.prod(1)),
    "argmax": (lambda x: op.argmax(x, -1), lambda x: x.argmax(-1)),
    "argmin channels": (lambda x: op.argmin(x, 1), lambda x: x.argmin(1)),
    "variance": (lambda x: op.variance(x, [-1]), lambda x: x.var(-1)),
    "layer_norm": (
        lambda x: op.nn.layer_norm(
            x,
            relax.const(np.ones(int(x.ty.shape[-1]), "float32")),
            relax.const(np.zeros(int(x.ty.shape[-1]), "float32")),
            -1,
            1e-5,
        ),
        layer_norm,
    ),
    "cumsum": (lambda x: op.cumsum(x, 1), lambda x: x.cumsum(1)),
    "transpose": (lambda x: op.permute_dims(x, [0, 2, 3, 1]), lambda x: x.transpose(0, 2, 3, 1)),
    "transpose last": (
        lambda x: op.permute_dims(x, [0, 1, 3, 2]),
        lambda x: x.transpose(0, 1, 3, 2),
    ),
    "concat": (lambda x: op.concat([x, x, x], 1), lambda x: np.concatenate([x, x, x], 1)),
    "concat last": (lambda x: op.concat([x, x], -1), lambda x: np.concatenate([x, x], -1)),
    "pad": (
        lambda x: op.nn.pad(x, [0, 0, 0, 0, 1, 2, 3, 4], "constant", 1.5),
        lambda x: np.pad(x, [(0, 0), (0, 0), (1, 2), (3, 4)], constant_values=1.5),
    ),
    "slice": (
        lambda x: op.strided_slice(x, [3, 1], [-1, 0], [-1000, 3], [-1, 2]),
        lambda x: x[:, 0:3:2, :, ::-1],
    ),
    "gelu": (
        lambda x: op.nn.gelu(x),
        lambda x: 0.5 * x * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2))),
    ),
    "gelu_tanh": (
        lambda x: op.nn.gelu_tanh(x),
        lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    ),
    "silu": (lambda x: op.nn.silu(x), lambda x: x / (1 + np.exp(-x))),
    "sigmoid": (lambda x: op.sigmoid(x), lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (lambda x: op.tanh(x), np.tanh),
    "exp": (lambda x: op.exp(x), np.exp),
    "log": (lambda x: op.log(op.abs(x)), lambda x: np.log(np.abs(x))),
    "power": (
        lambda x: op.power(op.abs(x), relax.const(np.float32(0.75))),
        lambda x: np.abs(x) ** 0.75,
    ),
    "square": (lambda x: op.power(x, relax.const(np.float32(2))), lambda x: x**2),
    "cube": (lambda x: op.power(x, relax.const(np.float32(3))), lambda x: x**3),
    "sqrt": (lambda x: op.sqrt(op.abs(x)), lambda x: np.sqrt(np.abs(x))),
    "broadcast": (
        lambda x: op.broadcast_to(op.sum(x, [2], keepdims=True), x.ty.shape),
        lambda x: np.broadcast_to(x.sum(2, keepdims=True), x.shape),
    ),
    "where": (
        lambda x: op.where(op.greater(x, relax.const(np.float32(0))), x, op.negative(x)),
        np.abs,
    ),
}


@pytest.mark.parametrize("name", FLOAT)
def test_float_ops(name):
    build, reference = FLOAT[name]
    for shape in SHAPES:
        x = RNG.standard_normal(shape).astype("float32")
        run = Compiled(module(lambda _, v: build(v), (shape, "float32")))
        # Of a sum near 0 the rounding of its terms is left: a part of their magnitude.
        terms = 1e-8 * x.size if name == "sum all" else 0
        np.testing.assert_allclose(
            run(x),
            reference(x.astype("float64")),
            rtol=2e-5,
            atol=2e-5 + terms,
            err_msg=str(shape),
        )


def pool(kind, size, stride, pad):
    def build(x):
        make = op.nn.max_pool2d if kind == "max" else op.nn.avg_pool2d
        return make(x, size, stride, pad)

    def reference(x):
        fill = -np.inf if kind == "max" else np.nan
        x = np.pad(x, [(0, 0), (0, 0), (pad[0], pad[2]), (pad[1], pad[3])], constant_values=fill)
        w = windows(x, size, stride)
        return w.max((-2, -1)) if kind == "max" else np.nanmean(w, (-2, -1))

    return build, reference


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(
    ("shape", "size", "stride", "pad"),
    [
        ((1, 64, 56, 56), (3, 3), (2, 2), (1, 1, 1, 1)),
        ((1, 5, 13, 13), (3, 3), (1, 1), (1, 1, 1, 1)),
        ((2, 3, 9, 11), (2, 3), (2, 1), (0, 0, 0, 0)),
        ((1, 32, 7, 7), (7, 7), (1, 1), (0, 0, 0, 0)),
        ((1, 8, 111, 111), (3, 3), (2, 2), (0, 0, 0, 0)),
    ],
    ids=str,
)
def test_pooling(kind, shape, size, stride, pad):
    build, reference = pool(kind, size, stride, pad)
    x = RNG.standard_normal(shape).astype("float32")
    run = Compiled(module(lambda _, v: build(v), (shape, "float32")))
    np.testing.assert_allclose(run(x), reference(x), rtol=1e-5, atol=1e-5)
    assert "serial" not in run.notes.values()


def test_other_dtypes():
    ints = RNG.integers(-50, 50, (4, 37)).astype("int64")

    def build(b, x):
        doubled = b.emit(op.multiply(x, relax.const(2, "int64")))
        mask = b.emit(op.greater(doubled, relax.const(10, "int64")))
        small = b.emit(op.astype(doubled, "int8"))
        total = b.emit(op.sum(doubled, [-1]))
        gathered = b.emit(op.take(x, relax.const(np.array([3, 0, 0], "int64")), 0))
        return relax.Tuple([mask, small, total, gathered, op.logical_not(mask)])

    run = Compiled(module(build, ((4, 37), "int64")))
    mask, small, total, gathered, inverse = run(ints)
    np.testing.assert_array_equal(mask, ints * 2 > 10)
    np.testing.assert_array_equal(small, (ints * 2).astype("int8"))
    np.testing.assert_array_equal(total, (ints * 2).sum(-1))
    np.testing.assert_array_equal(gathered, ints[[3, 0, 0]])
    np.testing.assert_array_equal(inverse, ~(ints * 2 > 10))


def test_views_are_not_copied():
    def build(b, x):
        y = b.emit(op.nn.relu(x))
        y = b.emit(op.flatten(y))
        y = b.emit(op.expand_dims(y, 0))
        y = b.emit(op.squeeze(y, [0]))
        return op.reshape(y, (6, 20))

    run = Compiled(module(build, ((2, 3, 4, 5), "float32")))
    assert len(run.notes) == 1
    x = RNG.standard_normal((2, 3, 4, 5)).astype("float32")
    np.testing.assert_array_equal(run(x), np.maximum(x, 0).reshape(6, 20))


def test_split_has_several_outputs():
    def build(b, x):
        parts = b.emit(op.split(x, 3, 1))
        return op.add(b.emit(parts[0]), op.multiply(b.emit(parts[1]), b.emit(parts[2])))

    x = RNG.standard_normal((2, 9, 5)).astype("float32")
    a, b, c = np.split(x, 3, 1)
    np.testing.assert_allclose(
        Compiled(module(build, (x.shape, "float32")))(x),
        a + b * c,
        rtol=1e-6,
        atol=1e-6,  # where the sum cancels, one rounding instead of two shows
    )


def test_epilogue_that_broadcasts_the_result():
    weight = RNG.standard_normal((16, 16, 1, 1)).astype("float32")

    def build(b, x):
        gate = b.emit(op.mean(x, [2, 3], keepdims=True))
        gate = b.emit(op.nn.conv2d(gate, relax.const(weight)))
        return op.multiply(x, b.emit(op.sigmoid(gate)))

    x = RNG.standard_normal((1, 16, 9, 9)).astype("float32")
    gate = np.einsum("oc,nc->no", weight[:, :, 0, 0], x.mean((2, 3)))[:, :, None, None]
    run = Compiled(module(build, (x.shape, "float32")))
    np.testing.assert_allclose(run(x), x / (1 + np.exp(-gate)), rtol=1e-4, atol=1e-5)


def reference_by_torch_free_onnx(node, arrays, shapes):
    """One ONNX node through ONNX Runtime."""
    import onnxruntime
    from onnx import TensorProto, helper

    names = [f"x{i}" for i in range(len(arrays))]
    graph = helper.make_graph(
        [helper.make_node(node[0], names, ["y"], **node[1])],
        "g",
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape)
            for n, a in zip(names, arrays, strict=True)
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shapes)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(zip(names, arrays, strict=True)))[0]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_of_every_rank(rank, groups):
    space = (11, 9, 7)[:rank]
    x = RNG.standard_normal((2, 6, *space)).astype("float32")
    w = RNG.standard_normal((10, 6 // groups, *(3,) * rank)).astype("float32")
    make = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}[rank]
    run = Compiled(
        module(
            lambda _, v: make(v, relax.const(w), strides=2, padding=1, groups=groups),
            (x.shape, "float32"),
        )
    )
    attrs = {"strides": [2] * rank, "pads": [1] * 2 * rank, "group": groups}
    want = reference_by_torch_free_onnx(("Conv", attrs), [x, w], None)
    np.testing.assert_allclose(run(x), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    ("stride", "pad", "extra", "dilation", "groups"),
    [
        (2, 1, 1, 1, 1),
        (1, 0, 0, 2, 2),
        (3, 2, 0, 1, 2),
    ],
)
def test_transposed_convolutions(rank, stride, pad, extra, dilation, groups):
    space = (6, 5, 4)[:rank]
    x = RNG.standard_normal((1, 8, *space)).astype("float32")
    w = RNG.standard_normal((8, 6 // groups, *(4,) * rank)).astype("float32")
    make = {1: op.nn.conv1d_transpose, 2: op.nn.conv2d_transpose, 3: op.nn.conv3d_transpose}[rank]
    run = Compiled(
        module(
            lambda _, v: make(
                v,
                relax.const(w),
                strides=stride,
                padding=pad,
                output_padding=extra,
                dilation=dilation,
                groups=groups,
            ),
            (x.shape, "float32"),
        )
    )
    attrs = {
        "strides": [stride] * rank,
        "pads": [pad] * 2 * rank,
        "group": groups,
        "output_padding": [extra] * rank,
        "dilations": [dilation] * rank,
    }
    want = reference_by_torch_free_onnx(("ConvTranspose", attrs), [x, w], None)
    np.testing.assert_allclose(run(x), want, rtol=1e-4, atol=1e-4)
    assert "serial" not in run.notes.values()


def test_channel_last_convolution():
    x = RNG.standard_normal((1, 9, 9, 5)).astype("float32")
    w = RNG.standard_normal((3, 3, 5, 7)).astype("float32")
    run = Compiled(
        module(
            lambda _, v: op.nn.conv2d(v, relax.const(w), data_layout="NHWC", kernel_layout="HWIO"),
            (x.shape, "float32"),
        )
    )
    want = conv_reference(
        x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1
    )
    np.testing.assert_allclose(run(x), want.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("causal", [None, "TopLeft", "BottomRight"])
def test_attention(causal, bias):
    b, s, t, h, d, e = 2, 5, 7, 3, 8, 6
    q, k, v = (
        RNG.standard_normal(shape).astype("float32")
        for shape in ((b, s, h, d), (b, t, h, d), (b, t, h, e))
    )
    mask = RNG.standard_normal((b, h, s, t)).astype("float32")
    arrays = [q, k, v, mask][: 4 if bias else 3]

    def build(_, q, k, v, *mask):
        return op.nn.attention(q, k, v, *mask, causal_mask=causal)

    run = Compiled(module(build, *[(a.shape, "float32") for a in arrays]))
    score = np.einsum("bshd,bthd->bhst", q, k) / np.sqrt(d) + (mask if bias else 0)
    if causal:
        shift = t - s if causal == "BottomRight" else 0
        score[..., np.arange(t) > np.arange(s)[:, None] + shift] = -np.inf
    want = np.einsum("bhst,bthe->bshe", softmax(score, -1), v)
    np.testing.assert_allclose(run(*arrays), want, rtol=1e-4, atol=1e-5)
    assert not {"serial", "opaque"} & set(run.notes.values())
