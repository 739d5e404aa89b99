"""The C++ runtime as Python functions, and arrays on their way between the two.

In: numpy arrays. Out: tensors of tvm-ffi over the same memory, and back. The library is loaded when
it is first used, so that importing byoc stays quick::

    libbyoc_runtime.so ──registers──▶ byoc.runtime.* (tvm-ffi) ──▶ `function("Executor")`
"""

from __future__ import annotations

import atexit
import importlib.metadata
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import tvm_ffi

from byoc.errors import ArtifactError, ExecutionError, OptionError, VendorError
from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype

__all__ = [
    "LIBRARY_PATH",
    "as_tensor",
    "call_on",
    "dense",
    "device_count",
    "find_library",
    "from_tensor",
    "from_tensors",
    "function",
    "is_mapped",
    "num_threads",
    "queue_depth",
    "set_num_threads",
    "usable_processors",
    "watch_files",
    "with_address",
]

LIBRARY_PATH = "BYOC_LIBRARY_PATH"
"""The environment variable with more folders of vendors' libraries, joined by ``:``."""

_DISTRIBUTION = "tvm-byoc"


def find_library(name: str, distribution: str = _DISTRIBUTION) -> Path:
    """Return the path of ``lib<name>.so`` among the files of an installed distribution.

    Else in the folders of an editable install, else in those of ``BYOC_LIBRARY_PATH``.

    Args:
        name: Of the library, without ``lib`` and ``.so``.
        distribution: The Python package that brings it.

    Raises:
        VendorError: It is not there; the message says where it was looked for and what to install.
    """
    file = f"lib{name}.so"
    searched: list[str] = []
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise VendorError(
            f"library {file} is missing: it comes with the package {distribution!r}, which is not "
            f"installed; run: pip install {distribution}"
        ) from None
    # The record of a wheel names every file; an editable install may have been built again since.
    listed = [
        line.split(",", 1)[0]
        for line in (found.read_text("RECORD") or "").splitlines()
        if file in line and PurePosixPath(line.split(",", 1)[0]).name == file
    ]
    candidates = [Path(str(found.locate_file(f))) for f in (*listed, f"byoc/lib/{file}")]
    project = _editable(found)
    if project is not None:
        candidates += [folder / file for folder in _beside(found, distribution, project)]
    named = os.environ.get(LIBRARY_PATH, "")
    candidates += [Path(folder) / file for folder in named.split(":") if folder]
    for path in candidates:
        if path.is_file():
            return path
        searched.append(str(path))
    if project is not None:
        advice = (
            f"{distribution} is installed from {project} (editable) and holds no such file yet: "
            f"build it into one of these folders, or name its folder in {LIBRARY_PATH}"
        )
    else:
        advice = (
            f"it is left out when the package was built without the vendor's SDK: install the SDK "
            f"and build again, reinstall {distribution}, or name its folder in {LIBRARY_PATH}"
        )
    if distribution == _DISTRIBUTION:
        advice += f"; a vendor of another package names it: NativeRuntime({name!r}, package=...)"
    raise VendorError(
        f"library {file} of package {distribution!r} is missing; searched: {', '.join(searched)}; "
        f"{advice}"
    )


def _editable(distribution: importlib.metadata.Distribution) -> Path | None:
    """The folder that a distribution is installed from in place; None for others."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        url = urlsplit(origin["url"])
        editable = bool(origin["dir_info"]["editable"]) and url.scheme == "file"
    except (ValueError, KeyError, TypeError):
        return None
    return Path(unquote(url.path)) if editable else None


def _beside(distribution: importlib.metadata.Distribution, name: str, project: Path) -> list[Path]:
    """Folders of an editable project where its libraries may lie: its packages, and their lib."""
    roots = [project, project / "src"]
    names = (distribution.read_text("top_level.txt") or "").split()
    names = names or [name.replace("-", "_")]
    packages = [root / name for root in roots for name in names if (root / name).is_dir()]
    return [folder for package in packages for folder in (package / "lib", package)] or [project]


def _log(vendor: str, segment: str, level: int, text: str) -> None:
    """Take a line of a native vendor's log."""
    logging.getLogger(f"byoc.vendor.{vendor}").log(level, "%s: %s", segment, text)


@cache
def _load() -> None:
    tvm_ffi.register_error("byoc.ArtifactError", ArtifactError)
    tvm_ffi.register_error("byoc.ExecutionError", ExecutionError)
    tvm_ffi.register_error("byoc.OptionError", OptionError)
    tvm_ffi.register_error("byoc.VendorError", VendorError)
    tvm_ffi.load_module(str(find_library("byoc_runtime")))
    tvm_ffi.register_global_func("byoc.log", _log, override=True)
    # A thread of ours that came back to Python while it is torn down would end the process badly.
    atexit.register(tvm_ffi.get_global_func("byoc.runtime.shutdown"))


