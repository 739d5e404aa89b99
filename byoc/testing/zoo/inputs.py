"""Inputs that make sense for a model, and a check that its outputs say something."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from byoc.segment import Array
from byoc.timing.inputs import onnx_inputs, trivial
from byoc.timing.inputs import random_inputs as draw_inputs

__all__ = ["calibration_inputs", "check_nontrivial", "random_inputs"]


def random_inputs(
    model: onnx.ModelProto, seed: int = 0, dims: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Draw inputs: images, token ids in range, masks of ones with padding at the end.

    Args:
        model: The model.
        seed: Equal seeds draw equal inputs.
        dims: Sizes of symbolic dimensions.

    Raises:
        InputError: A size is missing.

    """
    types, limits = onnx_inputs(model)
    return draw_inputs(types, seed, dims=dims, limits=limits)


def calibration_inputs(
    model: onnx.ModelProto, seed: int, dims: Mapping[str, int] | None = None
) -> list[dict[str, Array]]:
    """Return four sets of inputs to calibrate on, drawn from other seeds than tests use.

    Args:
        model: The model.
        seed: Equal seeds draw equal inputs.
        dims: Sizes of symbolic dimensions.

    Returns:
        Name → array, four times.
    """
    first = 1_000_003 + 16 * seed
    return [random_inputs(model, seed, dims) for seed in range(first, first + 4)]


def check_nontrivial(outputs: Mapping[str, Array]) -> None:
    """Refuse outputs that could be right by accident (see `byoc.bench.trivial`).

    Raises:
        ValueError: They are constant, not finite, or a saturated softmax.

    """
    problem = trivial(outputs)
    if problem:
        raise ValueError(problem)
