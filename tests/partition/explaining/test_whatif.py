"""Counterfactuals, words about one op, advice and warnings: exact sentences on hand-made graphs."""

from dataclasses import replace

import pytest
from text_modules import graph
from toy_vendors import chain, toy

from byoc.errors import OptionError
from byoc.partition import partition_module, what_if
from byoc.partition.explaining.advice import advise, warn
from byoc.partition.placing import Costs, fixed
from byoc.partition.placing.policy import Policy, Rule
from byoc.vendor import Pattern, Rates, Reject

pytestmark = pytest.mark.filterwarnings("ignore")

# Figures that make sums easy: an op is its bytes over the rate, 256 or 384 bytes of 4 x 8 floats.
HOST = Rates(flops=1e30, bytes=256e6, launch=0.0, border=0.0, border_bytes=1e30)
FAST = Rates(flops=1e30, bytes=256e9, launch=10e-6, border=0.0, border_bytes=128e6)
COSTS = Costs(rates={"host": HOST, "v": FAST})
SLOW_HOST = Costs(rates={"host": replace(HOST, bytes=1e6), "v": FAST})


def result(mod, *vendors, costs=COSTS, **options):
    options.setdefault("min_segment_ops", 1)
    used = {"host", *(vendor.name for vendor in vendors)}
    known = Costs(rates={k: v for k, v in costs.rates.items() if k in used})
    return partition_module(mod, vendors, costs=known, **options)


def texts(mod, *vendors, **options):
    report = what_if(result(mod, *vendors, **options))
    return [c.text for c in report.counterfactuals]


MINUS = "\N{MINUS SIGN}"


def test_one_kind_between_all_segments():
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)\nf = exp(b)\nc = relu(f)")
    # Two launches of 10 µs, four borders of 1 µs and two host ops of 1 µs go away.
    assert texts(mod, toy("v", "nn.relu")) == [
        f"if exp were supported by v: 3 segments → 1, est. {MINUS}26 µs (2 ops)"
    ]


def test_what_a_policy_keeps_away_is_not_called_unsupported():
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)")
    policy = Policy(rules=(Rule("force", "host", op=("exp",)),))
    vendor = toy("v", "nn.relu", "exp")
    assert texts(mod, vendor, policy=policy) == [
        f"if the policy let exp go to v: 2 segments → 1, est. {MINUS}13 µs (1 op)"
    ]


def test_what_a_strategy_keeps_away_is_not_called_unsupported():
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)")
    placed = fixed({0: "v", 2: "v"})
    (text,) = texts(mod, toy("v", "nn.relu", "exp"), placement=placed)
    assert text.startswith("if exp were on v, which would take it: 2 segments → 1, est. ")


def test_kinds_on_one_path_are_supposed_together():
    mod = graph("a = relu(x)\ne = exp(a)\nt = tanh(e)\nb = relu(t)")
    first, *rest = texts(mod, toy("v", "nn.relu"))
    assert first == (
        f"if exp and tanh were supported by v: 2 segments → 1, est. {MINUS}13 µs (2 ops)"
    )  # one launch, two borders, exp; tanh was fused into it
    assert rest == []  # one of two on the path is no use


def test_the_largest_gain_comes_first_and_each_vendor_has_its_own():
    mod = graph(
        "a = relu(x)\ne = exp(a)\nb = relu(e)\nt = tanh(b)\nc = relu(t)\nu = tanh(c)\nd = relu(u)"
    )
    report = what_if(result(mod, toy("v", "nn.relu"), toy("w", "abs")))
    gains = [c.gain for c in report.counterfactuals]
    assert gains == sorted(gains, reverse=True)
    assert report.counterfactuals[0].op == "tanh"
    assert {c.vendor for c in report.counterfactuals} <= {"v", "w"}
    (exp,) = [c for c in report.counterfactuals if (c.vendor, c.op) == ("v", "exp")]
    assert (exp.segments, exp.segments_after, exp.count) == (4, 3, 1)
    assert (exp.border_bytes, exp.border_bytes_after) == (8 * 128, 6 * 128)
    assert exp.gain == pytest.approx(10e-6 + 2e-6 + 1e-6, rel=0.01)


def test_an_op_that_was_too_small_alone_counts_beside_the_supposed_one():
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)")
    found = what_if(result(mod, toy("v", "nn.relu"), min_segment_ops=3, costs=SLOW_HOST))
    assert found.segments == ()
    (one,) = found.counterfactuals
    assert (one.segments, one.segments_after, one.count) == (0, 1, 1)
    assert one.text.startswith("if exp were supported by v: 0 segments → 1, est. ")


