"""Every refusal has a reason a person can act on."""

import numpy as np
import pytest
from toy_vendors import chain, toy
from tvm import relax
from tvm.relax.dpl import is_const, is_op, wildcard

from byoc.errors import OptionError, VendorError
from byoc.partition import Refusal, partition_module
from byoc.vendor import Pattern, Reject

pytestmark = pytest.mark.filterwarnings("ignore")


def module(body, *shapes, dtype="float32"):
    bb = relax.BlockBuilder()
    params = [relax.Var(f"x{k}", relax.TensorType(s, dtype)) for k, s in enumerate(shapes)]
    with bb.function("main", params):
        with bb.dataflow():
            out = bb.emit_output(body(bb, *params))
        bb.emit_func_output(out)
    return bb.get()


def refusals(mod, *vendors, **options):
    """Name of each host op -> its refusals."""
    options.setdefault("min_segment_ops", 1)
    report = partition_module(mod, vendors, **options).report
    return {op.name: op.refusals for op in report.host_ops}


def tanh_of_relu(bb, x):
    a = bb.emit(relax.op.nn.relu(x), name_hint="a")
    return bb.emit(relax.op.tanh(a), name_hint="b")


def test_no_pattern_covers_the_op():
    found = refusals(module(tanh_of_relu, (2, 2)), toy("v", "nn.relu"))
    assert found == {"b": (Refusal("v", "", "no pattern of v covers tanh"),)}


def test_the_op_is_only_taken_inside_of_larger_patterns():
    def body(bb, x):
        return bb.emit(relax.op.exp(bb.emit(relax.op.tanh(x), name_hint="t")), name_hint="e")

    vendor = toy("v", chain("tanh_relu", "tanh", "nn.relu"))
    found = refusals(module(body, (2, 2)), vendor)
    assert found["t"][0].reason == "tanh is taken only inside of: tanh_relu"
    assert found["e"][0].reason == "no pattern of v covers exp"


def test_the_reason_of_a_check_wins_over_structure():
    def check(match):
        return Reject(f"dtype {match.type('out').dtype} is not int8")

    expr = is_op("relax.tanh")(wildcard())
    vendor = toy("v", Pattern("tanh", expr, parts={"out": expr}, check=check), "nn.relu")
    found = refusals(module(tanh_of_relu, (2, 2)), vendor)
    assert found["b"] == (Refusal("v", "tanh", "dtype float32 is not int8"),)


def test_the_refusal_of_a_pattern_that_ends_at_the_op_is_nearest():
    def reject(name):
        return lambda match: Reject(f"{name} says no")

    pair = chain("pair", "nn.relu", "tanh", check=reject("pair"))
    alone = chain("alone", "nn.relu", check=reject("alone"))
    found = refusals(module(tanh_of_relu, (2, 2)), toy("v", pair, alone))
    assert found["a"][0].reason == "alone says no"
    assert found["b"][0].reason == "pair says no"


def test_what_kept_the_smallest_pattern_from_fitting():
    def body(bb, x, y):
        return bb.emit(relax.op.matmul(x, y), name_hint="m")

    vendor = toy("v", Pattern("matmul", is_op("relax.matmul")(wildcard(), is_const())))
    found = refusals(module(body, (2, 2), (2, 2)), vendor)
    assert found["m"][0] == Refusal("v", "matmul", "input x1 is not a constant")


def test_an_inner_value_used_outside_names_who_uses_it():
    def body(bb, x):
        a = bb.emit(relax.op.nn.relu(x), name_hint="a")
        b = bb.emit(relax.op.tanh(a), name_hint="b")
        return relax.op.add(b, bb.emit(relax.op.exp(a), name_hint="e"))

    found = refusals(module(body, (2, 2)), toy("v", chain("pair", "nn.relu", "tanh")))
    want = "nn.relu (a) is also used outside the pattern, by exp (e)"
    assert found["b"][0].reason == want

    def result(bb, x):
        a = bb.emit(relax.op.nn.relu(x), name_hint="a")
        return relax.Tuple([a, bb.emit(relax.op.tanh(a), name_hint="b")])

    found = refusals(module(result, (2, 2)), toy("v", chain("pair", "nn.relu", "tanh")))
    assert found["b"][0].reason.endswith("is also used outside the pattern, as a result")


def test_a_smaller_pattern_is_tried_after_a_refusal():
    pair = chain("pair", "nn.relu", "tanh", check=lambda match: Reject("not together"))
    result = partition_module(
        module(tanh_of_relu, (2, 2)), [toy("v", pair, "nn.relu", "tanh")], min_segment_ops=1
    )
    assert [op.pattern for op in result.report.ops] == ["nn_relu", "tanh"]


def test_tiny_segments_stay_on_the_host_unless_they_are_heavy():
    vendor = toy("v", "tanh", "matmul")
    mod = module(lambda bb, x: bb.emit(relax.op.tanh(x), name_hint="t"), (2, 2))
    found = refusals(mod, vendor, min_segment_ops=2)
    assert found["t"][0].reason == (
        "its segment has 1 op and 4 FLOPs, below min_segment_ops=2 and 1000000 FLOPs"
    )
    big = module(lambda bb, x, y: bb.emit(relax.op.matmul(x, y)), (128, 128), (128, 128))
    assert not refusals(big, vendor, min_segment_ops=2)
    found = refusals(big, vendor, min_segment_flops=1e9)
    (reason,) = next(iter(found.values()))
    assert reason.reason == "its segment has 4194304 FLOPs, below min_segment_flops=1e+09"
    with pytest.raises(OptionError, match="must not be negative, found -1 and 0"):
        partition_module(big, [vendor], min_segment_ops=-1)


