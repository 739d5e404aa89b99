"""The exporter says the same as TVM: every op, run by ONNX Runtime and by the host."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

import byoc
from byoc.errors import CompileError
from byoc.kit.onnx_export import EXPORTABLE, segment_to_onnx
from byoc.kit.recurrent import GateFunction, Recurrent, recurrent_call
from byoc.segment import Node, Segment, TensorType

pytest.importorskip("onnxruntime")


def var(name: str, *shape: int, dtype: str = "float32") -> relax.Var:
    return relax.Var(name, relax.TensorType(shape, dtype))


def const(*shape: int, low: float = -1.0, high: float = 1.0) -> relax.Expr:
    rng = np.random.default_rng(len(shape) * 1000 + sum(shape))
    return relax.const(rng.uniform(low, high, shape).astype("float32"))


def module(inputs: list[relax.Var], outputs: list[relax.Expr]) -> tvm.IRModule:
    bb = relax.BlockBuilder()
    with bb.function("main", inputs):
        with bb.dataflow():
            fields = []
            for expr in outputs:
                made = bb.emit(expr)
                many = isinstance(made.ty, tvm.ir.TupleType)
                fields += [made[i] for i in range(len(made.ty.fields))] if many else [made]
            result = bb.emit_output(relax.Tuple(fields))
        bb.emit_func_output(result)
    return bb.get()


def elementwise():
    x, y = var("x", 2, 3, 5), var("y", 3, 1)
    unary = [op.abs, op.ceil, op.cos, op.cosh, op.erf, op.exp, op.floor, op.negative, op.sigmoid]
    unary += [op.sign, op.sin, op.sinh, op.square, op.tan, op.tanh, op.atan, op.round]
    unary += [op.nn.relu, op.nn.silu, op.nn.gelu, op.nn.gelu_tanh, op.nn.softplus]
    binary = [op.add, op.subtract, op.multiply, op.maximum, op.minimum]
    exprs = [f(x) for f in unary] + [f(x, y) for f in binary]
    exprs += [op.nn.leakyrelu(x, 0.2), op.clip(x, -0.5, 0.25), op.astype(x, "int32")]
    positive = op.add(op.abs(x), relax.const(np.float32(0.5)))
    exprs += [op.sqrt(op.abs(x)), op.rsqrt(positive), op.log(positive), op.divide(x, positive)]
    exprs += [op.power(positive, y), op.acos(op.clip(x, -1, 1)), op.asin(op.clip(x, -1, 1))]
    compare = [op.equal, op.greater, op.greater_equal, op.less, op.less_equal]
    exprs += [f(x, y) for f in compare]
    a, b = op.greater(x, y), op.less(x, relax.const(np.float32(0)))
    exprs += [op.logical_and(a, b), op.logical_or(a, b), op.logical_xor(a, b), op.logical_not(a)]
    exprs += [op.where(a, x, y)]
    return [x, y], exprs


def movement():
    x, i = var("x", 2, 6, 4), var("i", 3, dtype="int64")
    exprs = [
        op.reshape(x, (4, 12)),
        op.flatten(x),
        op.expand_dims(x, [0, 2]),
        op.squeeze(op.reshape(x, (1, 12, 1, 4)), [0, 2]),
        op.permute_dims(x),
        op.permute_dims(x, [1, 0, 2]),
        op.concat([x, x, op.abs(x)], axis=1),
        op.split(x, 3, axis=1),
        op.split(x, [1, 4], axis=-2),
        op.strided_slice(x, [1, 2], [1, 0], [5, 4], [2, 1]),
        op.broadcast_to(op.reshape(x, (2, 6, 1, 4)), (2, 6, 3, 4)),
        op.take(x, i, axis=1),
        op.nn.pad(x, [0, 0, 1, 2, 3, 0], pad_value=0.5),
        op.nn.pad(x, [0, 0, 1, 2, 0, 0], pad_mode="reflect"),
        op.nn.batch_flatten(x),
    ]
    return [x, i], exprs


def reductions():
    x = var("x", 2, 3, 4, 5)
    exprs = [f(x, [1, 3]) for f in (op.sum, op.mean, op.max, op.min, op.prod)]
    exprs += [f(x, -1, keepdims=True) for f in (op.sum, op.variance, op.std)]
    exprs += [op.mean(x), op.argmax(x, 2), op.argmin(x, -1, keepdims=True)]
    exprs += [op.nn.softmax(x, 1), op.nn.log_softmax(x, -1)]
    return [x], exprs


def neural():
    x, s = var("x", 2, 4, 9, 8), var("s", 2, 4, 11)
    v = var("v", 1, 4, 5, 6, 7)
    nhwc = var("n", 2, 9, 8, 4)
    exprs = [
        op.nn.conv2d(x, const(6, 4, 3, 3), strides=2, padding=[1, 0, 2, 1]),
        op.nn.conv2d(x, const(8, 1, 3, 3), groups=4, dilation=2),
        op.nn.conv2d(nhwc, const(3, 3, 4, 5), padding=1, data_layout="NHWC", kernel_layout="HWIO"),
        op.nn.conv1d(s, const(5, 4, 3), strides=2, padding=1),
        op.nn.conv3d(v, const(3, 4, 2, 2, 2), padding=1),
        op.nn.conv2d_transpose(x, const(4, 3, 3, 3), strides=2, output_padding=1, padding=1),
        op.nn.max_pool2d(x, (3, 2), strides=2, padding=1, ceil_mode=True),
        op.nn.avg_pool2d(x, (3, 2), strides=2, padding=1, count_include_pad=True),
        op.nn.avg_pool2d(x, (3, 2), strides=2, padding=1, count_include_pad=False),
        op.nn.adaptive_avg_pool2d(x, (1, 1)),
        op.matmul(x, const(8, 3)),
        op.matmul(x, const(2, 1, 8, 3)),
        op.nn.layer_norm(x, const(9, 8), const(9, 8), axes=[-2, -1]),
        op.nn.rms_norm(x, const(8), axes=[-1]),
        op.nn.instance_norm(x, const(4), const(4), 1, [2, 3]),
        op.nn.batch_norm(
            x, const(4), const(4), const(4), const(4, low=0.5), axis=1, training=False
        )[0],
    ]
    return [x, s, v, nhwc], exprs


def attention():
    q, k = var("q", 2, 5, 3, 8), var("k", 2, 7, 3, 8)
    bias = const(2, 3, 5, 7)
    return [q, k], [op.nn.attention(q, k, k), op.nn.attention(q, k, k, bias, scale=0.1)]


def recurrent():
    inputs, exprs = [], []
    for kind, gates in (("lstm", 4), ("gru", 3), ("rnn", 1)):
        for direction, ways in (("reverse", 1), ("bidirectional", 2)):
            x, h = var(f"x{len(inputs)}", 5, 2, 3), var(f"h{len(inputs)}", ways, 2, 4)
            operands = {
                "x": x, "w": const(ways, gates * 4, 3), "r": const(ways, gates * 4, 4),
                "b": const(ways, gates * 8), "h": h,
            }  # fmt: skip
            functions = {"lstm": "sigmoid tanh tanh", "gru": "sigmoid tanh", "rnn": "tanh"}[kind]
            layer = Recurrent(
                kind=kind,
                direction=direction,
                operands=tuple(operands),
                activations=tuple(map(GateFunction, functions.split())) * ways,
                linear_before_reset=direction == "reverse",
            )
            inputs += [x, h]
            exprs.append(recurrent_call(layer, operands))
    return inputs, exprs


GROUPS = [elementwise, movement, reductions, neural, attention, recurrent]


def feed(inputs, seed):
    rng = np.random.default_rng(seed)
    arrays = []
    for item in inputs:
        shape = [int(d) for d in item.ty.shape]
        dtype = str(item.ty.dtype)
        integers = rng.integers(0, 6, shape).astype(dtype)
        arrays.append(integers if "int" in dtype else rng.normal(size=shape).astype(dtype))
    return arrays


INEXACT = {
    "onnxruntime": {"argmax", "argmin", "byoc.recurrent"},
    "openvino": {"argmax", "argmin", "erf", "max", "min", "nn.softplus"},
}
"""Ops that lose NaN, or the digits of small results, there."""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.__name__)
def test_every_op_agrees_with_the_host(group, engine):
    pytest.importorskip(engine)
    inputs, exprs = group()
    mod = module(inputs, exprs)
    there = byoc.compile(mod, [engine], min_segment_ops=1)
    host = byoc.compile(mod, [])
    left = {(record.op, tuple(record.refusals)) for record in there.report.host_ops}
    assert {op for op, _ in left} <= INEXACT[engine]
    for seed in range(3):
        arrays = feed(inputs, seed)
        for number, (a, b) in enumerate(zip(there(*arrays), host(*arrays), strict=True)):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=f"output {number}")


def test_the_groups_above_cover_every_exportable_op():
    seen = set()
    for group in GROUPS:
        mod = module(*group())
        for block in mod["main"].body.blocks:
            for binding in block.bindings:
                if isinstance(binding.value, tvm.ir.Call):
                    seen.add(str(binding.value.op.name).removeprefix("relax."))
    alike = {  # another dimension count of an op above: the same function writes it
        "nn.adaptive_avg_pool1d",
        "nn.adaptive_avg_pool3d",
        "nn.avg_pool1d",
        "nn.avg_pool3d",
        "nn.conv1d_transpose",
        "nn.conv3d_transpose",
        "nn.max_pool1d",
        "nn.max_pool3d",
    }
    assert seen >= EXPORTABLE - alike


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        (lambda x: op.nn.adaptive_avg_pool2d(x, (2, 2)), "output of 1 only"),
        (lambda x: op.argmax(x), "over all axes at once"),
        (lambda x: op.nn.layer_norm(x, const(4), const(4), axes=[1]), "trailing axes only"),
        (lambda x: op.cumsum(x, 1), "no pattern of onnxruntime covers cumsum"),
    ],
)
def test_what_onnx_cannot_say_stays_on_the_host_with_the_reason(expr, reason):
    x = var("x", 2, 4, 6, 6)
    result = byoc.partition_model(module([x], [expr(x)]), ["onnxruntime"], min_segment_ops=1)
    assert not result.segments
    (record,) = result.report.host_ops
    assert reason in record.refusals[0].reason


@pytest.mark.parametrize(
    ("dtype", "expr", "reason"),
    [  # what quantised models become: ONNX Runtime refused the whole segment when it was loaded
        ("int32", lambda x: op.nn.conv2d(x, x), "ONNX has no Conv of int32"),
        ("int32", lambda x: op.nn.max_pool2d(x, (2, 2)), "ONNX has no MaxPool of int32"),
        (
            "int8",
            lambda x: op.nn.conv2d(x, x, data_layout="NHWC", kernel_layout="HWIO"),
            "no Conv of int8",
        ),
        ("float64", op.erf, "ONNX Runtime has no kernel of float64 on the CPU"),
        ("float64", op.exp, None),
        ("bfloat16", op.exp, "ONNX Runtime has few kernels of bfloat16 on the CPU"),
        ("bfloat16", lambda x: op.astype(x, "float32"), "few kernels of bfloat16"),
        ("bool", lambda x: op.equal(x, x), None),
        ("int32", lambda x: op.add(x, x), None),
    ],
)
def test_types_that_onnx_has_no_operator_for_are_not_taken(dtype, expr, reason):
    x = var("x", 2, 2, 3, 3, dtype=dtype)
    result = byoc.partition_model(module([x], [expr(x)]), ["onnxruntime"], min_segment_ops=1)
    assert bool(result.segments) == (reason is None)
    if reason is not None:
        (record,) = result.report.host_ops
        assert reason in record.refusals[0].reason


def test_a_segment_with_a_foreign_op_names_the_op_and_where_it_came_from():
    ty = TensorType((2,), "float32")
    node = Node("mystery", (0,), (1,), source=("/layer.3/Mystery",))
    segment = Segment("s_0", "any", (ty, ty), (node,), (), (0,), (1,), {})
    with pytest.raises(CompileError, match=r"'s_0' \(/layer.3/Mystery\).*mystery has no ONNX form"):
        segment_to_onnx(segment)
