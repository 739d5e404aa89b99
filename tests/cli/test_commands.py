"""Every command doing its work on small models, on the host and with a vendor."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from byoc.testing.zoo import build, random_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    onnx.save(build("mlp", batch=4, hidden=64), path / "mlp.onnx")
    onnx.save(build("bert_tiny", batch="b", sequence="s"), path / "bert.onnx")
    return path


def test_partition(cli, folder, tmp_path):
    page = tmp_path / "report.html"
    result = cli("partition", folder / "mlp.onnx", "--vendors", "dnnl", "--html", page, "--ops")
    assert result.status == 0
    assert "dnnl_0" in result.out
    assert "/layers.0/Gemm" not in result.err
    assert f"wrote {page}" in result.err
    assert page.read_text().startswith("<!")
    data = cli("partition", folder / "mlp.onnx", "--vendors", "dnnl", "--json").json()
    assert data["coverage"]["flops"] >= 0.99
    assert [s["vendor"] for s in data["segments"]] == ["dnnl"]


def test_partition_without_vendors_says_so(cli, folder):
    result = cli("partition", folder / "mlp.onnx")
    assert result.status == 0
    assert "no vendors: everything runs on the host" in result.err


def test_compile_and_run(cli, folder, tmp_path, reference):
    model, out = folder / "mlp.onnx", tmp_path / "mlp.byoc"
    compiled = cli("compile", model, "-o", out, "--vendors", "dnnl", "--json")
    assert compiled.status == 0
    facts = compiled.json()
    assert facts["bytes"] == out.stat().st_size
    assert facts["segments"] == 1

    inputs = random_inputs(onnx.load(model), 0)
    np.savez(tmp_path / "x.npz", **inputs)
    arguments = ("run", out, "--inputs", tmp_path / "x.npz", "--outputs", tmp_path / "y.npz")
    ran = cli(*arguments)
    assert ran.status == 0
    assert ran.out.startswith("output: float32[4, 100]  min ")
    found = np.load(tmp_path / "y.npz")["output"]
    np.testing.assert_allclose(found, reference(model, inputs)["output"], rtol=1e-4, atol=1e-4)
    described = cli(*arguments, "--json").json()
    assert described["outputs"] == [{"name": "output", "shape": [4, 100], "dtype": "float32"}]


def test_names_with_slashes_travel_through_files(cli, tmp_path, zoo):
    from byoc.cli.inputs.arrays import read_npz
    from byoc.cli.run import write_arrays

    arrays = {"gpu_0/data_0": np.arange(3.0), "b:0": np.ones((2, 2), np.int64)}
    write_arrays(tmp_path / "a.npz", arrays)
    back = read_npz(tmp_path / "a.npz")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def test_compare_agrees(cli, folder):
    result = cli("compare", folder / "mlp.onnx", "--vendors", "dnnl", "--seeds", 2)
    assert result.status == 0
    assert "worst relative difference to onnxruntime" in result.out
    assert result.out.count("output") >= 2


def test_compare_fails_past_the_tolerance(cli, folder):
    result = cli("compare", folder / "mlp.onnx", "--seeds", 1, "--tolerance", 0, "--json")
    data = result.json()
    assert result.status == (0 if data["ok"] else 1)
    assert data["ok"] == (data["worst_relative"] == 0)
    assert data["outputs"][0]["output"] == "output"
    if not data["ok"]:
        assert "is over the tolerance 0" in result.err


def test_compare_with_symbolic_dimensions(cli, folder):
    model = folder / "bert.onnx"
    result = cli("compare", model, "--seeds", 1, "--dim", "b=2", "--dim", "s=9", "--json")
    assert result.status == 0
    assert {row["output"] for row in result.json()["outputs"]} == {
        "last_hidden_state",
        "pooler_output",
    }
    missing = cli("compare", model, "--seeds", 1, "--dim", "b=2")
    assert missing.status == 1
    assert "give a size for dimension 's'" in missing.err
    unknown = cli("compare", model, "--dim", "batch=2")
    assert unknown.status == 1
    assert "no symbolic dimension 'batch': legal: b, s" in unknown.err


def test_bench_beside_another_engine(cli, folder):
    arguments = ("bench", folder / "mlp.onnx", "--runs", 3, "--against", "onnxruntime")
    data = cli(*arguments, "--threads", 1, "--json").json()
    assert [t["engine"] for t in data["timings"]] == ["byoc", "onnxruntime"]
    assert data["threads"] == 1
    assert all(t["runs"] == 3 and t["median_ms"] > 0 for t in data["timings"])
    assert data["ratios"]["onnxruntime"] > 0
    table = cli(*arguments)
    assert table.status == 0
    assert "byoc / it" in table.out


def test_bench_a_compiled_model(cli, folder, tmp_path):
    out = tmp_path / "mlp.byoc"
    assert cli("compile", folder / "mlp.onnx", "-o", out).status == 0
    alone = cli("bench", out, "--runs", 2, "--json")
    assert [t["engine"] for t in alone.json()["timings"]] == ["byoc"]
    both = cli("bench", out, "--model", folder / "mlp.onnx", "--against", "onnxruntime",
               "--runs", 2, "--json")  # fmt: skip
    assert list(both.json()["ratios"]) == ["onnxruntime"]


def test_bench_and_profile_read_other_formats(cli):
    pytest.importorskip("tflite")
    model = Path(__file__).parents[1] / "frontends" / "tflite" / "models" / "ds_cnn_int8.tflite"
    measured = cli("bench", model, "--runs", 1, "--json")
    assert measured.status == 0, measured.err
    assert [t["engine"] for t in measured.json()["timings"]] == ["byoc"]
    shown = cli("profile", model, "--requests", 1, "--warmup", 0)
    assert shown.status == 0, shown.err


def test_bench_against_something_unknown_or_missing(cli, folder, monkeypatch):
    unknown = cli("bench", folder / "mlp.onnx", "--against", "onnxruntim")
    assert unknown.status == 1
    assert "did you mean 'onnxruntime'" in unknown.err
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    missing = cli("bench", folder / "mlp.onnx", "--against", "openvino")
    assert missing.status == 1
    assert "pip install 'tvm-byoc[openvino]'" in missing.err
