"""A `Program` as one .byoc file.

Written aside and renamed: whoever reads the path finds the old file or the new one, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

from byoc.errors import ArtifactError
from byoc.runtime.io import manifest as manifests
from byoc.runtime.io.archive import (
    add_signature,
    check_name,
    write_archive,
)
from byoc.runtime.io.artifact_file import open_artifact
from byoc.runtime.io.manifest import (
    FORMAT_VERSION,
    Manifest,
    SegmentEntry,
    ShapeEntry,
    VendorEntry,
    installed,
)
from byoc.runtime.io.signing import sign_manifest
from byoc.runtime.io.weights import WeightsWriter
from byoc.runtime.plan import Plan, encode_plan
from byoc.runtime.program import Program, Twin, VendorUse, VmTwin, vm_body, vm_twin
from byoc.segment import Array, Blob, Requires
from byoc.support.files import atomic_write
from byoc.vendor import HostRuntime, LibraryRuntime, NativeRuntime

__all__ = ["save_program", "sign_file"]

Content = tuple[str, int, Iterable[bytes | memoryview]]
_SMALL = 16 << 10  # bytes


def save_program(program: Program, path: Path) -> None:
    """Write a program as one file, whole or not at all: an older file stays until the new is there.

    Args:
        program: What to write.
        path: Where to; an existing file is replaced.

    Raises:
        ArtifactError: The path cannot be written.
        CompileError: The host library cannot be exported.

    """
    path = Path(path)
    contents, draft = _contents(program)
    _replace(
        path,
        lambda file: write_archive(
            file,
            contents,
            lambda members: manifests.encode(replace(draft, members=tuple(members))),
        ),
    )


def sign_file(path: Path, key: Path) -> None:
    """Sign an artifact in place, after every member was verified.

    Args:
        path: The artifact; it is replaced by the signed one, whole or not at all.
        key: A PEM file with an unencrypted ed25519 private key.

    Raises:
        ArtifactError: The file is damaged, or cannot be written.
        OptionError: The key is none.

    """
    with open_artifact(path) as (artifact, fd):
        artifact.verify()
        signature = sign_manifest(artifact.text, key)
        _replace(
            path,
            lambda file: add_signature(fd, file, artifact.digest, artifact.signature, signature),
        )


def _replace(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    try:
        with atomic_write(path) as file:
            write(file)
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error


def _contents(program: Program) -> tuple[list[Content], Manifest]:
    """The members of a program's file and its manifest, still without their hashes."""
    contents: list[Content] = []
    weights = WeightsWriter()
    # Small arrays side by side: around each page that is read of a mapped file, Linux maps 64 KiB.
    for inner in (program, *(inner for _, inner in program.shapes)):
        for array in _constants(inner):
            if array.nbytes <= _SMALL:
                weights.add(array)
    parts = _parts(program, "", contents, weights)
    shapes = tuple(
        ShapeEntry(sizes=dict(sizes), **_parts(inner, f"shapes/{number}/", contents, weights))
        for number, (sizes, inner) in enumerate(program.shapes)
    )
    contents.append(("weights.bin", weights.size, weights.chunks()))
    for name, _, _ in contents:
        check_name(name)
    values = any(port.value for port in (*program.inputs, *program.outputs))
    third = program.isolation or program.refused or values
    vm_twins = any(isinstance(twin, VmTwin) for twin in program.twins.values())
    uses = {name: use for _, inner in program.shapes for name, use in inner.vendors.items()}
    uses = {**uses, **program.vendors}
    everything = (program, *(inner for _, inner in program.shapes))
    sixth = any(isinstance(use.runtime, LibraryRuntime) for use in uses.values()) or any(
        artifact.requires != Requires() for inner in everything for artifact in inner.artifacts
    )
    seventh = any(isinstance(use.runtime, HostRuntime) for use in uses.values())
    wanted = {7: seventh, 6: sixth, 5: vm_twins, 4: bool(shapes), 3: bool(third)}
    newer = next((version for version, needed in wanted.items() if needed), FORMAT_VERSION)
    return contents, Manifest(
        byoc=installed("tvm-byoc"),
        tvm=installed("apache-tvm"),
        tvm_ffi=installed("apache-tvm-ffi"),
        name=program.name,
        body="plan" if program.is_static else "vm",
        vendors={name: _vendor_entry(use) for name, use in uses.items()},
        arrays=tuple(weights.entries),
        extras=tuple(program.extras),
        isolation=program.isolation,
        shapes=shapes,
        buckets={dim: tuple(sizes) for dim, sizes in program.buckets.items()},
        fill={name: repr(float(value)) for name, value in program.fill.items()},
        format=newer,
        **parts,
    )


def _constants(program: Program) -> Iterator[Array]:
    """All arrays of a program, some more than once."""
    for artifact in program.artifacts:
        yield from artifact.constants
    yield from program.constants
    for twin in program.twins.values():
        yield from twin.constants


def _parts(
    program: Program, folder: str, contents: list[Content], weights: WeightsWriter
) -> dict[str, Any]:
    """Append a program's own members, and tell what a manifest says of it."""

    def add(name: str, data: Blob) -> None:
        contents.append((folder + name, len(data), [data]))

    body = program.body
    if isinstance(body, Plan):
        add("plan.json", encode_plan(body))
    else:
        add("vm.json", vm_body().dump_json(body))
    if program.host is not None:
        add("host.so", program.host if isinstance(program.host, bytes) else program.host.export())
    for name, data in program.extras.items() if not folder else ():
        add(f"extras/{name}", data)
    segments = []
    for artifact in program.artifacts:
        add(f"segments/{artifact.segment}.bin", artifact.blob)
        segments.append(
            SegmentEntry(
                artifact.segment,
                artifact.vendor,
                tuple(weights.add(c) for c in artifact.constants),
                program.segment_outputs.get(artifact.segment),
                artifact.notes,
                program.signatures.get(artifact.segment),
                artifact.requires if artifact.requires != Requires() else None,
            )
        )
    constants = tuple(weights.add(c) for c in program.constants)
    twins = {}
    for name, twin in program.twins.items():
        if isinstance(twin, Twin):
            add(f"twins/{name}.json", encode_plan(twin.plan))
        else:
            add(f"twins/{name}.json", vm_twin().dump_json((twin.entry, twin.outputs)))
        twins[name] = tuple(weights.add(c) for c in twin.constants)
    return {
        "inputs": program.inputs,
        "outputs": program.outputs,
        "has_host": program.host is not None,
        "target": program.target,
        "segments": tuple(segments),
        "constants": constants,
        "twins": twins,
        "healing": program.healing,
        "refused": dict(program.refused),
    }


def _vendor_entry(use: VendorUse) -> VendorEntry:
    runtime = use.runtime
    if isinstance(runtime, NativeRuntime):
        return VendorEntry(
            use.version, dict(use.options), "native", use.processor, runtime.library,
            runtime.package,
        )  # fmt: skip
    if isinstance(runtime, LibraryRuntime):
        return VendorEntry(
            use.version, dict(use.options), "library", use.processor, symbol=runtime.symbol
        )
    kind: Literal["host", "python"] = "host" if isinstance(runtime, HostRuntime) else "python"
    return VendorEntry(use.version, dict(use.options), kind, use.processor)
