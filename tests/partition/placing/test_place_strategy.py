"""Strategies, fixed places, policies and limits, as users meet them."""

from dataclasses import replace

import numpy as np
import pytest
from random_modules import build
from relax_numpy import evaluate

import byoc
from byoc.errors import OptionError, VendorError
from byoc.partition import partition_module
from byoc.partition.placing import Costs, Strategy, alternatives, fixed
from byoc.partition.placing.makespan import TimedTask, elapsed, makespan
from byoc.partition.placing.policy import Policy, Rule
from byoc.testing.fake_vendors import synthetic, synthetic_costs
from byoc.vendor import Rates

pytestmark = pytest.mark.filterwarnings("ignore")

US = 1e-6
HOST = synthetic_costs({"add": 5 * US, "nn.relu": 5 * US, "tanh": 5 * US, "negative": 5 * US})


def row():
    """add, nn.relu, tanh, negative, one after the other: lv, lv1, lv2, lv3."""
    return build(([("add", 0, 1), ("nn.relu", 2), ("tanh", 3), ("negative", 4)], [5], True))


def vendor(name, costs, launch=1.0, border=0.5, **rest):
    costs = {op: seconds * US for op, seconds in costs.items()}
    return synthetic(name, costs, launch=launch * US, border=border * US, **rest)


def places(result):
    return [op.place for op in result.report.ops]


def partition(vendors, placement="model", policy=None, costs=HOST, **rest):
    return partition_module(row(), vendors, placement=placement, policy=policy, costs=costs, **rest)


def verdict(result, index, name):
    (found,) = [v for v in result.report.ops[index].verdicts if v.vendor == name]
    return found


def test_order_takes_the_first_and_model_the_cheapest():
    slow = vendor("slow", {"add": 4, "nn.relu": 4, "tanh": 4, "negative": 4})
    fast = vendor("fast", {"add": 1, "nn.relu": 1, "tanh": 1, "negative": 1})
    assert places(partition([slow, fast], "order")) == ["slow"] * 4
    assert places(partition([slow, fast])) == ["fast"] * 4


def test_prediction_is_launch_ops_and_borders():
    result = partition([vendor("v", {"add": 1, "nn.relu": 1, "tanh": 1}, 1.0, 0.5)])
    assert places(result) == ["v", "v", "v", "host"]
    # launch 1 + ops 3 + two inputs and one output 1.5, and the host's negative 5.
    (plan,) = result.report.plans
    assert plan.predicted == pytest.approx(10.5 * US)
    assert plan.name == result.report.placement == "model"
    assert plan.shipped
    (segment,) = result.report.segments
    assert segment.predicted == pytest.approx(4 * US)
    assert segment.on_host == pytest.approx(15 * US)
    borders = {(b.source, b.target): b for b in result.report.borders}
    assert set(borders) == {("input", "v_0"), ("v_0", "host")}
    assert borders["input", "v_0"].tensors == 2
    assert borders["input", "v_0"].predicted == pytest.approx(1 * US)


def test_an_expensive_border_keeps_the_middle_together():
    one = vendor("one", {"add": 1, "nn.relu": 4, "tanh": 1, "negative": 1}, 0.0, 2.0)
    two = vendor("two", {"nn.relu": 1}, 0.0, 2.0)
    assert places(partition([one, two])) == ["one"] * 4
    cheap = [vendor("one", {"add": 1, "nn.relu": 4, "tanh": 1, "negative": 1}, 0.0, 0.1)]
    assert places(partition([*cheap, vendor("two", {"nn.relu": 1}, 0.0, 0.1)]))[1] == "two"


def test_verdicts_say_who_won_and_by_how_much():
    one = vendor("one", {"add": 1, "nn.relu": 1, "tanh": 3})
    two = vendor("two", {"tanh": 1, "negative": 1})
    result = partition([one, two])
    assert places(result) == ["one", "one", "two", "two"]
    assert verdict(result, 2, "two").kind == "taken"
    lost = verdict(result, 2, "one")
    assert (lost.kind, lost.reason) == ("offered", "two gains 2 µs: 1 µs against 3 µs")
    none = verdict(result, 0, "two")
    assert (none.kind, none.reason) == ("refused", "no pattern of two covers add")
    order = partition([one, two], "order")
    assert verdict(order, 2, "two").reason == "one comes first"


def test_a_gain_that_borders_eat_is_named():
    result = partition([vendor("v", {"tanh": 4}, 3.0)])
    assert places(result) == ["host"] * 4
    assert verdict(result, 2, "v").reason == (
        "4 µs against 5 µs on host, but launch and borders would cost more than the 1 µs it gains"
    )
    assert [r.reason for r in result.report.ops[2].refusals] == [verdict(result, 2, "v").reason]