def test_unknown_ranks_are_refused():
    def body(bb, x):
        return bb.emit(relax.op.tanh(x), name_hint="t")

    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(dtype="float32", ndim=-1))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(body(bb, x))
        bb.emit_func_output(out)
    found = refusals(bb.get(), toy("v", "tanh"))
    assert found["t"][0].reason == "an argument of tanh (t) is no tensor of known rank"


def test_unknown_dimensions_are_refused():
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(dtype="float32", ndim=2))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(bb.emit(relax.op.tanh(x), name_hint="t"))
        bb.emit_func_output(out)
    found = refusals(bb.get(), toy("v", "tanh"))
    assert found["t"][0].reason == "a dimension of tanh (t) is known only at run time"


def test_each_vendor_gives_its_own_reason():
    found = refusals(module(tanh_of_relu, (2, 2)), toy("v"), toy("w", "nn.relu"))
    assert [r.reason for r in found["b"]] == [
        "no pattern of v covers tanh",
        "no pattern of w covers tanh",
    ]


def test_reasons_are_grouped_with_counts():
    report = partition_module(module(tanh_of_relu, (2, 2)), [toy("v")]).report
    counted = {(r.vendor, r.reason): (r.count, r.ops) for r in report.reasons()}
    assert counted[("v", "no pattern of v covers nn.relu")] == (1, ("nn.relu",))


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda match: 1 / 0, "raised ZeroDivisionError on tanh (b in main): division by zero"),
        (lambda match: True, "returned True on tanh (b in main); expected None or Reject(reason)"),
        (lambda match: match.type("weight"), "has no part 'weight' in this match"),
        (lambda match: match.node("in"), "is an input or a constant, no node produces it"),
    ],
)
def test_a_check_that_breaks_the_contract_is_the_authors_affair(check, words):
    x = wildcard()
    expr = is_op("relax.tanh")(x)
    bad = Pattern("tanh", expr, parts={"out": expr, "in": x}, check=check)

    def body(bb, x):
        return bb.emit(relax.op.tanh(x), name_hint="b")

    with pytest.raises(VendorError) as error:
        partition_module(module(body, (2, 2)), [toy("v", bad)])
    assert words in str(error.value)
    assert "vendor author: check of pattern 'tanh' of 'v'" in str(error.value)


def test_a_vendor_given_twice_is_an_error():
    with pytest.raises(VendorError, match="vendor 'v' is given twice"):
        partition_module(module(tanh_of_relu, (2, 2)), [toy("v"), toy("v")])


def test_what_a_check_sees():
    seen = {}

    def check(match):
        seen["pattern"] = match.pattern
        seen["ops"] = [n.op for n in match.nodes]
        seen["weight"] = match.constant("w")
        seen["x"] = match.constant("x")
        seen["has"] = (match.has("w"), match.has("bias"))
        seen["types"] = str(match.type("out")), str(match.type(match.nodes[0].inputs[0]))
        seen["source"] = match.node("out").source
        seen["attrs"] = match.node("conv").attrs["padding"]

    x, w, bias = wildcard(), is_const(), is_const()
    conv = is_op("relax.nn.conv2d")(x, w)
    out = is_op("relax.nn.relu")(is_op("relax.add")(conv, bias) | conv)
    parts = {"x": x, "w": w, "bias": bias, "conv": conv, "out": out}
    weight = np.ones((4, 3, 3, 3), "float32")

    def body(bb, x):
        y = bb.emit(relax.op.nn.conv2d(x, relax.const(weight), padding=1), name_hint="c")
        return bb.emit(relax.op.nn.relu(y), name_hint="net_relu")

    vendor = toy("v", Pattern("conv_relu", out, parts=parts, check=check))
    result = partition_module(module(body, (1, 3, 8, 8)), [vendor])
    np.testing.assert_array_equal(seen.pop("weight"), weight)
    assert seen == {
        "pattern": "conv_relu",
        "ops": ["nn.conv2d", "nn.relu"],
        "x": None,
        "has": (True, False),
        "types": ("float32[1, 4, 8, 8]", "float32[1, 3, 8, 8]"),
        "source": ("net_relu",),
        "attrs": (1, 1, 1, 1),
    }
    (segment,) = result.segments
    (composite,) = segment.composites
    assert set(composite.parts) == {"x", "w", "conv", "out"}
    assert composite.parts["out"] == segment.outputs[0]
    assert composite.parts["x"] == segment.inputs[0]
    assert composite.parts["w"] in segment.constants


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda match: Reject(None), "failed on nn.relu .*return None, not Reject.None., to take"),
        (lambda match: Reject(" "), "failed on nn.relu .*one sentence that says why"),
        (lambda match: True, "returned True on nn.relu .*expected None or Reject"),
        (lambda match: match.attrs, "raised AttributeError on nn.relu"),
    ],
)
def test_a_verdict_that_is_none_names_pattern_vendor_and_op(check, message):
    with pytest.raises(VendorError, match="check of pattern 'lone' of 'acme' " + message):
        refusals(module(tanh_of_relu, (2, 2)), toy("acme", chain("lone", "nn.relu", check=check)))
