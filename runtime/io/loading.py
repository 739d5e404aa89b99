"""A `Program` from its .byoc file.

Loading goes from cheap and harmless to costly: manifest and its hash, signature, format, versions,
CPU features, vendors installed, then every hash; only then is anything of the file used, and then
the very bytes that were hashed. The reading is that of `byoc.runtime.io.artifact_file`; here its
text becomes values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

import pydantic

from byoc.errors import ArtifactError
from byoc.runtime.io.artifact_file import ArtifactFile, open_artifact, read_public_key
from byoc.runtime.io.manifest import Manifest, ShapeEntry, VendorEntry
from byoc.runtime.plan import Plan, decode_plan
from byoc.runtime.program import VM_BODY, VM_TWIN, Program, Twin, VendorUse, VmProgram, VmTwin
from byoc.segment import Array, Artifact
from byoc.vendor import NativeRuntime, PythonRuntime

__all__ = ["load_program"]

Resolver = Callable[[str], NativeRuntime | PythonRuntime]

_T = TypeVar("_T")


def load_program(
    path: Path, resolve_vendor: Resolver, *, require_signature: Path | None = None
) -> Program:
    """Read a program; its weights stay in the file and are mapped.

    Args:
        path: A .byoc file.
        resolve_vendor: Vendor name → its runtime on this machine; VendorError when it has none.
        require_signature: PEM file of the ed25519 public key the file must be signed with.

    Returns:
        The program; the same one for equal files as long as it lives.

    Raises:
        ArtifactError: The file is damaged (the member is named), of another version, for another
            CPU, or not signed as required.
        OptionError: The key is none.

    """
    trusted = read_public_key(Path(require_signature)) if require_signature is not None else None
    with open_artifact(Path(path)) as (artifact, _):
        return _load(artifact, resolve_vendor, trusted)


_loaded: WeakValueDictionary[str, Program] = WeakValueDictionary()
"""Programs that live, by the sha256 of their manifest: equal files are mapped once."""


def _load(artifact: ArtifactFile, resolve_vendor: Resolver, trusted: bytes | None) -> Program:
    if trusted is not None:
        artifact.check_signature(trusted)
    manifest = artifact.manifest()
    for _, _, problem in artifact.fits():
        if problem:
            raise ArtifactError(problem)
    runtimes = {
        name: _runtime(name, entry, resolve_vendor) for name, entry in manifest.vendors.items()
    }
    artifact.verify()
    digest = artifact.digest  # of every other member's sha256, too
    known = _loaded.get(digest)
    if known is not None and {n: u.runtime for n, u in known.vendors.items()} == runtimes:
        return known
    read = artifact.take
    arrays = [artifact.array(n, entry.dtype) for n, entry in enumerate(manifest.arrays)]

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
    return _decode(VM_BODY.validate_json, "vm.json", read)


def _twin(
    entry: Manifest | ShapeEntry,
    member: str,
    read: Callable[[str], bytes],
    constants: tuple[Array, ...],
) -> Twin | VmTwin:
    if entry.body == "plan":
        return Twin(_plan(member, read), constants)
    return VmTwin(*_decode(VM_TWIN.validate_json, member, read), constants)


def _plan(member: str, read: Callable[[str], bytes]) -> Plan:
    return _decode(decode_plan, member, read)


def _decode(decode: Callable[[bytes], _T], member: str, read: Callable[[str], bytes]) -> _T:
    data = read(member)
    try:
        return decode(data)
    except pydantic.ValidationError as error:
        raise ArtifactError(f"member {member!r}: {' '.join(str(error).split()):.300}") from None


def _runtime(name: str, entry: VendorEntry, resolve: Resolver) -> NativeRuntime | PythonRuntime:
    runtime = resolve(name)
    kind = "native" if isinstance(runtime, NativeRuntime) else "python"
    if kind != entry.runtime:
        raise ArtifactError(
            f"vendor {name!r} {entry.version} had a {entry.runtime} runtime when the file was "
            f"written, the one installed has a {kind} runtime; compile the model again"
        )
    return runtime
