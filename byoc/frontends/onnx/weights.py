"""The numbers of an ONNX model, from wherever the file keeps them, copied at most once.

    inside the message    TensorProto.raw_data / float_data / …
    cut out of the file   views of the mapped file (`wire.split`)
    external files        views of those files, mapped once each

Sources: ONNX IR specification, "External Tensor Data".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from byoc.errors import ModelError
from byoc.frontends.normalise.tensors import copy_tiles
from byoc.ir.arrays import from_numpy, is_readable
from byoc.runtime.io.mapped_memory import drop_pages, map_file
from byoc.segment import Array
from byoc.support.memory import aligned_empty

__all__ = ["Weights"]

_CHUNK = 32 << 20
"""Weights are copied by pieces of this many bytes."""

_PACKED = {"UINT4", "INT4", "FLOAT4E2M1", "UINT2", "INT2"}


@dataclass
class Weights:
    """Reads tensors of one model.

    Attributes:
        where: The model, as messages begin.
        folder: What external locations are relative to, None for a model that did not come from a
            file.
        payloads: Raw bytes by tensor name.
    """

    where: str
    folder: Path | None = None
    payloads: dict[str, memoryview] = field(default_factory=dict)
    _files: dict[str, memoryview] = field(default_factory=dict)

    def tensor(self, tensor: onnx.TensorProto, transpose: bool = False) -> Any:
        """Return a stored tensor as a TVM tensor: the mapped file itself where it is aligned.

        Args:
            tensor: The stored tensor.
            transpose: Reverse its dimensions, which makes a copy.

        Raises:
            ModelError: It holds strings, or its data are damaged.
        """
        array = self.read(tensor)
        if array.dtype == object:
            raise ModelError(f"{self.where}: tensor {tensor.name!r} holds strings, not numbers")
        if not transpose and is_readable(array):
            return from_numpy(array)
        out = aligned_empty(array.shape[::-1] if transpose else array.shape, array.dtype)
        into = out.T if transpose else out
        if array.nbytes < _CHUNK or array.ndim < 1:
            into[...] = array
            drop_pages(array)
            return from_numpy(out)
        step = max(1, _CHUNK * array.shape[0] // array.nbytes)
        for begin in range(0, array.shape[0], step):  # never twice in memory
            part = array[begin : begin + step]
            copy_tiles(into[begin : begin + step], part)
            drop_pages(part)
        return from_numpy(out)

    def read(self, tensor: onnx.TensorProto) -> Array:
        """The tensor's data, not to be written to.

        Raises:
            ModelError: The data are not there, or are not what the tensor's type says.
        """
        what = f"{self.where}: tensor {tensor.name!r}"
        shape = tuple(tensor.dims)
        if any(d < 0 for d in shape):
            raise ModelError(f"{what} has a negative dimension: {list(shape)}")
        raw = self._raw(tensor, what)
        if raw is None:
            return self._parse(tensor, what)
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        if kind in _PACKED or kind == "STRING":
            whole = onnx.TensorProto()
            whole.CopyFrom(tensor)
            whole.ClearField("external_data")
            whole.ClearField("data_location")
            whole.raw_data = bytes(raw)
            return self._parse(whole, what)
        dtype = _dtype(tensor, what)
        expected = _count(shape) * dtype.itemsize
        if len(raw) != expected:
            raise ModelError(
                f"{what} of type {dtype}, shape {list(shape)} takes {expected} bytes, "
                f"the file has {len(raw)}; the file is damaged or cut short"
            )
        return np.frombuffer(raw, dtype).reshape(shape)

    def _raw(self, tensor: onnx.TensorProto, what: str) -> memoryview | None:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return self._external(tensor, what)
        if tensor.HasField("raw_data"):
            return None
        return self.payloads.get(tensor.name)

    def _parse(self, tensor: onnx.TensorProto, what: str) -> Array:
        _dtype(tensor, what)
        try:
            return np.asarray(numpy_helper.to_array(tensor)).reshape(tuple(tensor.dims))
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{what} does not hold what its type says: {error}") from None

    def _external(self, tensor: onnx.TensorProto, what: str) -> memoryview:
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        data = self._file(location, what)
        try:
            offset = int(entries.get("offset") or 0)
            length = int(entries.get("length") or len(data) - offset)
        except ValueError:
            raise ModelError(f"{what}: offset or length in {location!r} is no number") from None
        if offset < 0 or length < 0 or offset + length > len(data):
            raise ModelError(
                f"{what} lies at bytes {offset} to {offset + length} of {location!r}, "
                f"which has {len(data)}; the file is cut short"
            )
        return data[offset : offset + length]

    def _file(self, location: str, what: str) -> memoryview:
        if location in self._files:
            return self._files[location]
        if self.folder is None:
            raise ModelError(
                f"{what} is in the external file {location!r}, but the model was given as a "
                f"value; pass the path of the model, or load the data before (onnx.load does)"
            )
        relative = Path(location)
        path = self.folder / relative
        inside = (
            location
            and "\0" not in location
            and not relative.is_absolute()
            and ".." not in relative.parts
        )
        if not inside or self.folder.resolve() not in path.resolve().parents:
            raise ModelError(
                f"{what} asks for the file {location!r}; "
                f"external data must lie in the model's folder, {self.folder}"
            )
        if not path.is_file():
            raise ModelError(f"{what} is in the external file {str(path)!r}, which does not exist")
        self._files[location] = map_file(path)
        return self._files[location]


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for d in shape:
        count *= d
    return count


def _dtype(tensor: onnx.TensorProto, what: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return np.dtype(dtype)
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"{what} has the unknown element type {tensor.data_type}") from None
