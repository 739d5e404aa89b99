"""Faults planted into one op of a vendor that is right otherwise: to test who finds them.

    bad = planted(dnnl, "/layers.2/Gemm", "wrong", seed=7)
    byoc.debug.find(model, [bad])

A segment with the op is compiled in two halves by the vendor itself. Between them the result of the
op, or of the composite that it belongs to, is spoilt, or the process is::

    segment ──▶ units up to the op ──▶ fault ──▶ the units after it ──▶ outputs

so that whatever follows the op computes rightly from what it is given.
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from byoc.build.kernels import compile_apart
from byoc.debug.pieces import Piece, cut, units_of, whole
from byoc.errors import CompileError, OptionError, choices
from byoc.plugins.discovery import Requested
from byoc.runtime.native import as_tensor
from byoc.runtime.program import PortCounts, VendorUse
from byoc.runtime.vendor_runtimes import bind
from byoc.segment import Array, Artifact, Segment
from byoc.support.dtypes import numpy_dtype
from byoc.support.memory import aligned_empty
from byoc.vendor import PythonRuntime, Vendor

__all__ = ["PLANTED", "planted"]

PLANTED = {
    "wrong": "its numbers are off: scaled, shifted, zero, or one of them",
    "nan": "one of its numbers is NaN",
    "crash": "it reads from address 0",
    "hang": "it does not come back for an hour",
    "slow": "it takes longer",
}
"""What can be planted."""


def planted(
    vendor: Vendor,
    op: str,
    fault: str | Callable[[Array], None],
    *,
    seed: int = 0,
    seconds: float = 0.3,
) -> Vendor:
    """Make a vendor that does one op of a model not right.

    Args:
        vendor: A vendor that is right.
        op: The op's name in the model.
        fault: One of `PLANTED`, or what to do to the op's result.
        seed: Of what is off, and where.
        seconds: That "slow" takes longer.

    Returns:
        The vendor, under its own name. It takes what the other does; shapes must be known.

    Raises:
        OptionError: The fault is unknown.
    """
    if isinstance(fault, str) and fault not in PLANTED:
        raise OptionError(f"unknown fault {fault!r}; {choices(fault, PLANTED)}")

    def compile_segment(segment: Segment, options: Any) -> Artifact:
        pieces, spoilt = _halves(segment, op)
        request = Requested(vendor, options, ())
        artifacts = [compile_apart(piece.segment, [request]) for piece in pieces]
        header = {
            "inputs": segment.inputs,
            "outputs": segment.outputs,
            "spoilt": spoilt,
            "types": {
                v: (segment.type(v).shape, segment.type(v).dtype)
                for piece in pieces
                for v in piece.outputs
            },
            "parts": [
                {
                    "name": artifact.segment,
                    "bytes": len(artifact.blob),
                    "constants": len(artifact.constants),
                    "inputs": piece.inputs,
                    "outputs": piece.outputs,
                }
                for piece, artifact in zip(pieces, artifacts, strict=True)
            ],
        }
        text = json.dumps(header).encode()
        blob = len(text).to_bytes(8, "little") + text + b"".join(a.blob for a in artifacts)
        constants = tuple(constant for a in artifacts for constant in a.constants)
        return Artifact(segment.name, segment.vendor, blob, constants)

    def happen(array: Array) -> None:
        if isinstance(fault, str):
            _spoil(array, fault, seed, seconds)
        else:
            fault(array)

    def init(
        blob: bytes, constants: Sequence[Array], options: Mapping[str, Any]
    ) -> Callable[[Sequence[Array], Sequence[Array]], None]:
        use = VendorUse(vendor.version, options, vendor.runtime, vendor.processor)
        return _execute(blob, constants, vendor.name, use, happen)

    return replace(vendor, compile=compile_segment, runtime=PythonRuntime(init))


def _halves(segment: Segment, op: str) -> tuple[list[Piece], list[int]]:
    """The segment before and after the unit of an op, and the results of that unit."""
    if not segment.is_static:
        raise CompileError(f"segment {segment.name!r}: faults are planted where shapes are known")
    units = units_of(segment)
    at = next(
        (k for k, unit in enumerate(units) if any(op in segment.nodes[n].source for n in unit)),
        None,
    )
    if at is None:
        return [whole(segment)], []
    pieces = []
    for number, chosen in enumerate((units[: at + 1], units[at + 1 :])):
        nodes = [n for unit in chosen for n in unit]
        if nodes:
            pieces.append(cut(segment, nodes, f"{segment.name}_{number}"))
    made = {v for n in units[at] for v in segment.nodes[n].outputs}
    return pieces, [v for v in pieces[0].outputs if v in made]


def _execute(
    blob: bytes,
    constants: Sequence[Array],
    vendor: str,
    use: VendorUse,
    fault: Callable[[Array], None],
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    end = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:end])
    parts, first = [], 0
    for part in header["parts"]:
        arrays = tuple(constants[first : first + part["constants"]])
        artifact = Artifact(part["name"], vendor, blob[end : end + part["bytes"]], arrays)
        ports = PortCounts(len(part["inputs"]), len(part["outputs"]))
        parts.append((bind(artifact, use, ports), part["inputs"], part["outputs"]))
        end, first = end + part["bytes"], first + part["constants"]

    def execute(inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        values = dict(zip(header["inputs"], (np.array(array) for array in inputs), strict=True))
        for call, reads, writes in parts:
            for value in writes:
                shape, dtype = header["types"][str(value)]
                values[value] = aligned_empty(tuple(shape), numpy_dtype(dtype))
            call(*(as_tensor(values[v]) for v in (*reads, *writes)))
            for value in header["spoilt"]:
                if value in writes:
                    fault(values[value])
        for target, value in zip(outputs, header["outputs"], strict=True):
            np.copyto(target, values[value])

    return execute


def _spoil(array: Array, fault: str, seed: int, seconds: float) -> None:
    """Let a fault happen to the result of an op, or to its process."""
    rng = np.random.default_rng([seed, 11])
    at = int(rng.integers(max(1, array.size)))
    if fault == "crash":
        ctypes.string_at(0)
    elif fault == "hang":
        time.sleep(3600)
    elif fault == "slow":
        time.sleep(seconds)
    elif fault == "nan" and array.dtype.kind == "f":
        array.flat[at] = np.nan
    elif fault in ("wrong", "nan"):
        _shift(array, at, int(rng.integers(4)))


def _shift(array: Array, at: int, form: int) -> None:
    """Make numbers wrong by a good part of the largest."""
    if array.dtype.kind not in "f":
        array.flat[at] = array.flat[at] ^ (64 if array.dtype.itemsize == 1 else 1 << 12)
        return
    size = float(np.abs(array).max()) or 1.0
    if form == 0:
        array *= 1.25
    elif form == 1:
        array += 0.25 * size
    elif form == 2:
        array[...] = 0.0
    if form == 3 or not np.abs(array).max() > 0.0:
        array.flat[at] += size
