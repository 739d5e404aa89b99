"""Loading host libraries: the kernels that byoc compiled for the CPU, or a Relax VM executable.

In: the bytes of a shared object, or a module in memory. Out: a `tvm_ffi.Module`, shared by all
sessions of one program, so that a model opened twice has its code in memory once.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import tvm_ffi

from byoc.errors import ArtifactError
from byoc.runtime.native import function
from byoc.runtime.program import HostModule

__all__ = ["SharedHost", "load_host", "load_vm_runtime", "share_host"]


def load_host(host: bytes | HostModule | None, *, vm: bool) -> Any:
    """Load a host library.

    Args:
        host: Bytes of a shared object, a module in memory, or None.
        vm: It is a VM executable and needs TVM's runtime library.

    Returns:
        A `tvm_ffi.Module`, or None for None.

    Raises:
        ArtifactError: It does not load.
    """
    if vm:
        load_vm_runtime()
    if isinstance(host, bytes):
        return function("load_host")(host)
    # Libraries ask for their thread pool when they are loaded; TVM's own may have come since.
    function("install_thread_pool")()
    if host is None:
        return None
    module = host.module
    if isinstance(module, tvm_ffi.Module):  # no getattr: a kernel may be called "mod"
        return module
    return module.mod  # a tvm.runtime.Executable holds its module there


class SharedHost:
    """A host library that all sessions of one program share for as long as one of them lives.

    Args:
        data: What it was loaded from; held, for its identity is the key.
        module: The `tvm_ffi.Module`, or None.
    """

    __slots__ = ("__weakref__", "data", "module")

    def __init__(self, data: object, module: Any) -> None:
        self.data, self.module = data, module


_shared: WeakValueDictionary[int, SharedHost] = WeakValueDictionary()


def share_host(host: bytes | HostModule | None, *, vm: bool) -> SharedHost:
    """Load a host library, or return what was loaded from the same bytes object.

    Args:
        host: Bytes of a shared object, a module in memory, or None.
        vm: It is a VM executable; those are not shared, for they keep state.

    Raises:
        ArtifactError: It does not load.
    """
    if vm or not isinstance(host, bytes):
        return SharedHost(host, load_host(host, vm=vm))
    shared = _shared.get(id(host))
    if shared is None:
        shared = _shared[id(host)] = SharedHost(host, load_host(host, vm=vm))
    return shared


@cache
def load_vm_runtime() -> None:
    """Load libtvm_runtime.so, without its compiler and without importing the tvm package.

    Raises:
        ArtifactError: apache-tvm is not installed.
    """
    spec = importlib.util.find_spec("tvm")
    folders = spec.submodule_search_locations if spec is not None else None
    candidates = [Path(folder) / "lib" / "libtvm_runtime.so" for folder in folders or ()]
    for path in candidates:
        if path.is_file():
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            return
    raise ArtifactError(
        "a model with symbolic shapes or control flow needs TVM's runtime library "
        f"libtvm_runtime.so; searched: {', '.join(map(str, candidates)) or 'no tvm package found'};"
        " run: pip install apache-tvm"
    )
