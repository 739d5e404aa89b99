"""Bundles: what is written is read, replayed, and never trusted."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from byoc.debug import read_bundle, replay, write_bundle
from byoc.debug.finding import examine
from byoc.errors import ArtifactError
from byoc.testing.planted_faults import planted

OP = "/layers.3/Relu"


@pytest.fixture(scope="module")
def bad(prepared):
    return planted(prepared("mlp", "dnnl").requests[0].vendor, OP, "wrong", seed=2)


@pytest.fixture(scope="module")
def found(prepared, bad):
    model = prepared("mlp", "dnnl")
    return examine(model, [replace(model.requests[0], vendor=bad)], limit=4.0, ops=False)


@pytest.fixture
def path(found, tmp_path):
    write_bundle(tmp_path / "fault.byocbug", found)
    return tmp_path / "fault.byocbug"


def test_it_holds_the_culprit_and_nothing_else_of_the_model(found, path):
    bundle = read_bundle(path)
    (case,) = bundle.cases
    (culprit,) = found.culprits
    assert [op.name for op in case.ops] == [op.name for op in culprit.ops] == [OP]
    old, new = culprit.evidence.segment, case.evidence.segment
    assert new == replace(old, constants=new.constants)
    for value, array in old.constants.items():
        np.testing.assert_array_equal(array, new.constants[value])
    for a, b in zip(culprit.evidence.expected, case.evidence.expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_replay_tells_whether_the_fault_is_still_there(path, bad):
    again = replay(path, [bad], limit=4.0)
    assert again and again.cases[0].again and again.changed == {}
    mended = replay(path, [replace(bad, **_good(bad), version="9.9")], limit=4.0)
    assert not mended and mended.changed["dnnl"][1] == "9.9"


def _good(bad):
    from byoc.plugins.discovery import find

    vendor = find("dnnl")
    return {"compile": vendor.compile, "runtime": vendor.runtime}


def test_nothing_found_is_not_written(found, tmp_path):
    with pytest.raises(ArtifactError, match="nothing was found"):
        write_bundle(tmp_path / "none", replace(found, culprits=()))
    assert not (tmp_path / "none").exists()


def rewritten(path, change):
    """The bundle with another bundle.json, or other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    record = json.loads(members["bundle.json"])
    change(record, members)
    members["bundle.json"] = json.dumps(record).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _segment(record):
    return record["cases"][0]["segment"]


DAMAGE = {
    "format": (lambda r, m: r.update(format=7), "format 7"),
    "unknown": (lambda r, m: r.update(more=1), "more"),
    "kind": (lambda r, m: r["cases"][0].update(kind="evil"), "kind"),
    "value": (lambda r, m: _segment(r).update(outputs=[10**9]), "names value"),
    "negative": (lambda r, m: _segment(r)["nodes"][0].update(inputs=[-1]), "names value -1"),
    "node": (lambda r, m: _segment(r)["composites"][0].update(nodes=[99]), "names op 99"),
    "bytes": (lambda r, m: m.update({"arrays/0": b"123"}), "3 bytes"),
    "shape": (lambda r, m: r["cases"][0]["inputs"][0].update(shape=[-4, -4]), "bytes"),
    "dtype": (lambda r, m: r["cases"][0]["inputs"][0].update(dtype="O"), "dtype"),
    "missing": (lambda r, m: m.pop("arrays/0"), "arrays/0"),
    "count": (lambda r, m: r["cases"][0].update(inputs=[]), "inputs"),
    "version": (lambda r, m: _segment(r).update(version=99), "version 99"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_bundle_is_refused_with_what_is_wrong(path, name):
    change, told = DAMAGE[name]
    with pytest.raises(ArtifactError, match=told):
        read_bundle(rewritten(path, change))


def test_what_is_no_bundle_is_refused(tmp_path):
    file = tmp_path / "x"
    for content in (b"", b"PK\3\4", b"hello" * 100):
        file.write_bytes(content)
        with pytest.raises(ArtifactError):
            read_bundle(file)
    with pytest.raises(ArtifactError):
        read_bundle(tmp_path / "nowhere")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", b" " * 10**6)
    with pytest.raises(ArtifactError, match="compressed"):
        read_bundle(file)
