"""The strategy "order" is one loop over two sources of matches: both give the same choice.

`match_graph` asks patterns while it gives ops out; `Candidates.greedy` looks up matches that were
found before. The first is there for speed, so the second is the reference.
"""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_modules import BINARY, UNARY, build, recipes
from toy_vendors import chain, single, toy

from byoc.ir.decode import Decoder
from byoc.partition import Policy, Rule, partition_module
from byoc.partition.matching.candidates import find_candidates
from byoc.partition.matching.match import VendorPatterns, match_graph
from byoc.partition.placing.strategy import fixed
from byoc.partition.snapshot.walk import take_snapshot
from byoc.vendor import Pattern, Reject

pytestmark = pytest.mark.filterwarnings("ignore")

QUIET = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
OPS = (*UNARY, *BINARY)


def alternatives(first, second, priority):
    """A pattern whose match depends on what is taken: one op, or two of them."""
    from tvm.relax.dpl import is_op, wildcard

    inner = is_op(f"relax.{second}")(wildcard(), varg_default_wildcard=True)
    expr = is_op(f"relax.{first}")(inner | wildcard(), varg_default_wildcard=True)
    return Pattern(f"{first}_maybe_{second}".replace(".", "_"), expr, priority=priority)


def refuse_every(rest):
    """A check that refuses matches by the number of the last op's inputs and its name."""

    def check(match):
        length = sum(len(node.source[0]) for node in match.nodes)
        return Reject("drawn") if length % 3 == rest else None

    return check


@st.composite
def vendors(draw, flexible=True):
    """One to three vendors with single ops and chains of two priorities.

    flexible: also with patterns whose match depends on what is taken already.
    """
    found = []
    for k in range(draw(st.integers(1, 3))):
        patterns = []
        for op in draw(st.lists(st.sampled_from(OPS), min_size=1, max_size=6, unique=True)):
            check = draw(st.sampled_from((None, 0, 1)))
            extra = {} if check is None else {"check": refuse_every(check)}
            patterns.append(single(op, priority=draw(st.integers(0, 1)), **extra))
        for n in range(draw(st.integers(0, 3))):
            ops = draw(st.lists(st.sampled_from(OPS), min_size=2, max_size=3))
            patterns.append(chain(f"chain{n}", *ops, priority=draw(st.integers(0, 1))))
        if flexible:
            pair = draw(st.tuples(st.sampled_from(OPS), st.sampled_from(OPS)))
            patterns.append(alternatives(*pair, draw(st.integers(0, 1))))
        found.append(toy(f"v{k}", *patterns))
    return found


@settings(max_examples=200, **QUIET)
@given(recipe=recipes(), chosen=vendors())
def test_asking_and_looking_up_choose_the_same(recipe, chosen):
    mod = build(recipe)
    entries = [VendorPatterns(vendor) for vendor in chosen]
    graph = take_snapshot(mod["main"], "main", Decoder())
    asked = match_graph(graph, entries)
    candidates = find_candidates(graph, entries)
    found = [candidates.found[k] for k in candidates.greedy([v.name for v in chosen])]
    assert found == asked.composites


@settings(max_examples=60, **QUIET)
@given(recipe=recipes(), chosen=vendors(), least=st.sampled_from((1, 2)))
def test_a_policy_without_rules_changes_nothing(recipe, chosen, least):
    """The whole way: plain "order", and "order" as a strategy among candidates."""
    mod = build(recipe)
    plain = partition_module(mod, chosen, min_segment_ops=least)
    among = partition_module(mod, chosen, policy=Policy(), min_segment_ops=least)
    assert [s.nodes for s in plain.segments] == [s.nodes for s in among.segments]
    assert [(o.place, o.segment, o.pattern) for o in plain.report.ops] == [
        (o.place, o.segment, o.pattern) for o in among.report.ops
    ]


@settings(max_examples=60, **QUIET)
@given(recipe=recipes(), chosen=vendors(), op=st.sampled_from(OPS), data=st.data())
def test_an_excluded_op_is_as_one_that_the_vendor_does_not_know(recipe, chosen, op, data):
    """ "order" under a rule, against "order" of vendors whose checks say what the rule says."""
    mod = build(recipe)
    vendor = data.draw(st.sampled_from([v.name for v in chosen]))
    rule = Rule("exclude", vendor, op=op)

    def barred(pattern):
        def check(match):
            if any(node.op == op for node in match.nodes):
                return Reject("excluded")
            return pattern.check(match)

        return replace(pattern, check=check)

    def without(one):
        if one.name != vendor:
            return one
        kept = tuple(map(barred, one.patterns()))
        return replace(one, patterns=lambda: kept)

    ruled = partition_module(mod, chosen, policy=Policy((rule,)), min_segment_ops=1).report
    plain = partition_module(mod, [without(v) for v in chosen], min_segment_ops=1).report
    assert [(o.place, o.pattern) for o in ruled.ops] == [(o.place, o.pattern) for o in plain.ops]


@settings(max_examples=60, **QUIET)
@given(recipe=recipes(), chosen=vendors())
def test_what_order_gave_can_be_given_as_fixed(recipe, chosen):
    mod = build(recipe)
    plain = partition_module(mod, chosen, min_segment_ops=1).report
    again = partition_module(
        mod, chosen, placement=fixed({op.index: op.place for op in plain.ops}), min_segment_ops=1
    ).report
    assert [o.place for o in again.ops] == [o.place for o in plain.ops]
