"""The compiled matcher means what TVM's own matcher means; what it cannot read it refuses."""

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_modules import build, recipes
from toy_vendors import toy
from tvm import relax
from tvm.relax import dpl
from tvm.relax.dpl import is_const, is_op, is_shape, is_tuple, is_var, wildcard
from tvm.relax.dpl.pattern import GlobalVarPattern

from byoc.errors import VendorError
from byoc.ir.decode import Decoder
from byoc.partition import partition_module
from byoc.partition.matching.compile_pattern import LEGAL_KINDS, compile_pattern
from byoc.partition.matching.matcher import MatchState
from byoc.partition.snapshot.walk import take_snapshot
from byoc.vendor import Pattern

pytestmark = pytest.mark.filterwarnings("ignore")


@st.composite
def patterns(draw, depth=3, shared=None):
    """A random pattern whose root is a call."""
    shared = [] if shared is None else shared

    def leaf():
        kind = draw(
            st.sampled_from(("any", "any", "const", "var", "x", "dtype", "shape", "shared"))
        )
        if kind == "shared" and shared:
            return draw(st.sampled_from(shared))
        made = {
            "const": is_const,
            "var": is_var,
            "x": lambda: is_var("x"),
            "dtype": lambda: wildcard().has_dtype(draw(st.sampled_from(("float32", "int8")))),
            "shape": lambda: wildcard().has_shape(list(draw(st.sampled_from(((2, 4), (2, 2)))))),
        }.get(kind, wildcard)()
        shared.append(made)
        return made

    def call(level):
        kind = draw(st.sampled_from(("unary", "binary", "binary", "concat", "split", "axis")))
        if kind == "unary":
            ops = draw(
                st.lists(st.sampled_from(("nn.relu", "tanh", "negative")), min_size=1, max_size=2)
            )
            op = is_op(f"relax.{ops[0]}")
            op = op | is_op(f"relax.{ops[1]}") if len(ops) > 1 else op
            return op(part(level - 1))
        if kind == "binary":
            op = draw(st.sampled_from(("add", "multiply", "subtract")))
            # (TVM's matcher reads past the arguments of a one-argument multiply.)
            if op != "multiply" and draw(st.booleans()):
                return is_op(f"relax.{op}")(part(level - 1), varg_default_wildcard=True)
            return is_op(f"relax.{op}")(part(level - 1), part(level - 1))
        if kind == "concat":
            fields = [part(level - 1), part(level - 1)]
            return is_op("relax.concat")(is_tuple(fields))
        if kind == "axis":
            axis = draw(st.integers(0, 1))
            return is_op("relax.concat")(wildcard()).has_attr({"axis": axis})
        return is_op("relax.split")(part(level - 1))

    def part(level):
        kind = draw(st.sampled_from(("leaf", "call", "call", "or", "and", "not", "item")))
        if level <= 0 or kind == "leaf":
            return leaf()
        if kind == "or":
            return part(level - 1) | part(level - 1)
        if kind == "and":
            return part(level - 1) & part(level - 1)
        if kind == "not":
            return ~part(level - 1)
        if kind == "item":
            return dpl.TupleGetItemPattern(part(level - 1), draw(st.sampled_from((None, 0, 1))))
        made = call(level)
        shared.append(made)
        return made

    return call(depth)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(recipe=recipes(max_ops=10, tuples=False), pattern=patterns())
def test_matches_what_tvm_matches(recipe, pattern):
    # tuples=False: a field of a tuple made in the same block is the field itself here, a
    # TupleGetItem to TVM.
    func = build(recipe)["main"]
    var2val = relax.analysis.get_var2val(func)
    graph = take_snapshot(func, "main", Decoder())
    compiled = compile_pattern("p", pattern, {}, "v")
    state = MatchState(graph, [-1] * len(graph))
    for node in range(len(graph)):
        want = pattern.extract_matched_expr(graph.ops.calls[node], var2val)
        got = compiled.match(state, node)
        where = f"{graph.ops.kind[node]} ({graph.ops.names[node]}) in\n{func}\nfor {pattern}"
        assert got == (want is not None), where
        if got:
            last = compiled.nodes(state)[-1]
            assert last == node
        if compiled.roots is not None and graph.ops.kind[node] not in compiled.roots:
            assert not got, where


def graph_of(build_body, *shapes):
    """A snapshot of main(inputs of `shapes`)."""
    bb = relax.BlockBuilder()
    params = [
        relax.Var(f"x{k}", relax.TensorType(shape, "float32")) for k, shape in enumerate(shapes)
    ]
    with bb.function("main", params):
        with bb.dataflow():
            out = bb.emit_output(build_body(bb, *params))
        bb.emit_func_output(out)
    return take_snapshot(bb.get()["main"], "main", Decoder())


def found(graph, pattern, **parts):
    """Ops matched at the last node that fits: (names, parts)."""
    compiled = compile_pattern("p", pattern, parts, "v")
    state = MatchState(graph, [-1] * len(graph))
    for node in reversed(range(len(graph))):
        if compiled.match(state, node):
            return [graph.ops.kind[n] for n in compiled.nodes(state)], compiled.parts(state)
    return None


