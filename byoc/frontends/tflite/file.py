"""Open a TFLite file, or say why it is none.

A flatbuffer is a web of offsets that nothing keeps inside the file. Accessors made by flatbuffers'
compiler raise when they read past its end, but follow any offset and believe any length; so every
length is checked against the size of the file before something is done that often.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.errors import ModelError
from byoc.frontends.tflite.schema import (
    DTYPES,
    File,
    Quantisation,
    Subgraph,
    TfliteOperator,
    TfliteTensor,
)
from byoc.segment import Array

if TYPE_CHECKING:
    from byoc.segment import Array

__all__ = ["IDENTIFIER", "SUFFIXES", "is_tflite", "open_model"]

IDENTIFIER = b"TFL3"
SUFFIXES = (".tflite", ".lite")
_VERSION = 3
_CUSTOM = 32  # BuiltinOperator.CUSTOM
_MAX_RANK = 16
_MAX_ELEMENTS = 1 << 40

_DAMAGE = (
    struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError,
)  # fmt: skip
"""What flatbuffers' accessors raise on a damaged file."""


def is_tflite(model: Any) -> bool:
    """True for what `open_model` takes: a path by its suffix or the file's identifier, bytes with
    that identifier, a `tflite.Model`.
    """
    if isinstance(model, Path):
        return model.suffix.lower() in SUFFIXES or _head(model)[4:8] == IDENTIFIER
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model[4:8]) == IDENTIFIER
    return type(model).__module__.split(".")[0] == "tflite" and hasattr(model, "SubgraphsLength")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError:
        return b""


def open_model(model: Any) -> File:
    """The model's tables as plain values, every index and length checked.

    Args:
        model: A path, the bytes of a file, or a `tflite.Model`.

    Raises:
        ModelError: It is no readable TFLite model, or the package `tflite` is missing.
    """
    name, where, data = _source(model)
    try:
        import tflite
    except ImportError:
        raise ModelError(
            f"{where} is a TFLite model; reading it needs the package tflite: "
            "pip install 'tvm-byoc[tflite]'"
        ) from None
    if len(data) < 8:
        raise ModelError(f"{where} is no TFLite model: it has {len(data)} bytes")
    if bytes(data[4:8]) != IDENTIFIER:
        raise ModelError(
            f"{where} is no TFLite model: bytes 4 to 8 are {bytes(data[4:8])!r}, "
            f"expected {IDENTIFIER!r}"
        )
    try:
        table = tflite.Model.GetRootAs(data, 0)
        return _Reader(where, data, table).file(name)
    except ModelError:
        raise
    except _DAMAGE as error:
        raise ModelError(
            f"{where} is a damaged or truncated TFLite model ({_line(error)})"
        ) from None


def _source(model: Any) -> tuple[str, str, memoryview]:
    """(name, where for messages, bytes)."""
    if isinstance(model, Path):
        return model.stem, str(model), _map(model)
    if isinstance(model, (bytes, bytearray, memoryview)):
        return "model", "the TFLite model", memoryview(model).cast("B")
    start = int(model._tab.Pos)
    if not 0 <= start < len(model._tab.Bytes):
        raise ModelError("the tflite.Model points outside its buffer")
    return "model", "the tflite.Model", memoryview(model._tab.Bytes).cast("B")


def _map(path: Path) -> memoryview:
    if path.is_dir():
        raise ModelError(f"{path} is a directory; expected the path of a TFLite file")
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    try:
        if path.stat().st_size == 0:
            raise ModelError(f"{path} is empty")
        return np.memmap(path, np.uint8, "r").data
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None


