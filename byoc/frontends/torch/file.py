"""Files of `torch.export.save`: exported programs of PyTorch, by their path.

torch itself reads them. Its loader unpickles parts of such a file, so a file that comes from
somebody else can run code: what torch says of `torch.load` holds here, too.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

from byoc.errors import ModelError

__all__ = ["SUFFIXES", "is_pt2", "load_pt2"]

SUFFIXES = (".pt2",)

_MEMBERS = ("archive_format", "serialized_exported_program.json")
"""What torch writes into the zip: since 2.8, before."""


def is_pt2(path: Path) -> bool:
    """True for an exported program: by its suffix, or a zip file with what torch writes into it."""
    if path.suffix in SUFFIXES:
        return True
    if path.suffix in (".byoc", ".onnx", ".tflite") or not path.is_file():
        return False
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    return any(name.rsplit("/", 1)[-1] in _MEMBERS for name in names)


def load_pt2(path: Path) -> Any:
    """The `torch.export.ExportedProgram` of a file.

    Raises:
        ModelError: torch is missing, or cannot read it.
    """
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    try:
        import torch
    except ImportError as error:
        raise ModelError(
            f"{path} is an exported program of PyTorch, which torch reads, and torch cannot be "
            f"imported here ({error}): pip install 'tvm-byoc[torch]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path)
    except Exception as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{path}: torch {torch.__version__} cannot read it as an exported program: {text}; "
            f"expected a file of torch.export.save of the same or an older version"
        ) from error
