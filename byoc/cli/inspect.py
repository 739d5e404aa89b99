"""``byoc inspect``: what a model holds and needs; nothing is built or loaded."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byoc.cli.common import Json, print_json, progress, show

if TYPE_CHECKING:
    from byoc.frontends.summary import Summary
    from byoc.runtime.io.manifest import Manifest

__all__ = ["inspect"]


def inspect(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A model file, or a compiled model (.byoc).", show_default=False
        ),
    ],
    json: Json = False,
) -> None:
    """Show what a model holds, without building anything.

    Of a model file: inputs, outputs, operators with counts, parameters, operator set, and what only
    a vendor that runs ONNX could take. Of a .byoc file: its manifest, checked against its hash.
    """
    if _is_archive(model):
        _inspect_artifact(model, json)
    else:
        _inspect_source(model, json)


def _is_archive(path: Path) -> bool:
    """True for a compiled model: by its suffix, or by what it begins with and holds."""
    if path.suffix == ".byoc":
        return True
    import zipfile

    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "manifest.json" in archive.namelist()


def _inspect_source(path: Path, json: bool) -> None:
    from byoc.frontends import import_model
    from byoc.frontends.summary import summarise

    with progress(f"reading {path}"):
        summary = summarise(import_model(path))
    if json:
        print_json(summary.to_dict())
    else:
        show(*_summary_lines(path, summary))


def _summary_lines(path: Path, s: Summary) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in s.versions.items())
    lines = [
        f"{path}: {s.name}, {s.source}{f', {versions}' if versions else ''}, "
        f"{path.stat().st_size:,} bytes"
    ]
    for title, ports in (("input", s.inputs), ("output", s.outputs)):
        lines += [f"{title:<13} {name}: {kind}" for name, kind in ports.items()]
    lines.append(f"parameters    {s.parameters:,} in {s.parameter_bytes:,} bytes")
    for title, ops in (("operators", s.operators), ("normal form", s.ops)):
        if ops:
            listed = ", ".join(f"{op} {count}" for op, count in ops.items())
            lines.append(f"{title:<13} {sum(ops.values()):,}: {listed}")
    for opaque in s.opaque:
        lines.append(f"opaque        {opaque.node} ({opaque.op}): {opaque.reason}")
    if s.opaque:
        from byoc.build.foreign_ops import vendors_of_foreign_ops

        for kind in dict.fromkeys(opaque.kind for opaque in s.opaque):
            for name in islice(vendors_of_foreign_ops(kind), 1):
                lines.append(f"What is opaque ({kind}) runs on a vendor: --vendors {name}")
    return lines


def _inspect_artifact(model: Path, json: bool) -> None:
    from byoc.runtime.io.checking import inspect_file, signature_of

    manifest = inspect_file(model)
    signature = signature_of(model)
    key = signature.public_key.hex() if signature else None
    if json:
        print_json({**_document(manifest), "signed_by": key})
    else:
        signed = f"by ed25519 key {key} (not checked: see byoc check)" if key else "no"
        show(*_lines(model, manifest), f"signed        {signed}")


def _document(manifest: Manifest) -> dict[str, Any]:
    import pydantic

    from byoc.runtime.io.manifest import Manifest as Type

    document: dict[str, Any] = pydantic.TypeAdapter(Type).dump_python(manifest, mode="json")
    return document


def _lines(path: Path, m: Manifest) -> list[str]:
    host = f"{m.target.cpu}, {m.target.triple}" if m.target else "none" if not m.has_host else "any"
    kind = "plan (static shapes)" if m.body == "plan" else "Relax VM (symbolic shapes)"
    lines = [
        f"{path}: {m.name}, format {m.format}, {path.stat().st_size:,} bytes",
        f"written by    byoc {m.byoc}, apache-tvm {m.tvm}, apache-tvm-ffi {m.tvm_ffi}",
        f"runs as       {kind}",
        f"host library  {host}",
    ]
    if m.target and m.target.features:
        lines.append(f"CPU features  {', '.join(m.target.features)}")
    for title, ports in (("inputs", m.inputs), ("outputs", m.outputs)):
        lines.append(f"{title:<13} " + ", ".join(map(str, ports)))
    if m.shapes:
        listed = [", ".join(f"{d} = {n}" for d, n in s.sizes.items()) for s in m.shapes]
        lines.append(f"plans for     {'; '.join(listed)}")
    if m.twins:
        limit = f", {m.healing.deadline} s a call" if m.healing.deadline else ""
        nan = ", NaN looked for" if m.healing.check_nan else ""
        lines.append(
            f"host twins    of {len(m.twins)} segments, for good after {m.healing.failures} "
            f"failures{limit}{nan}"
        )
    if m.isolation is not None:
        which = "all vendors" if m.isolation.vendors is None else ", ".join(m.isolation.vendors)
        limits = [f"{m.isolation.deadline:g} s a call"] if m.isolation.deadline else []
        if m.isolation.memory:
            limits.append(f"{m.isolation.memory:,} bytes of memory")
        lines.append(f"out of process {which}{''.join(f', {limit}' for limit in limits)}")
    for name, vendor in m.vendors.items():
        options = ", ".join(f"{k}={v!r}" for k, v in vendor.options.items()) or "no options"
        library = f", lib{vendor.library}.so of {vendor.package}" if vendor.library else ""
        lines.append(
            f"vendor        {name} {vendor.version} on {vendor.processor} ({vendor.runtime}"
            f"{library}): {options}"
        )
    for segment in m.segments:
        notes = f": {'; '.join(segment.notes)}" if segment.notes else ""
        twin = ", host twin" if segment.name in m.twins else ""
        if segment.name in m.refused:
            twin = f", left to its host twin: {m.refused[segment.name]}"
        lines.append(
            f"segment       {segment.name} ({segment.vendor}), {len(segment.constants)} "
            f"constants{twin}{notes}"
        )
        if segment.requires is not None:
            lines.append(f"  requires    {segment.requires}")
    width = max((len(member.name) for member in m.members), default=0)
    for member in m.members:
        more = f" and {len(member.sha256) - 1} more chunks" if len(member.sha256) > 1 else ""
        lines.append(
            f"member        {member.name:<{width}}  {member.size:>13,} bytes  "
            f"sha256 {member.sha256[0]}{more}"
        )
    lines.append("What loading uses: exactly these members, after every sha256 has matched.")
    return lines
