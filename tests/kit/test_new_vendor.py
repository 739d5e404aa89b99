"""Projects of new vendors: written whole, importable, and within their lines."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys

import numpy as np
import pytest

import byoc
from byoc.errors import CompileError, VendorError
from byoc.kit.compiler import compile_c, find_compiler, load_bytes
from byoc.kit.new_vendor import TEMPLATES, write_project

LINES = {"python": 60, "c-source": 120, "native": 150, "tir": 120}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_project_has_the_name_everywhere(tmp_path, template):
    files = write_project("my_chip", template, tmp_path / "new")
    names = {str(path.relative_to(tmp_path / "new")) for path in files}
    assert {"pyproject.toml", "README.md", "ci.sh", "tests/test_my_chip.py"} <= names
    assert "byoc_my_chip/__init__.py" in names
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "acme" not in text.lower()
        if path.suffix == ".py":
            ast.parse(text)
    assert os.access(tmp_path / "new" / "ci.sh", os.X_OK)
    project = (tmp_path / "new" / "pyproject.toml").read_text(encoding="utf-8")
    assert 'name = "byoc-my-chip"' in project
    assert 'my_chip = "byoc_my_chip:VENDOR"' in project


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_was_written_by_hand_is_short(tmp_path, template):
    files = write_project("acme", template, tmp_path / "new")
    own = [
        p for p in files if p.name != "README.md" and p.parent.name != "tests" and p.name != "ci.sh"
    ]
    lines = [
        line for p in own for line in p.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    assert len(lines) <= LINES[template]


def _imported(folder, name):
    spec = importlib.util.spec_from_file_location(name, folder / name / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.VENDOR


@pytest.mark.parametrize("template", [t for t in TEMPLATES if t != "native"])
def test_a_new_vendor_computes(tmp_path, template):
    """`native` needs to be installed; the others run from where they lie."""
    if template == "c-source" and find_compiler("CC") is None:
        pytest.skip("no C compiler")
    write_project("newly", template, tmp_path / "new")
    vendor = _imported(tmp_path / "new", "byoc_newly")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(5, 4)), "b": rng.normal(size=4)}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["p"]),
            helper.make_node("Add", ["p", "b"], ["s"]),
            helper.make_node("Relu", ["s"], ["y"]),
        ],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 4))],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    x = rng.normal(size=(3, 5)).astype(np.float32)
    exe = byoc.compile(model, [vendor], min_segment_ops=1)
    assert exe.report.coverage.ops == 1.0
    want = np.maximum(x @ weights["w"].astype("f4") + weights["b"].astype("f4"), 0)
    np.testing.assert_allclose(exe.run({"x": x})["y"], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "template", "words"),
    [
        ("Acme", "python", "a-z, 0-9"),
        ("host", "python", "means something else"),
        ("class", "python", "means something else"),
        ("acme", "pyton", "did you mean 'python'"),
    ],
)
def test_what_is_not_legal_is_named(tmp_path, name, template, words):
    with pytest.raises(VendorError, match=words):
        write_project(name, template, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over(tmp_path):
    with pytest.raises(VendorError, match="exists already"):
        write_project("acme", "python", tmp_path)


@pytest.mark.skipif(find_compiler("CC") is None, reason="no C compiler")
def test_two_libraries_of_one_name_stay_two():
    first, second = (load_bytes(compile_c(f"int answer(void) {{ return {n}; }}")) for n in (1, 2))
    assert (first.answer(), second.answer()) == (1, 2)
    with pytest.raises(CompileError, match=r"(?s)failed:.*error"):
        compile_c("int answer(void) { return }")


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("CC", "/no/such/compiler")
    with pytest.raises(CompileError, match="cannot be run"):
        compile_c("int x;")
