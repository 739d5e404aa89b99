"""Why neighbouring segments of one vendor are two: exact sentences on hand-made graphs."""

import pytest
from text_modules import graph
from toy_vendors import toy

from byoc.partition import partition_module
from byoc.partition.grouping.group import SEARCH_LIMIT

pytestmark = pytest.mark.filterwarnings("ignore")


def splits(mod, *vendors):
    report = partition_module(mod, vendors, min_segment_ops=1).report
    return [(split.reason, split.text) for split in report.splits]


def test_a_host_op_between():
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)")
    assert splits(mod, toy("v", "nn.relu")) == [
        (
            "path",
            "v_0 and v_1 cannot be one segment: a path leaves and comes back, "
            "nn.relu (a, v_0) → exp (e, host) → nn.relu (b, v_1)",
        )
    ]


def test_segments_that_touch_and_have_a_path_beside_their_edge():
    mod = graph("a = relu(x)\ne = exp(a)\nt = tanh(e)\nb = add(a, t)")
    report = partition_module(mod, [toy("v", "nn.relu", "add")], min_segment_ops=1).report
    (split,) = report.splits
    assert (split.first, split.second) == ("v_0", "v_1")
    assert split.path == (
        ("nn.relu", "a", "v_0"), ("exp", "e", "host"), ("tanh", "t", "host"), ("add", "b", "v_1"),
    )  # fmt: skip
    assert split.text == (
        "v_0 and v_1 cannot be one segment: a path leaves and comes back, "
        "nn.relu (a, v_0) → exp (e, host) → tanh (t, host) → add (b, v_1)"
    )


def test_a_path_through_a_segment_of_another_vendor_whose_ops_do_not_depend_on_each_other():
    # w takes s and t, two branches of one input y: one segment, though t does not need s.
    mod = graph(
        """
        a = relu(x)
        s = add(a, y)
        t = tanh(y)
        m = mul(s, s)
        b = relu(t)
        r = max(b, m)
        """,
        ("x", "y"),
    )
    found = splits(mod, toy("w", "add", "tanh"), toy("v", "nn.relu"))
    assert found == [
        (
            "path",
            "v_0 and v_1 cannot be one segment: a path leaves and comes back, "
            "nn.relu (a, v_0) → add (s, w_0) → tanh (t, w_0) → nn.relu (b, v_1)",
        )
    ]


def test_each_pair_of_neighbours_has_its_path_and_no_other_pair():
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)\nf = exp(b)\nc = relu(f)")
    report = partition_module(mod, [toy("v", "nn.relu")], min_segment_ops=1).report
    assert [(s.first, s.second) for s in report.splits] == [("v_0", "v_1"), ("v_1", "v_2")]


def test_the_nearest_of_several_paths():
    mod = graph("a = relu(x)\ne = exp(a)\nf = exp(e)\ng = exp(a)\nm = mul(f, g)\nb = add(m, g)")
    (found,) = splits(mod, toy("v", "nn.relu", "add"))
    assert found[1].endswith("nn.relu (a, v_0) → exp (g, host) → add (b, v_1)")


def test_readers_of_one_value_on_different_depths():
    mod = graph(
        """
        a = relu(x)
        c = relu(y)
        h = exp(c)
        b = add(x, h)
        r = mul(a, b)
        """,
        ("x", "y"),
    )
    assert sorted(splits(mod, toy("v", "nn.relu", "add"))) == [
        (
            "depth",
            "v_1 and v_2 both read x, and no path forbids joining them; but they are on different "
            "depths, and readers of one value are joined on one depth only",
        ),
        (
            "path",
            "v_0 and v_2 cannot be one segment: a path leaves and comes back, "
            "nn.relu (c, v_0) → exp (h, host) → add (b, v_2)",
        ),
    ]


def test_the_search_for_a_path_was_given_up():
    # a feeds b, and both have so many other neighbours that no proof is tried.
    width = SEARCH_LIMIT
    lines = ["a = relu(x)", "c = relu(y)", "s = exp(c)"]
    lines += [f"e{k} = exp(a)" for k in range(width)] + [f"f{k} = tanh(s)" for k in range(width)]
    lines += ["b = add(a, f0)"]
    lines += [f"b{k} = add(b{k - 1 if k > 1 else ''}, f{k})" for k in range(1, width)]
    total = f"b{width - 1}"
    lines += ["m0 = mul(e0, e0)"] + [f"m{k} = mul(m{k - 1}, e{k})" for k in range(1, width)]
    lines += [f"r = max({total}, m{width - 1})"]
    found = splits(graph("\n".join(lines), ("x", "y")), toy("v", "nn.relu", "add"))
    assert dict(found)["limit"] == (
        "v_1 feeds v_2, and whether a path forbids joining them is not known: the search for one "
        f"ends after {SEARCH_LIMIT} edges"
    )


def test_a_long_path_keeps_its_ends():
    lines = ["a = relu(x)", "e0 = exp(a)"] + [f"e{k} = exp(e{k - 1})" for k in range(1, 40)]
    mod = graph("\n".join([*lines, "b = relu(e39)"]))
    (split,) = partition_module(mod, [toy("v", "nn.relu")], min_segment_ops=1).report.splits
    names = [name for _, name, _ in split.path]
    assert names[:4] == ["a", "e0", "29 more", "e30"]
    assert names[-2:] == ["e39", "b"]
    assert "exp (e0, host) → … 29 more → exp (e30, host)" in split.text


def test_no_split_where_nothing_is_between():
    assert splits(graph("a = relu(x)\nb = tanh(a)\nc = relu(b)"), toy("v", "nn.relu", "tanh")) == []
    assert splits(graph("a = relu(x)\nb = tanh(a)"), toy("v", "nn.relu"), toy("w", "tanh")) == []
