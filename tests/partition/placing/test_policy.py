"""Rules, their precedence, and what placement makes of them."""

import pytest
from toy_vendors import chain, single, toy
from tvm import relax

from byoc import OptionError, Policy, Rule
from byoc.partition import partition_module
from byoc.partition.placing.policy import unused_rules
from byoc.vendor import Pattern, Reject


def module(*ops, names=None):
    """x through unary ops in a row."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((64, 64), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            value = x
            for k, op in enumerate(ops):
                home = relax.op.nn if op.startswith("nn.") else relax.op
                call = getattr(home, op.removeprefix("nn."))(value)
                value = bb.emit(call, name_hint=(names or {}).get(k, f"v{k}"))
            out = bb.emit_output(value)
        bb.emit_func_output(out)
    return bb.get()


def places(mod, vendors, *rules, placement="order", **limits):
    policy = Policy(tuple(rules), **limits)
    found = partition_module(mod, vendors, placement=placement, policy=policy)
    return [op.place for op in found.report.ops]


class TestPrecedence:
    """Policy.verdict, without any model."""

    def verdicts(self, *rules, op="add", name="/block/add", dtype="float32"):
        decision = Policy(tuple(rules)).decide(op, (name,), dtype)
        return {p: decision.verdict(p) for p in ("a", "b", "host") if decision.verdict(p)}

    def test_nothing_said(self):
        assert self.verdicts() == {}
        assert self.verdicts(Rule("force", "a", op="matmul")) == {}

    def test_a_force_excludes_every_other_place(self):
        assert self.verdicts(Rule("force", "a")) == {
            "a": "force",
            "b": "exclude",
            "host": "exclude",
        }

    @pytest.mark.parametrize(
        ("rules", "expected"),
        [
            ([("force", "a"), ("force", "b")], {"b": "force", "a": "exclude", "host": "exclude"}),
            ([("exclude", "a"), ("force", "a")], {"a": "force", "b": "exclude", "host": "exclude"}),
            ([("force", "a"), ("exclude", "a")], {"a": "exclude"}),
            ([("force", "a"), ("prefer", "b")], {"b": "prefer"}),
            ([("prefer", "a"), ("prefer", "b")], {"b": "prefer"}),
            ([("prefer", "a"), ("exclude", "a")], {"a": "exclude"}),
            ([("exclude", "a"), ("prefer", "a")], {"a": "prefer"}),
            ([("exclude", "a"), ("exclude", "b")], {"a": "exclude", "b": "exclude"}),
            # What a force implies already leaves it standing.
            ([("force", "a"), ("exclude", "b")], {"a": "force", "b": "exclude", "host": "exclude"}),
            ([("force", "a"), ("prefer", "a")], {"a": "force", "b": "exclude", "host": "exclude"}),
        ],
    )
    def test_the_last_rule_that_matches_wins(self, rules, expected):
        assert self.verdicts(*[Rule(*rule) for rule in rules]) == expected

    def test_a_decision_knows_the_rule_behind_it(self):
        first, last = Rule("exclude", "a", where="p:1"), Rule("force", "b", op="ad*", where="p:4")
        decision = Policy((first, last)).decide("add", ("n",), "float32")
        assert decision.rule("b") is decision.rule("a") is decision.rule("host") is last
        assert Policy((first,)).decide("add", ("n",), "float32").rule("a") is first
        assert str(last) == "force b (op ad*; p:4)"


class TestMatching:
    def matches(self, **limits):
        op = ("nn.conv2d", ("/encoder/layer.0/conv/Conv",), "float32")
        return Policy((Rule("exclude", "a", **limits),)).verdict(*op, "a") is not None

    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            ({"op": "nn.conv2d"}, True),
            ({"op": "nn.conv*"}, True),
            ({"op": "conv2d"}, False),
            ({"op": ("add", "nn.conv2d")}, True),
            ({"name": "*/Conv"}, True),
            ({"name": "Conv"}, False),
            ({"module": "encoder"}, True),
            ({"module": "encoder.layer.0"}, True),
            ({"module": "/encoder/layer.0/"}, True),
            ({"module": "encoder.*.0.conv"}, True),
            ({"module": "encoder.layer.00"}, False),
            ({"module": "encoder.lay"}, False),
            ({"module": "layer"}, False),
            ({"module": "*.*"}, True),
            ({"module": "encoder.*.conv"}, False),  # a star is one part
            ({"dtype": "float*"}, True),
            ({"dtype": "int8"}, False),
            ({"op": "nn.conv2d", "dtype": "int8"}, False),
            ({"op": "nn.conv2d", "module": "encoder", "dtype": "float32"}, True),
        ],
    )
    def test_what_a_rule_covers(self, limits, expected):
        assert self.matches(**limits) == expected

    def test_any_of_several_names(self):
        policy = Policy((Rule("exclude", "a", name="x*"),))
        assert policy.verdict("add", ("y", "x1"), "float32", "a") == "exclude"
        assert policy.verdict("add", ("y",), "float32", "a") is None


class TestLegalValues:
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"min_segment_ops": 1.5}, "min_segment_ops must be a whole number, 0 or more"),
            ({"min_segment_flops": -1}, "min_segment_flops must be a number, 0 or more, found -1"),
            ({"min_segment_flops": float("nan")}, "min_segment_flops must be a number"),
            ({"max_segments": True}, "max_segments must be a whole number"),
            ({"require_full_offload": 1}, "require_full_offload must be True or False"),
            ({"weight_budget": {"cpu": "1 MB"}}, "weight_budget of 'cpu' must be a whole number"),
            ({"weight_budget": 3}, "weight_budget maps processors to bytes"),
            ({"rules": ("force a",)}, "rules of a policy must be byoc.Rule values, found str"),
        ],
    )
    def test_of_a_policy(self, values, words):
        with pytest.raises(OptionError) as caught:
            Policy(**values)
        assert words in str(caught.value)

    def test_of_a_rule(self):
        with pytest.raises(OptionError, match="unknown action 'forbid'; legal: exclude, force"):
            Rule("forbid", "a")
        with pytest.raises(OptionError, match=r"p:3: op of a rule must be a text or several"):
            Rule("force", "a", op=3, where="p:3")
        with pytest.raises(OptionError, match="takes a vendor's name or 'host', found ''"):
            Rule("force", "")

    def test_policies_compare_and_hash(self):
        one, other = Policy((Rule("force", "a", where="x:1"),)), Policy((Rule("force", "a"),))
        assert one == other
        assert hash(one) == hash(other)
        assert Policy(weight_budget={"cpu": 1}) != Policy(weight_budget={"cpu": 2})


@pytest.mark.parametrize("placement", ["order", "model"])
class TestPlaced:
    """Through `partition_module`."""

    a = toy("a", "nn.relu", "tanh", "sigmoid")
    b = toy("b", "nn.relu", "tanh", "sigmoid")
    mod = module("nn.relu", "tanh", "sigmoid", "tanh", names={3: "last"})

    def test_force_a_vendor(self, placement):
        found = places(self.mod, [self.a, self.b], Rule("force", "b"), placement=placement)
        assert found == ["b"] * 4

    def test_force_the_host(self, placement):
        rules = [Rule("force", "a"), Rule("force", "host", op="tanh")]
        found = places(self.mod, [self.a], *rules, placement=placement)
        assert found == ["a", "host", "a", "host"] or placement == "order"
        assert found[1] == found[3] == "host"

    def test_exclude_by_name(self, placement):
        rules = [Rule("force", "a"), Rule("exclude", "a", name="last")]
        found = places(self.mod, [self.a, self.b], *rules, placement=placement)
        assert found[:3] == ["a"] * 3
        assert found[3] != "a"

    def test_prefer_comes_first(self, placement):
        found = places(self.mod, [self.a, self.b], Rule("prefer", "b"), placement=placement)
        assert found == ["b"] * 4

    def test_exclude_everywhere_leaves_the_host(self, placement):
        rules = [Rule("exclude", "a"), Rule("exclude", "b")]
        assert places(self.mod, [self.a, self.b], *rules, placement=placement) == ["host"] * 4

    def test_a_force_that_no_pattern_meets(self, placement):
        rule = Rule("force", "a", op="exp", where="p.yaml:2:5")
        with pytest.raises(OptionError) as caught:
            places(module("nn.relu", "exp"), [self.a], rule, placement=placement)
        text = str(caught.value)
        assert text.startswith("p.yaml:2:5: policy 'force a (op exp; p.yaml:2:5)' cannot be met")
        assert "op 1, exp (v1)" in text
        assert "no pattern of a covers exp" in text

    def test_a_force_that_the_vendor_refuses_gives_its_reason(self, placement):
        picky = toy("a", single("tanh", check=lambda match: Reject("tables are too small")))
        with pytest.raises(
            OptionError, match=r"cannot be met for op 0, tanh.*tables are too small"
        ):
            places(module("tanh", "exp"), [picky], Rule("force", "a", op="tanh"),
                   placement=placement)  # fmt: skip

    def test_an_unknown_vendor(self, placement):
        with pytest.raises(OptionError, match=r"p:7: force names 'aa'.*did you mean 'a'"):
            places(self.mod, [self.a], Rule("force", "aa", where="p:7"), placement=placement)

    def test_full_offload(self, placement):
        assert (
            places(self.mod, [self.a], require_full_offload=True, placement=placement) == ["a"] * 4
        )
        with pytest.raises(OptionError, match=r"of 2 ops stay on the host") as caught:
            places(module("tanh", "exp"), [self.a], require_full_offload=True,
                   placement=placement)  # fmt: skip
        assert "no pattern of a covers exp" in str(caught.value)

    def test_at_most_so_many_segments(self, placement):
        mod = module("tanh", "exp", "tanh", "exp", "tanh")
        rule = Rule("prefer", "a", op="tanh")
        free = partition_module(
            mod, [self.a], placement=placement, policy=Policy((rule,), min_segment_ops=1)
        )
        assert len(free.report.segments) == 3
        tight = Policy((rule,), min_segment_ops=1, max_segments=1)
        found = partition_module(mod, [self.a], placement=placement, policy=tight)
        if placement == "model":
            assert len(found.report.segments) <= 1

    def test_small_segments_stay_on_the_host(self, placement):
        found = places(self.mod, [self.a], min_segment_ops=5, placement=placement)
        assert found == ["host"] * 4

    def test_a_rule_that_matches_nothing(self, placement):
        idle = Policy((Rule("exclude", "a", op="nn.conv2d", where="p:2"),))
        report = partition_module(self.mod, [self.a], placement=placement, policy=idle).report
        (warning,) = [w for w in report.warnings if "matches no op" in w]
        assert warning == (
            "p:2: the rule 'exclude a (op nn.conv2d)' matches no op of the model; it has no such "
            "op: legal: nn.relu, sigmoid, tanh"
        )
        must = Policy((Rule("force", "a", name="lost", where="p:3"),))
        with pytest.raises(OptionError, match=r"p:3: the rule 'force a \(name lost\)' matches no"):
            partition_module(self.mod, [self.a], placement=placement, policy=must)


def test_every_rule_is_heard_of_once():
    report = partition_module(module("tanh", "exp"), []).report
    rules = (
        Rule("prefer", "a", op="tanh"),
        Rule("prefer", "a", dtype="int8"),
        Rule("exclude", "a"),
    )
    (warning,) = unused_rules(Policy(rules), report.ops)
    assert "prefer a (dtype int8)" in warning
    assert "--ops" in warning


def test_a_forced_op_reaches_through_a_pattern():
    """A pattern that covers a forced and an excluded op is no candidate."""
    pair: Pattern = chain("pair", "tanh", "exp")
    a = toy("a", pair, "tanh")
    mod = module("tanh", "exp")
    rules = [Rule("force", "a", op="tanh"), Rule("exclude", "a", op="exp")]
    assert places(mod, [a], *rules, placement="model") == ["a", "host"]