def test_commutative_ops_fit_either_way_and_others_do_not():
    for op, fits in (("add", True), ("multiply", True), ("subtract", False)):
        make = getattr(relax.op, op)
        graph = graph_of(lambda bb, x, make=make: make(x, bb.emit(relax.op.tanh(x))), (2, 2))
        pattern = is_op(f"relax.{op}")(is_op("relax.tanh")(wildcard()), wildcard())
        assert (found(graph, pattern) is not None) == fits


def test_fields_of_a_multi_output_op():
    def body(bb, x):
        parts = bb.emit(relax.op.split(x, 2, axis=1))
        return bb.emit(relax.op.tanh(bb.emit(parts[1])))

    graph = graph_of(body, (2, 4))
    split = is_op("relax.split")(wildcard())
    assert found(graph, is_op("relax.tanh")(dpl.is_tuple_get_item(split, 1)))[0] == [
        "split",
        "tanh",
    ]
    assert found(graph, is_op("relax.tanh")(dpl.is_tuple_get_item(split, 0))) is None
    assert found(graph, dpl.is_tuple_get_item(split, 0))[0] == ["split"]
    assert found(graph, dpl.is_tuple_get_item(split))[0] == ["split"]


def test_tuples_in_any_order_try_every_order():
    """(TVM's matcher keeps what a failed order bound, so it misses some.)"""

    def body(bb, x):
        return relax.op.concat([bb.emit(relax.op.tanh(x)), x, bb.emit(relax.op.exp(x))])

    graph = graph_of(body, (2, 4))
    tanh, exp = is_op("relax.tanh")(wildcard()), is_op("relax.exp")(wildcard())
    fits = is_op("relax.concat")(is_tuple([wildcard(), exp, tanh], unordered=True))
    assert found(graph, fits)[0] == ["tanh", "exp", "concat"]
    twice = is_op("relax.concat")(is_tuple([wildcard(), tanh, tanh.dup()], unordered=True))
    assert found(graph, twice) is None


def test_fields_of_a_tuple_made_nearby_are_looked_through():
    def body(bb, x):
        pair = bb.emit(relax.Tuple([bb.emit(relax.op.exp(x)), x]))
        return bb.emit(relax.op.tanh(bb.emit(pair[0])))

    graph = graph_of(body, (2, 4))
    assert found(graph, is_op("relax.tanh")(is_op("relax.exp")(wildcard())))[0] == ["exp", "tanh"]


def test_parts_of_alternatives_are_there_only_when_taken():
    graph = graph_of(lambda bb, x: bb.emit(relax.op.tanh(bb.emit(relax.op.exp(x)))), (2, 2))
    one, other = is_op("relax.exp")(wildcard()), is_op("relax.abs")(wildcard())
    ops, parts = found(graph, is_op("relax.tanh")(one | other), one=one, other=other)
    assert ops == ["exp", "tanh"]
    assert set(parts) == {"one"}


def test_shapes_and_constants_as_patterns():
    def body(bb, x):
        y = bb.emit(relax.op.reshape(x, (4, 1)))
        return bb.emit(relax.op.add(y, relax.const(np.float32(2))))

    graph = graph_of(body, (2, 2))
    reshape = is_op("relax.reshape")(wildcard(), is_shape([4, 1]))
    two = dpl.is_expr(relax.const(np.float32(2)))
    three = dpl.is_expr(relax.const(np.float32(3)))
    assert found(graph, is_op("relax.add")(reshape, two))[0] == ["reshape", "add"]
    assert found(graph, is_op("relax.add")(reshape, three)) is None
    other = is_op("relax.reshape")(wildcard(), is_shape([2, 2]))
    assert found(graph, other) is None


def test_types_as_patterns():
    graph = graph_of(lambda bb, x: bb.emit(relax.op.tanh(x)), (2, 2))
    tanh = is_op("relax.tanh")(wildcard())
    assert found(graph, tanh.has_ty(relax.TensorType((2, 2), "float32")))
    assert found(graph, tanh.has_ty(relax.TensorType((2, 3), "float32"))) is None


@pytest.mark.parametrize(
    ("expr", "parts", "words"),
    [
        (lambda: GlobalVarPattern("f"), {}, "cannot read a GlobalVarPattern"),
        (lambda: dpl.is_call_tir("f"), {}, "cannot read a GlobalVarPattern"),
        (lambda: wildcard(), {}, "expr names no op"),
        (lambda: is_const(), {}, "expr names no op"),
        (lambda: is_op("relax.tanh"), {}, "call it with its arguments"),
        (lambda: is_op("relax.tanh")(dpl.is_dfv()), {}, "is_dfv() never fits"),
        (lambda: is_op("relax.tanh")(wildcard()), {"x": wildcard}, "part 'x' does not occur"),
        (lambda: is_op("relax.tanh")(wildcard()), {"x": lambda: 3}, "part 'x' is a int"),
        (lambda: "tanh", {}, "expr is a str"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words_for_the_author(expr, parts, words):
    bad = Pattern("odd", expr(), parts={k: v() for k, v in parts.items()})
    with pytest.raises(VendorError) as error:
        partition_module(tvm.IRModule({}), [toy("acme", bad)])
    text = str(error.value)
    assert words in text
    assert "vendor author: pattern 'odd' of 'acme'" in text
    if words.startswith("cannot read a G") and "call_tir" not in str(bad.expr):
        assert all(kind in text for kind in LEGAL_KINDS)