@cache
def function(name: str) -> Callable[..., Any]:
    """Return the C++ function ``byoc.runtime.<name>`` (see runtime/src/bindings/)."""
    _load()
    found: Callable[..., Any] = tvm_ffi.get_global_func(f"byoc.runtime.{name}")
    return found


def watch_files(arrays: Iterable[Array]) -> Callable[[], None] | None:
    """Return a check that the files which arrays are mapped from have not been written to.

    Args:
        arrays: Arrays, of which some may lie in mapped files.

    Returns:
        A function that raises ExecutionError once such a file has changed; None when there is none.
    """
    check: Callable[[], None] | None = function("Watch")(
        [array.__array_interface__["data"][0] for array in arrays]
    )
    return check


def is_mapped(array: Array) -> bool:
    """Return whether an array lies in a mapped file.

    Args:
        array: Any array.
    """
    return bool(function("is_mapped")(array.__array_interface__["data"][0]))


def device_count(processor: str) -> int:
    """Return how many equal devices stand behind a processor; 1 where that is all there is.

    Args:
        processor: Its name; known once a segment of its vendor was loaded.
    """
    return int(function("device_count")(processor))


def queue_depth(processor: str) -> int:
    """Return how many calls a processor's device works on at a time; 1 where it has no queue.

    Args:
        processor: Its name; known once a segment of its vendor was loaded.
    """
    return int(function("queue_depth")(processor))


def usable_processors() -> int:
    """Return how many processors this process may use, at least 1.

    Those that the calling thread may run on, but no more than the CPU quota of the process's
    control group (of a container), rounded up.
    """
    return int(function("usable_processors")(""))


def num_threads() -> int:
    """Return the number of threads used by parallel work on the CPU.

    It is what `set_num_threads` said, else BYOC_NUM_THREADS, else OMP_NUM_THREADS, else the number
    of cores this process may run on, but no more than the CPU quota of its control group (of a
    container), rounded up.

    Raises:
        ValueError: The environment variable holds no number from 1 to 1024.
    """
    return int(function("num_threads")())


def set_num_threads(count: int) -> None:
    """Set the number of threads used by parallel work, for sessions opened after this.

    Vendors divide their work when a segment is loaded, so open sessions may keep their number.

    Args:
        count: 1 to 1024.

    Raises:
        ValueError: `count` is out of range.
    """
    function("set_num_threads")(count)


def call_on(processor: str, work: Callable[..., Any], *args: Any) -> Any:
    """Return ``work(*args)``, called on the thread of a processor.

    Libraries that compute with the CPU's threads are called on the thread of "cpu": its workers are
    those of every other model, too.

    Args:
        processor: The name of the queue whose thread is used.
        work: What to call.
        *args: Its positional arguments.
    """
    return function("call_on")(processor, work, *args)


class _Owner:
    """Keeps an array alive from C++ (tvm-ffi would turn the array itself into a tensor)."""

    __slots__ = ("array",)

    def __init__(self, array: Array) -> None:
        self.array = array


def dense(array: Array) -> Array:
    """Return the array itself when C-contiguous and in native byte order, else a copy that is."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array if array.flags.c_contiguous else array.copy(order="C")


def as_tensor(array: Array) -> Any:
    """Return an array as a tensor of tvm-ffi that keeps it alive.

    The tensor has the array's memory, unless `dense` must copy; read-only arrays and dtypes that
    DLPack lacks (bfloat16) are taken, too.
    """
    array = dense(array)
    address = array.__array_interface__["data"][0]
    return function("Tensor")(address, array.shape, array.dtype.name, _Owner(array))


def with_address(array: Array) -> Any:
    """Return a C-contiguous array as an argument of an executor: itself or its address.

    DLPack carries neither read-only arrays nor all dtypes; those go by address, and the caller
    keeps them alive.
    """
    if array.flags.writeable and array.dtype.kind in "fiub" and array.dtype.isbuiltin != 2:
        return array
    return array.__array_interface__["data"][0]


def from_tensor(tensor: Any, dtype: np.dtype[Any]) -> Array:
    """Return a tensor of the C++ runtime as an array over the same memory.

    Args:
        tensor: On the CPU.
        dtype: What it holds; types that numpy cannot exchange arrive as integers of their width.
    """
    array = np.from_dlpack(tensor)
    return array if array.dtype == dtype else array.view(dtype)


def from_tensors(tensors: Sequence[Any], dtypes: Sequence[str]) -> list[Array]:
    """Return tensors as numpy arrays over the same memory.

    Args:
        tensors: Tensors of tvm-ffi.
        dtypes: The dtype of each as a name ("float32", "bfloat16").
    """
    return [from_tensor(t, numpy_dtype(str(d))) for t, d in zip(tensors, dtypes, strict=True)]
