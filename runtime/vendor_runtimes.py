"""From an artifact to something callable: a vendor's runtime, native or Python-hosted.

In: an `Artifact` and how the program uses its vendor. Out: ``execute(inputs..., outputs...)``. This
is the only place where a vendor's code is loaded into a process.
"""

from __future__ import annotations

import ctypes
import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import tvm_ffi
from pydantic_core import to_json

from byoc.contract_checks import takes_context
from byoc.errors import VendorError
from byoc.runtime.engines import code_identity, make_engine
from byoc.runtime.io.weights import blob_array, release
from byoc.runtime.native import (
    as_tensor,
    call_on,
    find_library,
    from_tensors,
    function,
    num_threads,
    watch_files,
)
from byoc.runtime.program import PortCounts, VendorUse
from byoc.runtime.queued_call import QueuedCall
from byoc.segment import Array, Artifact, Blob, PortType, Requires, SegmentSignature
from byoc.vendor import (
    API_VERSION,
    Equipment,
    HostRuntime,
    LibraryRuntime,
    NativeRuntime,
    PythonRuntime,
    Runtime,
    SegmentContext,
)

__all__ = ["Bound", "bind", "devices_of", "load_native", "missing_here", "told_equipment"]

_T = TypeVar("_T")


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
    artifact: Artifact,
    use: VendorUse,
    runtime: NativeRuntime | LibraryRuntime | HostRuntime,
    ports: PortCounts,
    signature: SegmentSignature,
) -> Bound:
    if isinstance(runtime, NativeRuntime):
        init = load_native(artifact.vendor, runtime)
    elif isinstance(runtime, HostRuntime):
        init = function("kernels_init")()
    else:
        init = function("library_init")(runtime.symbol)
    options = to_json(dict(use.options)).decode()
    # Vendors divide their work when they load, so the number of threads matters.
    key = (id(artifact), use.processor, options, num_threads(), bool(function("checks")()))
    bound = _shared.get(key)
    if bound is None:
        inputs, outputs = (-1 if count is None else count for count in ports)
        source = {
            "vendor": artifact.vendor,
            "version": use.version,
            "processor": use.processor,
            "options": options,
            "name": artifact.segment,
            "blob": as_tensor(blob_array(artifact.blob)),
            "constants": [as_tensor(c) for c in artifact.constants],
            "input_count": inputs,
            "output_count": outputs,
            "inputs": [_port(port) for port in signature.inputs],
            "outputs": [_port(port) for port in signature.outputs],
        }
        bound = _shared[key] = Bound(artifact, function("bind")(init, source))
    return bound


def _port(port: PortType) -> list[Any]:
    return [port.name, port.type.dtype, [str(dim) for dim in port.type.shape]]


def bind(
    artifact: Artifact,
    use: VendorUse,
    ports: PortCounts,
    keep: Callable[[Bound], object] | None = None,
    signature: SegmentSignature | None = None,
) -> Any:
    """Load a segment.

    Args:
        artifact: The segment.
        use: How the program uses its vendor.
        ports: How many of the arguments are read and written; a Python-hosted vendor needs to know
            the latter. What a native vendor tells is compared.
        keep: Receives what a native vendor loaded; it is shared for as long as somebody holds it.
        signature: Names and types of the arguments, for the vendor to know.

    Returns:
        A tvm-ffi function ``execute(inputs..., outputs...)``.

    Raises:
        VendorError: The vendor cannot load the segment.
    """
    who = f"vendor {_who(artifact)}"
    signature = signature or SegmentSignature((), ())
    try:
        functions = []
        for device in devices_of(artifact.vendor, use):
            here = replace(use, processor=device)
            if not isinstance(use.runtime, PythonRuntime):
                bound = _bind_native(artifact, here, use.runtime, ports, signature)
                if keep is not None:
                    keep(bound)
                functions.append(bound.execute)
            elif ports.outputs is None:
                raise VendorError(f"{who}: the program does not say how many outputs it has")
            else:
                functions.append(_host(artifact, here, use.runtime, ports.outputs, signature))
        return function("of_devices")(functions)
    except VendorError:
        raise
    except Exception as error:
        raise VendorError(f"{who} could not be loaded: {type(error).__name__}: {error}") from error
    finally:
        # Most constants were packed into a layout of the vendor's own: their pages may go.
        for array in (*artifact.constants, blob_array(artifact.blob)):
            release(array)


