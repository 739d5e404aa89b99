"""Synthetic vendors: the given costs, right numbers, and errors in words."""

import time

import numpy as np
import pytest
from tvm import relax

import byoc
from byoc.errors import OptionError
from byoc.testing.fake_vendors import synthetic, synthetic_costs
from byoc.vendor import Reject

pytestmark = pytest.mark.filterwarnings("ignore")

US = 1e-6


def model():
    """y = relu(x @ w) + x."""
    x = relax.Var("x", relax.TensorType((4, 4), "float32"))
    w = relax.const(np.linspace(-1, 1, 16, dtype="float32").reshape(4, 4))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            product = bb.emit(relax.op.matmul(x, w))
            result = bb.emit_output(relax.op.add(bb.emit(relax.op.nn.relu(product)), x))
        bb.emit_func_output(result)
    return bb.get(), w.value.numpy()


@pytest.mark.parametrize("seed", range(3))
def test_it_really_computes(seed):
    mod, w = model()
    vendor = synthetic("syn", {"matmul": US, "nn.relu": US, "add": US})
    exe = byoc.compile(mod, [vendor])
    assert [s.ops for s in exe.report.segments] == [3]
    x = np.random.default_rng(seed).standard_normal((4, 4)).astype("float32")
    np.testing.assert_allclose(exe(x), np.maximum(x @ w, 0) + x, rtol=1e-5, atol=1e-6)


def test_predictions_are_the_given_numbers():
    mod, _ = model()
    vendor = synthetic(
        "syn", {"matmul": 7 * US, "nn.relu": 2 * US}, launch=3 * US, border=US, border_bytes=64e6
    )
    costs = synthetic_costs({"add": 4 * US, "matmul": 99 * US, "nn.relu": 9 * US})
    result = byoc.partition_model(mod, [vendor], placement="model", costs=costs)
    # One tensor of 64 bytes in and one out, a microsecond of copying each.
    assert result.report.plans[0].predicted == pytest.approx((3 + 7 + 2 + 2 * (1 + 1) + 4) * US)


def test_costs_as_a_function_and_checks():
    mod, _ = model()
    vendor = synthetic(
        "syn",
        lambda nodes: len(nodes) * US,
        ops=("matmul", "add"),
        check=lambda match: Reject("not today") if match.nodes[0].op == "add" else None,
    )
    result = byoc.partition_model(mod, [vendor], min_segment_ops=1)
    assert [op.place for op in result.report.ops] == ["syn", "host", "host"]
    assert [r.reason for r in result.report.ops[2].refusals] == ["not today"]
    assert result.report.ops[0].cost == pytest.approx(US)


def test_a_paced_one_takes_its_time():
    mod, _ = model()
    costs = {"matmul": 8e-3, "nn.relu": 4e-3}
    exe = byoc.compile(mod, [synthetic("syn", costs, launch=3e-3, paced=True)])
    x = np.ones((4, 4), "float32")
    exe(x)
    start = time.perf_counter()
    exe(x)
    assert time.perf_counter() - start >= 15e-3


def test_bad_arguments_are_named():
    with pytest.raises(
        OptionError, match=r"'syn': costs\['add'\] must be seconds, 0 or more, found -1"
    ):
        synthetic("syn", {"add": -1})
    with pytest.raises(OptionError, match="'syn' needs `ops` or `patterns`"):
        synthetic("syn", lambda nodes: 0.0)
    mod, _ = model()
    lacking = synthetic("syn", {"add": US}, ops=("matmul",))
    with pytest.raises(OptionError, match="costs has no entry for 'matmul'; it has add"):
        byoc.partition_model(mod, [lacking], placement="model")
