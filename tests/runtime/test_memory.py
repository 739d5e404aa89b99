"""Memory told before a run, and what sessions of one artifact share."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.runtime import Session

WIDTH, LAYERS = 512, 3
WEIGHTS = LAYERS * WIDTH * WIDTH * 4


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Dense layers on dnnl, with host twins."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for i in range(LAYERS):
        w = (rng.standard_normal((WIDTH, WIDTH)) / 20).astype("float32")
        weights.append(numpy_helper.from_array(w, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Relu", [f"m{i}"], [f"r{i}"]))
        last = f"r{i}"
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "dense", [helper.make_tensor_value_info("x", kind, [4, WIDTH])],
        [helper.make_tensor_value_info(last, kind, [4, WIDTH])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path = tmp_path_factory.mktemp("memory") / "m.byoc"
    byoc.compile(model, vendors=["dnnl"], heal=True).save(path)
    return path


def mapped(path: Path) -> int:
    """Mappings of a file in this process."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return sum(line.endswith(str(path)) for line in maps.splitlines())


def test_peak_is_known_before_the_first_run(file):
    exe = byoc.load(file)
    memory = exe.memory
    assert memory.ports == 2 * 4 * WIDTH * 4
    # every weight is there once: where the file has it, or packed
    assert WEIGHTS <= memory.weights + memory.packed < 1.2 * WEIGHTS
    assert (
        exe.report.peak_bytes
        == memory.peak_bytes
        == sum((memory.weights, memory.packed, memory.workspace, memory.ports, memory.code))
    )
    more = memory.at(3) - memory.at(1)
    assert more == 2 * (memory.workspace + memory.ports)


def test_sessions_of_equal_files_share(file, tmp_path):
    copy = tmp_path / "copy.byoc"
    copy.write_bytes(file.read_bytes())
    x = np.ones((4, WIDTH), "float32")
    first = byoc.load(file)
    once = mapped(file)
    others = [byoc.load(path) for path in (file, copy) * 4]
    assert once == 1 and mapped(file) == 1 and mapped(copy) == 0
    answers = [exe(x) for exe in (first, *others)]
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[0])
    del first
    np.testing.assert_array_equal(others[0](x), answers[0])
    del others
    end = time.monotonic() + 30  # segments end on their processor's thread
    while mapped(file) and time.monotonic() < end:
        time.sleep(0.001)
    assert mapped(file) == 0


def test_the_file_holds_each_weight_once(file):
    assert WEIGHTS < file.stat().st_size < 1.1 * WEIGHTS


def _convolutions() -> onnx.ModelProto:
    """Every way that weights come: plain, pointwise, grouped, transposed, a product of few rows
    (whose columns are no whole vectors) and one of many."""
    rng = np.random.default_rng(1)
    nodes, weights = [], []

    def constant(name: str, *shape: int) -> str:
        values = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype("float32")
        weights.append(numpy_helper.from_array(values, name))
        return name

    def node(op: str, x: str, weight: str, y: str, **attrs: object) -> None:
        nodes.append(helper.make_node(op, [x, weight], [y], **attrs))

    node("Conv", "x", constant("w0", 128, 64, 3, 3), "c0", pads=[1] * 4)
    nodes.append(helper.make_node("Relu", ["c0"], ["r0"]))
    node("Conv", "r0", constant("w1", 256, 128, 1, 1), "c1")
    node("Conv", "c1", constant("w2", 256, 64, 3, 3), "c2", group=4, strides=[2, 2])
    node("ConvTranspose", "c2", constant("w3", 256, 48, 3, 3), "c3", strides=[2, 2])
    node("Conv", "c3", constant("w4", 96, 48, 5, 5), "c4")
    nodes.append(helper.make_node("Reshape", ["c4", "rows"], ["m0"]))
    node("MatMul", "m0", constant("w5", 96, 512), "m1")
    node("MatMul", "m1", constant("w6", 512, 1000), "m2")
    nodes.append(helper.make_node("ReduceMean", ["m2"], ["m3"], axes=[1]))
    node("MatMul", "m3", constant("w7", 1000, 500), "y")
    weights.append(numpy_helper.from_array(np.array([1, -1, 96]), "rows"))
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "convolutions", [helper.make_tensor_value_info("x", kind, [1, 64, 14, 14])],
        [helper.make_tensor_value_info("y", kind, None)], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def test_twins_share_the_weights_of_vendors(tmp_path):
    model = _convolutions()
    weights = sum(numpy_helper.to_array(w).nbytes for w in model.graph.initializer)
    sizes, members, exes = [], [], []
    for heal in (False, True):
        exe = byoc.compile(model, vendors=["dnnl"], heal=heal)
        assert bool(exe._program.twins) is heal
        exe.save(tmp_path / f"{heal}.byoc")
        sizes.append((tmp_path / f"{heal}.byoc").stat().st_size)
        with zipfile.ZipFile(tmp_path / f"{heal}.byoc") as file:
            members.append(file.getinfo("weights.bin").file_size)
        exes.append(exe)
    assert 0.99 * weights < members[0] and members[1] < 1.005 * members[0]
    assert sizes[1] < 1.1 * sizes[0]
    # In memory, too: a twin holds the arrays of its vendor.
    assert exes[1].memory.weights < 1.005 * exes[0].memory.weights
    loaded = byoc.load(tmp_path / "True.byoc")
    assert mapped(tmp_path / "True.byoc") == 1
    twins = list(loaded._program.twins.values())
    addresses = {a.ctypes.data for t in twins for a in t.constants if a.nbytes > 4096}
    vendors = {a.ctypes.data for s in loaded._program.artifacts for a in s.constants}
    assert addresses and addresses <= vendors
    # They compute the same: a program whose vendor is gone runs on its twins.
    gone = dict.fromkeys(loaded._program.twins, "gone")
    alone = Session(dataclasses.replace(loaded._program, refused=gone))
    x = np.random.default_rng(2).standard_normal((1, 64, 14, 14), "float32")
    np.testing.assert_allclose(alone(x), exes[0](x), rtol=1e-4, atol=1e-5)
    assert [fault.kind for fault in alone.faults] == ["build"] * len(gone)


