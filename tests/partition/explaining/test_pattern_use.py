"""What became of each pattern: exact figures and sentences on hand-made graphs."""

from __future__ import annotations

import pytest
from text_modules import graph
from toy_vendors import chain, toy

from byoc.partition import PatternUse, partition_module, pattern_use
from byoc.vendor import Reject

pytestmark = pytest.mark.filterwarnings("ignore")

MODULE = "a = relu(x)\nb = tanh(a)\nc = exp(b)\nd = relu(c)\ne = abs(d)"


def uses(mod, *vendors, **options):
    options.setdefault("min_segment_ops", 1)
    return pattern_use(partition_module(mod, vendors, **options))


def rows(mod, *vendors, **options):
    return [
        (u.pattern, u.taken, u.accepted, u.refused, u.text) for u in uses(mod, *vendors, **options)
    ]


def test_what_is_taken_and_what_comes_second():
    pair, alone = chain("pair", "nn.relu", "tanh", priority=1), chain("alone", "nn.relu")
    assert rows(graph(MODULE), toy("v", alone, pair)) == [
        ("pair", 1, 1, 0, ""),
        ("alone", 1, 2, 0, ""),  # the other one is in the pair
    ]


def test_what_never_comes_first():
    pair, alone = chain("pair", "nn.relu", "tanh", priority=1), chain("alone", "tanh")
    sentence = "other matches take its ops, or its segments are too small"
    assert rows(graph(MODULE), toy("v", alone, pair))[1] == ("alone", 0, 1, 0, sentence)


def test_refusals_are_counted():
    def check(match):
        inside = len(match.nodes)
        return Reject("two at most") if inside > 2 else Reject(f"{match.nodes[-1].op} is slow")

    long = chain("long", "nn.relu", "tanh", "exp", check=check)
    short = chain("short", "nn.relu", check=check)
    assert rows(graph(MODULE), toy("v", long, short)) == [
        ("long", 0, 0, 1, "refused: two at most (1)"),
        ("short", 0, 0, 2, "refused: nn.relu is slow (2)"),
    ]


def test_what_fits_nowhere_and_why():
    found = rows(
        graph(MODULE),
        toy("v", chain("gelu", "nn.gelu"), chain("odd", "exp", "nn.relu", "tanh"), "abs"),
    )
    assert found[0] == (
        "gelu",
        0,
        0,
        0,
        "fits nowhere: the model has no nn.gelu",
    )
    _, *counts, sentence = found[1]
    assert counts == [0, 0, 0]
    assert sentence.startswith("fits nowhere: tanh (b): ")
    assert found[2] == ("abs", 1, 1, 0, "")


def test_a_value_that_is_used_outside_refuses_the_match():
    mod = graph("a = relu(x)\nb = tanh(a)\nc = add(a, b)")
    (found,) = uses(mod, toy("v", chain("pair", "nn.relu", "tanh")))
    assert (found.refused, found.accepted) == (1, 0)
    assert "a" in found.text


def test_every_pattern_of_every_vendor_in_order():
    first, second = toy("v", "nn.relu", "tanh"), toy("w", "tanh", "exp")
    found = uses(graph(MODULE), first, second)
    assert [(u.vendor, u.pattern, u.taken) for u in found] == [
        ("v", "nn_relu", 2), ("v", "tanh", 1), ("w", "tanh", 0), ("w", "exp", 1)
    ]  # fmt: skip
    assert found[2] == PatternUse("w", "tanh", 0, 1, 0)
