"""Artifacts that are kept between processes: which segments are the same, and what comes back."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import byoc
from byoc.build.segments import compile_segment
from byoc.errors import CompileError, VendorError
from byoc.plugins.discovery import Requested, find
from byoc.runtime.engines import stored_engines
from byoc.segment import Artifact, Composite, Node, Requires, Segment, TensorType
from byoc.support.dtypes import numpy_dtype
from byoc.testing.zoo import build, random_inputs
from byoc.vendor import Equipment, NoOptions, PythonRuntime, Vendor

COMPILED: list[Segment] = []
MADE = np.arange(6, dtype="int16").reshape(2, 3)
NEEDS = Requires(cpu_features=("sse3",), machine="x86_64", memory=5)
KEPT = ["acme 7"]


class Options(NoOptions):
    """What the vendor may be told."""

    lanes: int = 4


def init(blob, constants, options):
    raise AssertionError


def compile_it(segment, options):
    COMPILED.append(segment)
    constants = (segment.constants[1], MADE, MADE.astype(numpy_dtype("bfloat16")), np.array(2.5))
    return Artifact(segment.name, "acme", b"blob", constants, ("a note",), NEEDS)


def refuse(segment, options):
    COMPILED.append(segment)
    raise CompileError("no such kernel")


def other(segment, options):
    return compile_it(segment, options)


def keep():
    return KEPT


ACME = Vendor("acme", "1.0", list, compile_it, PythonRuntime(init), options=Options, keep=keep)
X, W = TensorType((2, 3), "float32"), TensorType((3,), "float32")
SEGMENT = Segment(
    name="acme_0",
    vendor="acme",
    values=(X, W, X),
    nodes=(Node("add", (0, 1), (2,), {"axis": 1, "scale": 0.5}, source=("layer1/add",)),),
    composites=(Composite("bias", (0,), {"sum": 2}),),
    inputs=(0,),
    outputs=(2,),
    constants={1: np.float32([1, 2, 3])},
    names={0: "image", 2: "logits"},
)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("BYOC_ENGINE_BYTES")
    COMPILED.clear()
    return tmp_path / "engines"


def compiled(segment=SEGMENT, vendor=ACME, **options) -> Artifact:
    return compile_segment(segment, [Requested(vendor, Options(**options), ())])


def changed(**fields) -> Segment:
    return dataclasses.replace(SEGMENT, **fields)


def node(**fields) -> Segment:
    return changed(nodes=(dataclasses.replace(SEGMENT.nodes[0], **fields),))


def test_what_comes_back_is_what_was_compiled():
    first, second = compiled(), compiled()
    assert len(COMPILED) == 1
    for artifact in (first, second):
        assert dataclasses.replace(artifact, constants=()) == Artifact(
            "acme_0", "acme", b"blob", (), ("a note",), NEEDS
        )
        weight, *made = artifact.constants
        assert weight is SEGMENT.constants[1]
        assert [(str(np.asarray(c).dtype), np.shape(c)) for c in made] == [
            ("int16", (2, 3)),
            ("bfloat16", (2, 3)),
            ("float64", ()),
        ]
        np.testing.assert_array_equal(made[0], MADE)
        assert float(made[2]) == 2.5


SAME = {
    "segment": changed(name="acme_12"),
    "ports": changed(names={0: "a", 2: "b"}),
    "layers": node(source=("block/7",)),
    "where an op came from": node(attrs={**SEGMENT.nodes[0].attrs, "reason": "…", "node": "n"}),
    "the array": changed(constants={1: np.float32([1, 2, 3])}),
    "the order of attributes": node(attrs={"scale": 0.5, "axis": 1}),
}


@pytest.mark.parametrize("what", SAME)
def test_what_only_has_another_name_is_found(what):
    compiled()
    found = compiled(SAME[what])
    assert len(COMPILED) == 1
    assert found.segment == SAME[what].name
    assert found.constants[0] is SAME[what].constants[1]


DIFFERENT = {
    "op": node(op="multiply"),
    "attribute": node(attrs={"axis": 1, "scale": 0.25}),
    "sign of zero": node(attrs={"axis": 1, "scale": -0.0}),
    "one attribute more": node(attrs={**SEGMENT.nodes[0].attrs, "more": None}),
    "order of inputs": node(inputs=(1, 0)),
    "shape": changed(values=(TensorType((6,), "float32"), W, X)),
    "dtype": changed(values=(TensorType((2, 3), "int32"), W, X)),
    "symbolic shape": changed(values=(TensorType(("n", 3), "float32"), W, X)),
    "weights": changed(constants={1: np.float32([1, 2, 4])}),
    "dtype of weights": changed(constants={1: np.int32([1, 2, 3])}),
    "pattern": changed(composites=(Composite("sum", (0,), {"sum": 2}),)),
    "parts": changed(composites=(Composite("bias", (0,), {}),)),
    "outputs": changed(outputs=(2, 2)),
    "inputs": changed(inputs=(0, 0)),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_every_other_segment_is_compiled(what):
    compiled()
    compiled(DIFFERENT[what])
    assert len(COMPILED) == 2
    compiled()
    assert len(COMPILED) == 2


def test_so_are_other_vendors_and_options(monkeypatch):
    compiled()
    for fields in (
        {"version": "1.1"},
        {"compile": other},
        {"runtime": PythonRuntime(init, equipment=lambda: Equipment(("chip",)))},
    ):
        compiled(vendor=dataclasses.replace(ACME, **fields))
    compiled(lanes=8)
    monkeypatch.setattr(f"{__name__}.KEPT", ["acme 8"])
    compiled()
    assert len(COMPILED) == 6
    assert {engine.vendor for engine in stored_engines()} == {"acme"}


def test_other_code_compiles_again(monkeypatch, tmp_path):
    package = tmp_path / "byoc_other"
    package.mkdir()
    (package / "__init__.py").write_text("from byoc_other.steps import compile_it\n")
    (package / "steps.py").write_text(
        "from byoc.segment import Artifact\n"
        "def compile_it(segment, options):\n"
        "    return Artifact(segment.name, 'acme', b'1')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import byoc_other

    vendor = dataclasses.replace(ACME, compile=byoc_other.compile_it)
    compiled(vendor=vendor)
    compiled(vendor=vendor)
    assert len(stored_engines()) == 1
    (package / "helper.py").write_text("")
    compiled(vendor=vendor)
    assert len(stored_engines()) == 2
    os.utime(package / "steps.py", (0, 0))
    compiled(vendor=vendor)
    assert len(stored_engines()) == 3


def test_only_vendors_that_ask_and_whose_code_can_be_seen(folder):
    compiled(vendor=dataclasses.replace(ACME, keep=None))
    compiled(vendor=dataclasses.replace(ACME, compile=lambda *a: compile_it(*a)))
    assert len(COMPILED) == 2
    assert not folder.exists()


def test_refusals_and_mistakes_are_the_vendors_own():
    for _ in range(2):
        with pytest.raises(CompileError, match="^no such kernel$"):
            compiled(vendor=dataclasses.replace(ACME, compile=refuse))
    assert len(COMPILED) == 2
    with pytest.raises(VendorError, match="keep.. of 'acme' must return a list of texts"):
        compiled(vendor=dataclasses.replace(ACME, keep=lambda: "acme 7"))
    with pytest.raises(VendorError, match="hook 'keep' must be callable"):
        byoc.compile(build("mlp"), [dataclasses.replace(ACME, keep=["acme 7"])])


def test_a_damaged_file_is_compiled_again(folder):
    compiled()
    (path,) = folder.glob("*.engine")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert compiled().blob == b"blob"
    assert len(COMPILED) == 2


def counted(segment, options):
    COMPILED.append(segment)
    return find("onnxruntime").compile(segment, options)


def test_a_whole_model_under_other_names():
    pytest.importorskip("onnxruntime")
    vendor = dataclasses.replace(find("onnxruntime"), compile=counted, keep=keep)
    model = build("mlp")
    inputs = list(random_inputs(model, 0).values())
    expected = byoc.compile(model, [vendor])(*inputs)
    first = len(COMPILED)
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    renamed.graph.name = "another"
    for number, item in enumerate(renamed.graph.node):
        item.name = f"layer{number}"
    np.testing.assert_array_equal(byoc.compile(renamed, [vendor])(*inputs), expected)
    assert len(COMPILED) == first > 0
