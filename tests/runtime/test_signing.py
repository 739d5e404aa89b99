"""Signed artifacts: accepted with the right key, refused with the reason otherwise."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from byoc.errors import ArtifactError, OptionError
from byoc.runtime import Session, load_program, save_program
from byoc.runtime.io.checking import check_file, inspect_file, signature_of
from byoc.runtime.io.saving import sign_file


def write_keys(folder: Path, name: str, kind=ed25519.Ed25519PrivateKey) -> tuple[Path, Path]:
    private = kind.generate()
    pem = serialization.Encoding.PEM
    key, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    key.write_bytes(
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return key, public


@pytest.fixture
def keys(tmp_path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "mine")


@pytest.fixture
def signed(make, tmp_path, keys) -> Path:
    path = tmp_path / "m.byoc"
    save_program(make("x[0] + 1", constants=(np.arange(1000),)), path)
    sign_file(path, keys[0])
    return path


def test_the_right_key(signed, keys, resolver):
    for key in (keys[1], None):
        program = load_program(signed, resolver, require_signature=key)
        assert (Session(program)(np.ones((2, 3), "float32")) == 2).all()
    with zipfile.ZipFile(signed) as archived:  # still a zip
        assert archived.testzip() is None
    assert inspect_file(signed).name == "elementwise"
    (finding,) = [
        f for f in check_file(signed, lambda n: None, require_signature=keys[1])
        if f.subject == "signature"
    ]  # fmt: skip
    assert finding.level == "ok" and finding.text == signature_of(signed).public_key.hex()


def test_unsigned_and_other_keys(signed, make, keys, resolver, tmp_path):
    other_key, other = write_keys(tmp_path, "other")
    with pytest.raises(ArtifactError, match="signed with another key"):
        load_program(signed, resolver, require_signature=other)
    save_program(make("x[0]"), tmp_path / "plain.byoc")
    with pytest.raises(ArtifactError, match="is not signed, and a signature is required"):
        load_program(tmp_path / "plain.byoc", resolver, require_signature=keys[1])
    sign_file(signed, other_key)  # replaces
    load_program(signed, resolver, require_signature=other)
    assert [p.suffix for p in sorted(tmp_path.iterdir())] == [".byoc", ".pem", ".pem", ".pem",
                                                              ".pem", ".byoc"]  # fmt: skip


def test_a_signature_moved_to_another_file(signed, make, keys, resolver, tmp_path):
    other = tmp_path / "other.byoc"
    save_program(make("x[0] + 2"), other)
    sign_file(other, keys[0])
    data, tail = other.read_bytes(), signed.read_bytes()[-193:]
    other.write_bytes(data[: -len(tail)] + tail)
    with pytest.raises(ArtifactError, match="does not belong to this file"):
        load_program(other, resolver, require_signature=keys[1])


def test_no_flip_gets_through(signed, keys, resolver, tmp_path):
    good = signed.read_bytes()
    rng = random.Random(0)
    places = [rng.randrange(len(good)) for _ in range(100)]
    for place in [*places, *range(len(good) - 330, len(good))]:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        (tmp_path / "bad.byoc").write_bytes(bad)
        with pytest.raises(ArtifactError):
            load_program(tmp_path / "bad.byoc", resolver, require_signature=keys[1])


def test_keys_that_are_none(signed, tmp_path, keys, resolver):
    (tmp_path / "text.pem").write_text("hello")
    wrong = write_keys(tmp_path, "wrong", x25519.X25519PrivateKey)
    for key, message in (
        (tmp_path / "text.pem", "holds no unencrypted private key"),
        (wrong[0], "expected an ed25519 key"),
        (tmp_path / "absent.pem", "cannot read the key"),
    ):
        with pytest.raises(OptionError, match=message):
            sign_file(signed, key)
    for key, message in (
        (tmp_path / "text.pem", "holds no public key in PEM form"),
        (wrong[1], "expected an ed25519 public key"),
    ):
        with pytest.raises(OptionError, match=message):
            load_program(signed, resolver, require_signature=key)
