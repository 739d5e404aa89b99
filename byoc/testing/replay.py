"""One segment of a model, written down to be read, and run again alone.

    dump_segments("model.onnx", "acme", "out")
      out/acme_0/segment.txt    what `compile` is given, to be read
      out/acme_0/module.json    the segment as a model of Relax
      out/acme_0/inputs.npz     numbers for it

    replay_segment("out/acme_0")    how far the vendor is from the host

Nothing but the folder is needed to replay: it can be sent to whoever writes the vendor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import byoc
from byoc.errors import ModelError
from byoc.ir.arrays import to_numpy
from byoc.ir.lone_function import as_main
from byoc.segment import Array, Segment, TensorType
from byoc.support.dtypes import numpy_dtype
from byoc.testing.conformance.modes import difference
from byoc.vendor import Vendor

__all__ = ["ReplayedSegment", "describe_segment", "dump_segments", "replay_segment"]

_SIZE = 3  # of dimensions that are known at run time only


@dataclass(frozen=True)
class ReplayedSegment:
    """What became of a segment that ran alone.

    Attributes:
        segments: Those that the vendor made of it.
        wrong: How its results differ from the host's; empty where they do not.
        largest: The largest absolute difference.
    """

    segments: tuple[str, ...]
    wrong: str
    largest: float


def describe_segment(segment: Segment) -> str:
    """Return a segment as text: values, constants, ops with their attributes, composites.

    Args:
        segment: What `compile` is given.
    """
    return "\n".join(_lines(segment)) + "\n"


def _lines(segment: Segment) -> Iterator[str]:
    counts = f"{len(segment.nodes)} ops in {len(segment.composites)} composites"
    yield f"segment {segment.name} of vendor {segment.vendor}: {counts}"
    for kind, values in (("input", segment.inputs), ("output", segment.outputs)):
        yield from (f"{kind:<9} %{value}: {segment.type(value)}" for value in values)
    for value, array in segment.constants.items():
        ends = ""
        if array.size and array.dtype.kind in "biuf":
            ends = f", {array.min():g} to {array.max():g}"
        yield f"constant  %{value}: {segment.type(value)}{ends}"
    for number, composite in enumerate(segment.composites):
        parts = ", ".join(f"{name} %{value}" for name, value in composite.parts.items())
        yield f"\ncomposite {number}: {composite.pattern} ({parts})"
        for index in composite.nodes:
            node = segment.nodes[index]
            results = ", ".join(f"%{v}: {segment.type(v)}" for v in node.outputs)
            words = [f"%{v}" for v in node.inputs]
            words += [f"{name}={value!r}" for name, value in node.attrs.items()]
            source = f"    # {', '.join(node.source)}" if node.source else ""
            yield f"  {results} = {node.op}({', '.join(words)}){source}"


def dump_segments(
    model: Any, vendor: str | Vendor, folder: Path, options: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write every segment that a vendor takes of a model.

    Args:
        model: As for `byoc.compile`.
        vendor: The vendor.
        folder: Where to; each segment gets a folder of its name in it.
        options: The vendor's options.

    Returns:
        The folders that were written.

    Raises:
        ModelError: The model cannot be read.
        VendorError: The vendor is unknown.
    """
    import tvm

    parts = byoc.partition_model(model, {vendor: dict(options or {})})
    written = []
    for segment in parts.segments:
        place = folder / segment.name
        place.mkdir(parents=True, exist_ok=True)
        (place / "segment.txt").write_text(describe_segment(segment), encoding="utf-8")
        module = tvm.ir.save_json(_alone(parts.mod, segment.name))
        about = {"vendor": segment.vendor, "options": dict(options or {}), "byoc": 1}
        (place / "module.json").write_text(module, encoding="utf-8")
        (place / "about.json").write_text(json.dumps(about, default=str) + "\n", encoding="utf-8")
        inputs: dict[str, Any] = {
            f"x{n}": _plain(_numbers(segment.type(v), n)) for n, v in enumerate(segment.inputs)
        }
        np.savez(place / "inputs.npz", **inputs)
        written.append(place)
    return written


def replay_segment(folder: Path, vendor: str | Vendor | None = None) -> ReplayedSegment:
    """Compile and run a segment alone, by its vendor and by the host.

    Args:
        folder: That `dump_segments` wrote.
        vendor: The vendor; None: the one that took it.

    Raises:
        ModelError: The folder holds no segment.
        CompileError: The vendor cannot compile it.
        ExecutionError: It fails.
    """
    import tvm

    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        module = tvm.ir.load_json((folder / "module.json").read_text(encoding="utf-8"))
        with np.load(folder / "inputs.npz") as file:
            stored = dict(file)
        chosen, options = vendor or str(about["vendor"]), dict(about["options"])
    except Exception as error:  # of any kind: the folder is somebody else's
        raise ModelError(
            f"{folder} holds no segment that `byoc segment MODEL --dump` wrote: {error}"
        ) from error
    kinds = [str(p.ty.dtype) for p in module["main"].params]
    given = [
        a.view(numpy_dtype(kind)) if a.dtype.kind == "V" else a.astype(numpy_dtype(kind))
        for a, kind in zip(stored.values(), kinds, strict=True)
    ]
    exe = byoc.compile(module, {chosen: options}, min_segment_ops=1)
    host = byoc.compile(module)
    got, want = (_list(e(*given)) for e in (exe, host))
    gaps = [
        np.abs(a.astype(np.float64) - b.astype(np.float64)) for a, b in zip(got, want, strict=True)
    ]
    largest = max((float(np.nanmax(gap)) for gap in gaps if gap.size), default=0.0)
    wrong = difference(got, want, 1e-4)
    return ReplayedSegment(tuple(s.name for s in exe.report.segments), wrong or "", largest)


def _alone(mod: Any, name: str) -> Any:
    """A module whose main is one segment's function."""
    (function,) = [
        f for f in mod.functions.values() if f.attrs and f.attrs.get("global_symbol") == name
    ]
    return as_main(function)


def _numbers(kind: TensorType, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    shape = tuple(d if isinstance(d, int) else _SIZE for d in kind.shape)
    if kind.dtype in ("bool", "int8", "uint8", "int32", "int64"):
        return rng.integers(0, 2, shape).astype(kind.dtype)
    return rng.normal(size=shape).astype(numpy_dtype(kind.dtype))


def _plain(array: Array) -> Array:
    """What a file of numpy holds: dtypes of ml_dtypes as bytes."""
    return array if array.dtype.kind in "biufc" else array.view(f"V{array.itemsize}")


def _list(results: Any) -> list[Array]:
    found = results if isinstance(results, (list, tuple)) else [results]
    return [a if isinstance(a, np.ndarray) else to_numpy(a) for a in found]
