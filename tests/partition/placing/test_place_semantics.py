"""Whatever the graph, the vendors, the policy: same numbers, convex segments, one place per op."""

import os
import random

import pytest
import test_partition_properties as properties
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from random_placements import build, policies, recipes, vendor_lists
from tvm import relax

from byoc.errors import OptionError
from byoc.partition import partition_module
from byoc.partition.placing import Strategy, fixed

pytestmark = pytest.mark.filterwarnings("ignore")

BLOCK = int(os.environ.get("BYOC_PLACEMENT_BLOCK", "10000"))
SEED = int(os.environ.get("BYOC_PLACEMENT_SEED", "0"))


def check(recipe, vendors, policy, placement):
    mod = build(recipe)
    processors = {vendor.processor for vendor in vendors}
    if policy is not None and not processors.issuperset(policy.weight_budget):
        policy = None
    try:
        result = partition_module(mod, vendors, placement=placement, policy=policy)
    except OptionError as error:
        assert policy is not None
        assert "cannot be met" in str(error) or "matches no op" in str(error), error
        return
    relax.analysis.well_formed(result.mod)
    properties.check_segments(mod, result)
    assert all(len(op.verdicts) == len(vendors) for op in result.report.ops)
    if policy is not None:
        check_policy(result, policy, vendors)
    properties.check_numbers(mod, result)
    if placement == "model":
        places = {
            op.index: f"{op.place}.{op.pattern}" for op in result.report.ops if op.place != "host"
        }
        again = partition_module(mod, vendors, placement=fixed(places))
        where = [(op.place, op.pattern, op.segment) for op in result.report.ops]
        assert where == [(op.place, op.pattern, op.segment) for op in again.report.ops]


def scattered(dice):
    """A strategy that throws dice: meaning must not depend on how well ops are placed."""

    def place(problem):
        thrown = random.Random(dice)
        legal, taken, chosen = list(problem.legal), set(), []
        thrown.shuffle(legal)
        # Those of a vendor that is forced come first, or the force could not be met.
        legal.sort(key=lambda k: k not in problem.preferred)
        for k in legal:
            if taken.isdisjoint(problem[k].nodes) and thrown.random() < 0.9:
                taken.update(problem[k].nodes)
                chosen.append(k)
        return chosen

    return Strategy(f"scattered {dice}", place)


def check_policy(result, policy, vendors):
    processor = {vendor.name: vendor.processor for vendor in vendors}
    if policy.max_segments is not None:
        assert len(result.segments) <= policy.max_segments
    for name, budget in policy.weight_budget.items():
        used = [s.weight_bytes for s in result.report.segments if processor[s.vendor] == name]
        assert sum(used) <= budget
    for op in result.report.ops:
        dtype = op.type.lstrip("(").partition("[")[0]
        assert policy.verdict(op.op, (op.name,), dtype, op.place) != "exclude"


CASES = {
    "recipe": recipes(),
    "vendors": vendor_lists(),
    "policy": policies(),
    "placement": st.sampled_from(("model", "model", "order")),
}
QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=120, **QUIET)
@given(**CASES)
def test_placing_keeps_meaning(recipe, vendors, policy, placement):
    check(recipe, vendors, policy, placement)


ANY_CASES = {
    **CASES,
    "placement": st.integers(0, 999).map(
        lambda dice: ("model", "order")[dice % 10] if dice % 10 < 2 else scattered(dice)
    ),
}


@pytest.mark.slow
@seed(SEED)
@settings(max_examples=BLOCK, **QUIET)
@given(**ANY_CASES)
def test_placing_keeps_meaning_ten_thousand_times(recipe, vendors, policy, placement):
    check(recipe, vendors, policy, placement)
