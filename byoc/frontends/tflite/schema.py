"""A TFLite model as plain values.

The flatbuffer itself stays as it is: arrays are views into it, and an operator keeps its table,
from which its options are read when a converter asks for them.

Source: the TFLite schema, version 3 (`tensorflow/compiler/mlir/lite/schema/schema.fbs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from byoc.segment import Array

__all__ = ["DTYPES", "File", "Quantisation", "Subgraph", "TfliteOperator", "TfliteTensor"]

DTYPES: Mapping[int, str] = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool",
    7: "int16", 8: "complex64", 9: "int8", 10: "float64", 11: "complex128", 12: "uint64",
    13: "resource", 14: "variant", 15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16",
}  # fmt: skip
"""TensorType → dtype as numpy spells it, where numpy has it."""


@dataclass(frozen=True, eq=False)
class Quantisation:
    """real = scale · (stored - zero).

    Attributes:
        scale: float32 [1] or [n].
        zero: int64, as long.
        axis: The dimension along which the n scales run.
    """

    scale: Array
    zero: Array
    axis: int

    @property
    def per_tensor(self) -> bool:
        """True for one scale."""
        return self.scale.size == 1


@dataclass(frozen=True, eq=False)
class TfliteTensor:
    """A tensor of a subgraph, constant or computed.

    Attributes:
        index: Its number in the subgraph.
        name: Its name, "tensor_3" where the file has none.
        shape: As stored, with which LiteRT runs.
        open: Dimensions that the model leaves open.
        ranked: False when the file says nothing of the shape.
        dtype: As numpy spells it, where numpy has it.
        data: The bytes of a constant.
        quantisation: What its numbers stand for, None for plain ones.
        sparse: True when zeros are left out of `data`.
        variable: True when it keeps a state between runs.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    open: frozenset[int]
    ranked: bool
    dtype: str
    data: memoryview | None
    quantisation: Quantisation | None
    sparse: bool
    variable: bool

    def array(self) -> Array:
        """The constant's elements; int4 as int8.

        Raises:
            ValueError: Bytes and shape differ, or numpy has no such dtype.
        """
        assert self.data is not None
        if self.sparse:
            raise ValueError(f"tensor {self.name!r} is stored sparsely")
        count = prod(self.shape)
        if self.dtype == "int4":
            packed = np.frombuffer(self.data, np.int8)
            pairs = np.stack([np.left_shift(packed, 4) >> 4, packed >> 4], axis=-1).reshape(-1)
            if packed.size != (count + 1) // 2:
                raise ValueError(self._misfit(packed.size))
            return pairs[:count].reshape(self.shape)
        try:
            kind = np.dtype(self.dtype)
        except TypeError:
            raise ValueError(f"tensor {self.name!r} holds {self.dtype}") from None
        if len(self.data) != count * kind.itemsize:
            raise ValueError(self._misfit(len(self.data)))
        return np.frombuffer(self.data, kind).reshape(self.shape)

    def _misfit(self, size: int) -> str:
        return f"tensor {self.name!r} of {self} has {size} bytes of data"

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False)
class TfliteOperator:
    """One operator of a subgraph.

    Attributes:
        index: Its number in the subgraph.
        name: The builtin operator's, or a custom operator's own.
        custom: True for an operator that TFLite does not define.
        version: Of the operator.
        inputs: TfliteTensor numbers, -1 for an input that is left out.
        outputs: TfliteTensor numbers.
        table: The `tflite.Operator`, for its options.
    """

    index: int
    name: str
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: Any


@dataclass(frozen=True, eq=False)
class Subgraph:
    """A graph of the file; the first one is the model.

    Attributes:
        index: Its number in the file.
        name: Its name, often empty.
        tensors: In the file's order.
        operators: In the file's order, which is sorted by dependency.
        inputs: TfliteTensor numbers.
        outputs: TfliteTensor numbers.
    """

    index: int
    name: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class File:
    """A TFLite model.

    Attributes:
        where: The model, as messages begin.
        name: The file's stem.
        subgraphs: Its graphs.
        table: The `tflite.Model`.
    """

    where: str
    name: str
    subgraphs: tuple[Subgraph, ...]
    table: Any
