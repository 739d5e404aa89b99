"""Replay bundles: culprits with their segments, inputs and options, as one file.

    Diagnosis ──write_bundle──▶ fault.byocbug ──read_bundle──▶ Bundle ──replay──▶ there again?

A bundle is an uncompressed zip: ``bundle.json`` (see `byoc.debug.bundle_format`) and the bytes of
each array. It needs the vendor to be replayed, and neither the model nor TVM. Nothing in it is
executed when it is read, and every claim about sizes is checked.
"""

from __future__ import annotations

import os
import platform
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic

from byoc.debug.bundle_format import (
    FORMAT,
    ArrayRecord,
    BundleRecord,
    CaseRecord,
    read_segment,
    write_segment,
)
from byoc.debug.diagnosis import Culprit, Diagnosis, Evidence, Kind, Op
from byoc.errors import ArtifactError
from byoc.support.dtypes import numpy_dtype
from byoc.support.files import atomic_write
from byoc.support.text import printable

if TYPE_CHECKING:
    from byoc.segment import Array

__all__ = ["Bundle", "BundleCase", "read_bundle", "versions_here", "write_bundle"]

_RECORD = "bundle.json"
_LONGEST = 64 << 20  # bytes of bundle.json


@dataclass(frozen=True, eq=False)
class BundleCase:
    """One culprit of a bundle.

    Attributes:
        kind: what was wrong.
        ops: which ops.
        step: when it showed.
        message: what was observed.
        seconds: that a call took; None where none ended.
        tolerance: relative gap that is rounding.
        vendor_version: of the vendor then.
        options: the vendor's.
        evidence: segment, inputs, and what the host made of them.
    """

    kind: Kind
    ops: tuple[Op, ...]
    step: str
    message: str
    seconds: float | None
    tolerance: float
    vendor_version: str
    options: Mapping[str, Any]
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class Bundle:
    """What a bundle holds.

    Attributes:
        model: name of the model that the culprits were found in.
        versions: package → its version then; "python", "machine" too.
        cases: the culprits.
    """

    model: str
    versions: Mapping[str, str]
    cases: tuple[BundleCase, ...]


def versions_here() -> dict[str, str]:
    """Tell what this machine runs, as bundles hold it."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("tvm-byoc", "apache-tvm", "apache-tvm-ffi", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_bundle(path: str | os.PathLike[str], found: Diagnosis) -> None:
    """Write the culprits of a diagnosis as one file.

    Args:
        path: the file, by custom ``….byocbug``; one that exists is replaced.
        found: a diagnosis with culprits.

    Raises:
        ArtifactError: there is no culprit, or the file cannot be written.
    """
    if not found.culprits:
        raise ArtifactError(
            f"model {found.model!r}: nothing was found, so there is no fault to keep"
        )
    arrays: list[Array] = []

    def keep(array: Array) -> ArrayRecord:
        arrays.append(array)
        member = f"arrays/{len(arrays) - 1}"
        return ArrayRecord(member=member, dtype=array.dtype.name, shape=array.shape)

    record = BundleRecord(
        format=FORMAT,
        model=found.model,
        versions=versions_here(),
        cases=tuple(_case_record(c, found, keep) for c in found.culprits),
    )
    try:
        with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_RECORD, record.model_dump_json(indent=1))
            for number, array in enumerate(arrays):
                archive.writestr(f"arrays/{number}", np.ascontiguousarray(array).tobytes())
    except OSError as error:
        raise ArtifactError(f"cannot write the bundle {path}: {error}") from error


def _case_record(culprit: Culprit, found: Diagnosis, keep: Any) -> CaseRecord:
    evidence = culprit.evidence
    return CaseRecord(
        kind=culprit.kind,
        ops=tuple((op.name, op.kind) for op in culprit.ops),
        step=culprit.step,
        message=culprit.message,
        seconds=culprit.seconds,
        tolerance=culprit.tolerance,
        vendor_version=found.vendor_versions.get(culprit.vendor, ""),
        options=dict(found.options.get(culprit.vendor, {})),
        segment=write_segment(evidence.segment, keep),
        inputs=tuple(keep(a) for a in evidence.inputs),
        expected=tuple(keep(a) for a in evidence.expected),
    )


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read a bundle, wherever it comes from.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        ArtifactError: it cannot be read, or does not hold together.
    """
    try:
        with zipfile.ZipFile(Path(path)) as archive:
            return _read(archive)
    except ArtifactError as error:
        raise ArtifactError(f"{path} is no replay bundle of byoc: {error}") from error
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, RecursionError, EOFError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        told = printable(" ".join(lines[:3]))[:300]
        raise ArtifactError(f"{path} cannot be read as a replay bundle: {told}") from error
    except NotImplementedError as error:  # how zipfile says that it does not know a compression
        raise ArtifactError(f"{path} cannot be read as a replay bundle: {error}") from error


def _read(archive: zipfile.ZipFile) -> Bundle:
    if archive.getinfo(_RECORD).file_size > _LONGEST:
        raise ArtifactError(f"{_RECORD} has more than {_LONGEST:,} bytes")
    try:
        record = BundleRecord.model_validate_json(_member(archive, _RECORD))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{_RECORD}: {where}: {first['msg']}") from error
    if record.format != FORMAT:
        raise ArtifactError(f"it has format {record.format}, this byoc reads {FORMAT}")
    return Bundle(record.model, record.versions, tuple(_case(c, archive) for c in record.cases))


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ArtifactError(f"member {name!r} is compressed; bundles are not")
    return archive.read(name)


def _case(record: CaseRecord, archive: zipfile.ZipFile) -> BundleCase:
    def load(array: ArrayRecord) -> Array:
        try:
            dtype = numpy_dtype(array.dtype)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ArtifactError(f"{array.member}: unknown dtype {array.dtype!r}") from error
        if dtype.hasobject or not dtype.itemsize:
            raise ArtifactError(f"{array.member}: dtype {array.dtype!r} holds no numbers")
        data = _member(archive, array.member)
        if min(array.shape, default=0) < 0 or len(data) != prod(array.shape) * dtype.itemsize:
            raise ArtifactError(
                f"{array.member} has {len(data)} bytes, expected {array.dtype}{list(array.shape)}"
            )
        return np.frombuffer(bytearray(data), dtype).reshape(array.shape)

    segment = read_segment(record.segment, load)
    evidence = Evidence(segment, tuple(map(load, record.inputs)), tuple(map(load, record.expected)))
    for what, values, arrays in (
        ("inputs", segment.inputs, evidence.inputs),
        ("outputs", segment.outputs, evidence.expected),
    ):
        if len(values) != len(arrays):
            raise ArtifactError(f"the segment has {len(values)} {what}, the bundle {len(arrays)}")
    return BundleCase(
        kind=record.kind,
        ops=tuple(Op(name, kind) for name, kind in record.ops),
        step=record.step,
        message=record.message,
        seconds=record.seconds,
        tolerance=record.tolerance,
        vendor_version=record.vendor_version,
        options=record.options,
        evidence=evidence,
    )
