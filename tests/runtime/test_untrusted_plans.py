"""Plans of files whose hashes are in order and which would answer wrongly; files written to."""

from __future__ import annotations

import copy
import json
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_hostile_artifacts import rewritten

import byoc
from byoc.errors import ArtifactError, ByocError, ExecutionError
from byoc.runtime.io import archive

ROWS, WIDE = 4, 16


def model(wide: int = WIDE, seed: int = 0):
    """Products and functions in a chain, so that the arena is used more than once."""
    rng = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array((rng.standard_normal((wide, wide)) / 4).astype("float32"), f"w{i}")
        for i in range(3)
    ]
    nodes = [helper.make_node("Tanh", ["x"], ["t"])]
    for i in range(3):
        nodes.append(
            helper.make_node("MatMul", ["t" if i == 0 else f"r{i - 1}", f"w{i}"], [f"m{i}"])
        )
        nodes.append(helper.make_node("Erf", [f"m{i}"], [f"e{i}"]))
        nodes.append(helper.make_node("Add", [f"e{i}", "t"], [f"r{i}"]))
    port = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, wide]) for name in ("x", "r2")
    ]
    graph = helper.make_graph(nodes, "chain", port[:1], port[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


X = np.random.default_rng(1).standard_normal((ROWS, WIDE)).astype("float32")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "healed.byoc"
    byoc.compile(model(), vendors=["dnnl"], heal=True, min_segment_ops=1).save(path)
    return path


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "host.byoc"
    byoc.compile(model(), vendors=[]).save(path)
    return path


def edited(source: Path, target: Path, member: str, change) -> Path:
    """The artifact with another JSON member, hashes and all."""
    with zipfile.ZipFile(source) as old:
        data = {n: old.read(n) for n in old.namelist() if n != archive.MANIFEST}
        manifest = json.loads(old.read(archive.MANIFEST))
    document = json.loads(data[member])
    change(document)
    data[member] = json.dumps(document).encode()

    def encode(members):
        manifest["members"] = [
            {"name": m.name, "size": m.size, "crc32": f"{m.crc32:08x}", "sha256": list(m.sha256)}
            for m in members
        ]
        return json.dumps(manifest).encode()

    with target.open("wb") as out:
        archive.write_archive(out, [(n, len(d), [d]) for n, d in data.items()], encode)
    return target


def test_a_moved_window_is_refused_or_changes_nothing(host, tmp_path):
    """Every tensor of the arena moved, or its offset left out: no other answer, ever."""
    expected = byoc.load(host)(X)
    with zipfile.ZipFile(host) as archived:
        plan = json.loads(archived.read("plan.json"))
    inside = [i for i, t in enumerate(plan["tensors"]) if t["place"] == "arena"]
    assert len(inside) > 1
    refused = 0
    for number in inside:
        for offset in (None, *range(0, plan["arena_bytes"], 64)):
            changed = copy.deepcopy(plan)
            if offset is None:
                del changed["tensors"][number]["offset"]
            else:
                changed["tensors"][number]["offset"] = offset
            path = edited(host, tmp_path / "m.byoc", "plan.json", lambda p, c=changed: p.update(c))
            try:
                np.testing.assert_array_equal(byoc.load(path)(X), expected)
            except ArtifactError as error:
                refused += 1
                assert str(path) in str(error)
    assert refused > len(inside)


def test_dependencies_that_are_not_those_of_the_data(host, tmp_path):
    expected, roll = byoc.load(host)(X), random.Random(0)

    def change(plan):
        task = roll.choice(plan["tasks"])
        number = plan["tasks"].index(task)
        task["deps"] = sorted(roll.sample(range(number), min(number, roll.randint(0, 2))))

    for _ in range(30):
        path = edited(host, tmp_path / "m.byoc", "plan.json", change)
        try:
            np.testing.assert_array_equal(byoc.load(path)(X), expected)
        except ArtifactError as error:
            assert "depend" in str(error)


@pytest.mark.parametrize("rows", [1, 3, 5, 200_000])
def test_twins_of_another_size(saved, tmp_path, rows):
    with zipfile.ZipFile(saved) as archived:
        twin = next(n for n in archived.namelist() if n.startswith("twins/"))

    def change(plan):
        for tensor in plan["tensors"]:
            if tensor["place"] in ("input", "output"):
                tensor["shape"] = [rows, *tensor["shape"][1:]]

    path = edited(saved, tmp_path / "twin.byoc", twin, change)
    with pytest.raises(ArtifactError, match="in its host twin|not all of which|same size|bytes"):
        byoc.load(path)


def test_a_handle_is_a_handle(host, tmp_path):
    def change(manifest):
        manifest["inputs"][0]["value"] = "tensor(string)"
        manifest["format"] = 3

    path = rewritten(host, tmp_path / "handle.byoc", manifest=change)
    with pytest.raises(ArtifactError, match=r"the handle of a tensor\(string\) is one int64"):
        byoc.load(path)


# -- files that are written to --------------------------------------------------------------------


def keys(folder: Path) -> tuple[Path, Path]:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    pem, private, public = serialization.Encoding.PEM, folder / "key.pem", folder / "pub.pem"
    private.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def overwrite(path: Path, size: int) -> None:
    """Other bytes in place: what ``cp`` does."""
    with path.open("r+b") as out:
        out.write(bytes(size))


@pytest.mark.parametrize("vendors", [[], ["dnnl"]])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("wide", [16, 1024])
def test_a_file_written_to_while_it_is_used(tmp_path, vendors, signed, wide):
    """Small weights and signed ones are copied; of mapped ones a call fails by name."""
    path = tmp_path / "used.byoc"
    byoc.compile(model(wide), vendors=vendors, min_segment_ops=1).save(path)
    how = {}
    if signed:
        from byoc.runtime.io.saving import sign_file

        private, public = keys(tmp_path)
        sign_file(path, private)
        how["require_signature"] = public
    good = path.read_bytes()
    x = np.random.default_rng(2).standard_normal((ROWS, wide)).astype("float32")
    loaded = byoc.load(path, **how)
    expected = loaded(x)

    def answers(session) -> None:
        try:
            np.testing.assert_array_equal(session(x), expected)
        except ExecutionError as error:
            assert "was written to while it is in use" in str(error)
            assert not signed and wide > 16

    os.utime(path)  # touched: nothing has changed
    np.testing.assert_array_equal(loaded(x), expected)
    overwrite(path, len(good))
    answers(loaded)
    os.truncate(path, 100)
    answers(loaded)
    path.write_bytes(good)
    again = byoc.load(path, **how)  # not what the first one holds of the file as it was
    np.testing.assert_array_equal(again(x), expected)
    answers(loaded)


def test_a_file_that_is_replaced_stays(tmp_path):
    path = tmp_path / "live.byoc"
    byoc.compile(model(1024), vendors=[]).save(path)
    x = np.ones((ROWS, 1024), "float32")
    loaded = byoc.load(path)
    expected = loaded(x)
    byoc.compile(model(1024, seed=5), vendors=[]).save(path)
    np.testing.assert_array_equal(loaded(x), expected)
    assert not np.array_equal(byoc.load(path)(x), expected)


def test_errors_of_ours_only(saved, tmp_path):
    """Loading checks what it can; here stands that all of it has a name."""
    for member in ("plan.json", "twins"):
        with zipfile.ZipFile(saved) as archived:
            name = next(n for n in archived.namelist() if n.startswith(member))
        path = edited(saved, tmp_path / "m.byoc", name, lambda p: p.clear())
        with pytest.raises(ByocError, match='key "version" is missing'):
            byoc.load(path)
