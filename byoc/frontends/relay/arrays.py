"""Tensors as TVM 0.6 to 0.18 store them, alone and in `.params` files.

    tensor  := magic u64, 0 u64, device {type i32, id i32}, ndim i32,
               dtype {code u8, bits u8, lanes u16}, shape i64[ndim], nbytes i64, data
    .params := magic u64, 0 u64, count u64, (length u64, name)*, count u64, tensor*

All little endian. Arrays are views of the bytes they are read from.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import Any

import numpy as np

from byoc.errors import ModelError
from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype

__all__ = ["BadBytesError", "array_of_base64", "read_params"]

_TENSOR = 0xDD5E40F096B4A13F
_LIST = 0xF7E58D4F05049CB7
_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}
_MAX_RANK = 64


class BadBytesError(Exception):
    """Bytes that are no tensor; the message says at which of them."""


class _Bytes:
    """A cursor over bytes."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = memoryview(data)
        self.at = 0

    def unpack(self, form: str, what: str) -> tuple[Any, ...]:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form), what))

    def take(self, size: int, what: str) -> memoryview:
        left = len(self.data) - self.at
        if not 0 <= size <= left:
            raise BadBytesError(
                f"byte {self.at}: {what} needs {size} bytes, {left} are left: damaged or cut off"
            )
        self.at += size
        return self.data[self.at - size : self.at]


def _dtype(code: int, bits: int, lanes: int, at: int) -> np.dtype[Any]:
    kind = _CODES.get(code, "")
    name = "bool" if (kind, bits) in (("uint", 1), ("bool", 8)) else f"{kind}{bits}"
    known = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
             "float32", "float64", "bfloat16", "bool"}  # fmt: skip
    if lanes != 1 or name not in known:
        raise BadBytesError(
            f"byte {at}: a tensor of dtype (code {code}, {bits} bits, {lanes} lanes), which byoc "
            f"has no name for"
        )
    return numpy_dtype(name)


def _tensor(source: _Bytes) -> Array:
    start = source.at
    magic, _ = source.unpack("QQ", "the head of a tensor")
    if magic != _TENSOR:
        raise BadBytesError(f"byte {start}: expected a tensor, found {magic:#x}")
    source.unpack("ii", "the device of a tensor")
    (rank,) = source.unpack("i", "the rank of a tensor")
    at = source.at
    code, bits, lanes = source.unpack("BBH", "the dtype of a tensor")
    dtype = _dtype(code, bits, lanes, at)
    if not 0 <= rank <= _MAX_RANK:
        raise BadBytesError(f"byte {at - 4}: a tensor of {rank} dimensions")
    at = source.at
    shape = source.unpack(f"{rank}q", "the shape of a tensor")
    (nbytes,) = source.unpack("q", "the size of a tensor")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != nbytes:
        raise BadBytesError(
            f"byte {at}: a tensor of shape {shape} and dtype {dtype} has {nbytes} bytes of data"
        )
    data = source.take(nbytes, f"a tensor of shape {shape}")
    array: Array = np.frombuffer(data, dtype).reshape(shape)
    return array


def array_of_base64(text: str) -> Array:
    """The tensor in a base64 text.

    Raises:
        BadBytesError: The text is no base64, or its bytes are no tensor.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadBytesError(f"no base64: {error}") from None
    return _tensor(_Bytes(data))


def read_params(path: Path) -> dict[str, Array]:
    """The arrays of a `.params` file, as `tvm.runtime.save_param_dict` wrote it.

    The file is mapped, not read: arrays that nobody uses cost nothing.

    Raises:
        ModelError: As ``file: byte N: what``.
    """
    try:
        with path.open("rb") as file:  # private: the arrays are the user's, who may write to them
            empty = not path.stat().st_size
            data = memoryview(b"" if empty else mmap(file.fileno(), 0, access=ACCESS_COPY))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    try:
        return _params(_Bytes(data))
    except BadBytesError as error:
        raise ModelError(f"{path}: {error}") from None


def _params(source: _Bytes) -> dict[str, Array]:
    magic, _ = source.unpack("QQ", "the head of the file")
    if magic != _LIST:
        raise BadBytesError(
            f"byte 0: no .params file of TVM: expected {_LIST:#x} at its start, found {magic:#x}"
        )
    (count,) = source.unpack("Q", "the number of names")
    names = []
    for index in range(count):
        at = source.at
        (size,) = source.unpack("Q", f"name {index} of {count}")
        try:
            name = str(source.take(size, f"name {index} of {count}"), "utf-8")
        except UnicodeDecodeError:
            raise BadBytesError(f"byte {at}: a name that is no text") from None
        names.append(name)
    at = source.at
    (tensors,) = source.unpack("Q", "the number of tensors")
    if tensors != count or len(set(names)) != count:
        raise BadBytesError(f"byte {at}: {tensors} tensors for {len(set(names))} names")
    found = {name: _tensor(source) for name in names}
    if source.at != len(source.data):
        raise BadBytesError(f"byte {source.at}: {len(source.data) - source.at} bytes too many")
    return found
