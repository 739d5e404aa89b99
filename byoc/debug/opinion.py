"""A second opinion: ONNX Runtime on the same ops and the same inputs as the host.

Segments are written as ONNX, so that it is asked about models of every format, op by op. Where it
is not installed, or an op has no ONNX form, there is no opinion.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byoc.bench import REFERENCE, open_engine
from byoc.errors import ByocError
from byoc.kit.onnx_export import segment_to_onnx
from byoc.runtime import num_threads
from byoc.segment import Array, Segment

if TYPE_CHECKING:
    from byoc.bench import Engine

__all__ = ["engine_of_model", "outputs_of", "values_of"]


def engine_of_model(model: Any) -> Engine | None:
    """Open the model itself.

    Args:
        model: as the user gave it.

    Returns:
        The engine; None where it is no ONNX model, or cannot be opened.
    """
    if isinstance(model, (str, Path)):
        return _opened(Path(model)) if str(model).endswith(".onnx") else None
    serialised = getattr(model, "SerializeToString", None)
    return None if serialised is None else _opened_bytes(serialised())


def values_of(segment: Segment, values: Mapping[int, Array]) -> Mapping[int, Array]:
    """Compute the results of all ops of a segment.

    Args:
        segment: the ops.
        values: at least its inputs.

    Returns:
        Value → array; empty where there is no opinion.
    """
    made = tuple(v for node in segment.nodes for v in node.outputs)
    found = outputs_of(replace(segment, outputs=made), [values[v] for v in segment.inputs])
    return dict(zip(made, found or (), strict=False))


def outputs_of(segment: Segment, inputs: Sequence[Array]) -> Sequence[Array] | None:
    """Compute the outputs of a segment.

    Args:
        segment: the ops.
        inputs: its inputs, in order.

    Returns:
        Its outputs, in order; None where there is no opinion.
    """
    try:
        engine = _opened_bytes(segment_to_onnx(segment).SerializeToString())
        if engine is None:
            return None
        found = engine.run({f"i{k}": array for k, array in enumerate(inputs)})
    except Exception:  # an engine's own error about what it cannot do: no opinion
        return None
    return [found[f"o{k}"] for k in range(len(segment.outputs))]


def _opened_bytes(data: bytes) -> Engine | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        return _opened(path)


def _opened(path: Path) -> Engine | None:
    try:
        return open_engine(REFERENCE, path, num_threads())
    except ByocError:  # not installed, or it does not read the model
        return None
