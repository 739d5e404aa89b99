"""Looking at an artifact without running anything of it: its manifest, and whether it fits here.

`load_program` stops at the first thing that is wrong; `check_file` goes on and tells them all.
Neither the host library nor a vendor's library is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from byoc.errors import ArtifactError
from byoc.runtime.io import manifest as manifests
from byoc.runtime.io.archive import Signature, read_manifest, read_signature, verify
from byoc.runtime.io.fitting import check_cpu, check_tvm, check_tvm_ffi
from byoc.runtime.io.manifest import NEWEST_FORMAT, Manifest
from byoc.runtime.io.signing import check_signature, read_public_key
from byoc.support.files import opened

__all__ = ["Finding", "InstalledVendor", "check_file", "inspect_file", "signature_of"]


class InstalledVendor(Protocol):
    """What `check_file` wants to know of a vendor of this machine."""

    @property
    def version(self) -> str:
        """Version of the backend."""
        ...

    @property
    def available(self) -> bool:
        """True when it can be used."""
        ...

    @property
    def reason(self) -> str:
        """Why it cannot."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. level: "ok", "warning" (runs, but not as compiled), "problem"."""

    subject: str
    level: str
    text: str


def inspect_file(path: Path) -> Manifest:
    """The manifest, its own hash checked; the other members are not read.

    Raises ArtifactError when there is none, or its format is unknown.
    """
    with opened(path) as fd:
        try:
            return manifests.decode(read_manifest(fd))
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error


def signature_of(path: Path) -> Signature | None:
    """The signature of a file, not checked; None when it has none. Raises ArtifactError."""
    with opened(path) as fd:
        return read_signature(fd)


def check_file(
    path: Path,
    find_vendor: Callable[[str], InstalledVendor | None],
    *,
    require_signature: Path | None = None,
) -> tuple[Finding, ...]:
    """Everything that decides whether the file runs on this machine, in the order it matters.

    find_vendor: vendor name → what is installed here, None when nothing is.
    require_signature: PEM file of the ed25519 public key the file must be signed with.
    Raises ArtifactError when the file cannot be opened, OptionError when the key is none.
    """
    trusted = None if require_signature is None else read_public_key(require_signature)
    findings: list[Finding] = []

    def look(subject: str, text: str, test: Callable[[], object]) -> bool:
        try:
            test()
        except (ArtifactError, OSError) as error:
            findings.append(Finding(subject, "problem", str(error)))
            return False
        findings.append(Finding(subject, "ok", text))
        return True

    with opened(path) as fd:
        data: list[bytes] = []
        if not look("file", "an artifact", lambda: data.append(read_manifest(fd))):
            return tuple(findings)
        found: list[Manifest] = []
        fine = f"read by this byoc (it reads formats 1 to {NEWEST_FORMAT})"
        if not look("format", fine, lambda: found.append(manifests.decode(data[0]))):
            return tuple(findings)
        (manifest,) = found
        size = sum(member.size for member in manifest.members)
        look(
            "members",
            f"{len(manifest.members)} members, {size:,} bytes, every sha256 matches",
            lambda: verify(fd, data[0], manifest.members),
        )
        signature = read_signature(fd)
        if trusted is not None:
            key = trusted
            look("signature", key.hex(), lambda: check_signature(data[0], signature, key))
        elif signature is not None:
            text = f"by key {signature.public_key.hex()}, not checked: no key was required"
            findings.append(Finding("signature", "ok", text))
    if manifest.body == "vm":
        look("tvm", f"apache-tvm {manifest.tvm}", lambda: check_tvm(manifest))
    if manifest.has_host:
        look("tvm-ffi", f"apache-tvm-ffi {manifest.tvm_ffi}", lambda: check_tvm_ffi(manifest))
        target = manifest.target
        if target is not None:
            look("cpu", f"{target.cpu}, {target.triple}", lambda: check_cpu(target))
    for name, entry in manifest.vendors.items():
        findings.append(_vendor(name, entry.version, find_vendor(name)))
    return tuple(findings)


def _vendor(name: str, version: str, installed: InstalledVendor | None) -> Finding:
    subject = f"vendor {name}"
    if installed is None:
        return Finding(subject, "problem", f"not installed; the file was compiled for {version}")
    if not installed.available:
        return Finding(subject, "problem", f"cannot be used: {installed.reason}")
    if installed.version != version:
        return Finding(
            subject,
            "warning",
            f"{installed.version} is installed, the file was compiled for {version}: its runtime "
            f"may refuse the segments",
        )
    return Finding(subject, "ok", f"{version} is installed")
