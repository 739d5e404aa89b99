"""The manifest of an artifact: what the file holds and what it needs.

`encode` writes it; `decode` makes values of text that runtime/src/artifact/manifest.cc has checked.
"""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pydantic

from byoc.errors import ArtifactError
from byoc.runtime.io.archive import Member
from byoc.runtime.io.weights import ArrayEntry
from byoc.runtime.program import Healing, Isolation, Target
from byoc.segment import PortType, Requires, SegmentSignature
from byoc.support.validation import first_problem

__all__ = [
    "FORMAT_VERSION",
    "Manifest",
    "SegmentEntry",
    "ShapeEntry",
    "VendorEntry",
    "decode",
    "encode",
    "installed",
]

FORMAT_VERSION = 2
"""Version of the file format that is written where nothing needs a later one.

What is read: kNewestFormat of runtime/src/artifact/manifest.h, and all before it.

1: no host twins; still read. 2: ``twins/<segment>.json``, `Manifest.twins`, `Manifest.healing`.
3: `Manifest.isolation`, `Manifest.refused`, `PortType.value`; written only for a model that has one
   of them.
4: `Manifest.shapes`; likewise.
5: twins of a model on the VM (``twins/<segment>.json`` is an entry and its outputs); likewise.
6: `SegmentEntry.requires`, vendors whose blobs are shared objects; likewise.
7: vendors that give kernels; likewise.
"""


@dataclass(frozen=True, slots=True)
class VendorEntry:
    """A vendor as the program was compiled for it. library, package: of a native runtime; symbol:
    of one whose blobs are shared objects.
    """

    version: str
    options: dict[str, Any]
    runtime: Literal["native", "python", "library", "host"]
    processor: str = "cpu"
    library: str | None = None
    package: str | None = None
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One segment: its blob is the member ``segments/<name>.bin``, constants are array numbers."""

    name: str
    vendor: str
    constants: tuple[int, ...]
    outputs: int | None = None
    notes: tuple[str, ...] = ()
    signature: SegmentSignature | None = None
    requires: Requires | None = None


@dataclass(frozen=True, slots=True)
class ShapeEntry:
    """A static program for given sizes of the symbolic dimensions; its members lie under
    ``shapes/<number>/``. Fields as in `Manifest`.
    """

    sizes: dict[str, int]
    inputs: tuple[PortType, ...]
    outputs: tuple[PortType, ...]
    has_host: bool
    target: Target | None
    segments: tuple[SegmentEntry, ...]
    constants: tuple[int, ...]
    twins: dict[str, tuple[int, ...]]
    healing: Healing
    refused: dict[str, str]
    body: Literal["plan"] = "plan"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of ``manifest.json``.

    twins: segment name → array numbers of its twin's constants; the plan is the member
    ``twins/<name>.json``. shapes: programs for some sizes of symbolic dimensions. fill: numbers as
    Python spells them ("-inf").
    """

    byoc: str
    tvm: str
    tvm_ffi: str
    name: str
    inputs: tuple[PortType, ...]
    outputs: tuple[PortType, ...]
    body: Literal["plan", "vm"]
    has_host: bool
    target: Target | None
    vendors: dict[str, VendorEntry]
    segments: tuple[SegmentEntry, ...]
    constants: tuple[int, ...]
    arrays: tuple[ArrayEntry, ...]
    extras: tuple[str, ...]
    twins: dict[str, tuple[int, ...]] = field(default_factory=dict)
    healing: Healing = field(default_factory=Healing)
    isolation: Isolation | None = None
    refused: dict[str, str] = field(default_factory=dict)
    shapes: tuple[ShapeEntry, ...] = ()
    buckets: dict[str, tuple[int, ...]] = field(default_factory=dict)
    fill: dict[str, str] = field(default_factory=dict)
    members: tuple[Member, ...] = field(default=())
    format: int = FORMAT_VERSION


_ADAPTER = pydantic.TypeAdapter(Manifest)


def installed(distribution: str) -> str:
    """Tell the version of an installed distribution, or "" when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def encode(manifest: Manifest) -> bytes:
    """Write a manifest as JSON, whose length does not depend on the members' hashes."""
    document = _ADAPTER.dump_python(manifest, mode="json")
    for member in document["members"]:
        member["crc32"] = f"{member['crc32']:08x}"
    return json.dumps(document, indent=1, ensure_ascii=True).encode("ascii")


def decode(data: bytes) -> Manifest:
    """Read a manifest.

    Args:
        data: The text that `ArtifactFile` has checked, of a format that is known.

    Raises:
        ArtifactError: Something of it has another type than a manifest's.

    """
    try:
        document = json.loads(data)
        for member in document["members"]:
            member["crc32"] = int(member["crc32"], 16)
        document.get("healing", {}).setdefault("refusals", False)  # not known to older files
        return _ADAPTER.validate_python(document, strict=False)
    except pydantic.ValidationError as error:
        problem = first_problem(error, "the whole")
        raise ArtifactError(f"manifest.json is no manifest: {problem}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"manifest.json is no manifest: {error!s:.300}") from None
