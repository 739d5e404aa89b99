"""Inputs to time a model on: random ones that make sense, of the sizes that were given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byoc.bench.inputs import onnx_inputs, random_inputs
from byoc.errors import OptionError, choices
from byoc.segment import Array, TensorType

if TYPE_CHECKING:
    from byoc.frontends import Model

__all__ = ["model_inputs", "symbolic_dims"]


def model_inputs(
    given: Any, model: Model, dims: Mapping[str, int] | None, seed: int = 0
) -> dict[str, Array]:
    """Random inputs by name. given: the model as the user has it, which tells how far token ids
    may go where it is ONNX. dims: sizes of symbolic dimensions.

    Raises InputError when a size is missing.
    """
    types, limits = _types(model), {}
    if isinstance(given, (str, Path)):
        import onnx

        limits = onnx_inputs(onnx.load(given, load_external_data=False))[1]
    elif type(given).__name__ == "ModelProto":
        limits = onnx_inputs(given)[1]
    check_dims(types, dims or {})
    return random_inputs(types, seed, dims=dims, limits=limits)


def symbolic_dims(model: Model) -> tuple[str, ...]:
    """Names of the dimensions of the inputs that are not known."""
    found = {d: None for t in _types(model).values() for d in t.shape if isinstance(d, str)}
    return tuple(found)


def check_dims(types: Mapping[str, TensorType], dims: Mapping[str, int]) -> None:
    """Raises OptionError for a size of a dimension that there is not."""
    legal = {d for t in types.values() for d in t.shape if isinstance(d, str)}
    for name, size in dims.items():
        if name not in legal:
            raise OptionError(f"dims: no symbolic dimension {name!r}: {choices(name, legal)}")
        if not isinstance(size, int) or size < 1:
            raise OptionError(f"dims: {name!r} must be a whole number above 0, found {size!r}")


def _types(model: Model) -> dict[str, TensorType]:
    from byoc.ir.ports import port_types

    inputs, _ = port_types(model.mod["main"], model.inputs, model.outputs)
    return {port.name: port.type for port in inputs}
