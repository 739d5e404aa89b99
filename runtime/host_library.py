"""Loading host libraries: kernels, or a Relax VM executable."""

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
        host: The bytes of a shared object, which are loaded from memory; or a module that is there.
        vm: It is a VM executable and needs TVM's runtime library.

    Returns:
        A `tvm_ffi.Module`, unloaded with the last session that uses it; None for None.

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
    """A host library that all sessions of one program share for as long as one of them lives."""

    __slots__ = ("__weakref__", "data", "module")

    def __init__(self, data: object, module: Any) -> None:
        self.data, self.module = data, module  # data is held: its id is the key


_shared: WeakValueDictionary[int, SharedHost] = WeakValueDictionary()


def share_host(host: bytes | HostModule | None, *, vm: bool) -> SharedHost:
    """`load_host`, or what it gave for the same bytes. Raises ArtifactError."""
    if vm or not isinstance(host, bytes):
        return SharedHost(host, load_host(host, vm=vm))
    shared = _shared.get(id(host))
    if shared is None:
        shared = _shared[id(host)] = SharedHost(host, load_host(host, vm=vm))
    return shared


@cache
def load_vm_runtime() -> None:
    """Load libtvm_runtime.so, without its compiler and without importing the tvm package.

    Raises ArtifactError when apache-tvm is not installed.
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
