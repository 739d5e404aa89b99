# ruff: noqa: RET504 - TVMScript wants a name for every value
"""Functions beside main, branches of `If`, symbolic shapes, `match_cast`, tuples, side effects."""

import numpy as np
import pytest
import tvm
from relax_numpy import evaluate
from toy_vendors import toy
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from byoc.partition import partition_module

pytestmark = pytest.mark.filterwarnings("ignore")

VENDOR = toy("toy", "add", "multiply", "nn.relu", "matmul", "split", "concat", "reshape")


def places(result):
    return {op.name: op.segment or op.place for op in result.report.ops}


def run_both(mod, result, *inputs):
    relax.analysis.well_formed(result.mod)
    np.testing.assert_array_equal(evaluate(mod, *inputs), evaluate(result.mod, *inputs))


def array(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def test_branches_and_other_functions_are_partitioned():
    @I.ir_module
    class Module:
        @R.function
        def main(c: R.Tensor((), "bool"), x: R.Tensor((2, 2), "float32")) -> R.Tensor(
            (2, 2), "float32"
        ):
            a = R.nn.relu(x)
            b = R.add(a, x)
            if c:
                t = R.multiply(b, x)
                t2 = R.add(t, b)
                r = t2
            else:
                e = R.tanh(b)
                e2 = R.add(e, e)
                e3 = R.multiply(e2, x)
                r = e3
            s = R.nn.relu(r)
            s2 = R.add(s, a)
            return s2

        @R.function(private=True)
        def other(x: R.Tensor((2, 2), "float32")) -> R.Tensor((2, 2), "float32"):
            a = R.nn.relu(x)
            b = R.add(a, a)
            return b

    result = partition_module(Module, [VENDOR])
    found = places(result)
    assert found["a"] == found["b"] and found["a"] != "host"
    assert found["t"] == found["t2"] != found["a"]
    assert found["e"] == "host" and found["e2"] == found["e3"] != found["t"]
    assert found["s"] == found["s2"] != found["a"]
    assert {s.function for s in result.report.segments} == {"main", "other"}
    for flag in (True, False):
        run_both(Module, result, np.array(flag), array(2, 2))
    # What a branch captures is an input of its segment.
    then = next(s for s in result.segments if [n.source[0] for n in s.nodes] == ["t", "t2"])
    assert len(then.inputs) == 2


def test_a_match_with_a_value_captured_by_a_branch_is_refused():
    @I.ir_module
    class Module:
        @R.function
        def main(c: R.Tensor((), "bool"), x: R.Tensor((2, 2), "float32")) -> R.Tensor(
            (2, 2), "float32"
        ):
            a = R.add(x, x)
            b = R.nn.relu(a)
            if c:
                t = R.tanh(a)
                r = t
            else:
                e = R.tanh(b)
                r = e
            return r

    from toy_vendors import chain

    fused = toy("fused", chain("add_relu", "add", "nn.relu"))
    result = partition_module(Module, [fused], min_segment_ops=1)
    assert not result.segments
    (reason,) = {r.reason for op in result.report.ops if op.name in "ab" for r in op.refusals}
    assert "add (a) is also used outside the pattern" in reason


def test_functions_of_other_passes_are_left_alone():
    @I.ir_module
    class Module:
        @R.function(private=True)
        def theirs(x: R.Tensor((2, 2), "float32")) -> R.Tensor((2, 2), "float32"):
            R.func_attr({"Codegen": "them"})
            a = R.nn.relu(x)
            b = R.add(a, a)
            return b

        @R.function(private=True)
        def toy_0(x: R.Tensor((2, 2), "float32")) -> R.Tensor((2, 2), "float32"):
            a = R.tanh(x)
            return a

        @R.function
        def main(x: R.Tensor((2, 2), "float32")) -> R.Tensor((2, 2), "float32"):
            cls = Module
            a = R.nn.relu(x)
            b = R.add(a, a)
            c = cls.theirs(b)
            d = cls.toy_0(c)
            return d

    result = partition_module(Module, [VENDOR])
    assert result.mod["theirs"].same_as(Module["theirs"])
    assert [s.name for s in result.segments] == ["toy_1"]  # toy_0 is taken
    assert "call theirs" in {op.op for op in result.report.ops}
    run_both(Module, result, array(2, 2))


@pytest.mark.parametrize("dataflow", [True, False])
def test_symbolic_shapes(dataflow):
    bb = relax.BlockBuilder()
    n = tvm.tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((n, 4), "float32"))
    with bb.function("main", [x]):
        if dataflow:
            with bb.dataflow():
                a = bb.emit(relax.op.nn.relu(x))
                b = bb.emit(relax.op.reshape(a, relax.ShapeExpr([n * 2, 2])))
                c = bb.emit(relax.op.tanh(b))
                d = bb.emit(relax.op.nn.relu(c))
                e = bb.emit_output(relax.op.add(d, d))
        else:
            a = bb.emit(relax.op.nn.relu(x))
            b = bb.emit(relax.op.reshape(a, relax.ShapeExpr([n * 2, 2])))
            c = bb.emit(relax.op.tanh(b))
            d = bb.emit(relax.op.nn.relu(c))
            e = bb.emit(relax.op.add(d, d))
        bb.emit_func_output(e)
    mod = bb.get()
    result = partition_module(mod, [VENDOR])
    relax.analysis.well_formed(result.mod)
    segment, behind = result.segments
    assert [str(v) for v in segment.values] == [
        "float32[n, 4]",
        "float32[n, 4]",
        "float32[n * 2, 2]",
    ]
    assert segment.nodes[1].attrs["shape"] == ("n * 2", 2)
    # What the vendor's runtime will be told: names as in the module.
    assert [str(p) for p in segment.signature.inputs] == ["x: float32[n, 4]"]
    (output,) = segment.signature.outputs
    assert output.name == segment.nodes[-1].source[0]
    assert str(output.type) == "float32[n * 2, 2]"
    # After the reshape, n is no plain dimension any more of what ops read: x tells it.
    _, told = behind.signature.inputs
    assert str(told) == "x: float32[n, 4]"
    assert result.report.coverage.flops is None
    assert 0 < result.report.coverage.ops < 1


