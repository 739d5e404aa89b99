"""Looking at an artifact without running anything of it: its manifest, and whether it fits here.

`load_program` stops at the first thing that is wrong; `check_file` goes on and tells them all.
Neither the host library nor a vendor's library is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic_core import to_json

from byoc.errors import ArtifactError
from byoc.runtime.io.archive import Signature
from byoc.runtime.io.artifact_file import ArtifactFile, open_artifact, read_public_key
from byoc.runtime.io.manifest import Manifest, ShapeEntry
from byoc.runtime.native import function
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
    """Read the manifest of an artifact, its own hash checked; the other members are not read.

    Args:
        path: A .byoc file.

    Raises:
        ArtifactError: The file has no manifest, or one of a format that this byoc does not know.

    """
    with open_artifact(path) as (artifact, _):
        return artifact.manifest()


def signature_of(path: Path) -> Signature | None:
    """Tell who signed an artifact, without checking it.

    Args:
        path: A .byoc file.

    Returns:
        Key and signature; None when nobody did.

    Raises:
        ArtifactError: The file is no artifact.

    """
    with open_artifact(path) as (artifact, _):
        return artifact.signature


def check_file(
    path: Path,
    find_vendor: Callable[[str], InstalledVendor | None],
    find_equipment: Callable[[str], list[Any] | None] = lambda name: None,
    *,
    require_signature: Path | None = None,
) -> tuple[Finding, ...]:
    """Find out everything that decides whether an artifact runs on this machine.

    Args:
        path: A .byoc file.
        find_vendor: Vendor name → what is installed here, None when nothing is.
        find_equipment: Vendor name → models of its devices, version of its driver, bytes of
            memory; None when it does not tell. Asked where segments require some.
        require_signature: PEM file of the ed25519 public key the file must be signed with.

    Returns:
        What was looked at, in the order it matters.

    Raises:
        ArtifactError: The file cannot be opened.
        OptionError: The key is none.

    """
    trusted = None if require_signature is None else read_public_key(require_signature)
    findings: list[Finding] = []

    def look(subject: str, text: str, test: Callable[[], object]) -> bool:
        try:
            test()
        except ArtifactError as error:
            findings.append(Finding(subject, "problem", str(error)))
            return False
        findings.append(Finding(subject, "ok", text))
        return True

    opened_files: list[ArtifactFile] = []
    with opened(path) as fd:
        if not look("file", "an artifact", lambda: opened_files.append(ArtifactFile(fd))):
            return tuple(findings)
    (artifact,) = opened_files
    found: list[Manifest] = []
    fine = f"read by this byoc (it reads formats 1 to {function('newest_format')()})"
    if not look("format", fine, lambda: found.append(artifact.manifest())):
        return tuple(findings)
    (manifest,) = found
    size = sum(member.size for member in manifest.members)
    text = f"{len(manifest.members)} members, {size:,} bytes, every sha256 matches"
    if look("members", text, artifact.verify):
        findings.extend(_missing(manifest))
    signature = artifact.signature
    if trusted is not None:
        key = trusted
        look("signature", key.hex(), lambda: artifact.check_signature(key))
    elif signature is not None:
        text = f"by key {signature.public_key.hex()}, not checked: no key was required"
        findings.append(Finding("signature", "ok", text))
    for subject, wanted, problem in artifact.fits():
        findings.append(Finding(subject, "problem" if problem else "ok", problem or wanted))
    for name, entry in manifest.vendors.items():
        if entry.runtime in ("library", "host"):
            findings.append(Finding(f"vendor {name}", "ok", "its code is in the file"))
        else:
            findings.append(_vendor(name, entry.version, find_vendor(name)))
    programs: list[Manifest | ShapeEntry] = [manifest, *manifest.shapes]
    for program in programs:
        findings.extend(_requirements(program, find_equipment))
    return tuple(findings)


def _requirements(
    program: Manifest | ShapeEntry, find_equipment: Callable[[str], list[Any] | None]
) -> list[Finding]:
    """What segments require and this machine lacks."""
    findings = []
    for segment in program.segments:
        needs = segment.requires
        if needs is None:
            continue
        asked = find_equipment(segment.vendor) if needs.device or needs.driver else None
        missing = str(function("missing")(to_json(asdict(needs)), asked))
        # Its fallback answers then, as far as there is one and it may.
        spared = segment.name in program.twins and program.healing.refusals
        level = "ok" if not missing else "warning" if spared else "problem"
        text = missing or "this machine has what it requires"
        if missing and spared:
            text += "; its fallback on the host runs instead"
        findings.append(Finding(f"segment {segment.name}", level, text))
    return findings


def _missing(manifest: Manifest) -> list[Finding]:
    """Members that running needs and that the file, whole as it is, does not have."""
    needed = []
    programs: list[tuple[str, Manifest | ShapeEntry]] = [("", manifest)]
    programs += [(f"shapes/{i}/", shape) for i, shape in enumerate(manifest.shapes)]
    for folder, program in programs:
        needed.append(f"{folder}{'plan' if program.body == 'plan' else 'vm'}.json")
        needed += [f"{folder}host.so"] if program.has_host else []
        needed += [f"{folder}segments/{segment.name}.bin" for segment in program.segments]
        needed += [f"{folder}twins/{name}.json" for name in program.twins]
    needed += [f"extras/{name}" for name in manifest.extras]
    there = {member.name for member in manifest.members}
    return [
        Finding("members", "problem", f"member {name!r} is missing")
        for name in needed
        if name not in there
    ]


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
