"""Artifacts: a `Program` as one .byoc file, and back.

Loading goes from cheap and harmless to costly: manifest and its hash, format, versions, CPU
features, vendors installed, then every hash; only then is anything of the file used.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, TypeVar
from weakref import WeakValueDictionary

import pydantic

from byoc.errors import ArtifactError
from byoc.segment import Array, Artifact
from byoc.vendor import NativeRuntime, PythonRuntime

from . import manifest as manifests
from .archive import (
    add_signature,
    check_name,
    read_manifest,
    read_signature,
    verify,
    write_archive,
)
from .cpu import cpu_features
from .manifest import (
    FORMAT_VERSION,
    Manifest,
    SegmentEntry,
    ShapeEntry,
    VendorEntry,
    installed,
)
from .plan import Plan, decode_plan, encode_plan
from .program import Program, Target, Twin, VendorUse, VmProgram, VmTwin
from .signing import check_signature, read_public_key, sign_manifest
from .weights import WeightsWriter, map_member, view_array

__all__ = [
    "check_cpu",
    "check_tvm",
    "check_tvm_ffi",
    "load_program",
    "save_program",
    "sign_file",
]

Content = tuple[str, int, Iterable[bytes | memoryview]]
_SMALL = 16 << 10  # bytes

Resolver = Callable[[str], NativeRuntime | PythonRuntime]

_T = TypeVar("_T")
_VM = pydantic.TypeAdapter(VmProgram)
_VM_TWIN = pydantic.TypeAdapter(tuple[str, int])  # entry, outputs


def save_program(program: Program, path: Path) -> None:
    """Write a program as one file, whole or not at all: an older file stays until the new is there.

    Raises ArtifactError when the path cannot be written, CompileError when the host library
    cannot be exported.
    """
    path = Path(path)
    contents, draft = _contents(program)
    _write_aside(
        path,
        lambda file: write_archive(
            file,
            contents,
            lambda members: manifests.encode(replace(draft, members=tuple(members))),
        ),
    )


def sign_file(path: Path, key: Path) -> None:
    """Sign an artifact with the ed25519 private key in a PEM file; the file is replaced.

    Every member is verified before. Raises ArtifactError, OptionError for a key that is none.
    """
    fd = _open(path)
    try:
        data = read_manifest(fd)
        verify(fd, data, manifests.decode(data).members)
        signature = sign_manifest(data, key)
        _write_aside(path, lambda file: add_signature(fd, file, data, signature))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    finally:
        os.close(fd)


def _write_aside(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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
    newer = 5 if vm_twins else 4 if shapes else 3 if third else FORMAT_VERSION
    uses = {name: use for _, inner in program.shapes for name, use in inner.vendors.items()}
    return contents, Manifest(
        byoc=installed("tvm-byoc"),
        tvm=installed("apache-tvm"),
        tvm_ffi=installed("apache-tvm-ffi"),
        name=program.name,
        body="plan" if program.is_static else "vm",
        vendors={name: _vendor_entry(use) for name, use in {**uses, **program.vendors}.items()},
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

    def add(name: str, data: bytes) -> None:
        contents.append((folder + name, len(data), [data]))

    body = program.body
    if isinstance(body, Plan):
        add("plan.json", encode_plan(body))
    else:
        add("vm.json", _VM.dump_json(body))
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
            )
        )
    constants = tuple(weights.add(c) for c in program.constants)
    twins = {}
    for name, twin in program.twins.items():
        if isinstance(twin, Twin):
            add(f"twins/{name}.json", encode_plan(twin.plan))
        else:
            add(f"twins/{name}.json", _VM_TWIN.dump_json((twin.entry, twin.outputs)))
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
    return VendorEntry(use.version, dict(use.options), "python", use.processor)


def load_program(
    path: Path, resolve_vendor: Resolver, *, require_signature: Path | None = None
) -> Program:
    """Read a program; its weights stay in the file and are mapped.

    resolve_vendor: vendor name → its runtime on this machine; VendorError when it has none.
    require_signature: PEM file of the ed25519 public key the file must be signed with.
    Raises ArtifactError: damaged (the member is named), of another version, for another CPU, or not
    signed as required.
    """
    path = Path(path)
    trusted = read_public_key(Path(require_signature)) if require_signature is not None else None
    fd = _open(path)
    try:
        return _load(fd, resolve_vendor, trusted)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    finally:
        os.close(fd)


_loaded: WeakValueDictionary[bytes, Program] = WeakValueDictionary()
"""Programs that live, by the sha256 of their manifest: equal files are mapped once."""


def _load(fd: int, resolve_vendor: Resolver, trusted: bytes | None) -> Program:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise ArtifactError("this is no regular file")
    data = read_manifest(fd)
    if trusted is not None:
        check_signature(data, read_signature(fd), trusted)
    manifest = manifests.decode(data)
    _check_machine(manifest)
    runtimes = {
        name: _runtime(name, entry, resolve_vendor) for name, entry in manifest.vendors.items()
    }
    offsets = verify(fd, data, manifest.members)
    digest = hashlib.sha256(data).digest()  # of every other member's sha256, too
    known = _loaded.get(digest)
    if known is not None and {n: u.runtime for n, u in known.vendors.items()} == runtimes:
        return known
    sizes = {member.name: member.size for member in manifest.members}

    def read(name: str) -> bytes:
        if name not in sizes:
            raise ArtifactError(f"member {name!r} is missing")
        with os.fdopen(os.dup(fd), "rb") as file:
            file.seek(offsets[name])
            return file.read(sizes[name])

    if "weights.bin" not in sizes:
        raise ArtifactError("member 'weights.bin' is missing")
    mapped = map_member(fd, offsets["weights.bin"], sizes["weights.bin"])
    arrays = [view_array(mapped, entry) for entry in manifest.arrays]

    def pick(numbers: tuple[int, ...], what: str) -> tuple[Array, ...]:
        if any(not 0 <= n < len(arrays) for n in numbers):
            raise ArtifactError(f"{what} refers to an array that is not in the table")
        return tuple(arrays[n] for n in numbers)

    vendors = {
        name: VendorUse(entry.version, entry.options, runtimes[name], entry.processor)
        for name, entry in manifest.vendors.items()
    }

    def program(entry: Manifest | ShapeEntry, folder: str) -> Program:
        return Program(
            name=manifest.name,
            inputs=entry.inputs,
            outputs=entry.outputs,
            body=_body(entry, folder, read),
            host=read(f"{folder}host.so") if entry.has_host else None,
            artifacts=tuple(
                Artifact(
                    s.name,
                    s.vendor,
                    read(f"{folder}segments/{s.name}.bin"),
                    pick(s.constants, f"segment {s.name!r}"),
                    s.notes,
                )
                for s in entry.segments
            ),
            vendors=vendors,
            constants=pick(entry.constants, "the plan"),
            segment_outputs={s.name: s.outputs for s in entry.segments if s.outputs is not None},
            target=entry.target,
            twins={
                name: _twin(
                    entry,
                    f"{folder}twins/{name}.json",
                    read,
                    pick(numbers, f"the twin of segment {name!r}"),
                )
                for name, numbers in entry.twins.items()
            },
            healing=entry.healing,
            isolation=manifest.isolation,
            refused=entry.refused,
        )

    loaded = _loaded[digest] = replace(
        program(manifest, ""),
        extras={name: read(f"extras/{name}") for name in manifest.extras},
        shapes=tuple(
            (entry.sizes, program(entry, f"shapes/{number}/"))
            for number, entry in enumerate(manifest.shapes)
        ),
        buckets=manifest.buckets,
        fill={name: _number(text) for name, text in manifest.fill.items()},
    )
    return loaded


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArtifactError(f"manifest.json: {text!r:.40} is no number to pad with") from None


def _body(
    entry: Manifest | ShapeEntry, folder: str, read: Callable[[str], bytes]
) -> Plan | VmProgram:
    if entry.body == "plan":
        return _plan(f"{folder}plan.json", read)
    return _decode(_VM.validate_json, "vm.json", read)


def _twin(
    entry: Manifest | ShapeEntry,
    member: str,
    read: Callable[[str], bytes],
    constants: tuple[Array, ...],
) -> Twin | VmTwin:
    if entry.body == "plan":
        return Twin(_plan(member, read), constants)
    return VmTwin(*_decode(_VM_TWIN.validate_json, member, read), constants)


def _plan(member: str, read: Callable[[str], bytes]) -> Plan:
    return _decode(decode_plan, member, read)


def _decode(decode: Callable[[bytes], _T], member: str, read: Callable[[str], bytes]) -> _T:
    data = read(member)
    try:
        return decode(data)
    except pydantic.ValidationError as error:
        raise ArtifactError(f"member {member!r}: {' '.join(str(error).split()):.300}") from None


def _check_machine(manifest: Manifest) -> None:
    """Versions and CPU, before anything costly."""
    if manifest.body == "vm":
        check_tvm(manifest)
    if manifest.has_host:
        check_tvm_ffi(manifest)
        for target in (manifest.target, *(entry.target for entry in manifest.shapes)):
            if target is not None:
                check_cpu(target)


def check_tvm(manifest: Manifest) -> None:
    """Raises ArtifactError unless the TVM that runs the file's VM bytecode is installed."""
    have = installed("apache-tvm")
    if not have:
        raise ArtifactError(
            f"the model runs on TVM's VM: install apache-tvm=={manifest.tvm or '0.27.*'}"
        )
    if _minor(have) != _minor(manifest.tvm):
        raise ArtifactError(
            f"the VM bytecode was compiled by apache-tvm {manifest.tvm}, {have} is installed; "
            f"compile the model again, or install apache-tvm=={_minor(manifest.tvm)}.*"
        )


