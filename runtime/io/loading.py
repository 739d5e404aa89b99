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

from byoc.errors import ArtifactError, ExecutionError
from byoc.runtime.io.artifact_file import ArtifactFile, open_artifact, read_public_key
from byoc.runtime.io.manifest import Manifest, ShapeEntry, VendorEntry
from byoc.runtime.io.weights import blob_arrays
from byoc.runtime.native import function, watch_files
from byoc.runtime.plan import Plan, decode_plan
from byoc.runtime.program import Program, Twin, VendorUse, VmProgram, VmTwin, vm_body, vm_twin
from byoc.segment import Array, Artifact, Requires
from byoc.support.validation import first_problem
from byoc.vendor import HostRuntime, LibraryRuntime, NativeRuntime, Runtime

__all__ = ["load_program"]

Resolver = Callable[[str], Runtime]

_T = TypeVar("_T")

_THE_PLAN = "the plan"  # who refers to arrays, in messages


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
    if (
        known is not None
        and {n: u.runtime for n, u in known.vendors.items()} == runtimes
        and _is_sound(known, trusted is not None)
    ):
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
        body, twins = _bodies(entry, folder, read, pick)
        return Program(
            name=manifest.name,
            inputs=entry.inputs,
            outputs=entry.outputs,
            body=body,
            host=read(f"{folder}host.so") if entry.has_host else None,
            artifacts=tuple(
                Artifact(
                    s.name,
                    s.vendor,
                    artifact.blob(f"{folder}segments/{s.name}.bin"),
                    pick(s.constants, f"segment {s.name!r}"),
                    s.notes,
                    s.requires or Requires(),
                )
                for s in entry.segments
            ),
            vendors=vendors,
            constants=pick(entry.constants, _THE_PLAN),
            segment_outputs={s.name: s.outputs for s in entry.segments if s.outputs is not None},
            target=entry.target,
            twins=twins,
            healing=entry.healing,
            isolation=manifest.isolation,
            refused=entry.refused,
            signatures={s.name: s.signature for s in entry.segments if s.signature is not None},
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


def _is_sound(program: Program, signed: bool) -> bool:
    """Whether a program's weights are those that were verified; of a signed file, for ever."""
    check = watch_files((*program.arrays(), *blob_arrays(program.artifacts)))
    if check is None or signed:
        return check is None
    try:
        check()
    except ExecutionError:
        return False
    return True


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArtifactError(f"manifest.json: {text!r:.40} is no number to pad with") from None


def _bodies(
    entry: Manifest | ShapeEntry,
    folder: str,
    read: Callable[[str], bytes],
    pick: Callable[[tuple[int, ...], str], tuple[Array, ...]],
) -> tuple[Plan | VmProgram, dict[str, Twin | VmTwin]]:
    """How a program runs, and its fallbacks; plans as they lie in the file are checked in C++."""
    member = f"{folder}{'plan' if entry.body == 'plan' else 'vm'}.json"
    text = read(member)
    texts = {
        name: (
            f"{folder}twins/{name}.json",
            read(f"{folder}twins/{name}.json"),
            pick(numbers, f"the twin of segment {name!r}"),
        )
        for name, numbers in entry.twins.items()
    }
    if entry.body == "vm":
        vm_twins: dict[str, Twin | VmTwin] = {
            name: VmTwin(*_decode(vm_twin().validate_json, file, twin), constants)
            for name, (file, twin, constants) in texts.items()
        }
        return _decode(vm_body().validate_json, member, text), vm_twins

    def sizes(arrays: tuple[Array, ...]) -> list[int]:
        return [array.nbytes for array in arrays]

    constants = pick(entry.constants, _THE_PLAN)
    fallbacks = {name: [twin, sizes(arrays)] for name, (_, twin, arrays) in texts.items()}
    function("check_plan")(text, sizes(constants), fallbacks)
    return _decode(decode_plan, member, text), {
        name: Twin(_decode(decode_plan, file, twin), arrays)
        for name, (file, twin, arrays) in texts.items()
    }


def _decode(decode: Callable[[bytes], _T], member: str, data: bytes) -> _T:
    try:
        return decode(data)
    except pydantic.ValidationError as error:
        raise ArtifactError(f"member {member!r}: {first_problem(error, 'the whole')}") from None


def _runtime(name: str, entry: VendorEntry, resolve: Resolver) -> Runtime:
    if entry.runtime == "library":  # its code is in the file
        return LibraryRuntime(entry.symbol or LibraryRuntime().symbol)
    if entry.runtime == "host":  # likewise
        return HostRuntime()
    runtime = resolve(name)
    kinds = {NativeRuntime: "native", LibraryRuntime: "library", HostRuntime: "host"}
    kind = kinds.get(type(runtime), "python")
    if kind != entry.runtime:
        raise ArtifactError(
            f"vendor {name!r} {entry.version} had a {entry.runtime} runtime when the file was "
            f"written, the one installed has a {kind} runtime; compile the model again"
        )
    return runtime