def test_parallel_processors_share_the_work():
    mod = build(([("tanh", 0), ("tanh", 1), ("tanh", 2), ("tanh", 3), ("add", 4, 5)], [6], True))
    costs = synthetic_costs({"tanh": 10 * US, "add": 1 * US})
    aside = synthetic("aside", {"tanh": 10 * US}, processor="aside", border=0.5 * US)
    result = partition_module(mod, [aside], placement="model", costs=costs)
    # One branch each, at the same time, then the sum of both on the host.
    assert sorted(places(result)) == ["aside", "aside", "host", "host", "host"]
    assert result.report.plans[0].predicted == pytest.approx(22 * US)


def test_the_makespan_of_tasks():
    tasks = [
        TimedTask(2, "a"),
        TimedTask(3, "b"),
        TimedTask(1, "a", {0}),
        TimedTask(1, "b", {0, 1, 2}),
    ]
    assert makespan(tasks) == elapsed(tasks) == 4
    assert elapsed([TimedTask(2, "a"), TimedTask(3, "a")]) == 5


def test_rates_can_be_replaced():
    slow = vendor("v", {"add": 1, "nn.relu": 1, "tanh": 1, "negative": 1})
    costs = Costs(rates={"v": Rates(launch=1.0)}, measured=HOST.measured)
    assert places(partition([slow], costs=costs)) == ["host"] * 4
    with pytest.raises(OptionError, match="costs.rates names 'w'.*legal: host, v"):
        partition([slow], costs=Costs(rates={"w": Rates()}))


# -- strategies as values --------------------------------------------------------------------------


def test_a_strategy_is_a_value():
    last = Strategy("last", lambda problem: problem.legal[:1])
    result = partition([vendor("v", {"add": 1, "tanh": 1})], last)
    assert places(result) == ["host", "host", "v", "host"]
    assert result.report.placement == "last"


def test_the_old_name_of_the_cost_model_warns():
    def place(problem):
        with pytest.warns(DeprecationWarning, match="now called Problem.cost_model"):
            assert problem.prices is problem.cost_model
        return ()

    assert places(partition([vendor("v", {"add": 1})], Strategy("old", place))) == ["host"] * 4


def test_a_choice_that_is_none_is_the_authors_fault():
    chosen = [vendor("v", {"tanh": 1}), vendor("w", {"tanh": 1})]
    both = Strategy("both", lambda problem: problem.legal)
    with pytest.raises(
        VendorError, match="'both' chose candidates 0 and 1, which share op 2, tanh"
    ):
        partition(chosen, both)
    wrong = Strategy("wrong", lambda problem: [99])
    with pytest.raises(VendorError, match="'wrong' chose 99, which is no legal candidate"):
        partition(chosen, wrong)


def test_a_strategy_that_fails_is_named():
    def place(problem):
        return [problem.no_such_thing]

    with pytest.raises(OptionError, match="the strategy 'odd' failed: AttributeError: .*no_such"):
        partition([vendor("v", {"add": 1})], Strategy("odd", place))


def test_an_unknown_strategy_lists_the_names():
    with pytest.raises(OptionError, match="placement 'modle' is no strategy; did you mean 'model'"):
        partition([], "modle")


def test_fixed_places_by_index_and_name():
    chosen = [vendor("v", {"add": 1, "tanh": 1}), vendor("w", {"tanh": 1})]
    assert places(partition(chosen, fixed({0: "v", "lv2": "w"}))) == ["v", "host", "w", "host"]
    assert places(partition(chosen, fixed({2: "v.tanh"}))) == ["host", "host", "v", "host"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {1: "v"},
            r"puts op 1, nn.relu \(lv1\) on v, which cannot take it there: .*covers nn.relu",
        ),
        ({2: "x"}, r"placement of op 2, tanh \(lv2\): 'x' is no place here; .*legal: host, v"),
        ({2: "v.tan"}, r"cannot take it there: did you mean 'tanh'"),
        ({9: "v"}, r"names 9, no op of the model; it has ops 0 to 3"),
        ({"lv9": "v"}, r"names 'lv9', no op of the model; did you mean 'lv'"),
    ],
)
def test_fixed_places_that_cannot_be(given, message):
    with pytest.raises(OptionError, match=message):
        partition([vendor("v", {"add": 1, "tanh": 1})], fixed(given))


def test_alternatives_are_distinct_plans_that_can_be_built():
    chosen = [
        vendor("one", {"add": 1, "nn.relu": 1, "tanh": 3}),
        vendor("two", {"tanh": 1, "negative": 1}),
    ]
    found = alternatives(row(), chosen, costs=HOST, count=3)
    assert found[0].name == "model"
    assert {"host", "one only", "two only"} <= {plan.name for plan in found}
    seen = set()
    for plan in found:
        result = partition(chosen, plan.strategy)
        assert result.report.plans[0].predicted == pytest.approx(plan.predicted)
        assert len(result.segments) == plan.segments
        seen.add(tuple(places(result)))
    assert len(seen) == len(found)
    assert found[0].predicted == min(plan.predicted for plan in found)


