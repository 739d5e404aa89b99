"""Shared libraries of vendors: compiled from C or C++, loaded from bytes.

In: sources, or the bytes of a library. Out: a library, or one that is loaded. For vendors whose
compiler is the C compiler of this machine, and for building native vendors without CMake.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from byoc.errors import CompileError

__all__ = ["compile_c", "find_compiler", "load_bytes", "shared_library"]

_PACKAGE = "tvm-byoc"


def find_compiler(variable: str = "CXX") -> str | None:
    """Return the command of the compiler for C++ (or C), None where there is none.

    Args:
        variable: "CXX" or "CC": the environment's choice goes first.
    """
    usual = ("c++", "g++", "clang++") if variable == "CXX" else ("cc", "gcc", "clang")
    given = os.environ.get(variable)
    return given or next((path for name in usual if (path := shutil.which(name))), None)


def shared_library(
    sources: Sequence[str | Path], output: str | Path, flags: Sequence[str] = ()
) -> Path:
    """Compile a native vendor's library: with byoc/vendor.h, linked with tvm-ffi.

    Args:
        sources: Files of C++.
        output: The library to write; its folder is made.
        flags: Further words for the compiler (``-I``, ``-l`` of an SDK).

    Returns:
        The path of the library.

    Raises:
        CompileError: There is no compiler, or it finds an error.
    """
    from tvm_ffi.libinfo import find_include_path, find_libtvm_ffi

    target = Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    # byoc's threads (byoc/threads.h) and tvm-ffi are in the process that loads the library.
    folders = [_include(), Path(find_include_path())]
    includes = [f"-I{folder}" for folder in folders if folder is not None]
    words = ["-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", *includes]
    _run("CXX", [*words, *map(str, sources), *flags, find_libtvm_ffi(), "-o", str(target)])
    return target


def compile_c(source: str, flags: Sequence[str] = ("-O3",)) -> bytes:
    """Compile a text of C to a shared library.

    Args:
        source: C, of this machine's compiler; what is exported is not static.
        flags: Words for the compiler.

    Returns:
        The bytes of the library, for `Artifact.blob`.

    Raises:
        CompileError: There is no compiler, or it finds an error.
    """
    with tempfile.TemporaryDirectory(prefix="byoc-c-") as folder:
        text, library = Path(folder) / "segment.c", Path(folder) / "segment.so"
        text.write_text(source, encoding="utf-8")
        _run("CC", ["-std=c11", "-fPIC", "-shared", *flags, str(text), "-lm", "-o", str(library)])
        return library.read_bytes()


def load_bytes(blob: bytes) -> ctypes.CDLL:
    """Load a shared library from its bytes, all of its symbols resolved.

    Args:
        blob: What `compile_c` returned.

    Raises:
        OSError: The bytes are no library for this machine.
    """
    # A file of its own name: the loader takes two libraries of one name for one.
    handle, name = tempfile.mkstemp(suffix=".so", prefix="byoc-segment-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(blob)
        return ctypes.CDLL(name, mode=os.RTLD_NOW | os.RTLD_LOCAL)
    finally:
        Path(name).unlink()


def _include() -> Path | None:
    """The folder with byoc/vendor.h."""
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())) for file in files if file.match("byoc/vendor.h")]
    return found[0].resolve().parents[1] if found else None


def _run(variable: str, words: Sequence[str]) -> None:
    compiler = find_compiler(variable)
    if compiler is None:
        raise CompileError(f"no compiler: install g++ or clang, or set {variable}")
    command = [*shlex.split(compiler), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CompileError(f"the compiler {compiler!r} cannot be run: {error}") from error
    if done.returncode:
        said = done.stderr.strip()
        raise CompileError(f"{shlex.join(command)} failed:\n{said[:2000]}")
