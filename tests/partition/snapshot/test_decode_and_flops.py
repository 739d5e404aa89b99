"""Types, dimensions and attributes as plain Python; the work of an op."""

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from byoc.dims import names
from byoc.ir.decode import Decoder
from byoc.partition.snapshot.flops import op_work, type_bytes
from byoc.partition.snapshot.walk import take_snapshot
from byoc.segment import TensorType

pytestmark = pytest.mark.filterwarnings("ignore")


def test_dimensions_are_expressions_that_evaluate():
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    values = {"n": 7, "m": 3}
    decoder = Decoder()
    cases = {
        "n": (n, 7),
        "n * 12": (n * 12, 84),
        "n + m * 2": (n + m * 2, 13),
        "(n + m) * 2": ((n + m) * 2, 20),
        "n - (m - 2)": (n - (m - 2), 6),
        "n - m - 2": (n - m - 2, 2),
        "n // 2 * 2": (tirx.floordiv(n, 2) * 2, 6),
        "n // (m * 2)": (tirx.floordiv(n, m * 2), 1),
        "n % m": (tirx.floormod(n, m), 1),
        "max(n, m) * 2": (tirx.max(n, m) * 2, 14),
        "min(n, m + 1)": (tirx.min(n, m + 1), 4),
    }
    for text, (expr, value) in cases.items():
        assert decoder.dim(expr) == text
        assert eval(text, {}, values) == value
        assert names(text) <= {"n", "m"}
    assert decoder.dim(tirx.IntImm("int64", 5)) == 5
    assert names("max(n, 4) * m") == {"n", "m"}
    assert names(4) == frozenset()


def test_symbols_are_told_apart_and_made_identifiers():
    decoder = Decoder()
    one, other = tirx.Var("n", "int64"), tirx.Var("n", "int64")
    assert [decoder.dim(one), decoder.dim(other), decoder.dim(one)] == ["n", "n_1", "n"]
    assert decoder.dim(tirx.Var("past length + 1", "int64")) == "past_length___1"
    assert decoder.dim(tirx.Var("2d", "int64")).isidentifier()
    assert decoder.dim(tirx.Var("max", "int64")) == "dmax"


def test_types():
    decoder = Decoder()
    assert decoder.tensor_type(relax.TensorType((1, 2), "float16")) == TensorType((1, 2), "float16")
    assert decoder.tensor_type(relax.TensorType((), "bool")) == TensorType((), "bool")
    assert decoder.tensor_type(relax.TensorType(dtype="int8", ndim=2)).shape == ("?", "?")
    assert decoder.tensor_type(relax.TensorType(dtype="int8", ndim=-1)) is None
    assert decoder.tensor_type(relax.ShapeType(ndim=2)) is None
    same = [decoder.tensor_type(relax.TensorType((1, 2), "float16")) for _ in range(2)]
    assert same[0] is same[1]


def test_constants_are_the_models_own_memory():
    decoder = Decoder()
    const = relax.const(np.arange(6, dtype="float32"))
    array = decoder.array(const)
    assert array is decoder.array(const)
    assert np.shares_memory(array, np.from_dlpack(const.value))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def nodes(body, *shapes):
    bb = relax.BlockBuilder()
    params = [relax.Var(f"x{k}", relax.TensorType(s, "float32")) for k, s in enumerate(shapes)]
    with bb.function("main", params):
        with bb.dataflow():
            out = bb.emit_output(body(bb, *params))
        bb.emit_func_output(out)
    graph = take_snapshot(bb.get()["main"], "main", Decoder())
    return graph, [graph.node(k) for k in range(len(graph))]


def test_arguments_that_are_no_tensors_become_attributes():
    n = tirx.Var("n", "int64")

    def body(bb, x):
        y = bb.emit(relax.op.reshape(x, relax.ShapeExpr([n * 2, 2])))
        y = bb.emit(relax.op.strided_slice(y, axes=[0], begin=[0], end=[n], strides=[1]))
        y = bb.emit(relax.op.clip(y, 0, 6))
        pair = bb.emit(relax.op.split(y, 2, axis=1))
        y = bb.emit(relax.op.concat([pair[0], pair[1]], axis=1))
        y = bb.emit(relax.op.astype(y, "float16"))
        return bb.emit(relax.op.sum(y, axis=[0], keepdims=True))

    _, found = nodes(body, (n, 4))
    by_op = {node.op: node for node in found}
    assert by_op["reshape"].attrs["shape"] == ("n * 2", 2)
    cut = by_op["strided_slice"].attrs
    assert (cut["axes"], cut["begin"], cut["end"]) == ((0,), (0,), ("n",))
    assert (by_op["clip"].attrs["min"], by_op["clip"].attrs["max"]) == (0, 6)
    assert len(by_op["split"].outputs) == 2
    assert by_op["concat"].inputs == by_op["split"].outputs
    assert by_op["astype"].attrs["dtype"] == "float16"
    assert by_op["sum"].attrs == {"axis": (0,), "keepdims": True}