def test_what_no_input_tells_is_refused():
    """A size that a parameter has only as part of a sum is not read off anything."""
    bb = relax.BlockBuilder()
    n = tvm.tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((n * 2, 2), "float32"))
    s = relax.Var("s", relax.ShapeType([n]))
    with bb.function("main", [x, s]):
        with bb.dataflow():
            a = bb.emit(relax.op.nn.relu(x))
            out = bb.emit_output(relax.op.add(a, a))
        bb.emit_func_output(out)
    result = partition_module(bb.get(), [VENDOR])
    assert not result.segments
    reasons = [r.reason for r in result.report.reasons()]
    assert any("symbolic dimension 'n'" in r and "or of the model" in r for r in reasons)


def test_a_cast_tells_sizes():
    """Behind the host op, m is a dimension of the cast's result alone, and of nothing before it."""
    bb = relax.BlockBuilder()
    m = tvm.tirx.Var("m", "int64")
    x = relax.Var("x", relax.TensorType(dtype="float32", ndim=1))
    with bb.function("main", [x]):
        with bb.dataflow():
            cast = bb.match_cast(x, relax.TensorType((m,), "float32"))
            first = bb.emit(relax.op.concat([cast, cast]))
            host = bb.emit(relax.op.tanh(first))
            twice = bb.emit(relax.op.nn.relu(host), name_hint="twice")
            out = bb.emit_output(relax.op.add(twice, twice))
        bb.emit_func_output(out)
    mod = bb.get()
    result = partition_module(mod, [VENDOR])
    relax.analysis.well_formed(result.mod)
    (segment,) = result.segments
    assert [str(segment.type(v)) for v in segment.inputs] == ["float32[m * 2]", "float32[m]"]
    run_both(mod, result, array(5))


