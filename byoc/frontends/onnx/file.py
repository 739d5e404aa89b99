"""Open an ONNX file, or say why it is none."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from byoc.errors import ModelError
from byoc.frontends.onnx import wire
from byoc.frontends.onnx.weights import Weights
from byoc.runtime.io.mapped_memory import map_file

__all__ = ["open_model"]

# First bytes of files that people mistake for ONNX → what they are.
_LOOKS = (
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint or a .byoc artifact?)"),
    (b"\x80\x02", "a Python pickle (a PyTorch checkpoint?)"),
    (b"\x89HDF", "an HDF5 file (a Keras model?)"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x7fELF", "a shared library"),
    (b"\x89PNG", "a PNG image"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file with `git lfs pull`"),
    (b"<", "an HTML or XML page (a failed download?)"),
    (b"{", "JSON"),
    (b"#!", "a script"),
    (b"ir_version", "ONNX as text; convert it with onnx.load and onnx.save"),
    (b"\x93NUMPY", "a numpy array"),
)


def open_model(path: Path) -> tuple[onnx.ModelProto, Weights]:
    """The model without its large weights, and the reader of these.

    Raises ModelError when the path is no readable ONNX file; the message says what it is.
    """
    data = _bytes(path)
    try:
        small, payloads = wire.split(data)
        model = onnx.ModelProto.FromString(small)
    except wire.TooManyNodesError:
        raise ModelError(
            f"{path} has more than {wire.MAX_NODES:,} nodes; byoc reads up to so many"
        ) from None
    except (wire.BadWireError, DecodeError) as error:
        raise _not_onnx(path, data, str(error)) from None
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise _not_onnx(path, data, "it holds no graph")
    return model, Weights(str(path), path.resolve().parent, payloads)


def _bytes(path: Path) -> memoryview:
    if path.is_dir():
        raise ModelError(f"{path} is a directory; expected the path of an ONNX file")
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    try:
        data = map_file(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not len(data):
        raise ModelError(f"{path} is empty")
    return data


def _not_onnx(path: Path, data: memoryview, why: str) -> ModelError:
    head = bytes(data[:64])
    if head[4:8] == b"TFL3":
        return ModelError(f"{path} is not an ONNX model: it looks like a TFLite model")
    for start, what in _LOOKS:
        if head.lstrip().startswith(start) or head.startswith(start):
            return ModelError(f"{path} is not an ONNX model: it looks like {what}")
    if head[:1] == b"\x08":  # field 1, ir_version: nearly every ONNX file starts so
        return ModelError(f"{path} is a damaged or truncated ONNX model ({why})")
    return ModelError(f"{path} is not an ONNX model ({why})")
