"""TFLite files: file.py (to plain values), walk.py (to Relax), ops/ (converters by family)."""

from typing import Any

from byoc.frontends.frontend import Frontend, path_of
from byoc.frontends.model import Model
from byoc.frontends.tflite.file import SUFFIXES, is_tflite

__all__ = ["FRONTEND"]


def _accepts(source: Any) -> bool:
    return is_tflite(path_of(source) or source)


def _read(source: Any, params: None) -> Model:
    from byoc.frontends.tflite.walk import import_tflite

    return import_tflite(path_of(source) or source)


FRONTEND = Frontend("tflite", _accepts, _read, suffixes=SUFFIXES, extra="tflite")
