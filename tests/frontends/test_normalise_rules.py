"""Each pass alone: the ops that are left, and the same numbers as before."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op as R

import byoc
from byoc.frontends import import_model


def f32(*shape):
    return relax.TensorType(shape, "float32")


def const(array, dtype="float32"):
    return relax.const(np.asarray(array, dtype))


# -- identities


def test_no_ops_vanish(case):
    def body(x):
        x = R.reshape(x, (2, 3, 4))
        x = R.broadcast_to(x, (2, 3, 4))
        x = R.astype(x, "float32")
        x = R.permute_dims(x, [0, 1, 2])
        x = R.strided_slice(x, [0, 2], [0, 0], [2, 100])
        x = R.nn.pad(x, (0, 0, 0, 0, 0, 0))
        x = R.add(x, const(0))
        x = R.multiply(x, const(np.ones((4,))))
        x = R.divide(x, const(1))
        x = R.concat([x], 1)
        return R.nn.relu(x)

    case.check([f32(2, 3, 4)], body, {"nn.relu": 1})


def test_an_addition_of_zeros_that_broadcasts_stays(case):
    case.check([f32(3)], lambda x: R.add(x, const(np.zeros((2, 3)))), {"add": 1})


def test_dropout_vanishes(case):
    mod = case.build([f32(2, 3)], lambda x: R.exp(relax.TupleGetItem(R.nn.dropout(x, 0.5), 0)))
    assert case.tools.ops(import_model(mod).mod) == {"exp": 1}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda x: R.nn.relu(R.nn.relu(x)), {"nn.relu": 1}),
        (lambda x: R.maximum(x, const(0)), {"nn.relu": 1}),
        (lambda x: R.minimum(R.nn.relu(x), const(6)), {"clip": 1}),
        (lambda x: R.clip(R.nn.relu(x), 0, 6), {"clip": 1}),
        (lambda x: R.minimum(R.maximum(x, const(-1)), const(0.5)), {"clip": 1}),
        (lambda x: R.clip(R.clip(x, -1, 0.5), 0, 9), {"clip": 1}),
        (lambda x: R.maximum(x, const([0, 1, 2, 3])), {"maximum": 1}),
        (lambda x: R.power(x, const(2)), {"square": 1}),
        (lambda x: R.power(x, const(1)), {}),
        (lambda x: R.power(x, const(3)), {"square": 1, "multiply": 1}),
    ],
)
def test_clips_and_powers(case, body, expected):
    case.check([f32(3, 4)], body, expected)


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        (R.not_equal, {"isnan": 1}),
        (R.equal, {"isnan": 1, "logical_not": 1}),
        (R.less_equal, {"isnan": 1, "logical_not": 1}),
        (R.greater_equal, {"isnan": 1, "logical_not": 1}),
    ],
)
def test_a_comparison_with_itself_asks_for_nan(case, compare, expected):
    mod = case.build([f32(3)], lambda x: R.where(compare(x, x), R.add(x, const(1)), const(0)))
    assert case.tools.ops(import_model(mod).mod) == {"where": 1, "add": 1} | expected
    x = np.array([np.nan, 1, np.inf], "float32")
    wanted = [np.nan, 0, 0] if compare is R.not_equal else [0, 2, np.inf]
    np.testing.assert_array_equal(byoc.compile(mod)(x), np.array(wanted, "float32"))


def test_roots(case):
    case.check([f32(3, 4)], lambda x: R.power(x, const(0.5)), {"sqrt": 1}, positive=True)
    case.check([f32(3, 4)], lambda x: R.power(x, const(-0.5)), {"rsqrt": 1}, positive=True)


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        (R.sum, {"add": 2}),
        (R.max, {"maximum": 2}),
        (R.min, {"minimum": 2}),
        (R.mean, {"add": 2, "divide": 1}),
    ],
)
def test_sum_of_a_stack_is_a_chain(case, reduce, expected):
    types = [f32(2, 3)] * 3
    case.check(types, lambda x, y, z: reduce(R.stack([x, y, z], 0), axis=0), expected)


def test_casts_there_and_back(case):
    case.check([f32(3)], lambda x: R.exp(R.astype(R.astype(x, "float64"), "float32")), {"exp": 1})
    case.check(
        [f32(3)], lambda x: R.exp(R.astype(R.astype(x, "float16"), "float32")),
        {"exp": 1, "astype": 2},
    )  # fmt: skip


# -- shapes


def test_reshapes_merge(case):
    def body(x):
        return R.squeeze(R.expand_dims(R.flatten(R.reshape(x, (6, 4))), [0, 2]), [2])

    case.check([f32(2, 3, 4)], body, {"reshape": 1})
    case.check([f32(2, 3)], lambda x: R.exp(R.squeeze(R.expand_dims(x, 1), [1])), {"exp": 1})


def test_a_single_expand_dims_stays(case):
    case.check([f32(2, 3)], lambda x: R.expand_dims(x, 1), {"expand_dims": 1})


def test_transposes_merge(case):
    def twice(first, second):
        return lambda x: R.exp(R.permute_dims(R.permute_dims(x, first), second))

    case.check([f32(2, 3, 4)], twice([1, 2, 0], [2, 0, 1]), {"exp": 1})
    case.check([f32(2, 3, 4)], twice([1, 2, 0], [1, 2, 0]), {"exp": 1, "permute_dims": 1})


def test_a_transpose_comes_before_axes_of_length_1(case):
    def body(x):
        return R.exp(R.reshape(R.permute_dims(R.expand_dims(x, [2]), [1, 3, 2, 0]), (3, 8)))

    case.check([f32(2, 3, 4)], body, {"permute_dims": 1, "reshape": 1, "exp": 1})


def test_a_product_with_its_batch_axes_in_one_has_them_as_they_were(case):
    def body(x, y):
        product = R.matmul(R.reshape(x, (6, 4, 5)), R.reshape(y, (6, 5, 7)))
        return R.reshape(product, (2, 3, 4, 7))

    case.check([f32(2, 3, 4, 5), f32(2, 3, 5, 7)], body, {"matmul": 1})
    # split another way: the reshapes stay
    case.check([f32(3, 2, 4, 5), f32(3, 2, 5, 7)], body, {"matmul": 1, "reshape": 3})


def test_a_transpose_of_unit_axes_is_a_reshape(case):
    case.check([f32(2, 1, 4)], lambda x: R.permute_dims(x, [1, 0, 2]), {"reshape": 1})


def test_a_dense_layer_on_flat_rows_keeps_its_rows(case, rng):
    w, b = rng.standard_normal((8, 5)), rng.standard_normal(5)

    def body(x):
        y = R.add(R.matmul(R.reshape(x, (6, 8)), const(w)), const(b))
        return R.nn.relu(R.reshape(y, (2, 3, 5)))

    done = case.check([f32(2, 3, 8)], body, {"matmul": 1, "add": 1, "nn.relu": 1})
    assert [int(d) for d in done["main"].ret_ty.shape] == [2, 3, 5]


# -- arithmetic, BatchNorm, padding


def test_constants_come_second_and_join_behind_weights_only(case, rng):
    c, d = rng.standard_normal((2, 4))
    w = rng.standard_normal((4, 4))
    product = {"matmul": 1, "add": 1}
    for product_of, wanted in (
        (lambda x: x, {"add": 2}),
        (lambda x: R.matmul(x, const(w)), product),
    ):
        case.check(
            [f32(3, 4)], lambda x, f=product_of: R.add(const(c), R.add(const(d), f(x))), wanted
        )
    case.check(
        [f32(3, 4)], lambda x: R.multiply(const(c), R.multiply(x, const(d))), {"multiply": 2}
    )
    case.check([f32(3, 4)], lambda x: R.subtract(x, const(c)), {"add": 1})
    mod = case.build([f32(3, 4)], lambda x: R.add(const(c), x))
    call = import_model(mod).mod["main"].body.blocks[0].bindings[0].value
    assert isinstance(call.args[1], tvm.ir.GenericConst)


def bias_shape(mod):
    for block in mod["main"].body.blocks:
        for binding in block.bindings:
            if getattr(getattr(binding.value, "op", None), "name", "") == "relax.add":
                return tuple(int(d) for d in binding.value.args[1].ty.shape)
    raise AssertionError("no add")


def test_bias_forms(case, rng):
    w, m = rng.standard_normal((5, 3, 1, 1)), rng.standard_normal((3, 5))
    b = rng.standard_normal(5)
    done = case.check(
        [f32(1, 3, 4, 4)],
        lambda x: R.add(R.reshape(const(b), (5, 1, 1)), R.nn.conv2d(x, const(w))),
        {"nn.conv2d": 1, "add": 1},
    )
    assert bias_shape(done) == (1, 5, 1, 1)
    done = case.check(
        [f32(2, 4, 3)],
        lambda x: R.add(R.matmul(x, const(m)), const(b.reshape(1, 1, 5))),
        {"matmul": 1, "add": 1},
    )
    assert bias_shape(done) == (5,)


def batch_norm(x, rng, channels, axis=1):
    g, b, m = rng.standard_normal((3, channels))
    v = rng.random(channels) + 0.5
    norm = R.nn.batch_norm(x, *(const(p) for p in (g, b, m, v)), axis=axis, training=False)
    return relax.TupleGetItem(norm, 0)


def test_batch_norm_folds_into_the_convolution(case, rng):
    w, b = rng.standard_normal((6, 2, 3, 3)), rng.standard_normal((1, 6, 1, 1))

    def body(x):
        conv = R.add(R.nn.conv2d(x, const(w), groups=2, padding=1), const(b))
        return R.nn.relu(batch_norm(conv, np.random.default_rng(1), 6))

    case.check([f32(2, 4, 5, 5)], body, {"nn.conv2d": 1, "add": 1, "nn.relu": 1}, tolerance=1e-5)


def test_batch_norm_then_scale_and_shift_is_one_bias(case, rng):
    w, s, t = rng.standard_normal((6, 4, 1, 1)), *rng.standard_normal((2, 6, 1, 1))

    def body(x):
        y = batch_norm(R.nn.conv2d(x, const(w)), np.random.default_rng(1), 6)
        return R.add(R.multiply(y, const(s)), const(t))

    case.check([f32(2, 4, 5, 5)], body, {"nn.conv2d": 1, "add": 1}, tolerance=1e-5)


def test_batch_norm_folds_into_a_transposed_convolution_and_matmul(case, rng):
    w, m = rng.standard_normal((4, 6, 2, 2)), rng.standard_normal((4, 6))
    case.check(
        [f32(1, 4, 3, 3)],
        lambda x: batch_norm(R.nn.conv2d_transpose(x, const(w)), np.random.default_rng(1), 6),
        {"nn.conv2d_transpose": 1, "add": 1},
        tolerance=1e-5,
    )
    case.check(
        [f32(3, 4)],
        lambda x: batch_norm(R.matmul(x, const(m)), np.random.default_rng(1), 6),
        {"matmul": 1, "add": 1},
        tolerance=1e-5,
    )


def test_batch_norm_without_weights_is_multiply_and_add(case):
    case.check(
        [f32(2, 4, 5)],
        lambda x: R.nn.relu(batch_norm(x, np.random.default_rng(1), 4)),
        {"multiply": 1, "add": 1, "nn.relu": 1},
    )


def test_a_convolution_read_twice_keeps_its_weights(case, rng):
    w, s = rng.standard_normal((3, 2, 1, 1)), rng.standard_normal((3, 1, 1))

    def body(x):
        y = relax.op.nn.conv2d(x, const(w))
        return R.concat([R.multiply(y, const(s)), R.nn.relu(y)], 1)

    def shared(x):
        builder = relax.BlockBuilder.current()
        y = builder.emit(R.nn.conv2d(x, const(w)))
        return R.concat([R.multiply(y, const(s)), R.nn.relu(y)], 1)

    case.check(
        [f32(1, 2, 4, 4)], shared, {"nn.conv2d": 1, "multiply": 1, "nn.relu": 1, "concat": 1}
    )


def test_padding_goes_into_convolutions_and_pools(case, rng):
    w = rng.standard_normal((3, 2, 3, 3))
    width = (0, 0, 0, 0, 1, 2, 0, 1)
    case.check(
        [f32(1, 2, 6, 6)],
        lambda x: R.nn.conv2d(R.nn.pad(x, width), const(w), padding=1),
        {"nn.conv2d": 1},
    )
    case.check(
        [f32(1, 2, 6, 6)],
        lambda x: R.nn.avg_pool2d(R.nn.pad(x, width), (3, 3)),
        {"nn.avg_pool2d": 1},
    )
    case.check(
        [f32(1, 2, 6, 6)],
        lambda x: R.nn.max_pool2d(R.nn.pad(R.nn.relu(x), width), (3, 3)),
        {"nn.relu": 1, "nn.max_pool2d": 1},
    )


@pytest.mark.parametrize(
    "body",
    [
        lambda x: R.nn.max_pool2d(R.nn.pad(x, (0, 0, 0, 0, 1, 1, 1, 1)), (3, 3)),  # x may be < 0
        lambda x: R.nn.avg_pool2d(R.nn.pad(x, (0, 0, 0, 0, 1, 1, 1, 1), pad_value=1.0), (3, 3)),
        lambda x: R.nn.avg_pool2d(R.nn.pad(x, (0, 0, 1, 1, 0, 0, 0, 0)), (3, 3)),  # pads channels
    ],
)
def test_padding_that_would_change_the_result_stays(case, body):
    found = case.tools.ops(import_model(case.build([f32(1, 2, 6, 6)], body)).mod)
    assert found["nn.pad"] == 1


# -- twins and dead code


def test_equal_nodes_are_one(case):
    def body(x):
        return R.add(
            R.multiply(R.exp(R.reshape(x, (6,))), const(2)),
            R.tanh(R.multiply(R.exp(R.reshape(x, (6,))), const(2))),
        )

    case.check([f32(2, 3)], body, {"reshape": 1, "exp": 1, "multiply": 1, "tanh": 1, "add": 1})


def test_attributes_and_leaves_tell_nodes_apart(case):
    def body(x):
        return R.concat([R.sum(x, [0], True), R.max(x, [0], True), R.sum(x, [0], True)], 0)

    case.check([f32(2, 3)], body, {"sum": 1, "max": 1, "concat": 1})
    case.check(
        [f32(2, 3)], lambda x: R.add(R.clip(x, 0, 1), R.clip(x, 0, 2)), {"clip": 2, "add": 1}
    )


def test_dead_code_goes(case):
    def body(x):
        relax.BlockBuilder.current().emit(R.exp(x))
        return R.tanh(x)

    case.check([f32(2, 3)], body, {"tanh": 1})
