"""Running a float or QDQ model on samples, with intermediate tensors in view.

In: a model and samples as users give them. Out: outputs by name, run by run. ONNX Runtime runs it
when it is installed (it is quicker to start), else byoc's own host path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnx

from byoc.errors import InputError
from byoc.segment import Array

__all__ = ["Samples", "batches", "engine_name", "make_runner"]

Samples = Mapping[str, Array]


class CalibrationRunner(Protocol):
    """A model that is ready to run: inputs by name → outputs by name."""

    def __call__(self, inputs: Samples) -> dict[str, Array]:
        """Run one sample."""
        ...


def engine_name() -> str:
    """Return which engine `make_runner` uses: "onnxruntime" or "byoc"."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return "byoc"
    return "onnxruntime"


def make_runner(model: onnx.ModelProto) -> CalibrationRunner:
    """Load a model and return the call that runs it."""
    if engine_name() == "byoc":
        import byoc

        executable = byoc.compile(model, vendors=[])
        return lambda inputs: dict(executable.run(dict(inputs)))
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in session.get_outputs()]

    def run(inputs: Samples) -> dict[str, Array]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def batches(
    inputs: Sequence[onnx.ValueInfoProto], samples: Any, limit: int | None = None
) -> Iterator[dict[str, Array]]:
    """Cut calibration samples into the inputs of one run each.

    Args:
        inputs: The model's inputs, as ONNX declares them.
        samples: Input name → array [n, ...], cut along the first axis into pieces of the model's
            batch; or one array for the one input; or a sequence of dicts, one per run.
        limit: Most runs.

    Yields:
        Inputs by name.

    Raises:
        InputError: An input is missing, unknown or of the wrong shape; it is named.

    """
    shapes = {
        i.name: tuple(d.dim_value or None for d in i.type.tensor_type.shape.dim) for i in inputs
    }
    if isinstance(samples, np.ndarray):
        if len(shapes) != 1:
            raise InputError(
                f"calibration: one array for {len(shapes)} inputs; give a mapping of "
                f"{', '.join(shapes)}"
            )
        samples = {next(iter(shapes)): samples}
    pieces = _cut(shapes, samples) if isinstance(samples, Mapping) else iter(samples)
    for number, piece in enumerate(pieces):
        if limit is not None and number >= limit:
            return
        _check(shapes, piece)
        yield piece


def _check(shapes: Mapping[str, tuple[int | None, ...]], piece: Samples) -> None:
    if set(piece) != set(shapes):
        raise InputError(
            f"calibration: inputs {', '.join(sorted(piece))} given, the model takes "
            f"{', '.join(sorted(shapes))}"
        )
    for name, shape in shapes.items():
        found = piece[name].shape
        fits = len(found) == len(shape) and all(
            want in (None, got) for want, got in zip(shape, found, strict=False)
        )
        if not fits:
            raise InputError(f"calibration: input {name!r} has shape {found}, expected {shape}")


def _cut(
    shapes: Mapping[str, tuple[int | None, ...]], samples: Samples
) -> Iterator[dict[str, Array]]:
    _names = set(samples)
    if _names != set(shapes):
        raise InputError(
            f"calibration: inputs {', '.join(sorted(_names))} given, the model takes "
            f"{', '.join(sorted(shapes))}"
        )
    counts = {name: max(1, len(samples[name]) // (shapes[name][0] or 1)) for name in shapes}
    if len(set(counts.values())) > 1:
        raise InputError(f"calibration: the inputs hold different numbers of samples: {counts}")
    for number in range(next(iter(counts.values()))):
        yield {
            name: np.ascontiguousarray(
                samples[name][number * (shape[0] or 1) : (number + 1) * (shape[0] or 1)]
            )
            for name, shape in shapes.items()
        }
