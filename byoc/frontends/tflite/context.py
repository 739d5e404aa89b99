"""What a converter of a TFLite operator is given: what it asks and how it answers.

A converter computes in floats, always. `TfliteContext.real` gives an input as one: a quantised
activation is dequantised, a quantised constant too, or multiplied out where nothing around it is
quantised (dynamic-range and float16 models). The walk quantises the results. So a quantised
operator is the float one between `dequantize` and `quantize`, the form that vendors match::

    x int8 ── dequantize ── conv2d ── add ── relu ── quantize ── y int8
                 W int8 ── dequantize ┘       b int32 ── dequantize
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import BaseContext, InexpressibleError
from byoc.frontends.helpers import const
from byoc.frontends.tflite.schema import File, Quantisation, Subgraph, TfliteOperator, TfliteTensor
from byoc.ir.arrays import to_numpy
from byoc.segment import Array

__all__ = ["TfliteContext", "dequantize", "is_quantised", "quantize"]

_QUANTISED = ("int8", "uint8", "int16", "int4", "int32", "int64")
_STORED = ("int8", "uint8", "int16")
"""Dtypes of quantised activations."""


def is_quantised(tensor: TfliteTensor) -> bool:
    """True for an activation that stands for real numbers."""
    return tensor.quantisation is not None and tensor.dtype in _STORED


def dequantised(array: Array, quantisation: Quantisation) -> Array:
    """Real numbers of a quantised constant, multiplied out in float64 and rounded once."""
    spread = [1] * array.ndim
    if not quantisation.per_tensor:
        spread[quantisation.axis] = -1
    else:
        spread = []
    scale = quantisation.scale.astype(np.float64).reshape(spread)
    real = (array.astype(np.float64) - quantisation.zero.reshape(spread)) * scale
    return real.astype(np.float32)


@dataclass
class TfliteContext(BaseContext):
    """One TFLite operator on its way to Relax.

    Attributes:
        file: The model's tables.
        subgraph: The subgraph that holds the operator.
        operator: The operator; inputs and outputs are numbers of the subgraph's tensors.
        value: TfliteTensor number → its Relax value, or the array of a constant.
        quantised: True when an activation around the operator stands for real numbers.
    """

    file: File
    subgraph: Subgraph
    operator: TfliteOperator
    value: Callable[[int], Any]
    quantised: bool = field(init=False)

    def __post_init__(self) -> None:
        operator, tensors = self.operator, self.subgraph.tensors
        around = [t for i in operator.inputs if i >= 0 and (t := tensors[i]).data is None]
        around += [tensors[i] for i in operator.outputs]
        self.quantised = any(map(is_quantised, around))

    @property
    def tensors(self) -> tuple[TfliteTensor, ...]:
        """The subgraph's tensors."""
        return self.subgraph.tensors

    # -- inputs

    def __len__(self) -> int:
        return len(self.operator.inputs)

    def has(self, i: int) -> bool:
        """True when input i is given."""
        return i < len(self) and self.operator.inputs[i] >= 0

    def tensor(self, i: int) -> TfliteTensor:
        """What the file says of input i."""
        if not self.has(i):
            raise InexpressibleError(f"its input {i} is missing")
        return self.tensors[self.operator.inputs[i]]

    def out(self, i: int = 0) -> TfliteTensor:
        """What the file says of output i."""
        if i >= len(self.operator.outputs):
            raise InexpressibleError(f"its output {i} is missing")
        return self.tensors[self.operator.outputs[i]]

    def raw(self, i: int) -> Any:
        """Input i as it is stored."""
        tensor = self.tensor(i)
        value = self.value(tensor.index)
        return const(value) if isinstance(value, np.ndarray) else value

    def real(self, i: int) -> Any:
        """Input i as real numbers; what is not quantised as it is."""
        tensor = self.tensor(i)
        value = self.value(tensor.index)
        if tensor.quantisation is None or tensor.dtype not in _QUANTISED:
            return const(value) if isinstance(value, np.ndarray) else value
        if isinstance(value, np.ndarray):
            return self._real_constant(value, tensor.quantisation)
        return self.emit(dequantize(value, tensor.quantisation, tensor.dtype))

    def _real_constant(self, array: Array, quantisation: Quantisation) -> Any:
        if self.quantised and array.dtype.name in (*_STORED, "int32"):
            return self.emit(dequantize(const(array), quantisation, array.dtype.name))
        return const(dequantised(array, quantisation))

    def array(self, i: int) -> Array:
        """Input i, which must be constant, as it is stored."""
        value = self.value(self.tensor(i).index)
        if isinstance(value, GenericConst):
            return to_numpy(value.value)
        if not isinstance(value, np.ndarray):
            raise InexpressibleError(
                f"its input {i}, {self.tensor(i).name!r}, is computed by the model; "
                "byoc needs a constant there"
            )
        return value

    def constant(self, i: int) -> Array | None:
        """Input i as `array`, None when it is computed by the model."""
        value = self.value(self.tensor(i).index)
        if isinstance(value, GenericConst):
            return to_numpy(value.value)
        return value if isinstance(value, np.ndarray) else None

    def ints(self, i: int) -> list[int]:
        """The numbers of input i, which must be a constant of integers."""
        array = self.array(i)
        if array.dtype.kind not in "iu":
            raise InexpressibleError(f"its input {i} holds {array.dtype}, expected integers")
        return [int(v) for v in array.reshape(-1)]

    def weight(self, i: int, axes: Sequence[int]) -> Any:
        """Return an input with permuted dimensions, as real numbers; a constant is stored that way.

        Args:
            i: Number of the input.
            axes: The old axis of each dimension of the result.

        Raises:
            InexpressibleError: A constant has another number of dimensions.
        """
        tensor = self.tensor(i)
        value = self.value(tensor.index)
        if isinstance(value, GenericConst):
            value = to_numpy(value.value)
        if not isinstance(value, np.ndarray):
            return relax.op.permute_dims(self.real(i), list(axes))
        if value.ndim != len(axes):
            raise InexpressibleError(f"its weights have {value.ndim} dimensions, not {len(axes)}")
        moved = np.ascontiguousarray(value.transpose(axes))
        found = tensor.quantisation
        if found is None or tensor.dtype not in _QUANTISED:
            return const(moved)
        return self._real_constant(
            moved, Quantisation(found.scale, found.zero, list(axes).index(found.axis))
        )

    def formed(self, i: int, shape: Sequence[int]) -> Any:
        """Return an input that is a vector in a shape of one long dimension, as real numbers.

        Args:
            i: Number of the input; a constant is stored in that shape.
            shape: The shape, all but one of its sizes 1.
        """
        tensor = self.tensor(i)
        value = self.value(tensor.index)
        if isinstance(value, GenericConst):
            value = to_numpy(value.value)
        if not isinstance(value, np.ndarray):
            return relax.op.reshape(self.real(i), list(shape))
        formed = value.reshape(shape)
        found = tensor.quantisation
        if found is None or tensor.dtype not in _QUANTISED:
            return const(formed)
        axis = int(np.argmax(shape))
        return self._real_constant(formed, Quantisation(found.scale, found.zero, axis))

    # -- shapes

    def shape(self, value: Any) -> tuple[int, ...]:
        """Dimensions of an expression, or of an input by number."""
        if isinstance(value, int):
            value = self.raw(value)
        return tuple(int(d) for d in self.emit(value).ty.shape.values)

    def axis(self, axis: int, rank: int) -> int:
        """Return an axis counted from the front.

        Args:
            axis: The axis; a negative one counts from the end.
            rank: Number of dimensions.

        Raises:
            InexpressibleError: There is no such axis.
        """
        if not -rank <= axis < max(rank, 1):
            raise InexpressibleError(f"axis {axis} of {rank} dimensions")
        return axis % rank if rank else 0

    # -- attributes

    def options(self, kind: str) -> Any:
        """The operator's options, as the class `tflite.<kind>`; None when it has none."""
        import tflite

        table = self.operator.table
        number = table.BuiltinOptionsType()
        if number == 0:
            return None
        if number != getattr(tflite.BuiltinOptions, kind):
            raise InexpressibleError(f"its options are of type {number}, expected {kind}")
        found, options = table.BuiltinOptions(), getattr(tflite, kind)()
        options.Init(found.Bytes, found.Pos)
        return options

    def needed(self, kind: str) -> Any:
        """`options` of an operator that means nothing without them."""
        found = self.options(kind)
        if found is None:
            raise InexpressibleError(f"its {kind} are missing")
        return found

    # -- expressions

    def activation(self, expr: Any, code: int) -> Any:
        """Apply the fused activation, unless the quantised range of the result implies it.

        Args:
            expr: The result before it.
            code: Its number in the file: 0 for none, 1 for relu, ….

        Raises:
            InexpressibleError: The activation is not known.
        """
        if code == 0:
            return expr
        if code in _CLIPS:
            low, high = _CLIPS[code]
            least, most = self._range()
            if high < most:
                return relax.op.clip(expr, low, high)
            if low <= least:
                return expr
            return relax.op.nn.relu(expr) if low == 0 else relax.op.clip(expr, low, _LARGEST)
        if code == _TANH:
            return relax.op.tanh(expr)
        raise InexpressibleError(f"fused activation {code} is not known")

    def _range(self) -> tuple[float, float]:
        """Bounds beyond which clipping changes nothing: all there rounds to the grid's ends."""
        out = self.out()
        found = out.quantisation
        if found is None or not is_quantised(out):
            return -np.inf, np.inf
        limits = np.iinfo(out.dtype)
        scale, zero = float(found.scale[0]), int(found.zero[0])
        return (limits.min - zero + _HALF) * scale, (limits.max - zero - _HALF) * scale