_GROWTH = """
import re, sys
from pathlib import Path
import numpy as np
import byoc

def resident():
    # Without the code of libraries, which other processes share: what oneDNN's kernels touch of it
    # depends on the model.
    total, counted = 0, True
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counted = not re.search(r"\\.so(\\.[0-9.]+)?$", line)
        elif counted and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total

def loaded(path):
    exe = byoc.load(path)
    rng = np.random.default_rng(0)
    def draw(kind):
        if "float" in kind.dtype:
            return rng.standard_normal(kind.shape).astype(kind.dtype)
        return np.ones(kind.shape, kind.dtype)
    return exe, {port.name: draw(port.type) for port in exe.inputs}

small, path, words = sys.argv[1:]
first, x = loaded(small)  # Python's modules, the libraries, the threads
first.run(x)
before = resident()
exe, x = loaded(path)
# Tables are resident as far as they were read. Linux maps 64 KiB around what is touched.
for begin in range(0, int(words) or 1, 16 * 128):
    if int(words):
        x["input_ids"] = (begin + 16 * np.arange(128)).clip(0, int(words) - 1)[None].astype("int64")
    exe.run(x)
print((resident() - before) / exe.report.peak_bytes)
"""


def growth(small: Path, path: Path, words: int = 0) -> float:
    """Resident memory that a session of `path` takes, over what it said it would.

    words: rows of the table that `input_ids` ask for; all are asked for.
    """
    command = [sys.executable, "-c", _GROWTH, str(small), str(path), str(words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return float(done.stdout)


@pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
def test_memory_grows_by_what_was_told(file, tmp_path, vendors):
    width = 2300  # 21 MB a matrix: neither whole pages nor whole vectors
    weights = [
        numpy_helper.from_array(np.full((width, width), 0.001 * n, "float32"), f"w{n}")
        for n in (1, 2, 3)
    ]
    names = ["x", "a", "b", "y"]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i + 1}"], [names[i + 1]]) for i in range(3)]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [64, width]) for n in "xy"]
    graph = helper.make_graph(nodes, "wide", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    byoc.compile(model, vendors=vendors).save(tmp_path / "wide.byoc")
    assert 0.9 < growth(file, tmp_path / "wide.byoc") < 1.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "vendors", "most"),
    [
        ("mobilenet_v2", [], 1.1),
        ("mobilenet_v2", ["dnnl"], 1.3),  # of 21 MB, 4 are oneDNN's own: code, objects
        ("resnet50", [], 1.1),
        ("resnet50", ["dnnl"], 1.1),
        ("bert", [], 1.1),
        ("bert", ["dnnl"], 1.1),
    ],
)
def test_memory_of_nets_grows_by_what_was_told(file, tmp_path, name, vendors, most):
    from byoc.testing.zoo import model_path

    byoc.compile(model_path(name), vendors=vendors).save(tmp_path / "m.byoc")
    assert 0.9 < growth(file, tmp_path / "m.byoc", 30522 if name == "bert" else 0) < most
