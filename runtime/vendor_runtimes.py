"""From an artifact to something callable: a vendor's runtime, native or Python-hosted.

In: an `Artifact` and how the program uses its vendor. Out: ``execute(inputs..., outputs...)``. This
is the only place where a vendor's code is loaded into a process.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import tvm_ffi
from pydantic_core import to_json

from byoc.errors import VendorError
from byoc.runtime.io.weights import release
from byoc.runtime.native import as_tensor, find_library, from_tensors, function, num_threads
from byoc.runtime.program import PortCounts, VendorUse
from byoc.runtime.queued_call import QueuedCall
from byoc.segment import Array, Artifact
from byoc.vendor import API_VERSION, NativeRuntime, PythonRuntime

__all__ = ["Bound", "bind", "devices_of", "load_native"]


@cache
def load_native(vendor: str, runtime: NativeRuntime) -> Any:
    """Load a native vendor's library, once per process.

    Args:
        vendor: Name of the vendor.
        runtime: Which library, of which package.

    Returns:
        Its function ``init(blob, constants, options)``.

    Raises:
        VendorError: The library is missing, does not load, lacks symbols, registers another
            vendor's functions, or was built for another version of the contract; or another library
            has registered the vendor.
    """
    function("num_threads")  # our own library first: it is what the contract belongs to
    path = find_library(runtime.library, runtime.package)
    function("open_vendor")(vendor, str(path))
    names = [f"byoc.vendor.{vendor}.{part}" for part in ("init", "api_version")]
    init, version = (tvm_ffi.get_global_func(name, allow_missing=True) for name in names)
    if init is None or version is None:
        known = re.findall(
            r"byoc\.vendor\.(\w+)\.init", " ".join(tvm_ffi.registry.list_global_func_names())
        )
        raise VendorError(
            f"vendor author: {path} does not register {' and '.join(names)}; "
            f"use BYOC_REGISTER_VENDOR({vendor}, factory) of byoc/vendor.h. Registered in this "
            f"process: {', '.join(sorted(known)) or '(none)'}"
        )
    if version() != API_VERSION:
        raise VendorError(
            f"vendor {vendor!r}: {path} was built for vendor API {version()}, this byoc has "
            f"{API_VERSION}; install matching releases of {runtime.package!r} and of byoc"
        )
    return init


class Bound:
    """A segment of a native vendor, loaded; all sessions of one program share it.

    Args:
        artifact: The segment.
        told: What the C++ function ``bind`` returned (see runtime/src/plan/binding.h).

    Attributes:
        execute: The segment's function, ``execute(inputs..., outputs...)``.
        packed: Bytes of constants that the vendor holds of its own, as far as it tells.
        workspace: Bytes of each call, as far as it tells.
        in_use: Numbers of the constants that it goes on reading where they are.
    """

    __slots__ = ("__weakref__", "artifact", "execute", "in_use", "packed", "workspace")

    def __init__(self, artifact: Artifact, told: Any) -> None:
        self.artifact = artifact  # held: its id is part of the key
        self.execute = told[0]
        self.packed, self.workspace = int(told[1]), int(told[2])
        self.in_use = tuple(int(number) for number in told[3])


_shared: WeakValueDictionary[tuple[object, ...], Bound] = WeakValueDictionary()


def _bind_native(
    artifact: Artifact, use: VendorUse, runtime: NativeRuntime, ports: PortCounts
) -> Bound:
    init = load_native(artifact.vendor, runtime)
    options = to_json(dict(use.options)).decode()
    # Vendors divide their work when they load, so the number of threads matters.
    key = (id(artifact), use.processor, options, num_threads(), bool(function("checks")()))
    bound = _shared.get(key)
    if bound is None:
        constants = [as_tensor(c) for c in artifact.constants]
        # On the processor's thread: libraries divide their work by the number of threads there.
        counts = [-1 if count is None else count for count in ports]
        told = function("bind")(use.processor, init, artifact.blob, constants, options, *counts)
        bound = _shared[key] = Bound(artifact, told)
    return bound


def bind(
    artifact: Artifact,
    use: VendorUse,
    ports: PortCounts,
    keep: Callable[[Bound], object] | None = None,
) -> Any:
    """Load a segment.

    Args:
        artifact: The segment.
        use: How the program uses its vendor.
        ports: How many of the arguments are read and written; a Python-hosted vendor needs to know
            the latter. What a native vendor tells is compared.
        keep: Receives what a native vendor loaded; it is shared for as long as somebody holds it.

    Returns:
        A tvm-ffi function ``execute(inputs..., outputs...)``.

    Raises:
        VendorError: The vendor cannot load the segment.
    """
    who = f"vendor {_who(artifact)}"
    try:
        functions = []
        for device in devices_of(artifact.vendor, use):
            here = replace(use, processor=device)
            if isinstance(use.runtime, NativeRuntime):
                bound = _bind_native(artifact, here, use.runtime, ports)
                if keep is not None:
                    keep(bound)
                functions.append(bound.execute)
            elif ports.outputs is None:
                raise VendorError(f"{who}: the program does not say how many outputs it has")
            else:
                functions.append(_host(artifact, here, use.runtime, ports.outputs))
        return function("of_devices")(functions)
    except VendorError:
        raise
    except Exception as error:
        raise VendorError(f"{who} could not be loaded: {type(error).__name__}: {error}") from error
    finally:
        # Most constants were packed into a layout of the vendor's own: their pages may go.
        for constant in artifact.constants:
            release(constant)


def devices_of(vendor: str, use: VendorUse) -> tuple[str, ...]:
    """Return the processors of a vendor's devices on this machine; its library is loaded.

    Args:
        vendor: Name of the vendor.
        use: How a program uses it.

    Returns:
        ``use.processor`` where there is one device or that names one of them ("npu:1"), else
        "npu:0", "npu:1" and so on.

    Raises:
        VendorError: There is no device, or not the one that the processor names.
    """
    count: object = -1  # its library tells
    if isinstance(use.runtime, NativeRuntime):
        load_native(vendor, use.runtime)
    else:
        try:
            count = use.runtime.devices()
        except Exception as error:
            raise VendorError(
                f"devices() of vendor {vendor!r} failed: {type(error).__name__}: {error}"
            ) from error
        if type(count) is not int or count < 0:
            raise VendorError(
                f"vendor author: devices() of {vendor!r} must return a whole number, "
                f"found {count!r:.80}"
            )
    try:
        names = function("devices_of")(vendor, use.processor, count)
    except Exception as error:
        raise VendorError(str(error)) from error
    return tuple(str(name) for name in names)


def _who(artifact: Artifact) -> str:
    return f"{artifact.vendor!r}, segment {artifact.segment!r}"


_THREAD = threading.local()


def _keep_thread_state() -> None:
    """Let what Python knows of a processor's thread outlive the call: its `threading.local`.

    CPython gives a foreign thread a state when it enters and drops that when the outermost call
    returns. One entry more than exits keeps it. Threads of processors live as long as the process,
    so there is one state for each; at exit CPython drops them like those of daemon threads.
    """
    if function("on_processor")():
        ctypes.pythonapi.PyGILState_Ensure()
        _THREAD.kept = True


def _host(artifact: Artifact, use: VendorUse, runtime: PythonRuntime, outputs: int) -> Any:
    execute: Callable[..., object] = runtime.init(
        artifact.blob, artifact.constants, dict(use.options)
    )
    name = "submit" if runtime.queue_depth else "execute"
    if not callable(execute):
        raise VendorError(
            f"vendor author: init of {_who(artifact)} must return a callable ({name}), "
            f"found {type(execute).__name__}"
        )

    def call(tensors: Any, dtypes: Any, control: Any) -> None:
        if not hasattr(_THREAD, "kept"):
            _keep_thread_state()
        arrays = from_tensors(tensors, dtypes)
        inputs = arrays[: len(arrays) - outputs]
        for array in inputs:
            array.flags.writeable = False
        places = _Outputs(arrays[len(inputs) :])
        ends = () if control is None else (QueuedCall(control, _who(artifact)),)
        answer: object = execute(inputs, places, *ends)
        # A lambda may give what numpy gives when it is told where to write: that very array.
        if answer is not None and not any(answer is place for place in places):
            raise VendorError(
                f"vendor author: {name} of {_who(artifact)} returned a {type(answer).__name__}, "
                f"which nobody reads: write each result in place, outputs[0][...] = result, and "
                f"return nothing"
            )

    return function("PythonSegment")(
        tvm_ffi.convert(call), outputs, artifact.vendor, use.processor, runtime.queue_depth
    )


class _Outputs(tuple[Array, ...]):
    """The arrays that a segment writes; a name for what `outputs[0] = result` would lose."""

    __slots__ = ()

    def __setitem__(self, index: object, value: object) -> None:
        raise VendorError(
            f"vendor author: execute assigned to outputs[{index!r}], which binds another array "
            f"there and writes nothing; write in place: outputs[{index!r}][...] = result"
        )
