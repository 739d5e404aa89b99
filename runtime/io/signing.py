"""Signing artifacts with ed25519, so that others can tell who wrote a file.

runtime/src/artifact/signature.h tells what a signature covers and where it stands, and checks it.
Signing needs the package `cryptography` (``pip install tvm-byoc[sign]``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from byoc.errors import OptionError
from byoc.runtime.io.archive import Signature

__all__ = ["sign_manifest"]

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


def sign_manifest(manifest: bytes, key: Path) -> Signature:
    """Sign a manifest, and so all that its hashes cover.

    Args:
        manifest: The bytes of manifest.json.
        key: A PEM file with an unencrypted private key (``openssl genpkey -algorithm ed25519``).

    Raises:
        OptionError: The file cannot be read or holds no such key, or `cryptography` is missing.

    """
    ed25519, serialization = _cryptography()
    try:
        data = key.read_bytes()
    except OSError as error:
        raise OptionError(f"cannot read the key {key}: {error.strerror or error}") from error
    try:
        private = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise OptionError(f"{key} holds no unencrypted private key in PEM: {error}") from None
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise OptionError(f"{key} holds a {type(private).__name__}, expected an ed25519 key")
    public = private.public_key().public_bytes_raw()
    return Signature(bytes(public), bytes(private.sign(_CONTEXT + manifest)))