def test_match_cast_binds_before_it_is_used():
    """`early` starts a segment before the cast; `late` reads, through the host, a shape that only
    the cast binds. The cast must be emitted between them."""
    bb = relax.BlockBuilder()
    m, k = tvm.tirx.Var("m", "int64"), tvm.tirx.Var("k", "int64")
    x = relax.Var("x", relax.TensorType(dtype="float32", ndim=2))
    y = relax.Var("y", relax.TensorType((1, 1), "float32"))
    with bb.function("main", [x, y]):
        with bb.dataflow():
            early = bb.emit(relax.op.nn.relu(y), name_hint="early")
            first = bb.emit(relax.op.tanh(early), name_hint="first")
            bb.match_cast(x, relax.TensorType((m, k), "float32"))
            grown = bb.emit(relax.op.broadcast_to(y, (m, k)), name_hint="grown")
            late = bb.emit(relax.op.add(grown, early), name_hint="late")
            late = bb.emit(relax.op.add(late, early), name_hint="later")
            out = bb.emit_output(relax.op.add(late, first))
        bb.emit_func_output(out)
    mod = bb.get()
    result = partition_module(mod, [VENDOR], min_segment_ops=1)
    relax.analysis.well_formed(result.mod)
    found = places(result)
    assert found["early"] == found["late"] == found["later"] == "toy_0"
    names = [b.var.name for block in result.mod["main"].body.blocks for b in block.bindings]
    assert names.index("grown") < names.index("first")  # pulled up, with the cast before it
    casts = [
        type(b) is relax.MatchCast
        for block in result.mod["main"].body.blocks
        for b in block.bindings
    ]
    assert casts.index(True) < names.index("grown")


def test_tuple_parameters_results_and_whole_tuples():
    @I.ir_module
    class Module:
        @R.function
        def main(
            p: R.Tuple(R.Tensor((2, 4), "float32"), R.Tensor((2, 4), "float32")),
        ) -> R.Tuple(R.Tensor((2, 4), "float32"), R.Tensor((2, 2), "float32")):
            with R.dataflow():
                x = p[0]
                y = p[1]
                a = R.add(x, y)
                s = R.split(a, 2, axis=1)
                c = R.concat(s, axis=1)
                t = R.tanh(c)
                u = R.concat(s, axis=1)
                v = R.add(t, u)
                s0 = s[0]
                o = (v, s0)
                R.output(o)
            return o

    result = partition_module(Module, [VENDOR], min_segment_ops=1)
    relax.analysis.well_formed(result.mod)
    want = evaluate(Module, (array(2, 4), array(2, 4) * 2))
    got = evaluate(result.mod, (array(2, 4), array(2, 4) * 2))
    for one, other in zip(want, got, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(result.segments) == 2


def test_side_effects_keep_their_order():
    @I.ir_module
    class Module:
        @R.function(pure=False)
        def main(x: R.Tensor((2, 2), "float32")) -> R.Tensor((2, 2), "float32"):
            a = R.nn.relu(x)
            R.print(a, format="first")
            b = R.add(a, a)
            R.print(x, format="second")
            c = R.multiply(b, a)
            R.print(c, format="third")
            return c

    result = partition_module(Module, [VENDOR])
    text = result.mod["main"].script()
    assert text.index("first") < text.index("second") < text.index("third")
    assert len(result.segments) == 1
    assert {op.op for op in result.report.host_ops} == {"print"}
    relax.analysis.well_formed(result.mod)


def test_nothing_to_do_returns_the_functions_as_they_were():
    @I.ir_module
    class Module:
        @R.function
        def main(x: R.Tensor((2, 2), "float32")) -> R.Tensor((2, 2), "float32"):
            a = R.tanh(x)
            return a

    for vendors in ([], [VENDOR]):
        result = partition_module(Module, vendors)
        assert result.mod["main"].same_as(Module["main"])
        assert not result.segments
        assert result.report.coverage.ops == 0