class _Reader:
    def __init__(self, where: str, data: memoryview, table: Any) -> None:
        self.where = where
        self.data = data
        self.table = table
        self.codes = list(self._codes())

    def file(self, name: str) -> File:
        version = self.table.Version()
        if version != _VERSION:
            raise ModelError(f"{self.where} has schema version {version}, expected {_VERSION}")
        count = self._length(self.table.SubgraphsLength(), "subgraphs")
        if not count:
            raise ModelError(f"{self.where} holds no subgraph")
        subgraphs = tuple(self._subgraph(i) for i in range(count))
        return File(self.where, name, subgraphs, self.table)

    def _length(self, count: Any, what: str) -> int:
        """A vector's length, refused when the file could not hold so many elements."""
        if not 0 <= int(count) <= len(self.data) // 4:
            raise ValueError(f"it claims to hold {count} {what}")
        return int(count)

    def _codes(self) -> Iterator[tuple[str, bool, int]]:
        names = _operator_names()
        for i in range(self._length(self.table.OperatorCodesLength(), "operator codes")):
            code = self.table.OperatorCodes(i)
            number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())  # old, wide field
            if number == _CUSTOM:
                yield _text(code.CustomCode()), True, code.Version()
            else:
                yield names.get(number, f"operator {number}"), False, code.Version()

    def _subgraph(self, index: int) -> Subgraph:
        graph = self.table.Subgraphs(index)
        count = self._length(graph.TensorsLength(), "tensors")
        tensors = tuple(self._tensor(graph, i) for i in range(count))
        where = f"{self.where}: subgraph {index}"
        operators = []
        for i in range(self._length(graph.OperatorsLength(), "operators")):
            table = graph.Operators(i)
            code = table.OpcodeIndex()
            if code >= len(self.codes):
                raise ModelError(f"{where}: operator {i} has code {code} of {len(self.codes)}")
            name, custom, version = self.codes[code]
            what = f"operator {i} ({name})"
            inputs = _indices(table.InputsAsNumpy(), count, where, f"{what} reads", -1)
            outputs = _indices(table.OutputsAsNumpy(), count, where, f"{what} makes", 0)
            operators.append(TfliteOperator(i, name, custom, version, inputs, outputs, table))
        return Subgraph(
            index,
            _text(graph.Name()),
            tensors,
            tuple(operators),
            _indices(graph.InputsAsNumpy(), count, where, "its inputs are", 0),
            _indices(graph.OutputsAsNumpy(), count, where, "its outputs are", 0),
        )

    def _tensor(self, graph: Any, index: int) -> TfliteTensor:
        table = graph.Tensors(index)
        name = _text(table.Name()) or f"tensor_{index}"
        shape = tuple(int(d) for d in _numbers(table.ShapeAsNumpy()))
        signature = [int(d) for d in _numbers(table.ShapeSignatureAsNumpy())]
        total = 1
        for dim in shape:
            total *= max(dim, 1)
        if len(shape) > _MAX_RANK or min(shape, default=0) < 0 or total > _MAX_ELEMENTS:
            raise ModelError(f"{self.where}: tensor {name!r} has shape {shape}")
        kind = DTYPES.get(table.Type(), f"type {table.Type()}")
        return TfliteTensor(
            index,
            name,
            shape,
            frozenset(i for i, d in enumerate(signature[: len(shape)]) if d < 0),
            bool(shape) or bool(table.HasRank()),
            kind,
            self._buffer(table.Buffer(), name),
            self._quantisation(table.Quantization(), name, shape),
            table.Sparsity() is not None,
            bool(table.IsVariable()),
        )

    def _buffer(self, index: int, name: str) -> memoryview | None:
        """The bytes of a constant. Buffer 0 is "none"; large files keep data behind the tables."""
        if index == 0:
            return None
        if index >= self.table.BuffersLength():
            raise ModelError(f"{self.where}: tensor {name!r} has buffer {index}, which is missing")
        buffer = self.table.Buffers(index)
        if buffer is None:
            return None
        start, size = int(buffer.Offset()), int(buffer.Size())
        if start > 1:
            if start + size > len(self.data):
                raise ModelError(
                    f"{self.where} is damaged or truncated: tensor {name!r} lies at bytes {start} "
                    f"to {start + size} of {len(self.data)}"
                )
            return self.data[start : start + size]
        found = buffer.DataAsNumpy()
        return found.data if isinstance(found, np.ndarray) and found.size else None

    def _quantisation(self, table: Any, name: str, shape: tuple[int, ...]) -> Quantisation | None:
        scale = np.array([], np.float32) if table is None else _numbers(table.ScaleAsNumpy())
        if not scale.size:
            return None
        where = f"{self.where}: tensor {name!r}"
        if table.DetailsType():
            raise ModelError(f"{where} is quantised by a custom scheme; byoc knows scales only")
        zero = _numbers(table.ZeroPointAsNumpy()).astype(np.int64)
        axis = int(table.QuantizedDimension())
        if zero.size not in (0, 1, scale.size):
            raise ModelError(f"{where} has {scale.size} scales and {zero.size} zero points")
        if scale.size == 1 and scale[0] == 0:
            return None  # converters write this for shapes, which are not quantised
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ModelError(f"{where} has a scale that is not positive and finite")
        if scale.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scale.size):
            raise ModelError(f"{where} has {scale.size} scales along axis {axis} of {shape}")
        zeros = np.broadcast_to(zero if zero.size else np.int64(0), scale.shape)
        return Quantisation(scale.astype(np.float32), zeros, axis)


def _numbers(found: Any) -> Array:
    """A vector as an array; accessors give 0 for one that is missing."""
    return found if isinstance(found, np.ndarray) else np.array([], np.int64)


def _indices(found: Any, count: int, where: str, what: str, least: int) -> tuple[int, ...]:
    indices = tuple(int(i) for i in _numbers(found))
    for index in indices:
        if not least <= index < count:
            raise ModelError(f"{where}: {what} tensor {index}, of {count}")
    return indices


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _operator_names() -> dict[int, str]:
    import tflite

    codes = vars(tflite.BuiltinOperator).items()
    return {v: k for k, v in codes if not k.startswith("_") and isinstance(v, int)}
