"""`read_relay`: a Relay module in text or JSON, with its parameters, for `byoc.compile`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from byoc.errors import ModelError
from byoc.frontends.relay.arrays import read_params
from byoc.frontends.relay.json_reader import parse_json
from byoc.frontends.relay.parser import parse_text
from byoc.frontends.relay.syntax import Module
from byoc.segment import Array

__all__ = [
    "SUFFIXES",
    "Params",
    "RelayModel",
    "is_relay",
    "looks_like_relay",
    "read_relay",
]

Params = Mapping[str, Array] | str | os.PathLike[str]
"""Values of parameters: name → array, or the path of a `.params` file of TVM."""

SUFFIXES = (".relay",)

MAX_FILE = 1 << 32
"""Bytes of a file that are read into memory as text."""

_HEAD = 8192

_TEXT = re.compile(
    r"\s*(?:(?://[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)\s*)*(?:#\[version|v0\.0\.4\b|free_var\s+%|"
    r"extern\s+type\b|type\s+\w+\s*(?:\[[\w\s,]*\]\s*)?\{|def\s+@|fn\s*\()"
)
_JSON = re.compile(r"\s*\{.{0,4000}?\"(?:type_key|nodes|root)\"\s*:", re.S)


@dataclass(frozen=True)
class RelayModel:
    """A Relay module that was read, as `byoc.compile` takes it.

    Attributes:
        module: The syntax tree.
        name: Short name for reports.
        params: Values of parameters of @main.
        placement: False to ignore what functions with the attributes Compiler and Composite ask
            for.
    """

    module: Module
    name: str
    params: Mapping[str, Array] = field(default_factory=dict)
    placement: bool = True


def looks_like_relay(head: str) -> bool:
    """True for the first characters of Relay text, or of a node graph of TVM."""
    head = head.removeprefix("\ufeff")
    return bool(_TEXT.match(head) or _JSON.match(head))


def is_relay(model: object) -> bool:
    """True for a `RelayModel`, for Relay text, and for the path of a file that holds Relay."""
    if isinstance(model, RelayModel):
        return True
    if isinstance(model, str) and looks_like_relay(model[:_HEAD]):
        return True
    if not isinstance(model, (str, os.PathLike)):
        return False
    path = Path(model)
    if path.suffix in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return looks_like_relay(file.read(_HEAD).decode("utf-8", "replace"))
    except (OSError, ValueError):
        return False  # the reader of ONNX says what is wrong with the path


def read_relay(
    source: str | os.PathLike[str] | RelayModel,
    params: Params | None = None,
    *,
    placement: bool = True,
) -> RelayModel:
    """Read a Relay module.

    Args:
        source: The path of a file, the text itself, or a module that was read, to be given params.
            A file holds Relay text of version 0.0.5, or what `tvm.ir.save_json` of TVM 0.8 to 0.18
            wrote.
        params: Values of parameters of @main; those without one are the model's inputs.
        placement: Whether operators inside functions with the attributes Compiler or Composite must
            be on that vendor.

    Raises:
        ModelError: As ``file:line:column: what``, for JSON ``file:node N: what``, for params
            ``file: byte N: what``.
    """
    if isinstance(source, RelayModel):
        return source if params is None else replace(source, params=_arrays(params))
    if isinstance(source, str) and looks_like_relay(source[:_HEAD]):
        text, where, name = source.removeprefix("\ufeff"), "<text>", "relay"
    else:
        path = Path(source)
        text, where, name = _read(path), str(path), path.stem
    parse = parse_json if text.lstrip()[:1] == "{" else parse_text
    return RelayModel(parse(text, where), name, _arrays(params), placement)


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise ModelError(f"{path} has {size} bytes; byoc reads Relay files up to {MAX_FILE}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: byte {error.start}: no UTF-8, so no Relay text") from None


def _arrays(params: Params | None) -> Mapping[str, Array]:
    if params is None:
        return {}
    if isinstance(params, (str, os.PathLike)):
        return read_params(Path(params))
    if not isinstance(params, Mapping):
        raise ModelError(
            f"params must map names to arrays or be the path of a .params file, found "
            f"{type(params).__name__}"
        )
    return {str(name): np.asarray(array) for name, array in params.items()}
