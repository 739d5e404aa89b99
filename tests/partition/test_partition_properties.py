"""Whatever the graph: same numbers, a well-formed module, convex segments, one place per op."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_modules import SHAPE, UNARY, build, recipes
from relax_numpy import evaluate
from toy_vendors import chain, toy
from tvm import relax

from byoc.partition import partition_module

pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


def vendors():
    """Two vendors that share ops; each also has chains, so that matches compete."""
    a = toy("aa", chain("add_relu", "add", "nn.relu"), "add", "multiply", "nn.relu", "split")
    b = toy("bb", chain("neg_tanh", "negative", "tanh"), "tanh", "multiply", "concat", "add")
    return [a, b]


def check_segments(before, result):
    """Every op in one place, segments convex and acyclic: what the calls in main allow."""
    report = result.report
    in_segments = [op for op in report.ops if op.segment]
    assert len(in_segments) == sum(len(s.nodes) for s in result.segments)
    for segment in result.segments:
        placed = [op for op in in_segments if op.segment == segment.name]
        assert [op.op for op in placed] == [n.op for n in segment.nodes]
        assert {op.place for op in placed} == {segment.vendor}
        # Composites cover the segment's nodes, each once.
        covered = sorted(k for c in segment.composites for k in c.nodes)
        assert covered == list(range(len(segment.nodes)))
        # What a pattern keeps inside is not seen outside it.
        for composite in segment.composites:
            inner = {v for k in composite.nodes[:-1] for v in segment.nodes[k].outputs}
            assert inner.isdisjoint(segment.outputs)
            for k, node in enumerate(segment.nodes):
                assert k in composite.nodes or inner.isdisjoint(node.inputs)
        known = {*segment.inputs, *segment.constants}
        for node in segment.nodes:
            assert known.issuperset(node.inputs)
            assert known.isdisjoint(node.outputs)
            known.update(node.outputs)
        assert known.issuperset(segment.outputs)
        assert len(set(segment.outputs)) == len(segment.outputs)
        func = result.mod[segment.name]
        assert func.attrs["Codegen"] == segment.vendor
        assert func.attrs["global_symbol"] == segment.name
        assert len(func.params) == len(segment.inputs)
    names = [op.name for op in report.ops]
    assert len(names) == len(report.ops)
    for op in report.ops:
        assert (op.place == "host") == (op.segment is None)
        if op.place == "host":
            assert {r.vendor for r in op.refusals} == set(report.vendors)
            assert all(r.reason for r in op.refusals)


def check_numbers(mod, result):
    """Partitioned and whole compute the same, bit for bit."""
    rng = np.random.default_rng(1)
    inputs = [rng.standard_normal(SHAPE).astype("float32") for _ in range(2)]
    want, got = evaluate(mod, *inputs), evaluate(result.mod, *inputs)
    want, got = (v if isinstance(v, tuple) else (v,) for v in (want, got))
    assert len(want) == len(got)
    for one, other in zip(want, got, strict=True):
        np.testing.assert_array_equal(one, other)


@SETTINGS
@given(recipe=recipes(), order=st.booleans(), least=st.integers(1, 3))
def test_partitioning_keeps_meaning(recipe, order, least):
    mod = build(recipe)
    chosen = vendors() if order else vendors()[::-1]
    result = partition_module(mod, chosen, min_segment_ops=least)
    relax.analysis.well_formed(result.mod)
    check_segments(mod, result)
    check_numbers(mod, result)


@SETTINGS
@given(recipe=recipes())
def test_partitioning_is_deterministic(recipe):
    mod = build(recipe)
    one, other = (partition_module(mod, vendors(), min_segment_ops=1) for _ in range(2))
    assert one.report == other.report
    assert [s.name for s in one.segments] == [s.name for s in other.segments]
    assert one.mod.script() == other.mod.script()


@SETTINGS
@given(recipe=recipes())
def test_a_vendor_of_everything_makes_one_segment_of_what_touches(recipe):
    every = toy("every", *UNARY, "add", "multiply", "subtract", "maximum", "split", "concat")
    result = partition_module(build(recipe), [every], min_segment_ops=1)
    assert not result.report.host_ops
    assert all(not set(s.inputs) & set(s.outputs) for s in result.segments)
    # Segments of one vendor with no host op between them have no edges between them.
    main = result.mod["main"]
    made = set()
    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if type(value).__name__ == "Call":
                for arg in value.args:
                    assert arg.__chandle__() not in made
                made.add(binding.var.__chandle__())
