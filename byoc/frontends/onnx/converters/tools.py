"""What converters are made of.

A converter gets (builder, inputs, attributes, opset, number of outputs) and returns one Relax
expression, or a list of one per output. `Inputs` answers None for inputs that are absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend as stock

from byoc.frontends.normalise.tensors import from_numpy, to_numpy

__all__ = [
    "Attributes",
    "Converter",
    "Inputs",
    "RefusedError",
    "array_of",
    "axes_of",
    "const",
    "dtype_of",
    "is_int",
    "number_of",
    "scalar_like",
    "stock_converter",
    "text_of",
]


class RefusedError(Exception):
    """No engine may run the node: what it would answer is not what ONNX says.

    Any other exception of a converter says that Relax cannot express the node; then it is kept
    whole for an engine that runs ONNX.
    """


class Inputs(list[Any]):
    """The inputs of a node; None where one is absent."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= len(self):
            return None
        return super().__getitem__(index)


Attributes = dict[str, Any]
Converter = Callable[[Any, Inputs, Attributes, int, int], Any]


def const(array: Any, dtype: Any = None) -> Any:
    """A constant of an array."""
    return relax.const(from_numpy(np.asarray(array, dtype)))


def scalar_like(value: float, like: Any) -> Any:
    """A constant scalar of the dtype of `like`."""
    return relax.const(value, str(like.ty.dtype))


def dtype_of(value: Any) -> str:
    """The element type of a tensor, as numpy spells it."""
    return str(value.ty.dtype)


def array_of(value: Any, what: str) -> Any:
    """The array behind a constant, None for an absent input; ValueError for other values."""
    if value is None:
        return None
    if not isinstance(value, GenericConst):
        raise ValueError(f"{what} is computed by the model; byoc needs it as a constant")
    return to_numpy(value.value)


def number_of(value: Any, what: str) -> float | None:
    """The number behind a constant of one element."""
    array = array_of(value, what)
    return None if array is None else array.item()


def text_of(value: Any, default: str) -> str:
    """A text attribute."""
    return default if value is None else value.decode() if isinstance(value, bytes) else str(value)


def axes_of(axes: Any, rank: int) -> list[int]:
    """Axes counted from the front; ValueError when they do not fit."""
    out = [int(a) + rank if a < 0 else int(a) for a in axes]
    if any(not 0 <= a < rank for a in out) or len(set(out)) != len(out):
        raise ValueError(f"axes {list(axes)} do not fit {rank} dimensions")
    return out


def is_int(dim: Any) -> bool:
    """True for a dimension that is a number."""
    try:
        int(dim)
    except TypeError:
        return False
    return True


def stock_converter(name: str) -> Converter:
    """TVM's converter of an operator."""

    def convert(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
        attrs["tvm_custom"] = {"name": name, "num_outputs": outputs}
        converter = stock._get_convert_map()[name].get_converter(opset)
        return converter(bb, stock.onnx_input(x), attrs, [{}, {}])

    return convert
