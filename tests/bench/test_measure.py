"""Measuring: inputs, differences, interleaving."""

import numpy as np
import pytest

from byoc.bench import (
    Engine,
    compare,
    difference,
    measure,
    onnx_inputs,
    open_engine,
    random_inputs,
    trivial,
)
from byoc.errors import ExecutionError, InputError, OptionError, VendorError
from byoc.segment import TensorType


class TestInputs:
    TYPES = {  # noqa: RUF012
        "image": TensorType((2, 3, 32, 32), "float32"),
        "input_ids": TensorType((2, 16), "int64"),
        "attention_mask": TensorType((2, 16), "int64"),
        "token_type_ids": TensorType((2, 16), "int64"),
        "flag": TensorType((4,), "bool"),
    }

    def test_follow_the_types_and_the_seed(self):
        drawn = random_inputs(self.TYPES, 3, limits={"input_ids": 50})
        again = random_inputs(self.TYPES, 3, limits={"input_ids": 50})
        other = random_inputs(self.TYPES, 4, limits={"input_ids": 50})
        for name, type_ in self.TYPES.items():
            assert drawn[name].shape == type_.shape
            assert drawn[name].dtype == type_.dtype
            assert drawn[name].flags.c_contiguous
            np.testing.assert_array_equal(drawn[name], again[name])
        assert not np.array_equal(drawn["image"], other["image"])

    def test_make_sense(self):
        drawn = random_inputs(self.TYPES, 0, limits={"input_ids": 50})
        assert 0 <= drawn["input_ids"].min() <= drawn["input_ids"].max() < 50
        mask = drawn["attention_mask"]
        assert set(np.unique(mask)) <= {0, 1}
        assert (np.diff(mask, axis=1) <= 0).all(), "padding comes at the end"
        assert (mask.sum(axis=1) >= 12).all()
        assert set(np.unique(drawn["token_type_ids"])) == {0, 1}

    def test_symbolic_dimensions_need_a_size(self):
        types = {"x": TensorType(("n", 4), "float32")}
        with pytest.raises(InputError, match="give a size for dimension 'n'"):
            random_inputs(types)
        assert random_inputs(types, dims={"n": 5})["x"].shape == (5, 4)

    def test_read_from_onnx(self):
        from byoc.testing.zoo import build

        types, limits = onnx_inputs(build("bert_tiny", batch="b"))
        assert types["input_ids"] == TensorType(("b", 16), "int64")
        assert limits == {"input_ids": 500, "token_type_ids": 2}


class TestTrivial:
    @pytest.mark.parametrize(
        ("array", "words"),
        [
            (np.array([1.0, np.nan]), "not finite"),
            (np.full(20, 3.0), "almost constant"),
            (np.linspace(1, 1.001, 20), "almost constant"),
            (np.eye(20)[0], "softmax is trivial"),
            (np.full(1000, 1e-3) * np.linspace(0.9, 1.1, 1000), "softmax is trivial"),
        ],
    )
    def test_says_why(self, array, words):
        assert words in (trivial({"y": array}) or "")

    def test_a_real_output_passes(self):
        logits = np.random.default_rng(0).normal(0, 2, 1000)
        assert trivial({"y": logits, "p": np.exp(logits) / np.exp(logits).sum()}) is None


class TestDifference:
    def test_numbers(self):
        d = difference(np.array([1.0, 2.5]), np.array([1.0, 2.0]))
        assert (d.max_abs, d.relative) == (0.5, 0.25)
        assert d.cosine == pytest.approx(6 / np.sqrt(7.25 * 5))

    def test_equal_values_are_equal_whatever_they_are(self):
        x = np.array([np.nan, np.inf, 0.0, 1.0])
        assert difference(x, x.copy()).relative == 0

    @pytest.mark.parametrize(("a", "b"), [(np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0)])
    def test_not_finite_on_one_side_is_as_far_as_can_be(self, a, b):
        assert difference(np.array([a, 2.0]), np.array([b, 2.0])).relative == np.inf

    def test_zero_reference(self):
        assert difference(np.array([1e-9]), np.array([0.0])).relative == np.inf

    def test_shapes(self):
        with pytest.raises(ValueError, match=r"found \(2,\), reference \(3,\)"):
            difference(np.zeros(2), np.zeros(3))

    def test_integers_do_not_wrap(self):
        assert difference(np.array([0], np.uint8), np.array([255], np.uint8)).max_abs == 255


def engine(name, result, log=None):
    def run(inputs):
        if log is not None:
            log.append(name)
        return {"y": result(inputs["x"])}

    return Engine(name, "1", run)


def test_engines_take_turns_in_blocks():
    log = []
    engines = [engine("a", np.sin, log), engine("b", np.cos, log)]
    result = measure(engines, {"x": np.ones(3)}, model="m", threads=1, runs=25)
    assert [len(t.samples) for t in result.timings] == [25, 25]
    assert log[:4] == ["a", "a", "b", "b"]
    turns = [log[i] for i in range(4, len(log), 12)]
    assert turns == ["a", "b"] * 3
    summary = result.to_dict()
    assert summary["timings"][0]["runs"] == 25
    assert summary["ratios"] == {"b": pytest.approx(result.ratios["b"], abs=1e-3)}


def test_compare_reports_every_output_and_seed():
    wrong = engine("wrong", lambda x: x * 1.01)
    right = engine("right", lambda x: x * 1.0)
    result = compare(
        wrong, right, lambda seed: {"x": np.random.default_rng(seed).normal(size=9)}, range(3)
    )
    assert [(seed, name) for seed, name, _ in result.rows] == [(0, "y"), (1, "y"), (2, "y")]
    assert result.worst == pytest.approx(0.01)
    assert result.remarks == ()
    constant = compare(right, right, lambda seed: {"x": np.ones(9)}, [0])
    assert "agreement on it proves little" in constant.remarks[0]


def test_compare_refuses_another_shape():
    with pytest.raises(ExecutionError, match=r"output 'y': a gives float64\[1, 2\], b gives"):
        compare(
            engine("a", lambda x: x[None]),
            engine("b", lambda x: x),
            lambda seed: {"x": np.ones(2)},
            [0],
        )


def test_engines_by_name(zoo, tmp_path):
    path = zoo("mlp")
    with pytest.raises(OptionError, match="did you mean 'onnxruntime'"):
        open_engine("onnxruntim", path, 1)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(VendorError, match="engine 'onnxruntime' cannot load"):
        open_engine("onnxruntime", broken, 1)
    ort = open_engine("onnxruntime", path, 1)
    assert ort.run({"input": np.ones((32, 784), np.float32)})["output"].shape == (32, 100)


def test_an_engine_that_is_not_installed_is_an_error(zoo, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(VendorError, match="'openvino' cannot be imported .* pip install"):
        open_engine("openvino", zoo("mlp"), 1)