def check_tvm_ffi(manifest: Manifest) -> None:
    """Raises ArtifactError when the host library needs another tvm-ffi."""
    have = installed("apache-tvm-ffi")
    if _minor(have) != _minor(manifest.tvm_ffi):
        raise ArtifactError(
            f"the host library was compiled against apache-tvm-ffi {manifest.tvm_ffi}, {have} is "
            f"installed; compile the model again, or install "
            f"apache-tvm-ffi=={_minor(manifest.tvm_ffi)}.*"
        )


def check_cpu(target: Target) -> None:
    """Raises ArtifactError when this CPU lacks something the host library uses."""
    machine, wanted = os.uname().machine, target.triple.split("-")[0]
    if wanted and wanted != machine:
        raise ArtifactError(f"the file was compiled for {wanted} ({target.cpu}), this is {machine}")
    have = cpu_features()
    missing = sorted(set(target.features) - have) if have is not None else []
    if missing:
        raise ArtifactError(
            f"the host library was compiled for CPU {target.cpu!r} and needs features that this "
            f"CPU lacks: {', '.join(missing)}; compile the model on this machine"
        )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _runtime(name: str, entry: VendorEntry, resolve: Resolver) -> NativeRuntime | PythonRuntime:
    runtime = resolve(name)
    kind = "native" if isinstance(runtime, NativeRuntime) else "python"
    if kind != entry.runtime:
        raise ArtifactError(
            f"vendor {name!r} {entry.version} had a {entry.runtime} runtime when the file was "
            f"written, the one installed has a {kind} runtime; compile the model again"
        )
    return runtime
