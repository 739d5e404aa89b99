"""A model of the command line: a file to compile, or one that is compiled already."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from byoc.cli.common import progress, warn

if TYPE_CHECKING:
    from byoc.executable import Executable

__all__ = ["is_artifact", "open_model", "refuse_options"]


def is_artifact(path: Path) -> bool:
    """Return whether a file is a compiled model, by its name or else by what it holds.

    Files of torch.export are archives, too.
    """
    if path.suffix in (".byoc", ".onnx"):
        return path.suffix == ".byoc"
    from byoc.runtime.io.archive import MANIFEST

    try:
        with zipfile.ZipFile(path) as archive:
            return MANIFEST in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False  # reading the model will say so


def refuse_options(model: Path, options: Mapping[str, object]) -> None:
    """Refuse what only compiling could obey, for a model that is compiled already.

    Args:
        model: The compiled model.
        options: Option → what the user gave; None: nothing.

    Raises:
        typer.BadParameter: One was given (wrong usage, exit status 2).
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise typer.BadParameter(f"{model} is compiled: {', '.join(given)} cannot change it")


def open_model(model: Path, arguments: Mapping[str, Any] | None) -> Executable:
    """Load a compiled model, or compile one and print what there is to warn of.

    Args:
        model: The file.
        arguments: Of `byoc.compile`; None: the model is compiled already.
    """
    import byoc

    if arguments is None:
        with progress(f"loading {model}"):
            return byoc.load(model)
    with progress(f"compiling {model}"):
        executable = byoc.compile(model, **arguments)
    warn(executable.report)
    return executable
