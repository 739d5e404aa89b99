"""Versions and attributes of ONNX operators (`benchmarks/onnx_versions.py`): a slice of the cases.

All of them: `python benchmarks/onnx_versions.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import byoc
from benchmarks.onnx_versions import cases_of, converted, end_of_each, opsets_of
from byoc.frontends import import_model


@pytest.mark.parametrize(("opset", "number"), [(7, 0), (9, 1), (12, 2), (17, 3), (19, 4), (23, 5)])
def test_a_slice_is_equal_or_refused(opset, number):
    """Every sixth operator that the opset has, one case each, in one model."""
    names = [n for n, versions in converted().items() if versions[0] <= opset][number::6]
    cases = [c for n in names for c in cases_of(n, opset, [number])]
    assert len(cases) > len(names) / 2
    ends = list(end_of_each(cases, []))
    assert [(c.title, end) for c, end in ends if end[0] in ("wrong", "error")] == []
    assert sum(end[0] == "equal" for _, end in ends) > len(ends) / 2


@pytest.mark.parametrize(
    "name, opset",
    [("Resize", 11), ("Resize", 19), ("Dropout", 10), ("Slice", 13), ("TopK", 10), ("Shrink", 9)],
)
def test_operators_that_went_wrong(name, opset):
    """Places counted as ONNX Runtime counts them; an empty operand is an absent one; slices that
    end before they begin; k as an input of TopK 10.
    """
    ends = list(end_of_each(list(cases_of(name, opset, range(12))), []))
    assert [(c.title, end) for c, end in ends if end[0] in ("wrong", "error")] == []
    assert len(ends) >= 8
    assert not any("only one of scales" in end[1].lower() for _, end in ends)


def test_versions_are_read_at_both_ends():
    assert opsets_of([1, 6, 13]) == [1, 5, 6, 12, 13, 26]
    assert {"Resize", "Clip", "LSTM"} <= set(converted())
    assert "If" not in converted()


def test_a_case_is_the_same_in_every_run():
    (first,), (again,) = (list(cases_of("Resize", 13, [3])) for _ in range(2))
    assert first.title == again.title
    assert all(np.array_equal(first.inputs[n], again.inputs[n]) for n in first.inputs)


def test_remainders_of_floats_are_exact(tools):
    """Where the quotient has more digits than a float; against numpy."""
    a = np.array([-4.3, 7.2, 5, -1e8, 2, -0.0, 16777216, np.inf], "f4")
    b = np.array([2.1, -3.4, 8, 0.3, np.inf, 3, 0.7, 2], "f4")
    node = helper.make_node("Mod", ["a", "b"], ["y"], fmod=1)
    ports = {"a": ("f4", [8]), "b": ("f4", [8])}
    imported = import_model(tools.model([node], ports, {"y": ("f4", [8])}))
    (found,) = tools.run(imported.mod, a, b)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(found, np.fmod(a, b))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_local_responses_of_windows_of_any_size(tools, size, dtype):
    """Against the formula: ONNX Runtime has odd sizes of floats alone."""
    x = (np.random.default_rng(0).standard_normal((2, 5, 3, 2)) * 300).astype(dtype)
    node = helper.make_node("LRN", ["x"], ["y"], size=size, alpha=0.5, beta=0.5, bias=2.0)
    port = (dtype, list(x.shape))
    (found,) = tools.run(import_model(tools.model([node], {"x": port}, {"y": port})).mod, x)
    wide = x.astype("f8")
    low, high = (size - 1) // 2, size // 2
    sums = [(wide[:, max(0, c - low) : c + high + 1] ** 2).sum(1) for c in range(5)]
    expected = wide / (2 + 0.5 / size * np.stack(sums, 1)) ** 0.5
    np.testing.assert_allclose(found, expected, rtol=2e-3 if dtype == "f2" else 1e-5)


@pytest.mark.parametrize("kind", ["L1", "L2", "LogSum", "LogSumExp", "SumSquare", "Mean"])
def test_reductions_of_halves_sum_in_float32(tools, kind):
    """Sums beyond float16 whose results are not; against float64."""
    x = np.full((2, 300), 300 if kind != "SumSquare" else 14, np.float16)
    x[1] = 0.01
    x[1, 0] = 2048  # in float16 nothing that is added to it counts
    if kind == "SumSquare":
        x[1, 0] = 64
    if kind == "L1":
        x[0] = 200
    node = helper.make_node("Reduce" + kind, ["x"], ["y"], axes=[1], keepdims=0)
    model = tools.model([node], {"x": ("f2", [2, 300])}, {"y": ("f2", [2])}, opset=13)
    found = byoc.compile(model, vendors=[]).run({"x": x})["y"]
    wide = x.astype("f8")
    most = wide.max(1, keepdims=True)
    expected = {
        "L1": wide.sum(1), "L2": np.sqrt((wide**2).sum(1)), "LogSum": np.log(wide.sum(1)),
        "LogSumExp": np.log(np.exp(wide - most).sum(1)) + most[:, 0],
        "SumSquare": (wide**2).sum(1), "Mean": wide.mean(1),
    }[kind]  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_the_logarithm_of_nothing_is_minus_infinity(tools):
    x = np.array([[-np.inf, -np.inf], [0, -np.inf], [np.inf, 1]], "f4")
    node = helper.make_node("ReduceLogSumExp", ["x"], ["y"], axes=[1], keepdims=0)
    model = tools.model([node], {"x": ("f4", [3, 2])}, {"y": ("f4", [3])}, opset=13)
    (found,) = tools.run(import_model(model).mod, x)
    assert found.tolist() == [-np.inf, 0, np.inf]
