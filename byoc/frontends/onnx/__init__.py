"""ONNX files and protos: file.py (open, check), walk.py (to Relax), ops/ (converters by family)."""

from typing import Any

from byoc.frontends.frontend import Frontend, is_instance, path_of
from byoc.frontends.model import Model

__all__ = ["FRONTEND", "import_overridden"]


def _accepts(source: Any) -> bool:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return True  # TFLite, which has an identifier, was asked before
    return path_of(source) is not None or is_instance(source, "onnx", "ModelProto")


def _read(source: Any, params: None) -> Model:
    from byoc.frontends.onnx.walk import import_onnx

    return import_onnx(path_of(source) or source)


def import_overridden(source: Any, given: frozenset[str]) -> Model:
    """Read a model with some stored tensors as inputs, see `Model.defaults`.

    Args:
        source: A path, the bytes of a file, or an `onnx.ModelProto`.
        given: Their names.

    Raises:
        ModelError: The model decides by such a tensor how it is built: a shape, an axis.
    """
    from byoc.frontends.onnx.walk import import_onnx

    return import_onnx(path_of(source) or source, given)


FRONTEND = Frontend("onnx", _accepts, _read, suffixes=(".onnx",))