# -- policies --------------------------------------------------------------------------------------

EVERY = {"add": 1, "nn.relu": 1, "tanh": 1, "negative": 1}


@pytest.mark.parametrize("placement", ["order", "model"])
def test_rules_are_obeyed(placement):
    chosen = [vendor("one", EVERY), vendor("two", dict.fromkeys(EVERY, 4))]
    rules = (Rule("force", "two", op="tanh"), Rule("exclude", "one", name="lv1"))
    result = partition(chosen, placement, Policy(rules=rules), min_segment_ops=1)
    assert places(result)[2] == "two"
    assert places(result)[1] != "one"
    assert verdict(result, 1, "one").reason.startswith("policy: exclude one (name lv1")
    likes = Policy(rules=(Rule("prefer", "two", op="nn.relu"), Rule("prefer", "host", op="add")))
    assert places(partition(chosen, placement, likes, min_segment_ops=1))[:2] == ["host", "two"]


def test_a_force_that_cannot_be_met_gives_the_vendors_reason():
    with pytest.raises(
        OptionError,
        match=r"policy 'force v \(op nn.relu\)' cannot be met for op 1, nn.relu \(lv1\): "
        r".*no pattern of v covers nn.relu",
    ):
        partition(
            [vendor("v", {"tanh": 1})], "model", Policy(rules=(Rule("force", "v", op="nn.relu"),))
        )


def test_full_offload_names_the_ops_that_stay():
    policy = Policy(require_full_offload=True)
    assert places(partition([vendor("v", dict.fromkeys(EVERY, 9))], "model", policy)) == ["v"] * 4
    with pytest.raises(OptionError, match=r"1 of 4 ops stay on the host:\n  #3 negative \(lv3\)"):
        partition([vendor("v", {"add": 9, "nn.relu": 9, "tanh": 9})], "model", policy)


@pytest.mark.parametrize("placement", ["order", "model"])
def test_limits_hold(placement):
    chosen = [vendor("v", {"add": 1, "tanh": 0.5, "negative": 0.5}, 0.1, 0.1)]
    free = partition(chosen, placement, min_segment_ops=1)
    assert len(free.segments) == 2
    held = partition(chosen, placement, Policy(max_segments=1), min_segment_ops=1)
    assert places(held) == ["host", "host", "v", "v"]  # the better of the two
    large = partition(chosen, placement, Policy(min_segment_ops=2))
    assert places(large) == ["host", "host", "v", "v"]


@pytest.mark.parametrize("placement", ["order", "model"])
def test_weights_fit_their_processor(placement):
    mod = build(([("constant", "add", 0, 0), ("tanh", 2), ("constant", "add", 3, 1)], [4], True))
    chosen = [vendor("v", {"add": 1}, 0.0, 0.0, processor="aside")]
    rest = {"placement": placement, "costs": HOST, "min_segment_ops": 1}
    assert places(partition_module(mod, chosen, **rest)) == ["v", "host", "v"]
    policy = Policy(weight_budget={"aside": 32})  # one constant of 2x4 float32
    assert places(partition_module(mod, chosen, policy=policy, **rest)).count("v") == 1
    with pytest.raises(OptionError, match="names processor 'asid'.*did you mean 'aside'"):
        partition_module(mod, chosen, policy=Policy(weight_budget={"asid": 1}), **rest)


def test_a_placed_model_computes_the_same():
    """End to end: two vendors and the host, compiled and run."""
    mod = row()
    chosen = [vendor("one", {"add": 1, "tanh": 1}), vendor("two", {"nn.relu": 1}, processor="p")]
    exe = byoc.compile(mod, chosen, placement=fixed({0: "one", 1: "two", 2: "one"}))
    assert [s.vendor for s in exe.report.segments] == ["one", "two", "one"]
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((2, 4)).astype("float32") for _ in range(2))
    np.testing.assert_allclose(exe(x, y), evaluate(mod, x, y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("estimate", "message"),
    [
        (lambda match: {}["speed"], "raised KeyError for pattern .*: 'speed'; return None where"),
        (lambda match: "fast", "gave 'fast' for pattern .*expected seconds, 0 or more"),
        (lambda match: -1.0, "gave -1.0 for pattern"),
        (lambda match: float("nan"), "gave nan for pattern"),
    ],
)
def test_an_estimate_that_cannot_be_read_names_the_vendor(estimate, message):
    base = vendor("fast", {"tanh": 1})
    with pytest.raises(VendorError, match="vendor author: estimate of 'fast' " + message):
        partition([replace(base, estimate=estimate)])
