"""``byoc dse``: a configuration that the vendor takes, a page, the way; bad words are told."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import yaml

from byoc.quantize import quantize_model
from byoc.testing.zoo import build

SPACE = {
    "parameters": {
        "array.rows": [8, 16, 32],
        "array.columns": [8, 16, 32],
        "activation.word": "array.rows",
        "vector.lanes": [4, 8, 16],
        "dma.width": [8, 16, 32],
    }
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("designs")
    for name, hidden in (("one", 64), ("two", 96)):
        model = build("mlp", batch=8, features=32, hidden=hidden)
        samples = np.random.default_rng(0).standard_normal((8, 32)).astype("float32")
        onnx.save(quantize_model(model, {"input": samples}).model, path / f"{name}.onnx")
    onnx.save(build("mlp", batch=8, features=32, hidden=64), path / "float.onnx")
    (path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return path


def words(folder, tmp_path, models="one"):
    files = ",".join(str(folder / f"{name}.onnx") for name in models.split(","))
    return "dse", "--models", files, "--space", folder / "space.yaml", "-o", tmp_path / "best.yaml"


def test_the_best_machine_is_written_and_compiles(cli, folder, tmp_path):
    page, options = tmp_path / "page.html", tmp_path / "options.yaml"
    result = cli(*words(folder, tmp_path, "one,two"), "--html", page, "--evaluations", 6)
    assert result.status == 0
    assert "x the default machine, of 81 points" in result.out
    assert "cycles one" in result.out and "start: the best bound" in result.out
    assert page.read_text().startswith("<!doctype html>")
    best = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert best["activation"]["word"] == best["array"]["rows"]
    vendors = {"npu": {"config": str(tmp_path / "best.yaml")}}
    options.write_text(yaml.safe_dump({"vendors": vendors}))
    out = tmp_path / "one.byoc"
    assert cli("compile", folder / "one.onnx", "--options", options, "-o", out).status == 0


def test_limits_and_json(cli, folder, tmp_path):
    limits = ("--limits", "lut=30k,dsp=200", "--budget", "60s", "--evaluations", "4")
    facts = cli(*words(folder, tmp_path), *limits, "--json").json()
    assert facts["limits"] == {"lut": 30_000, "dsp": 200}
    assert facts["best"]["area"]["dsp"] <= 200 and facts["best"]["area"]["lut"] <= 30_000
    assert facts["path"][-1]["machine"] == facts["best"]
    assert facts["configuration"]["array"]["rows"] == facts["best"]["values"]["array.rows"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--limits", "lut=5"), "lut=5 is less than any machine of the space takes"),
        (("--limits", "ff=5"), "unknown resource 'ff': legal: bram, dsp, lut"),
        (("--limits", "lut=5q"), "unknown unit 'q'"),
        (("--budget", "soon"), "budget 'soon' is no time"),
        (("--vendor", "dnnl"), "vendor 'dnnl' is one machine"),
    ],
)
def test_bad_words_are_one_sentence(cli, folder, tmp_path, more, why):
    result = cli(*words(folder, tmp_path), *more)
    assert result.status == 1 and why in result.err
    assert not (tmp_path / "best.yaml").exists()


def test_a_space_that_cannot_be_read_is_named(cli, folder, tmp_path):
    models = ("--models", folder / "one.onnx")
    result = cli("dse", *models, "--space", "none.yaml", "-o", tmp_path / "best.yaml")
    assert result.status == 1 and "cannot read the space" in result.err


def test_a_model_without_a_segment_is_told(cli, folder, tmp_path):
    result = cli(*words(folder, tmp_path, "float"))
    assert result.status == 1 and "takes no op of it" in result.err
