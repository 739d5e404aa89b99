"""`byoc compile --precision … --max-error … --calibration …`."""

import warnings

import numpy as np
import onnx
import pytest

import byoc
from byoc.testing.zoo import build
from byoc.tir.target import host_machine

NATIVE = "avx512bf16" in host_machine().features


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "vit.onnx"
    onnx.save(build("vit_tiny"), path)
    return path


@pytest.mark.skipif(not NATIVE, reason="needs a CPU with AVX512_BF16")
def test_a_bound_decides_and_inspect_tells(cli, model, tmp_path):
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype("float32")
    np.savez(tmp_path / "x.npz", pixel_values=x)
    common = ("compile", model, "--vendors", "dnnl", "--precision", "bf16",
              "--calibration", tmp_path / "x.npz")  # fmt: skip
    wide, narrow = tmp_path / "wide.byoc", tmp_path / "narrow.byoc"
    kept = cli(*common, "--max-error", "0.00001", "-o", wide)
    assert kept.status == 0
    assert "warning: segment 'dnnl_0' stays in float32: in bf16 its outputs differ by" in kept.err
    assert cli(*common, "--max-error", "0.1", "-o", narrow).status == 0
    assert "bf16: its outputs differ from float32 by" in cli("inspect", narrow).out
    exact = byoc.compile(model, vendors=["dnnl"])(x)
    np.testing.assert_array_equal(byoc.load(wide)(x), exact)
    error = np.abs(byoc.load(narrow)(x) - exact).max() / np.abs(exact).max()
    assert 0 < error <= 0.1


def test_a_vendor_that_cannot_is_told_once(cli, model, tmp_path):
    out = tmp_path / "m.byoc"
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # as a command is run
        done = cli("compile", model, "--vendors", "npu", "--precision", "bf16", "-o", out)
    assert done.status == 0
    assert done.err.count("vendor 'npu' computes in float32: it computes in float32 alone") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--precision", "bf61"), "did you mean 'bf16'"),
        (("--max-error", "0.1"), "leave max_error out"),
        (("--precision", "auto", "--placement", "measured"), "leave one of the two out"),
    ],
)
def test_what_makes_no_sense_is_refused(cli, model, tmp_path, words, message):
    done = cli("compile", model, "--vendors", "dnnl", *words, "-o", tmp_path / "m.byoc")
    assert done.status != 0
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err