def told_equipment(vendor: str, runtime: Runtime) -> list[Any] | None:
    """Ask a vendor for its devices and driver on this machine; its library is loaded.

    Args:
        vendor: Name of the vendor.
        runtime: Its runtime.

    Returns:
        Models of devices, version of the driver, bytes of memory; None when it does not tell.

    Raises:
        VendorError: The library does not load, or what it tells is no `Equipment`.
    """
    if isinstance(runtime, NativeRuntime):
        load_native(vendor, runtime)
        ask = tvm_ffi.get_global_func(f"byoc.vendor.{vendor}.equipment", allow_missing=True)
        if ask is None:
            return None
        devices, driver, memory = ask()
        return [[str(device) for device in devices], str(driver), int(memory)]
    if not isinstance(runtime, PythonRuntime) or runtime.equipment is None:
        return None
    try:
        found: object = runtime.equipment()
    except Exception as error:
        raise VendorError(
            f"equipment() of vendor {vendor!r} failed: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Equipment):
        raise VendorError(
            f"vendor author: equipment() of {vendor!r} must return a byoc.vendor.Equipment, "
            f"found {found!r:.80}"
        )
    return [list(found.devices), found.driver, found.memory]


def missing_here(artifact: Artifact, runtime: Runtime | None) -> str:
    """Tell what a segment requires and this machine lacks; its vendor is asked where need be.

    Args:
        artifact: The segment.
        runtime: Its vendor's runtime; None: do not ask it, look at the rest.

    Returns:
        A sentence, or "" when nothing is missing.

    Raises:
        VendorError: The vendor cannot be asked.
    """
    needs = artifact.requires
    if needs == Requires():
        return ""
    equipment = None
    if needs.device or needs.driver:
        if runtime is None:
            needs = Requires(needs.cpu_features, needs.machine)
        else:
            equipment = told_equipment(artifact.vendor, runtime)
    missing = str(function("missing")(to_json(asdict(needs)), equipment))
    return f"vendor {artifact.vendor!r}: segment {artifact.segment!r} {missing}" if missing else ""


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
    elif isinstance(use.runtime, PythonRuntime):
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


def _on_processor(processor: str, work: Callable[[], _T]) -> _T:
    """Return ``work()`` called on a processor's thread, with whatever it raises."""
    done: list[_T] = []
    failed: list[BaseException] = []

    def run() -> None:
        if not hasattr(_THREAD, "kept"):
            _keep_thread_state()
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    call_on(processor, run)
    if failed:
        raise failed[0]
    return done[0]


def _context(
    artifact: Artifact, use: VendorUse, runtime: PythonRuntime, signature: SegmentSignature
) -> SegmentContext:
    threads = num_threads() if use.processor == "cpu" else 1

    def cache_folder() -> Path | None:
        found = str(function("vendor_cache")(artifact.vendor))
        return Path(found) if found else None

    def key(constant: int) -> str:
        return str(function("weight_key")(as_tensor(artifact.constants[constant])))

    def engine(
        of: Sequence[str],
        build: Callable[[], _T],
        save: Callable[[_T], Blob],
        load: Callable[[memoryview], _T],
    ) -> _T:
        found = told_equipment(artifact.vendor, runtime)
        identity = (code_identity(runtime.init), "" if found is None else repr(found))
        return make_engine(artifact, use, threads, identity, of, build, save, load)

    return SegmentContext(
        segment=artifact.segment,
        version=use.version,
        processor=use.processor,
        threads=threads,
        inputs=signature.inputs,
        outputs=signature.outputs,
        log=logging.getLogger(f"byoc.vendor.{artifact.vendor}"),
        cache_folder=cache_folder,
        key=key,
        engine=engine,
    )


def _load(
    artifact: Artifact, use: VendorUse, runtime: PythonRuntime, signature: SegmentSignature
) -> object:
    """What a vendor's init returns; on the processor's thread."""
    blob = memoryview(artifact.blob) if runtime.blob_view else bytes(artifact.blob)
    why = runtime.can_load(blob, use.version) if runtime.can_load is not None else None
    if why is not None:
        raise VendorError(
            f"vendor {_who(artifact)}, compiled by its version {use.version}, cannot be loaded by "
            f"the one installed: {why}; compile the model again, or install that version"
        )
    more = {}
    if takes_context(runtime.init):
        more = {"context": _context(artifact, use, runtime, signature)}
    execute: object = runtime.init(blob, artifact.constants, dict(use.options), **more)
    if runtime.blob_view:
        check = watch_files([blob_array(artifact.blob)])
        if check is not None:
            check()  # it read what was verified
    return execute


def _close(vendor: str, segment: str, close: Callable[[], object]) -> None:
    """End a segment; nobody waits for it, so that its errors are for the log."""
    try:
        close()
    except Exception:
        logging.getLogger(f"byoc.vendor.{vendor}").exception("%s: close() failed", segment)


def _host(
    artifact: Artifact,
    use: VendorUse,
    runtime: PythonRuntime,
    outputs: int,
    signature: SegmentSignature,
) -> Any:
    execute: Any = _on_processor(use.processor, lambda: _load(artifact, use, runtime, signature))
    name = "submit" if runtime.queue_depth else "execute"
    if not callable(execute):
        raise VendorError(
            f"vendor author: init of {_who(artifact)} must return a callable ({name}), "
            f"found {type(execute).__name__}"
        )

    who = _who(artifact)  # not the artifact: its blob goes once it has been read

    def call(tensors: Any, dtypes: Any, control: Any) -> None:
        if not hasattr(_THREAD, "kept"):
            _keep_thread_state()
        arrays = from_tensors(tensors, dtypes)
        inputs = arrays[: len(arrays) - outputs]
        for array in inputs:
            array.flags.writeable = False
        places = _Outputs(arrays[len(inputs) :])
        ends = () if control is None else (QueuedCall(control, who),)
        answer: object = execute(inputs, places, *ends)
        # A lambda may give what numpy gives when it is told where to write: that very array.
        if answer is not None and not any(answer is place for place in places):
            raise VendorError(
                f"vendor author: {name} of {who} returned a {type(answer).__name__}, "
                f"which nobody reads: write each result in place, outputs[0][...] = result, and "
                f"return nothing"
            )

    close = getattr(execute, "close", None)
    end = partial(_close, artifact.vendor, artifact.segment, close) if callable(close) else None
    return function("PythonSegment")(
        tvm_ffi.convert(call), outputs, artifact.vendor, use.processor, runtime.queue_depth, end
    )


class _Outputs(tuple[Array, ...]):
    """The arrays that a segment writes; a name for what `outputs[0] = result` would lose."""

    __slots__ = ()

    def __setitem__(self, index: object, value: object) -> None:
        raise VendorError(
            f"vendor author: execute assigned to outputs[{index!r}], which binds another array "
            f"there and writes nothing; write in place: outputs[{index!r}][...] = result"
        )
