"""Each reader of a dequantize gets its own."""

from tvm import relax
from tvm.relax.op import add, dequantize
from tvm.relax.op.nn import relu

from byoc.frontends.normalise.pipeline import normalise_module


def _module(result_too=False):
    builder = relax.BlockBuilder()
    q = relax.Var("q", relax.TensorType((2, 3), "int8"))
    scale, zero = relax.const(0.5, "float32"), relax.const(1, "int8")
    with builder.function("main", [q]):
        with builder.dataflow():
            d = builder.emit(dequantize(q, scale, zero, axis=1), "d")
            total = builder.emit(add(relu(d), d))
            out = builder.emit_output(relax.Tuple([total, d]) if result_too else total)
        builder.emit_func_output(out)
    return builder.get()


def _ops(mod):
    found = []
    relax.analysis.post_order_visit(
        mod["main"], lambda e: found.append(e.op.name) if isinstance(e, relax.Call) else None
    )
    return found


def test_two_readers_get_two():
    assert _ops(normalise_module(_module())).count("relax.dequantize") == 2


def test_a_result_keeps_its_own():
    assert _ops(normalise_module(_module(result_too=True))).count("relax.dequantize") == 3


def test_one_reader_keeps_the_one():
    builder = relax.BlockBuilder()
    q = relax.Var("q", relax.TensorType((2, 3), "int8"))
    with builder.function("main", [q]):
        d = builder.emit(
            dequantize(q, relax.const(0.5, "float32"), relax.const(1, "int8"), axis=1), "d"
        )
        builder.emit_func_output(builder.emit(relu(d)))
    assert _ops(normalise_module(builder.get())).count("relax.dequantize") == 1
