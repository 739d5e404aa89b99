"""``byoc config``: where the C and C++ parts of this installation are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import Json, print_json

__all__ = ["config", "folders"]


def config(
    cmake_dir: Annotated[
        bool, typer.Option("--cmake-dir", help="Folder for CMake: -Dbyoc_DIR=...")
    ] = False,
    include_dir: Annotated[
        bool, typer.Option("--include-dir", help="Folder of byoc/session.h and byoc/vendor.h.")
    ] = False,
    lib_dir: Annotated[
        bool, typer.Option("--lib-dir", help="Folder of libbyoc_runtime and vendors' libraries.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell where headers, libraries and CMake files are: all of them, or the one asked for."""
    places = folders()
    if json:
        print_json({name: str(path) for name, path in places.items()})
        return
    wanted = {"cmake_dir": cmake_dir, "include_dir": include_dir, "lib_dir": lib_dir}
    chosen = [name for name, flag in wanted.items() if flag]
    for name in chosen:
        print(places[name])
    if not chosen:
        for name, path in places.items():
            print(f"{name:<12} {path}")


def folders() -> dict[str, Path]:
    """Return the folders of headers, libraries and CMake files by name.

    Returns:
        "cmake_dir", "include_dir" and "lib_dir".

    Raises:
        VendorError: byoc's library is missing.
    """
    from byoc.runtime.native import find_library

    lib = find_library("byoc_runtime").parent
    return {
        "cmake_dir": lib / "cmake" / "byoc",
        "include_dir": lib.parent / "include",
        "lib_dir": lib,
    }
