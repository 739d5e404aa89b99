"""Everything a user can get wrong, through the library and the command line.

Each case is an error of the right class whose message says what, where and what to do.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import byoc
from byoc.testing.zoo import build, model_path

KINDS = [name for name in byoc.__all__ if name.endswith("Error")]


def shell(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """The real command, as users see it."""
    return subprocess.run(
        [sys.executable, "-m", "byoc", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The error on stderr; remarks and progress may come before it."""
    assert "Traceback" not in done.stderr
    return done.stderr[max(done.stderr.find("byoc: " + kind) for kind in KINDS) :]


def refused(kind: type[byoc.ByocError], words: list[str], action) -> str:
    with pytest.raises(kind) as caught:
        action()
    message = str(caught.value)
    for word in words:
        assert word in message, message
    return message


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return build("mlp", batch=2, features=16, hidden=32, classes=8)


@pytest.fixture(scope="module")
def executable(model) -> byoc.Executable:
    return byoc.compile(model, vendors=["dnnl"])


@pytest.fixture
def artifact(executable, tmp_path) -> Path:
    path = tmp_path / "model.byoc"
    executable.save(path)
    return path


class TestModels:
    """Files that are no model, or one that cannot be compiled."""

    def broken(self, tmp_path, model, how) -> Path:
        path = tmp_path / "model.onnx"
        data = model.SerializeToString()
        content = {
            "empty": b"",
            "text": b"this is not a model\n" * 20,
            "truncated": data[: len(data) // 2],
            "cut by a byte": data[:-1],
        }
        path.write_bytes(content[how])
        return path

    @pytest.mark.parametrize("how", ["empty", "text", "truncated", "cut by a byte"])
    def test_not_an_onnx_file(self, tmp_path, model, how):
        path = self.broken(tmp_path, model, how)
        refused(byoc.ModelError, [str(path)], lambda: byoc.compile(path))

    def test_on_the_command_line(self, tmp_path, model):
        path = self.broken(tmp_path, model, "truncated")
        done = shell("partition", path)
        assert done.returncode == 1
        assert done.stdout == ""
        assert said(done).startswith("byoc: ModelError:")
        assert str(path) in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_missing_file(self, tmp_path):
        path = tmp_path / "no-such.onnx"
        refused(byoc.ModelError, [str(path)], lambda: byoc.compile(path))

    def test_something_else_than_a_model(self):
        refused(byoc.ModelError, ["int"], lambda: byoc.compile(3))

    @pytest.mark.parametrize("domain", ["", "com.acme"])
    def test_an_unknown_op(self, domain):
        node = helper.make_node("Frobnicate", ["x"], ["y"], name="/block/Frob", domain=domain)
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            [node],
            "g",
            [info("x", TensorProto.FLOAT, [2])],
            [info("y", TensorProto.FLOAT, [2])],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
        strange = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        refused(
            byoc.ModelError, ["Frobnicate", "/block/Frob"], lambda: byoc.partition_model(strange)
        )

    def test_missing_external_data(self, tmp_path, model):
        path = tmp_path / "model.onnx"
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        onnx.save(copy, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        assert byoc.partition_model(path).report.ops
        (tmp_path / "weights.bin").unlink()
        refused(byoc.ModelError, ["weights.bin"], lambda: byoc.partition_model(path))

    def test_truncated_external_data(self, tmp_path, model):
        path = tmp_path / "model.onnx"
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        onnx.save(copy, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        weights = tmp_path / "weights.bin"
        weights.write_bytes(weights.read_bytes()[:100])
        refused(byoc.ModelError, ["weights.bin"], lambda: byoc.partition_model(path))


class TestVendors:
    def test_unknown(self, model):
        refused(
            byoc.VendorError,
            ["unknown vendor 'dnn'", "did you mean 'dnnl'", "legal:"],
            lambda: byoc.compile(model, vendors=["dnn"]),
        )

    def test_unknown_option_lists_the_legal_ones(self, model):
        message = refused(
            byoc.OptionError,
            ["'dnnl'", "unknown option 'speed'", "legal:"],
            lambda: byoc.compile(model, vendors={"dnnl": {"speed": 11}}),
        )
        assert "Traceback" not in message

    def test_unknown_option_on_the_command_line(self, tmp_path, model):
        onnx.save(model, tmp_path / "m.onnx")
        (tmp_path / "o.yaml").write_text("vendors: {dnnl: {speed: 11}}")
        done = shell("compile", tmp_path / "m.onnx", "-o", tmp_path / "m.byoc", "--options",
                     tmp_path / "o.yaml")  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        assert "unknown option 'speed'" in done.stderr
        assert not (tmp_path / "m.byoc").exists()

    def test_a_string_for_a_list(self, model):
        refused(byoc.VendorError, ["vendors=['dnnl']"], lambda: byoc.compile(model, vendors="dnnl"))

    def test_blocked(self, model, monkeypatch):
        monkeypatch.setenv("BYOC_BLOCK_VENDORS", "dnnl")
        refused(
            byoc.VendorError,
            ["'dnnl'", "BYOC_BLOCK_VENDORS"],
            lambda: byoc.compile(model, vendors=["dnnl"]),
        )

    def test_its_library_is_missing(self, model, monkeypatch):
        from dataclasses import replace

        from byoc.plugins.discovery import find
        from byoc.vendor import NativeRuntime

        elsewhere = replace(find("dnnl"), runtime=NativeRuntime("byoc_no_such"))
        refused(
            byoc.VendorError,
            ["libbyoc_no_such.so", "searched"],
            lambda: byoc.compile(model, vendors=[elsewhere]),
        )


class TestInputs:
    GOOD = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)

    def test_wrong_name(self, executable):
        refused(
            byoc.InputError,
            ["'inptu'", "did you mean 'input'"],
            lambda: executable.run({"inptu": self.GOOD}),
        )

    def test_missing(self, executable):
        refused(byoc.InputError, ["'input'", "missing"], lambda: executable.run({}))

    def test_wrong_count(self, executable):
        refused(
            byoc.InputError,
            ["takes 1", "got 2"],
            lambda: executable(self.GOOD, self.GOOD),
        )

    def test_wrong_shape(self, executable):
        refused(
            byoc.InputError,
            ["'input'", "(2, 17)", "(2, 16)"],
            lambda: executable(np.zeros((2, 17), np.float32)),
        )

    def test_wrong_rank(self, executable):
        refused(byoc.InputError, ["'input'", "(32,)"], lambda: executable(np.zeros(32, np.float32)))

    def test_wrong_dtype(self, executable):
        refused(
            byoc.InputError,
            ["'input'", "float64", "float32", "astype"],
            lambda: executable(self.GOOD.astype(np.float64)),
        )

    def test_not_an_array(self, executable):
        refused(byoc.InputError, ["'input'", "list"], lambda: executable(self.GOOD.tolist()))

    @pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
    def test_awkward_memory_works(self, model, vendors):
        executable = byoc.compile(model, vendors=vendors)
        expected = executable(self.GOOD)

        readonly = self.GOOD.copy()
        readonly.flags.writeable = False
        raw = np.zeros(self.GOOD.nbytes + 64, np.uint8)
        start = (4 - raw.ctypes.data) % 64
        unaligned = raw[start : start + self.GOOD.nbytes].view(np.float32).reshape(2, 16)
        unaligned[...] = self.GOOD
        assert unaligned.ctypes.data % 64 == 4
        transposed = np.asfortranarray(self.GOOD)
        strided = np.repeat(self.GOOD, 2, axis=1)[:, ::2]
        reversed_ = self.GOOD[:, ::-1].copy()[:, ::-1]
        for array in (readonly, unaligned, transposed, strided, reversed_):
            np.testing.assert_array_equal(executable(array), expected)
            np.testing.assert_array_equal(array, self.GOOD)

    def test_other_libraries_arrays_work(self, executable):
        tensor = pytest.importorskip("tvm_ffi").from_dlpack(self.GOOD.copy())
        np.testing.assert_array_equal(executable(tensor), executable(self.GOOD))

    def test_on_the_command_line(self, artifact, tmp_path):
        np.savez(tmp_path / "x.npz", inptu=self.GOOD)
        outputs = tmp_path / "y.npz"
        done = shell("run", artifact, "--inputs", tmp_path / "x.npz", "--outputs", outputs)
        assert (done.returncode, done.stdout) == (1, "")
        assert "did you mean 'input'" in done.stderr
        assert not outputs.exists()

    @pytest.mark.parametrize("content", [b"", b"junk" * 50], ids=["empty", "junk"])
    def test_an_inputs_file_that_is_none(self, artifact, tmp_path, content):
        (tmp_path / "x.npz").write_bytes(content)
        done = shell("run", artifact, "--inputs", tmp_path / "x.npz")
        assert done.returncode == 1
        assert said(done).startswith("byoc: InputError: cannot read the inputs")


class TestArtifacts:
    def test_good_one(self, artifact, executable):
        np.testing.assert_array_equal(
            byoc.load(artifact)(TestInputs.GOOD), executable(TestInputs.GOOD)
        )

    def test_missing(self, tmp_path):
        refused(byoc.ArtifactError, ["none.byoc"], lambda: byoc.load(tmp_path / "none.byoc"))

    @pytest.mark.parametrize("keep", [0, 10, 0.3, 0.7, -1])
    def test_truncated(self, artifact, keep):
        data = artifact.read_bytes()
        end = int(keep * len(data)) if isinstance(keep, float) else keep
        artifact.write_bytes(data[:end])
        refused(byoc.ArtifactError, [str(artifact)], lambda: byoc.load(artifact))

    def test_another_kind_of_file(self, artifact, model):
        artifact.write_bytes(model.SerializeToString())
        refused(byoc.ArtifactError, [str(artifact)], lambda: byoc.load(artifact))

    def test_corrupted_anywhere(self, artifact):
        """A flipped bit in any member is noticed."""
        good = artifact.read_bytes()
        with zipfile.ZipFile(artifact) as file:
            members = [(i.filename, i.header_offset, i.file_size) for i in file.infolist()]
        for name, offset, size in members:
            bad = bytearray(good)
            data = offset + 30 + int.from_bytes(good[offset + 26 : offset + 28], "little")
            data += int.from_bytes(good[offset + 28 : offset + 30], "little")
            bad[data + size // 2] ^= 0x10
            artifact.write_bytes(bad)
            refused(byoc.ArtifactError, [str(artifact)], lambda: byoc.load(artifact))
            assert name

    def rewrite(self, artifact: Path, change) -> Path:
        """The same file with another manifest, all hashes in order."""
        from byoc.runtime.io import archive

        with zipfile.ZipFile(artifact) as source:
            data = {name: source.read(name) for name in source.namelist()}
        manifest = json.loads(data.pop(archive.MANIFEST))
        change(manifest)
        members = {member["name"]: member for member in manifest["members"]}
        manifest["members"] = [members[name] for name in data]
        other = artifact.with_name("other.byoc")
        with other.open("wb") as out:
            archive.write_archive(
                out,
                [(name, len(content), [content]) for name, content in data.items()],
                lambda _: json.dumps(manifest).encode(),
            )
        return other

    def test_of_another_version(self, artifact):
        def newer(manifest):
            (key,) = [k for k in manifest if k in ("version", "format")]
            manifest[key] = 999

        path = self.rewrite(artifact, newer)
        refused(byoc.ArtifactError, ["999"], lambda: byoc.load(path))

    def test_for_another_cpu(self, tmp_path):
        # without vendors there is a host library
        path = tmp_path / "m.byoc"
        byoc.compile(build("mlp", batch=2, features=16, hidden=32, classes=8)).save(path)

        def foreign(manifest):
            manifest["target"]["features"] = [*manifest["target"]["features"], "avx9000"]

        other = self.rewrite(path, foreign)
        refused(byoc.ArtifactError, ["avx9000"], lambda: byoc.load(other))

    def test_whose_vendor_is_not_there(self, artifact, monkeypatch):
        monkeypatch.setenv("BYOC_BLOCK_VENDORS", "dnnl")
        refused(byoc.VendorError, ["dnnl"], lambda: byoc.load(artifact))

    def test_on_the_command_line(self, artifact, tmp_path):
        np.savez(tmp_path / "x.npz", input=TestInputs.GOOD)
        artifact.write_bytes(artifact.read_bytes()[:-20])
        done = shell("run", artifact, "--inputs", tmp_path / "x.npz")
        assert (done.returncode, done.stdout) == (1, "")
        assert said(done).startswith("byoc: ArtifactError:")


class TestOutputs:
    """A path that cannot be written leaves nothing half-written."""

    def test_save_into_a_missing_folder(self, executable, tmp_path):
        path = tmp_path / "none" / "m.byoc"
        refused(byoc.ArtifactError, [str(path)], lambda: executable.save(path))

    def test_save_onto_a_folder(self, executable, tmp_path):
        (tmp_path / "m.byoc").mkdir()
        refused(byoc.ArtifactError, ["m.byoc"], lambda: executable.save(tmp_path / "m.byoc"))
        assert [p.name for p in tmp_path.iterdir()] == ["m.byoc"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_save_without_permission(self, executable, tmp_path):
        tmp_path.chmod(0o500)
        try:
            refused(byoc.ArtifactError, ["m.byoc"], lambda: executable.save(tmp_path / "m.byoc"))
        finally:
            tmp_path.chmod(0o700)

    def test_an_existing_file_survives_a_failed_save(self, executable, artifact, monkeypatch):
        before = artifact.read_bytes()

        def no_space(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", no_space)
        refused(byoc.ArtifactError, ["No space left"], lambda: executable.save(artifact))
        assert artifact.read_bytes() == before
        assert [p.name for p in artifact.parent.iterdir()] == [artifact.name]

    def test_outputs_of_run(self, artifact, tmp_path):
        np.savez(tmp_path / "x.npz", input=TestInputs.GOOD)
        path = tmp_path / "none" / "y.npz"
        done = shell("run", artifact, "--inputs", tmp_path / "x.npz", "--outputs", path)
        assert done.returncode == 2
        assert "there is no" in done.stderr

    def test_compile_on_the_command_line(self, model, tmp_path):
        onnx.save(model, tmp_path / "m.onnx")
        done = shell("compile", tmp_path / "m.onnx", "-o", tmp_path / "none" / "m.byoc")
        assert (done.returncode, done.stdout) == (2, "")
        assert "there is no" in done.stderr

    def test_html_report(self, model, tmp_path):
        report = byoc.partition_model(model).report
        path = tmp_path / "none" / "r.html"
        refused(byoc.ArtifactError, [str(path)], lambda: report.to_html(path))


def test_the_command_is_installed():
    assert shutil.which("byoc") or (Path(sys.executable).parent / "byoc").exists()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_executables_are_not_copied(copied):
    exe = byoc.compile(model_path("mlp", batch=1, hidden=32, features=8), vendors=[])
    with pytest.raises(byoc.errors.ArtifactError, match=r"save it with save\(path\)"):
        copied(exe)