_TANH = 4
_CLIPS = {1: (0.0, np.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
"""ActivationFunctionType → bounds."""

_HALF = 0.499
_LARGEST = float(np.finfo(np.float32).max)


def _numbers(quantisation: Quantisation, dtype: str) -> tuple[Any, Any]:
    limits = np.iinfo(dtype)
    zero = quantisation.zero
    if ((zero < limits.min) | (zero > limits.max)).any():
        raise InexpressibleError(f"zero point {int(zero[0])} is no {dtype}")
    if quantisation.per_tensor:
        return const(quantisation.scale[0], np.float32), const(zero[0], dtype)
    return const(quantisation.scale), const(zero, dtype)


def dequantize(value: Any, quantisation: Quantisation, dtype: str) -> Any:
    """Make a Relax `dequantize`, from stored integers to real numbers.

    Args:
        value: The integers.
        quantisation: Their scales and zero points.
        dtype: Their dtype.
    """
    scale, zero = _numbers(quantisation, dtype)
    return relax.op.dequantize(value, scale, zero, axis=quantisation.axis)


def quantize(value: Any, quantisation: Quantisation, dtype: str) -> Any:
    """Make a Relax `quantize`, from real numbers to stored integers.

    Args:
        value: The real numbers.
        quantisation: Scales and zero points of the integers.
        dtype: The dtype of the integers.
    """
    scale, zero = _numbers(quantisation, dtype)
    return relax.op.quantize(value, scale, zero, axis=quantisation.axis, out_dtype=dtype)
