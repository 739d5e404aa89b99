"""Segments are as large as they can be, and never close a cycle."""

import pytest
from relax_numpy import evaluate
from toy_vendors import chain, toy
from tvm import relax

from byoc.partition import partition_module
from byoc.partition.grouping import group

pytestmark = pytest.mark.filterwarnings("ignore")


def module(body, shape=(2, 2), inputs=1):
    bb = relax.BlockBuilder()
    kind = relax.TensorType(shape, "float32")
    params = [relax.Var(f"x{k}", kind) for k in range(inputs)]
    with bb.function("main", params):
        with bb.dataflow():

            def emit(name, op, *args):
                make = {"relu": relax.op.nn.relu}.get(op) or getattr(relax.op, op)
                return bb.emit(make(*args), name_hint=name)

            found = body(emit, *params)
            out = bb.emit_output(relax.Tuple(found) if isinstance(found, list) else found)
        bb.emit_func_output(out)
    return bb.get()


def split(mod, *vendors):
    """Segment -> names of its ops."""
    result = partition_module(mod, vendors, min_segment_ops=1)
    relax.analysis.well_formed(result.mod)
    return {s.name: [n.source[0] for n in s.nodes] for s in result.segments}


V = toy("v", "nn.relu", "add", "multiply")
W = toy("w", "abs", "negative")


def test_a_path_through_the_host_parts_a_segment():
    def body(emit, x):
        a = emit("a", "relu", x)
        h = emit("h", "tanh", a)
        return emit("d", "add", a, h)

    assert split(module(body), V) == {"v_0": ["a"], "v_1": ["d"]}


def test_a_path_through_another_vendor_parts_a_segment():
    def body(emit, x):
        a = emit("a", "relu", x)
        h = emit("h", "abs", a)
        return emit("d", "add", a, h)

    assert split(module(body), V, W) == {"v_0": ["a"], "w_0": ["h"], "v_1": ["d"]}


def test_two_vendors_never_wait_for_each_other():
    """Merging both a+d and b+c would make each segment need the other."""

    def body(emit, x, y):
        a = emit("a", "relu", x)
        b = emit("b", "abs", y)
        c = emit("c", "abs", a)
        d = emit("d", "relu", b)
        return [emit("e", "add", a, d), emit("f", "negative", c), emit("g", "negative", b)]

    mod = module(body, inputs=2)
    result = partition_module(mod, [V, W], min_segment_ops=1)
    relax.analysis.well_formed(result.mod)
    for vendors in ([V, W], [W, V]):
        found = split(mod, *vendors)
        assert sorted(n for names in found.values() for n in names) == list("abcdefg")


def test_a_side_branch_joins_the_segment_it_feeds():
    def body(emit, x):
        a = emit("a", "relu", x)
        h = emit("h", "tanh", a)
        s = emit("s", "multiply", x, x)
        s2 = emit("s2", "relu", s)
        return emit("d", "add", h, s2)

    # Feeding d counts for more than sharing x with a.
    assert split(module(body), V) == {"v_0": ["a"], "v_1": ["s", "s2", "d"]}


def test_siblings_that_share_an_input_are_one_segment():
    def body(emit, x):
        return [emit("h", "tanh", emit(k, "relu", x)) for k in "qkv"]

    assert split(module(body), V) == {"v_0": ["q", "k", "v"]}


def test_siblings_on_different_levels_stay_apart():
    """The mask of every layer: joining its readers would close a cycle through the host."""

    def body(emit, x, mask):
        for k in range(3):
            x = emit(f"h{k}", "tanh", emit(f"a{k}", "add", x, mask))
        return x

    assert split(module(body, inputs=2), V) == {"v_0": ["a0"], "v_1": ["a1"], "v_2": ["a2"]}


def test_a_residual_over_the_host_does_not_merge():
    def body(emit, x):
        for k in range(4):
            a = emit(f"a{k}", "relu", x)
            x = emit(f"b{k}", "add", emit(f"h{k}", "tanh", a), a)
        return x

    found = split(module(body), V)
    assert list(found.values()) == [["a0"], ["b0", "a1"], ["b1", "a2"], ["b2", "a3"], ["b3"]]


def test_the_search_for_another_path_is_bounded(monkeypatch):
    """Out of budget means apart, never wrong."""

    def body(emit, x, y):
        h = x
        outs = []
        for k in range(12):
            h = emit(f"h{k}", "tanh", h)
            outs.append(emit(f"s{k}", "multiply", y, h))
        total = emit("t", "exp", outs[-1])
        for k, out in enumerate(outs):
            total = emit(f"a{k}", "add", total, out)
        return [total, *[emit(f"e{k}", "exp", o) for k, o in enumerate(outs)]]

    mod = module(body, inputs=2)
    full = split(mod, V)
    monkeypatch.setattr(group, "SEARCH_LIMIT", 0)
    poor = split(mod, V)
    assert len(poor) >= len(full)
    one, other = ({n for names in found.values() for n in names} for found in (poor, full))
    assert one == other


def test_order_of_vendors_then_priority_then_list_settles_conflicts():
    def body(emit, x):
        a = emit("a", "relu", x)
        return emit("b", "add", a, x)

    mod = module(body)
    one = toy("one", "add")
    two = toy("two", "add", "nn.relu")
    assert split(mod, one, two) == {"two_0": ["a"], "one_0": ["b"]}
    assert split(mod, two, one) == {"two_0": ["a", "b"]}

    def pattern_of(*patterns):
        result = partition_module(mod, [toy("p", *patterns)], min_segment_ops=1)
        return [op.pattern for op in result.report.ops]

    both = chain("both", "nn.relu", "add")
    assert pattern_of(both, "add", "nn.relu") == ["both", "both"]
    assert pattern_of("add", both, "nn.relu") == ["nn_relu", "add"]
    first = chain("both", "nn.relu", "add", priority=1)
    assert pattern_of("add", first, "nn.relu") == ["both", "both"]


def test_higher_priority_wins_over_a_match_further_down():
    """`tail` ends later and would take `mul`; `core` asks first because of its priority."""

    def body(emit, x):
        a = emit("a", "relu", x)
        b = emit("mul", "multiply", a, x)
        return emit("c", "add", b, x)

    mod = module(body)
    tail = chain("tail", "multiply", "add")
    for priority, want in ((0, ["nn_relu", "tail", "tail"]), (5, ["core", "core", "add"])):
        core = chain("core", "nn.relu", "multiply", priority=priority)
        vendor = toy("p", tail, core, "add", "nn.relu")
        result = partition_module(mod, [vendor], min_segment_ops=1)
        assert [op.pattern for op in result.report.ops] == want


def test_calls_stand_in_an_order_that_runs():
    import numpy as np

    def body(emit, x):
        a = emit("a", "relu", x)
        late = emit("late", "tanh", a)
        host = emit("host", "exp", x)
        b = emit("b", "add", a, host)
        return [late, b]

    mod = module(body)
    result = partition_module(mod, [V])
    assert [len(s.nodes) for s in result.segments] == [2]
    x = np.ones((2, 2), "float32")
    for one, other in zip(evaluate(mod, x), evaluate(result.mod, x), strict=True):
        np.testing.assert_array_equal(one, other)
