"""Vendors in C++, compiled by the test that needs them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

INCLUDE = Path(__file__).parents[2] / "runtime" / "include"


def build_vendor(folder: Path, name: str, source: str) -> Path:
    """`source`, which includes <byoc/vendor.h>, as the library ``lib<name>.so`` in `folder`."""
    import tvm_ffi.libinfo

    library = folder / f"lib{name}.so"
    includes = [
        INCLUDE, tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path()
    ]  # fmt: skip
    code = folder / f"{name}.cc"
    code.write_text(source, encoding="utf-8")
    subprocess.run(
        [os.environ.get("CXX", "g++"), "-std=c++17", "-fPIC", "-shared", "-O0",
         *(f"-I{path}" for path in includes), code, "-o", library,
         tvm_ffi.libinfo.find_libtvm_ffi()],
        check=True,
    )  # fmt: skip
    return library


def as_distribution(library: Path, name: str) -> None:
    """Put what pip leaves beside a library: the record of a distribution that lists it."""
    info = library.parent / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{library.name},,\n")
