"""``byoc inspect``: what a compiled model holds and needs, without loading any of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byoc.cli.common import Json, print_json

if TYPE_CHECKING:
    from byoc.runtime.manifest import Manifest

__all__ = ["inspect"]


def inspect(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.byoc", help="A compiled model.", show_default=False)
    ],
    json: Json = False,
) -> None:
    """Show the manifest of a compiled model: ports, versions, vendors, segments, members, hashes.

    Nothing of the file is loaded or run; only the manifest is read, and checked against its hash.
    """
    from byoc.runtime.checking import inspect_file, signature_of

    manifest = inspect_file(model)
    signature = signature_of(model)
    key = signature.public_key.hex() if signature else None
    if json:
        print_json({**_document(manifest), "signed_by": key})
    else:
        signed = f"by ed25519 key {key} (not checked: see byoc check)" if key else "no"
        print("\n".join([*_lines(model, manifest), f"signed        {signed}"]))


def _document(manifest: Manifest) -> dict[str, Any]:
    import pydantic

    from byoc.runtime.manifest import Manifest as Type

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
        lines.append(f"{title:<13} " + ", ".join(f"{p.name}: {p.type}" for p in ports))
    if m.twins:
        limit = f", {m.healing.deadline} s a call" if m.healing.deadline else ""
        nan = ", NaN looked for" if m.healing.check_nan else ""
        lines.append(
            f"host twins    of {len(m.twins)} segments, for good after {m.healing.failures} "
            f"failures{limit}{nan}"
        )
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
        lines.append(
            f"segment       {segment.name} ({segment.vendor}), {len(segment.constants)} "
            f"constants{twin}{notes}"
        )
    width = max(len(member.name) for member in m.members)
    for member in m.members:
        more = f" and {len(member.sha256) - 1} more chunks" if len(member.sha256) > 1 else ""
        lines.append(
            f"member        {member.name:<{width}}  {member.size:>13,} bytes  "
            f"sha256 {member.sha256[0]}{more}"
        )
    lines.append("What loading uses: exactly these members, after every sha256 has matched.")
    return lines
