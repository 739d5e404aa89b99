"""Files that are no models, weights that are not there, and bytes nobody meant."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from byoc.errors import ModelError
from byoc.frontends import import_model
from byoc.frontends.onnx import wire
from byoc.support.memory import ALIGNMENT


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), **attrs)


@pytest.fixture
def small(tools, rng):
    """A dense layer whose weight is large enough to stay in the file."""
    weights = {
        "w": rng.standard_normal((64, 32)).astype("f4"),
        "b": rng.standard_normal(32).astype("f4"),
    }
    nodes = [node("MatMul", "x w", "m", name="/dense/MatMul"), node("Add", "m b", "y")]
    return tools.model(nodes, {"x": ("f4", [2, 64])}, {"y": ("f4", [2, 32])}, weights)


def refused(path, *words):
    with pytest.raises(ModelError) as caught:
        import_model(path)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x80\x02}q\x00", "pickle"),
        (b"\x00\x00\x00\x00TFL3rest", "schema version"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<html><body>404</body></html>", "failed download"),
        (b"GGUF\x03\x00", "GGUF"),
        (b"plain words", "not an ONNX model"),
        (b"\x08\x08", "damaged or truncated"),
    ],
)
def test_files_that_are_something_else(tmp_path, content, word):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    refused(path, str(path), word)


def test_paths_that_lead_nowhere(tmp_path):
    refused(tmp_path / "nothing.onnx", "no such file", "nothing.onnx")
    refused(tmp_path, "is a directory")
    with pytest.raises(ModelError, match="found int"):
        import_model(3)


def test_truncated_anywhere(tmp_path, small):
    data = small.SerializeToString()
    path = tmp_path / "cut.onnx"
    for keep in range(1, len(data) - 1, 397):
        path.write_bytes(data[:keep])
        refused(path, "cut.onnx")


def test_weights_stay_in_the_file(small):
    data = small.SerializeToString()
    rest, payloads = wire.split(memoryview(data))
    assert set(payloads) == {"w"}, "small tensors are not worth it"
    assert len(rest) < 1000
    cut = onnx.ModelProto.FromString(rest)
    assert [t.name for t in cut.graph.initializer] == ["w", "b"]
    assert list(cut.graph.initializer[0].dims) == [64, 32]
    assert bytes(payloads["w"]) == small.graph.initializer[0].raw_data


def test_file_and_proto_give_the_same_numbers(tools, tmp_path, small):
    onnx.save(small, tmp_path / "m.onnx")
    feeds = tools.feeds(small, 0, {})
    expected = tools.reference(small, feeds)
    for source in (tmp_path / "m.onnx", str(tmp_path / "m.onnx"), small):
        imported = import_model(source)
        assert imported.source == "onnx"
        tools.close(tools.run(imported.mod, feeds["x"]), expected)
    assert import_model(tmp_path / "m.onnx").name == "m"


def constants(mod):
    import tvm
    from tvm import relax

    found = []
    relax.analysis.post_order_visit(
        mod["main"],
        lambda e: found.append(e.value) if isinstance(e, tvm.ir.GenericConst) else None,
    )
    return found


def test_constants_are_aligned_for_kernels(tmp_path, small):
    onnx.save(small, tmp_path / "m.onnx")
    for tensor in constants(import_model(tmp_path / "m.onnx").mod):
        assert np.from_dlpack(tensor).ctypes.data % ALIGNMENT == 0


# -- external data


def save_external(model, folder, location="weights.bin"):
    folder.mkdir(exist_ok=True)
    onnx.save(
        model,
        folder / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    saved = onnx.load(folder / "m.onnx", load_external_data=False)
    for tensor in saved.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    onnx.save(saved, folder / "m.onnx")
    return folder / "m.onnx"


def test_external_weights_are_read(tools, tmp_path, small):
    feeds = tools.feeds(small, 0, {})
    expected = tools.reference(small, feeds)
    path = save_external(onnx.ModelProto.FromString(small.SerializeToString()), tmp_path / "a")
    tools.close(tools.run(import_model(path).mod, feeds["x"]), expected)


def test_external_weights_that_are_missing_or_short(tmp_path, small):
    path = save_external(small, tmp_path / "a")
    data = (tmp_path / "a" / "weights.bin").read_bytes()
    (tmp_path / "a" / "weights.bin").write_bytes(data[:100])
    refused(path, "tensor 'w'", "weights.bin", "cut short")
    (tmp_path / "a" / "weights.bin").unlink()
    refused(path, "tensor 'w'", "weights.bin", "does not exist")
    proto = onnx.load(path, load_external_data=False)
    refused(proto, "pass the path of the model")


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", ""])
def test_external_weights_stay_in_the_folder(tmp_path, small, location):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 10000)
    path = save_external(small, tmp_path / "a", location)
    refused(path, "must lie in the model's folder")


def test_a_link_out_of_the_folder_is_refused(tmp_path, small):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 10000)
    path = save_external(small, tmp_path / "a")
    (tmp_path / "a" / "weights.bin").unlink()
    (tmp_path / "a" / "weights.bin").symlink_to(tmp_path / "secret.bin")
    refused(path, "must lie in the model's folder")


def test_linked_models_find_their_data(tools, tmp_path, small):
    """Download caches keep model and data as links to files side by side."""
    feeds = tools.feeds(small, 0, {})
    expected = tools.reference(small, feeds)
    save_external(small, tmp_path / "blobs")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for name in ("m.onnx", "weights.bin"):
        (snapshot / name).symlink_to(tmp_path / "blobs" / name)
    tools.close(tools.run(import_model(snapshot / "m.onnx").mod, feeds["x"]), expected)


def test_a_tensor_shorter_than_its_shape(tools, small):
    small.graph.initializer[0].dims[0] = 65
    refused(small, "tensor 'w'", "does not hold what its type says")


# -- graphs


def test_unknown_operators_are_listed_with_counts(tools):
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="n1", domain="com.acme"),
        helper.make_node("Foo", ["a"], ["b"], name="n2", domain="com.acme"),
        helper.make_node("Bar", ["b"], ["y"]),
    ]
    model = tools.model(nodes, {"x": ("f4", [1])}, {"y": ("f4", [1])}, domains={"com.acme": 1})
    text = refused(model, "3 of 3 nodes", "com.acme::Foo (2, first at 'n1')")
    assert "ai.onnx::Bar (1, first at 'y')" in text


def test_operators_of_foreign_domains_are_not_mistaken(tools):
    relu = helper.make_node("Relu", ["x"], ["y"], domain="com.acme")
    model = tools.model([relu], {"x": ("f4", [1])}, {"y": ("f4", [1])}, domains={"com.acme": 1})
    refused(model, "com.acme::Relu")


def test_cycles_twins_and_dangling_names(tools):
    x, y = {"x": ("f4", [1])}, {"y": ("f4", [1])}
    cycle = tools.model(
        [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Exp", "b", "y")], x, y
    )
    refused(cycle, "has a cycle through 3 nodes")
    twins = tools.model([node("Relu", "x", "y"), node("Exp", "x", "y")], x, y)
    refused(twins, "'y' is made by two nodes")
    loose = tools.model([node("Add", "x nothing", "y")], x, y)
    refused(loose, "node 'y'", "reads 'nothing', which nothing before it produces")


def test_unsorted_nodes_are_sorted(tools):
    nodes = [node("Exp", "a", "y"), node("Relu", "x", "a")]
    model = tools.model(nodes, {"x": ("f4", [3])}, {"y": ("f4", [3])})
    assert [op for _, op in tools.names(import_model(model).mod)] == ["nn.relu", "exp"]


def test_absurd_dimensions(tools):
    big = tools.model([node("Relu", "x", "y")], {"x": ("f4", [2**40, 2**40])}, {"y": ("f4", None)})
    refused(big, "input 'x'", "no machine holds")
    filled = tools.model(
        [node("ConstantOfShape", "s", "y")], {"x": ("f4", [1])}, {"y": ("f4", None)},
        {"s": np.array([2**40, 2**40])},
    )  # fmt: skip
    refused(filled, "node 'y'", "larger than any machine")


def test_inputs_that_are_no_numeric_tensors(tools):
    model = tools.model([node("Identity", "x", "y")], {"x": ("f4", [1])}, {"y": ("f4", [1])})
    model.graph.input[0].type.sparse_tensor_type.elem_type = TensorProto.FLOAT
    refused(model, "input 'x' has the type sparse_tensor_type")


def test_opsets_out_of_range(tools):
    model = tools.model([node("Relu", "x", "y")], {"x": ("f4", [1])}, {"y": ("f4", [1])}, opset=17)
    model.opset_import[0].version = 999
    refused(model, "has opset 999", "Install a newer onnx")
    old = tools.model(
        [node("Add", "x b", "y", axis=1, broadcast=1)],
        {"x": ("f4", [1, 2, 3]), "b": ("f4", [2])},
        {"y": ("f4", [1, 2, 3])},
        opset=6,
    )
    assert tools.ops(import_model(old).mod)["add"] == 1


# -- bytes nobody meant


@pytest.fixture(scope="module")
def seed_bytes(tools):
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((4, 3, 3, 3)).astype("f4"), "s": np.array([1, -1])}
    nodes = [
        node("Conv", "x w", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Clip", "c", "k"),
        node("MaxPool", "k", "p", kernel_shape=[2, 2]),
        node("Reshape", "p s", "f"),
        node("Softmax", "f", "y", axis=-1),
    ]
    model = tools.model(nodes, {"x": ("f4", ["n", 3, 8, 8])}, {"y": ("f4", None)}, weights)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("before", "field"),
    [
        (b"MaxPool", "onnx.NodeProto.op_type"),
        (b"kernel_shape", "onnx.AttributeProto.name"),
        (b"graph*", "onnx.GraphProto.name"),
    ],
)
def test_names_that_are_no_text(tmp_path, seed_bytes, before, field):
    path = tmp_path / "damaged.onnx"
    path.write_bytes(seed_bytes.replace(before, b"\x80" + before[1:], 1))
    with pytest.raises(ModelError, match=f"damaged.onnx.* a {field} is b'.x80.*no UTF-8 text"):
        import_model(path)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_mutated_files_are_read_or_refused(tmp_path, seed_bytes, data):
    """Never a crash, never anything but ModelError."""
    content = bytearray(seed_bytes)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "insert", "delete", "cut"])):
            case "set":
                content[at] = data.draw(st.integers(0, 255))
            case "insert":
                content.insert(at, data.draw(st.integers(0, 255)))
            case "delete":
                del content[at]
            case "cut":
                del content[at + 1 :]
        if not content:
            content = bytearray(b"\x08")
    path = tmp_path / "mutated.onnx"
    path.write_bytes(content)
    try:
        import_model(path)
    except ModelError as error:
        assert "mutated.onnx" in str(error)
