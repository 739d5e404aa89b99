"""`byoc inspect`, `byoc check`, `byoc profile` on files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory) -> Path:
    w = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [numpy_helper.from_array(w, "w")],
    )
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


@pytest.fixture(scope="module")
def artifact(onnx_file) -> Path:
    path = onnx_file.with_suffix(".byoc")
    byoc.compile(onnx_file).save(path)
    return path


def test_inspect(cli, artifact):
    shown = cli("inspect", artifact)
    assert shown.status == 0, shown.err
    for part in ("format 2", "x: float32[2, 8]", "y: float32[2, 4]", "host.so", "sha256", "avx"):
        assert part in shown.out or part == "avx"
    document = cli("inspect", artifact, "--json").json()
    assert document["format"] == 2 and {m["name"] for m in document["members"]} >= {"plan.json"}
    missing = cli("inspect", artifact.parent / "absent.byoc")
    assert missing.status == 1 and "No such file" in missing.err


def test_inspect_a_source_file(cli, onnx_file):
    shown = cli("inspect", onnx_file)
    assert shown.status == 0, shown.err
    for part in ("onnx, ai.onnx 17", "x: float32[2, 8]", "y: float32[2, 4]", "parameters  "):
        assert part in shown.out
    document = cli("inspect", onnx_file, "--json").json()
    assert document["inputs"] == {"x": "float32[2, 8]"} and document["opaque"] == []
    assert document["versions"] == {"ai.onnx": "17"}
    assert sum(document["operators"].values()) >= sum(document["ops"].values()) > 0
    assert document["parameter_bytes"] == 4 * document["parameters"] > 0


def test_inspect_tells_what_is_opaque_and_names_dimensions(cli, tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Det", ["x"], ["y"], name="det")],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 20, 20])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch"])],
    )
    path = tmp_path / "det.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    document = cli("inspect", path, "--json").json()
    assert document["inputs"] == {"x": "float32[batch, 20, 20]"}
    (opaque,) = document["opaque"]
    assert (opaque["op"], opaque["node"]) == ("Det", "det") and "more than 16" in opaque["reason"]
    assert "--vendors onnxruntime" in cli("inspect", path).out
    (tmp_path / "text.onnx").write_text("hello")
    bad = cli("inspect", tmp_path / "text.onnx")
    assert bad.status == 1 and "is not an ONNX model" in bad.err


def test_check(cli, artifact, tmp_path):
    fine = cli("check", artifact)
    assert fine.status == 0 and "runs here" in fine.out
    data = bytearray(artifact.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.byoc").write_bytes(data)
    bad = cli("check", tmp_path / "bad.byoc", "--json")
    assert bad.status == 1 and not bad.json()["runs"]
    (wrong,) = [f for f in bad.json()["findings"] if f["level"] == "problem"]
    assert "is damaged" in wrong["text"]


def test_sign(cli, artifact, tmp_path):
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    private = ed25519.Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    key, public = tmp_path / "key.pem", tmp_path / "pub.pem"
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(pem, form, serialization.NoEncryption()))
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(private.public_key().public_bytes(pem, info))
    path = tmp_path / "m.byoc"
    path.write_bytes(artifact.read_bytes())
    refused = cli("check", path, "--require-signature", public)
    assert refused.status == 1 and "is not signed" in refused.out
    assert "is signed with ed25519 key" in cli("sign", path, "--key", key).out
    assert cli("check", path, "--require-signature", public).status == 0
    assert cli("inspect", path, "--json").json()["signed_by"]
    np.savez(tmp_path / "x.npz", x=np.ones((2, 8), "float32"))
    words = ("run", path, "--inputs", tmp_path / "x.npz", "--require-signature", public)
    assert cli(*words).status == 0


def test_profile(cli, artifact, onnx_file, tmp_path):
    trace = tmp_path / "t.json"
    shown = cli("profile", artifact, "--requests", 3, "--trace", trace)
    assert shown.status == 0 and "3 request(s)" in shown.out and "ui.perfetto.dev" in shown.err
    assert any(e["ph"] == "X" for e in json.loads(trace.read_text())["traceEvents"])
    document = cli("profile", onnx_file, "--requests", 2, "--warmup", 0, "--json").json()
    assert len(document["requests"]) == 2 and document["tasks"][0]["kind"] == "host"
    page = tmp_path / "r.html"
    shown = cli("profile", artifact, "--html", page, "--top", 1)
    assert shown.status == 0 and "timeline written to" in shown.err
    text = page.read_text(encoding="utf-8")
    assert '"profile":{' in text and '"ops":{"n":0' not in text  # the report as well
    lost = cli("profile", artifact, "--html", tmp_path / "absent" / "r.html")
    assert lost.status == 2 and "there is no folder" in lost.err
    refused = cli("profile", artifact, "--vendors", "dnnl")
    assert refused.status == 2 and "is compiled" in refused.err
