"""Where inputs come from: archives, arrays, raw bytes, pictures, nothing."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from byoc.cli.inputs import given_inputs, is_artifact, read_inputs
from byoc.errors import InputError, OptionError
from byoc.segment import TensorType


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """y = x [2, 3] + b [3], and z = picture [1, 3, 4, 5] alone, as .byoc files."""
    import byoc

    folder = tmp_path_factory.mktemp("inputs")

    def value(name, *shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    add = helper.make_node("Add", ["x", "b"], ["y"])
    graph = helper.make_graph([add], "add", [value("x", 2, 3), value("b", 3)], [value("y", 2, 3)])
    byoc.compile(helper.make_model(graph)).save(folder / "add.byoc")
    copy = helper.make_node("Relu", ["picture"], ["z"])
    shape = (1, 3, 4, 5)
    graph = helper.make_graph([copy], "copy", [value("picture", *shape)], [value("z", *shape)])
    byoc.compile(helper.make_model(graph)).save(folder / "copy.byoc")
    return folder


X, B = np.arange(6, dtype="float32").reshape(2, 3), np.float32([10, 20, 30])


def answer(path):
    with np.load(path) as file:
        (name,) = file.files
        return file[name]


def test_arrays_from_several_files(cli, compiled, tmp_path):
    np.save(tmp_path / "x.npy", X)
    B.tofile(tmp_path / "b.bin")
    np.savez(tmp_path / "b.npz", b=B)
    out = tmp_path / "y.npz"
    for second in (f"b={tmp_path / 'b.bin'}", tmp_path / "b.npz", f"b={tmp_path / 'b.npz'}"):
        ran = cli("run", compiled / "add.byoc", "--inputs", f"x={tmp_path / 'x.npy'}",
                  "--inputs", second, "--outputs", out)  # fmt: skip
        assert ran.status == 0, ran.err
        assert (answer(out) == X + B).all()


def test_a_file_without_a_name_is_for_the_only_input(cli, compiled, tmp_path):
    picture = np.random.default_rng(0).random((1, 3, 4, 5), dtype="float32")
    np.save(tmp_path / "p.npy", picture)
    picture.tofile(tmp_path / "p.raw")
    for name in ("p.npy", "p.raw"):
        ran = cli("run", compiled / "copy.byoc", "--inputs", tmp_path / name,
                  "--outputs", tmp_path / "z.npz")  # fmt: skip
        assert ran.status == 0, ran.err
        assert (answer(tmp_path / "z.npz") == picture).all()
    lost = cli("run", compiled / "add.byoc", "--inputs", tmp_path / "p.npy")
    assert lost.status == 1
    assert "the model has 2 inputs; say which the file is for, as NAME=FILE: x, b" in lost.err


def test_pictures_are_resized_and_said(cli, compiled, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (50, 40), (255, 0, 51)).save(tmp_path / "red.png")
    ran = cli("run", compiled / "copy.byoc", "--inputs", tmp_path / "red.png",
              "--outputs", tmp_path / "z.npz")  # fmt: skip
    assert ran.status == 0, ran.err
    assert "50 x 40 resized to 5 x 4, RGB, values 0 to 1" in ran.err
    found = answer(tmp_path / "z.npz")
    np.testing.assert_allclose(found[0, :, 0, 0], [1, 0, 0.2], rtol=1e-6)
    # Whole numbers, channels last, grey.
    path = tmp_path / "grey.png"
    image.new("L", (3, 2), 7).save(path)
    made = given_inputs(read_inputs([str(path)]), {"g": TensorType((1, "h", "w", 1), "uint8")})
    assert made["g"].shape == (1, 2, 3, 1) and made["g"].dtype == "uint8" and (made["g"] == 7).all()
    with pytest.raises(InputError, match="no input of type float32.2, 3. .NCHW or NHWC. takes one"):
        given_inputs(read_inputs([str(path)]), {"x": TensorType((2, 3), "float32")})


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.npz"])
def test_damaged_files_are_named(tmp_path, name):
    pytest.importorskip("PIL.Image")
    path = tmp_path / name
    path.write_bytes(b"\x89PNG\r\n\x1a\n no more of it")
    with pytest.raises(InputError, match=name):
        read_inputs([str(path)])
    with pytest.raises(InputError, match="cannot read the inputs"):
        read_inputs([str(tmp_path / f"missing-{name}")])


def test_bytes_that_do_not_fit(tmp_path):
    (tmp_path / "x.bin").write_bytes(bytes(20))
    given = read_inputs([f"x={tmp_path / 'x.bin'}"])
    for shape in ((2, 3), ("n", 3), ("n", "m")):
        with pytest.raises(InputError, match=r"x.bin holds 20 bytes, which are no float32"):
            given_inputs(given, {"x": TensorType(shape, "float32")})
    assert given_inputs(given, {"x": TensorType(("n", 5), "float32")})["x"].shape == (1, 5)


def test_wrong_names(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "two.npz", x=X, b=B)
    types = {"x": TensorType((2, 3), "float32")}
    with pytest.raises(InputError, match="no input 'y': legal: x"):
        given_inputs(read_inputs([f"y={tmp_path / 'x.npy'}"]), types)
    with pytest.raises(OptionError, match="gives 'x' twice"):
        read_inputs([f"x={tmp_path / 'x.npy'}", str(tmp_path / "two.npz")])
    with pytest.raises(OptionError, match="gives 'x' twice"):
        given_inputs(read_inputs([f"x={tmp_path / 'x.npy'}", str(tmp_path / "x.npy")]), types)
    with pytest.raises(InputError, match="holds x, b; 'x' takes one array"):
        read_inputs([f"x={tmp_path / 'two.npz'}"])


def test_a_file_name_may_hold_an_equals_sign(tmp_path):
    path = tmp_path / "batch=2.npy"
    np.save(path, X)
    assert list(read_inputs([str(path)])) == [""]


def test_random_inputs_are_said_and_largest_values_shown(cli, compiled):
    ran = cli("run", compiled / "add.byoc", "--print-top", 2, "--json")
    assert ran.status == 0, ran.err
    assert "they are random (seed 0)" in ran.err
    (output,) = json.loads(ran.out)["outputs"]
    assert len(output["top"]) == 2  # rows
    for row in output["top"]:
        (_, first), (_, second) = row
        assert first >= second
    told = cli("run", compiled / "add.byoc", "--print-top", 1)
    assert "row 1: " in told.out


def test_what_is_compiled_already(compiled, tmp_path):
    import zipfile

    assert is_artifact(compiled / "add.byoc")
    (tmp_path / "renamed").write_bytes((compiled / "add.byoc").read_bytes())
    assert is_artifact(tmp_path / "renamed")
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:  # torch.export's are such
        archive.writestr("model/data", b"")
    assert not is_artifact(tmp_path / "model.pt2")
    assert not is_artifact(tmp_path / "missing")
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [])), tmp_path / "m.onnx")
    assert not is_artifact(tmp_path / "m.onnx")


def test_random_inputs_leave_out_what_has_a_default(cli, tmp_path):
    """A variance stored in the model is no input to draw: a negative one would make NaN."""

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    node = helper.make_node("Div", ["x", "scale"], ["y"])
    stored = onnx.numpy_helper.from_array(np.float32([1, 2, 4]), "scale")
    inputs, outputs = [value("x", 2, 3), value("scale", 3)], [value("y", 2, 3)]
    graph = helper.make_graph([node], "g", inputs, outputs, [stored])
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "m.onnx")
    import byoc
    from byoc.cli.inputs import inputs_for

    exe = byoc.compile(tmp_path / "m.onnx")
    assert [port.name for port in exe.defaults] == ["scale"]
    assert set(inputs_for(exe, {}, tmp_path / "m.onnx", {})) == {"x"}
    assert set(inputs_for(exe, {}, None, {})) == {"x"}
    same = cli("compare", tmp_path / "m.onnx", "--seeds", 1)
    assert same.status == 0, same.err


@pytest.mark.parametrize("command", ["compile", "quantize"])
def test_a_damaged_calibration_is_one_sentence(cli, tmp_path, command):
    (tmp_path / "c.npz").write_bytes(b"no archive")
    done = cli(command, tmp_path / "m.onnx", "-o", tmp_path / "out",
               "--calibration", tmp_path / "c.npz")  # fmt: skip
    assert done.status == 1 and "cannot read the inputs" in done.err and "c.npz" in done.err
