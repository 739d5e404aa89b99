"""Artifacts that take long to compile, kept on this machine where `Vendor.keep` asks for it.

    Segment ──▶ its text without names ─┐
                its constants ──────────┼─▶ key ─▶ the cache of engines ─▶ Artifact
                vendor, options, keep() ┘           not there: compile, and put it there

The files, locks and limits are those of engines (`byoc.runtime.engines`): an artifact is one more
kind of what was slow to make. Constants that are the segment's own are kept as their value ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from byoc.contract_checks import check_artifact
from byoc.errors import VendorError
from byoc.plugins.discovery import Requested
from byoc.runtime.engines import code_identity, make_engine
from byoc.runtime.native import dense, num_threads
from byoc.runtime.program import VendorUse
from byoc.runtime.vendor_runtimes import told_equipment
from byoc.segment import Array, Artifact, Requires, Segment
from byoc.support.dtypes import numpy_dtype
from byoc.support.memory import round_up
from byoc.vendor import Vendor

__all__ = ["is_kept", "kept_artifact"]

_LAYOUT = "artifact 1"
_WORDS = 8  # bytes of the header's length
_UNNAMED = frozenset({"node", "reason"})  # attributes that only tell where an op came from


def is_kept(vendor: Vendor) -> bool:
    """Tell whether artifacts of a vendor are kept.

    Those of a function that was made by another one are not: what is in it is not to be seen.

    Args:
        vendor: A vendor.
    """
    return vendor.keep is not None and "<" not in getattr(vendor.compile, "__qualname__", "<")


def kept_artifact(segment: Segment, request: Requested) -> Artifact:
    """Return the artifact of a segment that was compiled before, else compile and keep it.

    Args:
        segment: What to compile.
        request: Its vendor with its options.

    Raises:
        Exception: Whatever the vendor's hooks raise.
        VendorError: `keep` returns no list of texts.
    """
    vendor, options = request.vendor, request.options.model_dump(mode="json")
    of = vendor.keep() if vendor.keep is not None else ()
    if isinstance(of, str) or not all(isinstance(text, str) for text in of):
        raise VendorError(
            f"vendor author: keep() of {vendor.name!r} must return a list of texts (versions of "
            f"what compiling depends on), found {of!r:.80}"
        )
    ids = sorted(segment.constants)
    constants = tuple(segment.constants[value] for value in ids)
    return make_engine(
        Artifact(segment.name, vendor.name, _text(segment).encode(), constants),
        VendorUse(vendor.version, options, vendor.runtime, vendor.processor),
        num_threads(),
        (code_identity(vendor.compile), _equipment(vendor)),
        [_LAYOUT, version("tvm-byoc"), *of],
        lambda: check_artifact(vendor.compile(segment, request.options), segment),
        lambda artifact: _encoded(artifact, segment.constants),
        lambda data: replace(_decoded(data, segment.constants), segment=segment.name),
    )


def _equipment(vendor: Vendor) -> str:
    try:
        return repr(told_equipment(vendor.name, vendor.runtime))
    except VendorError:  # it compiles without what it runs with
        return ""


def _text(segment: Segment) -> str:
    """All that a vendor may derive something from, but the constants' bytes."""
    nodes = [
        (n.op, n.inputs, n.outputs, _plain({k: v for k, v in n.attrs.items() if k not in _UNNAMED}))
        for n in segment.nodes
    ]
    composites = [(c.pattern, c.nodes, _plain(c.parts)) for c in segment.composites]
    values = [str(value) for value in segment.values]
    ports = (segment.inputs, segment.outputs, sorted(segment.constants))
    return repr((segment.version, values, nodes, composites, ports))


def _plain(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(fields.items())


def _encoded(artifact: Artifact, known: Mapping[int, Array]) -> bytes:
    """Header, blob, arrays; each at a multiple of 64 bytes."""
    own = {id(array): value for value, array in known.items()}
    parts, at = [bytes(artifact.blob)], len(artifact.blob)
    entries: list[dict[str, Any]] = []
    for constant in artifact.constants:
        value = own.get(id(constant))
        if value is not None:
            entries.append({"value": value})
            continue
        array = dense(np.asarray(constant))
        parts += [bytes(round_up(at) - at), array.tobytes()]
        entries.append({"dtype": array.dtype.name, "shape": array.shape, "at": round_up(at)})
        at = round_up(at) + array.nbytes
    header = json.dumps(
        {
            "vendor": artifact.vendor,
            "blob": len(artifact.blob),
            "notes": artifact.notes,
            "requires": asdict(artifact.requires),
            "constants": entries,
        }
    ).encode()
    start = round_up(_WORDS + len(header))
    return (len(header).to_bytes(_WORDS, "little") + header).ljust(start, b"\0") + b"".join(parts)


def _decoded(data: memoryview, known: Mapping[int, Array]) -> Artifact:
    """The artifact; arrays that are not the segment's stay in the file."""
    length = int.from_bytes(data[:_WORDS], "little")
    header = json.loads(bytes(data[_WORDS : _WORDS + length]))
    body = data[round_up(_WORDS + length) :]

    def array(entry: Mapping[str, Any]) -> Array:
        if "value" in entry:
            return known[entry["value"]]
        dtype, shape = numpy_dtype(entry["dtype"]), tuple(entry["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(body, dtype, count, entry["at"]).reshape(shape)

    needs = header["requires"]
    return Artifact(
        segment="",
        vendor=header["vendor"],
        blob=bytes(body[: header["blob"]]),
        constants=tuple(array(entry) for entry in header["constants"]),
        notes=tuple(header["notes"]),
        requires=Requires(**{**needs, "cpu_features": tuple(needs["cpu_features"])}),
    )
