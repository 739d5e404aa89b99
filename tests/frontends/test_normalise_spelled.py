"""Functions that exporters spell out are one op, in every spelling; look-alikes are not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op as R

from byoc.frontends import import_model


def f32(*shape):
    return relax.TensorType(shape, "float32")


def const(array, dtype="float32"):
    return relax.const(np.asarray(array, dtype))


S2, HALF, ONE = const(math.sqrt(2)), const(0.5), const(1)
C, K = const(math.sqrt(2 / math.pi)), const(0.044715)


def erf_by_division(x):
    return R.erf(R.divide(x, S2))


def erf_by_product(x):
    return R.erf(R.multiply(const(0.70710677), x))


GELU_ERF = [
    lambda x: R.multiply(R.multiply(x, R.add(erf_by_division(x), ONE)), HALF),
    lambda x: R.multiply(R.multiply(x, HALF), R.add(ONE, erf_by_division(x))),
    lambda x: R.multiply(x, R.multiply(HALF, R.add(erf_by_product(x), ONE))),
    lambda x: R.multiply(R.add(R.multiply(erf_by_product(x), HALF), HALF), x),
    lambda x: R.divide(R.multiply(R.add(erf_by_division(x), ONE), x), const(2)),
    lambda x: R.multiply(R.divide(x, const(2)), R.add(erf_by_product(x), ONE)),
]


def cube(x):
    return R.multiply(R.multiply(x, x), x)


def tanh_gate(inner):
    return R.add(R.tanh(inner), ONE)


GELU_TANH = [
    lambda x: R.multiply(
        R.multiply(x, HALF),
        tanh_gate(R.multiply(C, R.add(x, R.multiply(K, R.power(x, const(3)))))),
    ),
    lambda x: R.multiply(
        HALF, R.multiply(x, tanh_gate(R.multiply(R.add(x, R.multiply(cube(x), K)), C)))
    ),
    lambda x: R.multiply(
        R.multiply(HALF, x),
        tanh_gate(R.add(R.multiply(C, x), R.multiply(const(0.035677408), cube(x)))),
    ),
    lambda x: R.multiply(
        R.multiply(HALF, x),
        tanh_gate(R.multiply(R.multiply(C, x), R.add(ONE, R.multiply(K, R.multiply(x, x))))),
    ),
]


@pytest.mark.parametrize("number", range(len(GELU_ERF)))
def test_gelu_with_erf(case, number):
    case.check([f32(4, 16)], GELU_ERF[number], {"nn.gelu": 1})


@pytest.mark.parametrize("number", range(len(GELU_TANH)))
def test_gelu_with_tanh(case, number):
    case.check([f32(4, 16)], GELU_TANH[number], {"nn.gelu_tanh": 1}, tolerance=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        lambda x, y: R.multiply(R.multiply(y, R.add(erf_by_division(x), ONE)), HALF),
        lambda x, y: R.multiply(x, R.add(erf_by_division(x), ONE)),  # twice as large
        lambda x, y: R.multiply(R.multiply(x, R.add(R.erf(x), ONE)), HALF),
        lambda x, y: R.multiply(R.multiply(x, R.subtract(erf_by_division(x), ONE)), HALF),
    ],
)
def test_what_only_looks_like_gelu_stays(case, body):
    done = import_model(case.build([f32(4), f32(4)], body)).mod
    assert "erf" in case.tools.ops(done)


def test_silu_sigmoid_softmax(case):
    case.check([f32(4, 5)], lambda x: R.multiply(R.sigmoid(x), x), {"nn.silu": 1})
    case.check(
        [f32(4, 5)],
        lambda x: R.divide(x, R.add(R.exp(R.negative(x)), ONE)),
        {"nn.silu": 1},
    )
    case.check(
        [f32(4, 5)], lambda x: R.divide(ONE, R.add(ONE, R.exp(R.negative(x)))), {"sigmoid": 1}
    )

    def softmax(x):
        builder = relax.BlockBuilder.current()
        e = builder.emit(R.exp(R.subtract(x, R.max(x, [1], True))))
        return R.divide(e, R.sum(e, [-1], True))

    case.check([f32(4, 5)], softmax, {"nn.softmax": 1})


def test_leaky_relu(case):
    slope = const(0.1)
    case.check([f32(4, 5)], lambda x: R.maximum(x, R.multiply(x, slope)), {"nn.leakyrelu": 1})
    case.check(
        [f32(4, 5)],
        lambda x: R.where(R.greater(x, const(0)), x, R.multiply(slope, x)),
        {"nn.leakyrelu": 1},
    )
    steep = import_model(
        case.build([f32(4)], lambda x: R.maximum(x, R.multiply(x, const(2.0))))
    ).mod
    assert case.tools.ops(steep) == {"multiply": 1, "maximum": 1}


@pytest.mark.parametrize(
    "body",
    [
        lambda x: R.multiply(x, R.divide(R.clip(R.add(x, const(3)), 0, 6), const(6))),
        lambda x: R.divide(R.multiply(x, R.clip(R.add(x, const(3)), 0, 6)), const(6)),
        lambda x: R.multiply(x, R.clip(R.add(R.multiply(x, const(1 / 6)), HALF), 0, 1)),
    ],
)
def test_hard_swish_has_one_form(case, body):
    case.check([f32(4, 16)], body, {"multiply": 2, "add": 1, "clip": 1})


# -- norms


def centred(x, axes):
    return R.subtract(x, R.mean(x, axes, True))


def deviation(x, axes, eps, square=lambda d: R.power(d, const(2))):
    return R.add(R.mean(square(centred(x, axes)), axes, True), const(eps))


LAYER_NORM = [
    lambda x, a: R.divide(centred(x, a), R.sqrt(deviation(x, a, 1e-5))),
    lambda x, a: R.multiply(centred(x, a), R.rsqrt(deviation(x, a, 1e-5, R.square))),
    lambda x, a: R.multiply(R.divide(ONE, R.sqrt(deviation(x, a, 1e-5))), centred(x, a)),
    lambda x, a: R.divide(
        centred(x, a),
        R.power(deviation(x, a, 1e-5, lambda d: R.multiply(d, d)), const(0.5)),
    ),
    lambda x, a: R.divide(centred(x, a), R.sqrt(R.add(R.variance(x, a, True), const(1e-5)))),
]


@pytest.mark.parametrize("number", range(len(LAYER_NORM)))
def test_layer_norm(case, rng, number):
    g, b = rng.standard_normal((2, 8))

    def body(x):
        return R.add(R.multiply(LAYER_NORM[number](x, [-1]), const(g)), const(b))

    done = case.check([f32(2, 3, 8)], body, {"nn.layer_norm": 1}, tolerance=1e-5)
    call = done["main"].body.blocks[0].bindings[0].value
    np.testing.assert_allclose(call.args[1].value.numpy(), g.astype("f4"))
    np.testing.assert_allclose(call.args[2].value.numpy(), b.astype("f4"))


def test_layer_norm_over_two_axes(case, rng):
    g = rng.standard_normal((3, 8))
    case.check(
        [f32(2, 3, 8)],
        lambda x: R.multiply(const(g), LAYER_NORM[0](x, [1, 2])),
        {"nn.layer_norm": 1},
        tolerance=1e-5,
    )


def test_a_norm_over_the_first_axis_stays(case):
    done = import_model(case.build([f32(2, 3)], lambda x: LAYER_NORM[0](x, [0]))).mod
    assert "nn.layer_norm" not in case.tools.ops(done)


def test_rms_norm(case, rng):
    g = rng.standard_normal(8)

    def body(x):
        mean = R.mean(R.power(x, const(2)), [-1], True)
        return R.multiply(const(g), R.multiply(x, R.rsqrt(R.add(mean, const(1e-6)))))

    case.check([f32(2, 3, 8)], body, {"nn.rms_norm": 1}, tolerance=1e-5)


def test_group_norm(case, rng):
    g, b = rng.standard_normal((2, 6, 1, 1))

    def body(x):
        flat = R.reshape(x, (2, 3, 32))
        norm = R.nn.instance_norm(
            flat, const(np.ones(3)), const(np.zeros(3)), channel_axis=1, axes=[2]
        )
        return R.add(R.multiply(R.reshape(norm, (2, 6, 4, 4)), const(g)), const(b))

    case.check([f32(2, 6, 4, 4)], body, {"nn.group_norm": 1}, tolerance=1e-5)


# -- attention


def heads(x, keys=False):
    x = R.reshape(x, (2, 5, 4, 8))
    return R.permute_dims(x, [0, 2, 3, 1] if keys else [0, 2, 1, 3])


def joined(y):
    return R.reshape(R.permute_dims(y, [0, 2, 1, 3]), (2, 5, 32))


QKV = [f32(2, 5, 32)] * 3
ALONE = {"reshape": 4, "nn.attention": 1}


def test_attention_with_the_scale_on_scores_queries_or_both(case):
    def on_scores(q, k, v):
        scores = R.divide(R.matmul(heads(q), heads(k, keys=True)), const(math.sqrt(8)))
        return joined(R.matmul(R.nn.softmax(scores), heads(v)))

    def on_queries(q, k, v):
        scores = R.matmul(R.multiply(heads(q), const(8**-0.5)), heads(k, keys=True))
        return joined(R.matmul(R.nn.softmax(scores), heads(v)))

    def on_both(q, k, v):
        root = const(8**-0.25)
        kt = R.multiply(R.permute_dims(heads(k), [0, 1, 3, 2]), root)
        return joined(R.matmul(R.nn.softmax(R.matmul(R.multiply(heads(q), root), kt)), heads(v)))

    for body in (on_scores, on_queries, on_both):
        done = case.check(QKV, body, ALONE, tolerance=1e-5)
        scales = [
            float(b.value.attrs.scale.value)
            for b in done["main"].body.blocks[0].bindings
            if getattr(b.value.attrs, "scale", None) is not None
        ]
        assert scales == pytest.approx([8**-0.5])


def test_attention_with_an_added_mask(case):
    def body(q, k, v, mask):
        scores = R.multiply(R.matmul(heads(q), heads(k, keys=True)), const(0.3))
        return joined(R.matmul(R.nn.softmax(R.add(scores, mask)), heads(v)))

    wanted = {"reshape": 4, "nn.attention_bias": 1}
    case.check([*QKV, f32(2, 1, 1, 5)], body, wanted, tolerance=1e-5)
    case.check([*QKV, f32(5, 5)], body, {**wanted, "reshape": 5}, tolerance=1e-5)


def test_causal_attention(case):
    lower = np.tril(np.ones((1, 1, 5, 5), bool))

    def selected(q, k, v):
        scores = R.matmul(heads(q), heads(k, keys=True))
        hidden = R.where(relax.const(lower), scores, const(-1e9))
        return joined(R.matmul(R.nn.softmax(hidden), heads(v)))

    def added(q, k, v):
        scores = R.matmul(heads(q), heads(k, keys=True))
        mask = const(np.where(lower, 0, np.finfo("f4").min))
        return joined(R.matmul(R.nn.softmax(R.add(scores, mask)), heads(v)))

    for body in (selected, added):
        done = case.check(QKV, body, ALONE, tolerance=1e-5)
        assert 'causal_mask="BottomRight"' in done.script()


def test_attention_stays_spelled_where_the_weights_are_an_output(case):
    def body(q, k, v):
        builder = relax.BlockBuilder.current()
        weights = builder.emit(R.nn.softmax(R.matmul(heads(q), heads(k, keys=True))))
        return R.add(
            R.sum(joined(R.matmul(weights, heads(v)))), R.sum(R.multiply(weights, weights))
        )

    found = case.tools.ops(import_model(case.build(QKV, body)).mod)
    assert found["nn.softmax"] == 1 and "nn.attention" not in found


def test_attention_stays_spelled_where_it_would_add_transposes(case):
    types = [f32(2, 4, 5, 8), f32(2, 4, 8, 5), f32(2, 4, 5, 8)]
    found = case.tools.ops(
        import_model(
            case.build(types, lambda q, k, v: R.matmul(R.nn.softmax(R.matmul(q, k)), v))
        ).mod
    )
    assert found == {"matmul": 2, "nn.softmax": 1}
