"""Ed25519 signatures of artifacts: who wrote this file?

The signature covers the manifest, which holds the sha256 of every other member. It stands in
the zip's comment, with the public key, behind the sha256 of the manifest::

    byoc manifest sha256 <64 hex> ed25519 <public key, 64 hex> <signature, 128 hex>

Ed25519: RFC 8032. Needs the package `cryptography` (``pip install tvm-byoc[sign]``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from byoc.errors import ArtifactError, OptionError
from byoc.runtime.io.archive import Signature

__all__ = ["check_signature", "read_public_key", "sign_manifest"]

_CONTEXT = b"byoc artifact manifest\0"  # a signature of anything else is none of an artifact


def _cryptography() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise OptionError(
            "signatures need the package 'cryptography'; run: pip install tvm-byoc[sign]"
        ) from None
    return ed25519, serialization


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(f"cannot read the key {path}: {error.strerror or error}") from error


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of a public key in a PEM file (``openssl pkey -in key.pem -pubout``).

    Raises OptionError.
    """
    ed25519, serialization = _cryptography()
    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError as error:
        raise OptionError(f"{path} holds no public key in PEM form: {error}") from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise OptionError(f"{path} holds a {type(key).__name__}, expected an ed25519 public key")
    return bytes(key.public_bytes_raw())


def sign_manifest(manifest: bytes, key: Path) -> Signature:
    """Sign with the private key in a PEM file (``openssl genpkey -algorithm ed25519``).

    Raises OptionError.
    """
    ed25519, serialization = _cryptography()
    try:
        private = serialization.load_pem_private_key(_read(key), None)
    except (ValueError, TypeError) as error:
        raise OptionError(f"{key} holds no unencrypted private key in PEM: {error}") from None
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise OptionError(f"{key} holds a {type(private).__name__}, expected an ed25519 key")
    public = private.public_key().public_bytes_raw()
    return Signature(bytes(public), bytes(private.sign(_CONTEXT + manifest)))


def check_signature(manifest: bytes, signature: Signature | None, trusted: bytes) -> None:
    """Raises ArtifactError unless `manifest` was signed with the key `trusted` belongs to."""
    from contextlib import suppress

    ed25519, _ = _cryptography()
    if signature is None:
        raise ArtifactError("the file is not signed, and a signature is required")
    if signature.public_key != trusted:
        raise ArtifactError(
            f"the file is signed with another key: {signature.public_key.hex()}, trusted is "
            f"{trusted.hex()}"
        )
    from cryptography.exceptions import InvalidSignature

    with suppress(InvalidSignature):
        ed25519.Ed25519PublicKey.from_public_bytes(trusted).verify(
            signature.value, _CONTEXT + manifest
        )
        return
    raise ArtifactError("the signature does not belong to this file: one of them was changed")