def test_a_refusal_by_a_check_is_a_supposition_too():
    def check(match):
        return Reject("exp of float32 is not exact enough")

    expr = chain("exp", "exp").expr
    vendor = toy("v", "nn.relu", Pattern("exp", expr, check=check))
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)")
    placed = result(mod, vendor)
    assert [c.op for c in what_if(placed).counterfactuals] == ["exp"]
    assert "v: refused by pattern exp: exp of float32 is not exact enough" in placed.report.why("e")


def test_what_changes_nothing_is_left_out_and_trials_are_bounded():
    assert texts(graph("a = relu(x)\nb = relu(a)"), toy("v", "nn.relu")) == []
    assert texts(graph("e = exp(x)\nf = tanh(e)"), toy("v", "nn.relu")) == []  # host is faster
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)\nt = tanh(b)\nc = relu(t)")
    placed = result(mod, toy("v", "nn.relu"))
    assert len(what_if(placed).counterfactuals) == 2
    assert len(what_if(placed, trials=1).counterfactuals) == 1
    assert placed.report.counterfactuals == ()  # only when asked


def test_a_path_through_another_vendor_is_no_supposition():
    mod = graph("a = relu(x)\nt = tanh(a)\nb = relu(t)")
    placed = result(mod, toy("v", "nn.relu"), toy("w", "tanh"))
    assert [s.reason for s in placed.report.splits] == ["path"]
    assert what_if(placed).counterfactuals == ()


def test_why_in_words():
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)")
    report = result(mod, toy("v", "nn.relu")).report
    assert report.why("e") == (
        "#1 exp (e) in main: on the host\n"
        "  work: 32 FLOPs, 256 B read and written, float32[4, 8]\n"
        "  cost: 1 µs where it is, predicted\n"
        "  v: refused: no pattern of v covers exp\n"
        "  apart: v_0 and v_1 cannot be one segment: a path leaves and comes back, "
        "nn.relu (a, v_0) → exp (e, host) → nn.relu (b, v_1)"
    )
    assert report.why("#0").splitlines()[0] == "#0 nn.relu (a) in main: on v, in segment v_0"
    assert "  segment v_0: 1 op, 32 FLOPs, 1 in (128 B), 1 out (128 B), " in report.why("a")


def test_why_of_two_vendors_names_the_winner():
    mod = graph("a = relu(x)\nb = relu(a)")
    report = result(mod, toy("v", "nn.relu"), toy("w", "nn.relu")).report
    lines = report.why("a").splitlines()
    assert any(line.startswith("  v: taken by pattern nn_relu") for line in lines)
    assert any(line.startswith("  w: offered by pattern nn_relu") for line in lines)
    assert any(line.endswith(": v comes first") for line in lines)


def test_why_of_an_unknown_op_names_the_nearest():
    mod = graph("conv_one = relu(x)\nconv_two = exp(conv_one)\nother = relu(conv_two)")
    report = result(mod, toy("v", "nn.relu")).report
    with pytest.raises(
        OptionError,
        match="the model has no op named 'conv_onne' among its 3; did you mean 'conv_one' or",
    ):
        report.why("conv_onne")
    with pytest.raises(OptionError, match="did you mean 'other'"):
        report.why("OTHE")
    with pytest.raises(OptionError, match="see `--ops`"):
        report.why("zzzzzzz")
    with pytest.raises(OptionError, match="the model has no op #9; it has 3, from #0"):
        report.why("#9")


# -- advice and warnings ---------------------------------------------------------------------------


def test_segments_that_lose_are_named_with_what_removes_them():
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)")
    report = result(mod, toy("v", "nn.relu")).report
    # Each: 10 µs launch and 2 µs borders against 1 µs on the host.
    assert report.warnings[-1] == (
        "v_0 is predicted to take 11 µs longer, borders included, than its 1 op on the host, "
        "1 more lose too"
    )
    assert report.advice == ("min_segment_flops=33 would remove 2 segments that lose 22 µs",)
    # And it does.
    again = result(mod, toy("v", "nn.relu"), min_segment_flops=33).report
    assert again.segments == ()
    assert again.plans[0].predicted < report.plans[0].predicted
    assert again.advice == ()


def test_no_advice_where_segments_gain():
    mod = graph("a = relu(x)\ne = exp(a)\nb = relu(e)")
    report = result(mod, toy("v", "nn.relu"), costs=SLOW_HOST).report
    assert report.advice == ()
    assert not any("longer" in w for w in report.warnings)


def test_low_coverage_is_a_warning_with_the_largest_cause():
    mod = graph("a = relu(x)\ne = exp(a)\nf = exp(e)\ng = tanh(f)")
    report = result(mod, toy("v", "nn.relu"), costs=SLOW_HOST).report
    assert warn(report) == (
        "only 25.0 % of FLOPs are offloaded; most of the rest is 2 exp "
        "(v: no pattern of v covers exp)",
    )
    assert warn(result(mod).report) == ()  # nobody was asked
    assert advise(result(mod).report) == ()
