"""`Frontend`: one format of models, as a value.

`byoc.frontends.formats` walks over one tuple of these. A frontend says whether a source is of its
format (from the value itself, a path's suffix, or the first bytes) and reads it into a `Model`. The
packages that a format needs (torch, tflite, lark, onnx) are imported by `read`, never by importing
the frontend.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byoc.frontends.model import Model

__all__ = ["Frontend", "is_instance", "path_of"]


@dataclass(frozen=True, slots=True)
class Frontend:
    """One format of models.

    Attributes:
        name: What `Model.source` says of models of this format.
        accepts: True for a source that `read` takes; it reads a file's first bytes at most.
        read: (source, params) → the model in normal form; a ModelError for a source that is damaged
            or holds something that byoc does not import. params: None, or, where `takes_params`,
            what the caller gave beside the source.
        suffixes: How names of such files end, in lower case, with the dot.
        extra: The extra of the distribution that brings what `read` imports; empty for none.
        takes_params: True where weights may stand outside the source.
    """

    name: str
    accepts: Callable[[Any], bool]
    read: Callable[[Any, Any], Model]
    suffixes: tuple[str, ...] = ()
    extra: str = ""
    takes_params: bool = False


def path_of(source: Any) -> Path | None:
    """The path that a source is, None for other sources."""
    return Path(source) if isinstance(source, (str, Path)) else None


def is_instance(source: Any, module: str, name: str) -> bool:
    """True for an instance of a class of a package that may not be loaded.

    Nothing is imported: who made the source has loaded the package.

    Args:
        source: Any value.
        module: The module that holds the class, such as "torch.export".
        name: The class in that module.
    """
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and isinstance(source, found)