def test_a_shape_bound_to_a_name_is_still_an_attribute():
    def body(bb, x):
        shape = bb.emit(relax.ShapeExpr([4, 1]))
        return bb.emit(relax.op.reshape(x, shape))

    graph, found = nodes(body, (2, 2))
    assert found[-1].op == "reshape" and found[-1].attrs["shape"] == (4, 1)
    assert [graph.ops.kind[k] for k in range(len(graph))] == ["reshape"]


def kinds(*shapes):
    return [TensorType(tuple(s), "float32") for s in shapes]


@pytest.mark.parametrize(
    ("op", "attrs", "reads", "writes", "flops"),
    [
        ("nn.conv2d", {}, [(1, 3, 8, 8), (4, 3, 3, 3)], [(1, 4, 6, 6)], 2 * 144 * 27),
        # depthwise: one input channel per group
        ("nn.conv2d", {}, [(1, 8, 8, 8), (8, 1, 3, 3)], [(1, 8, 6, 6)], 2 * 288 * 9),
        ("nn.conv2d", {"kernel_layout": "HWIO"}, [(1, 8, 8, 3), (3, 3, 3, 4)], [(1, 6, 6, 4)],
         2 * 144 * 27),
        ("nn.conv2d_transpose", {"kernel_layout": "IOHW"}, [(1, 4, 6, 6), (4, 3, 3, 3)],
         [(1, 3, 8, 8)], 2 * 144 * 27),
        ("nn.conv1d", {}, [(1, 2, 8), (4, 2, 3)], [(1, 4, 6)], 2 * 24 * 6),
        ("matmul", {}, [(2, 5, 7), (7, 3)], [(2, 5, 3)], 2 * 30 * 7),
        ("nn.attention", {}, [(1, 5, 2, 4), (1, 6, 2, 4), (1, 6, 2, 3)], [(1, 5, 2, 3)],
         2 * 5 * 6 * (8 + 6 + 5)),
        ("byoc.recurrent", {}, [(7, 2, 3), (2, 16, 3), (2, 16, 4)], [(7, 2, 8), (2, 2, 4)],
         2 * 7 * 2 * 2 * 16 * (3 + 4)),
        ("nn.max_pool2d", {"pool_size": (3, 3)}, [(1, 2, 8, 8)], [(1, 2, 6, 6)], 72 * 9),
        ("nn.layer_norm", {}, [(2, 8), (8,), (8,)], [(2, 8)], 16 * 8),
        ("mean", {}, [(2, 8)], [(2, 1)], 16),
        ("add", {}, [(2, 8), (8,)], [(2, 8)], 16),
        ("reshape", {}, [(2, 8)], [(16,)], 0),
        ("call other", {}, [(2, 8)], [(16,)], 0),
    ],
)  # fmt: skip
def test_work_of_an_op(op, attrs, reads, writes, flops):
    found = op_work(op, attrs, kinds(*reads), kinds(*writes))
    assert found.flops == found.least == flops
    assert found.bytes == 4 * sum(int(np.prod(s)) for s in (*reads, *writes))


def test_work_is_unknown_with_a_symbolic_dimension_but_bounded():
    found = op_work("matmul", {}, kinds(("n", 8), (8, 4)), kinds(("n", 4)))
    assert (found.flops, found.bytes, found.least) == (None, None, 2 * 4 * 8)
    assert found.text == "float32[n, 4]"


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float32", 40), ("float16", 20), ("bfloat16", 20), ("int8", 10), ("bool", 10), ("int4", 5),
     ("float8_e4m3fn", 10), ("float64", 80)],
)  # fmt: skip
def test_bytes(dtype, size):
    assert type_bytes(TensorType((10,), dtype)) == size


def test_bfloat16_constants():
    import ml_dtypes

    const = relax.const(np.ones(3, ml_dtypes.bfloat16))
    assert Decoder().array(const).dtype == ml_dtypes.bfloat16
    assert isinstance(const, tvm.ir.GenericConst)
