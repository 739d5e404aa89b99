"""`byoc.compile(precision=…, max_error=…)`: who computes in what, and what is told of it."""

import warnings
from dataclasses import replace

import numpy as np
import pydantic
import pytest
import tvm
from tvm import relax
from tvm.relax import op as R

import byoc
from byoc.errors import FallbackWarning, InputError, OptionError, VendorError
from byoc.tir.target import host_machine
from byoc.vendor_templates.dnnl import VENDOR as DNNL

NATIVE = "avx512bf16" in host_machine().features
native = pytest.mark.skipif(not NATIVE, reason="needs a CPU with AVX512_BF16")


def _weight(rng, rows, columns, scale=1.0):
    array = rng.standard_normal((rows, columns)) * scale / np.sqrt(rows)
    return relax.const(array.astype("float32"))


def chain(*stages, rows=4, seed=0):
    """Products of 16 columns, each of its scale, a softmax behind large ones, tan between them.

    No vendor takes tan: every product is a segment of its own. Softmax of large numbers makes much
    of a rounding.
    """
    rng = np.random.default_rng(seed)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((rows, 16), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = x
            for place, scale in enumerate(stages):
                if place:
                    y = builder.emit(R.tan(y))
                y = builder.emit(R.matmul(y, _weight(rng, 16, 16, scale)))
                if scale > 10:
                    y = builder.emit(R.nn.softmax(y))
            out = builder.emit_output(y)
        builder.emit_func_output(out)
    return builder.get()


def compiled(model, **asked):
    return byoc.compile(model, min_segment_ops=1, **asked)


def _kept(exe):
    return sorted(w for w in exe.report.warnings if "stays in float32" in w)


def _input(rows=4, seed=1):
    return (np.random.default_rng(seed).standard_normal((rows, 16)) / 4).astype("float32")


def _relative(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("seed", range(5))
@native
def test_bf16_is_near_f32_and_the_same_once_saved(seed, tmp_path):
    model = chain(1.0, 1.0, seed=seed)
    x = _input(seed=seed)
    exact = compiled(model, vendors=["dnnl"])(x)
    exe = compiled(model, vendors=["dnnl"], precision="bf16")
    found = exe(x)
    assert found.dtype == np.float32
    assert 0 < _relative(found, exact) < 0.03
    exe.save(tmp_path / "m.byoc")
    np.testing.assert_array_equal(byoc.load(tmp_path / "m.byoc")(x), found)


def test_f32_is_the_default_and_changes_no_bit():
    model, x = chain(1.0), _input()
    np.testing.assert_array_equal(
        compiled(model, vendors=["dnnl"], precision="f32")(x),
        compiled(model, vendors=["dnnl"])(x),
    )


def test_a_vendor_that_cannot_says_so_and_computes_in_float32():
    model, x = chain(1.0), _input()
    text = "precision='bf16': vendor 'npu' computes in float32: it computes in float32 alone"
    with pytest.warns(FallbackWarning, match=text):
        exe = compiled(model, vendors=["npu"], precision="bf16")
    assert text in exe.report.warnings
    np.testing.assert_array_equal(exe(x), compiled(model, vendors=["npu"])(x))


def test_a_precision_that_the_device_lacks_is_told():
    with pytest.warns(FallbackWarning, match="'dnnl' computes in float32: it computes in float32 "):
        exe = compiled(chain(1.0), vendors=["dnnl"], precision="f16")
    assert any("precision='f16'" in text for text in exe.report.warnings)


def test_a_vendors_own_option_wins():
    model, x = chain(1.0), _input()
    exact = compiled(model, vendors=["dnnl"])(x)
    kept = compiled(model, vendors={"dnnl": {"precision": "f32"}}, precision="bf16")(x)
    np.testing.assert_array_equal(kept, exact)
    if NATIVE:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FallbackWarning)
            own = compiled(model, vendors={"dnnl": {"precision": "bf16"}})(x)
        np.testing.assert_array_equal(own, compiled(model, vendors=["dnnl"], precision="bf16")(x))


@native
def test_segments_beyond_the_bound_stay_in_float32_and_are_named():
    model, x = chain(200.0, 1.0, rows=64), _input(64)
    exact = compiled(model, vendors=["dnnl"])
    exe = compiled(
        model, vendors=["dnnl"], precision="bf16", max_error=0.02, calibration=[{"x": x}]
    )
    (told,) = _kept(exe)
    assert "segment 'dnnl_0' stays in float32: in bf16 its outputs differ by" in told
    assert "max_error is 0.02" in told
    assert 0 < _relative(exe(x), exact(x)) <= 0.02
    free = compiled(model, vendors=["dnnl"], precision="bf16")
    assert _relative(free(x), exact(x)) > 0.02


@native
def test_the_bound_holds_for_the_whole_model():
    """The second segment magnifies what the first one rounds, which is within the bound itself."""
    model, x = chain(1.0, 200.0, rows=64), _input(64)
    exact = compiled(model, vendors=["dnnl"])(x)
    exe = compiled(
        model, vendors=["dnnl"], precision="bf16", max_error=0.02, calibration=[{"x": x}]
    )
    first, second = _kept(exe)
    assert "'dnnl_0' stays in float32: with it in bf16 the model's outputs differ by" in first
    assert "'dnnl_1' stays in float32: in bf16 its outputs differ by" in second
    np.testing.assert_array_equal(exe(x), exact)


@pytest.mark.parametrize("seed", range(3))
def test_auto_keeps_the_bound(seed, tmp_path):
    model = chain(1.0, 50.0, 1.0, seed=seed)
    samples = [{"x": _input(seed=s)} for s in (seed, seed + 10)]
    exact = compiled(model, vendors=["dnnl"])
    exe = compiled(model, vendors=["dnnl"], precision="auto", max_error=0.01, calibration=samples)
    for sample in samples:
        assert _relative(exe(sample["x"]), exact(sample["x"])) <= 0.01
    exe.save(tmp_path / "m.byoc")
    np.testing.assert_array_equal(byoc.load(tmp_path / "m.byoc")(_input()), exe(_input()))


def test_random_inputs_need_sizes():
    model = chain(1.0, rows=tvm.tirx.Var("n", "int64"))
    with pytest.raises(OptionError, match="symbolic dimension 'n'.*give dims="):
        compiled(model, vendors=["dnnl"], precision="auto")
    asked = {"vendors": ["dnnl"], "precision": "bf16", "max_error": 0.5}
    assert compiled(model, **asked, dims={"n": 3})(_input(3)).shape == (3, 16)
    symbolic = compiled(model, **asked, calibration=[{"x": _input(3)}])
    assert symbolic(_input(7)).shape == (7, 16)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="x"):
        compiled(
            chain(1.0), vendors=["dnnl"], precision="auto", calibration=[{"x": np.zeros((3, 3))}]
        )


class _Options(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": lambda o, p: 1 / 0}, "precision.. of 'dnnl' raised ZeroDivisionError"),
        ({"precision": lambda o, p: ""}, "must return None or one sentence"),
        ({"precision": lambda o: None}, "hook 'precision' must take 2"),
        ({"precision": lambda o, p: None, "options": _Options}, "have no field 'precision'"),
    ],
)
def test_authors_are_told_what_their_hook_does_wrong(changes, message):
    with pytest.raises(VendorError, match=message):
        compiled(chain(1.0), vendors=[replace(DNNL, **changes)], precision="bf16")
