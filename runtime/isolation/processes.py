"""Worker processes: a vendor that crashes or hangs there leaves this process alone.

In: a `Program` with an `Isolation`. Out: functions of segments that run in another process::

    session ──▶ Workers ──spawn──▶ process of vendor "npu"   (byoc.runtime.isolation.worker)
                   │                  its library, its segments, nothing else of the model
                   └──spawn──▶ process of vendor "acme"

Tensors go through shared memory, the rest through a socket (runtime/src/worker/worker.h).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from typing import Any

import numpy as np

from byoc.errors import OptionError, VendorError, choices
from byoc.runtime.io.weights import blob_array, release
from byoc.runtime.native import as_tensor, dense, function, num_threads
from byoc.runtime.program import Isolation, Program, VendorUse
from byoc.segment import Array, Artifact
from byoc.support.arguments import check_kind
from byoc.vendor import HostRuntime, LibraryRuntime, NativeRuntime, PythonRuntime, Runtime

__all__ = ["IsolateSpec", "Workers", "find_runtime", "isolates", "resolve_isolation"]

IsolateSpec = bool | Sequence[str] | Isolation | None
"""True: all vendors out of process. Names: these. An `Isolation`: with limits. False: none."""

_BOOT = (
    "import json, os, sys; os.closerange(6, os.sysconf('SC_OPEN_MAX')); "
    "sys.path[:] = json.loads(sys.argv[1]); "
    "from byoc.runtime.isolation.worker import main; main()"
)


def resolve_isolation(spec: IsolateSpec, vendors: Collection[str]) -> Isolation | None:
    """Return what a user's ``isolate=`` asks for.

    Args:
        spec: True: all vendors. Names: these. An `Isolation`: with limits. False, None: none.
        vendors: Names of the vendors there are.

    Raises:
        OptionError: `spec` names another vendor, or is a string.
    """
    if spec is None or isinstance(spec, bool):
        return Isolation() if spec else None
    if isinstance(spec, str):
        raise OptionError(
            f"isolate must be True, a list of vendors or an Isolation, found the string {spec!r}; "
            f"write isolate=[{spec!r}]"
        )
    check_kind("isolate", spec, (Isolation, Iterable), "True, a list of vendors or an Isolation")
    isolation = spec if isinstance(spec, Isolation) else Isolation(tuple(spec))
    for name in isolation.vendors or ():
        if name not in vendors:
            raise OptionError(
                f"isolate names {name!r}, which is not among the vendors; "
                f"{choices(str(name), vendors)}"
            )
    return isolation


def isolates(isolation: Isolation | None, vendor: str) -> bool:
    """Return whether a vendor runs out of process.

    Args:
        isolation: Of the program.
        vendor: Its name.
    """
    return isolation is not None and (isolation.vendors is None or vendor in isolation.vendors)


class _Process:
    """One worker and the segments it serves."""

    def __init__(
        self, vendor: str, use: VendorUse, artifacts: Sequence[Artifact], program: Program
    ) -> None:
        isolation = program.isolation
        assert isolation is not None
        self.vendor = vendor
        self._artifacts = artifacts
        self._ready = False
        self._failure: str | None = None
        self._numbers = {artifact.segment: n for n, artifact in enumerate(artifacts)}
        parts: list[Array] = []
        places: dict[tuple[int, int], int] = {}

        def place(array: Array) -> int:
            """Number of the part with an array's bytes: a weight of several segments is one."""
            key = (array.__array_interface__["data"][0], array.nbytes)
            if key not in places:
                places[key] = len(parts)
                parts.append(array)
            return places[key]

        described = []
        for artifact in artifacts:
            arrays = [dense(constant) for constant in artifact.constants]
            signature = program.signatures.get(artifact.segment)
            described.append(
                {
                    "name": artifact.segment,
                    "ports": program.port_counts(artifact.segment),
                    "signature": None if signature is None else asdict(signature),
                    "requires": asdict(artifact.requires),
                    "blob": place(blob_array(artifact.blob)),
                    "constants": [[a.dtype.name, list(a.shape), place(a)] for a in arrays],
                }
            )
        header = {
            "threads": num_threads(),
            "memory": isolation.memory,
            "vendor": vendor,
            "version": use.version,
            "options": dict(use.options),
            "processor": use.processor,
            "runtime": _reference(vendor, use),
            "segments": described,
            "parts": [part.nbytes for part in parts],
        }
        try:
            text = json.dumps(header).encode()
        except TypeError as error:
            raise VendorError(
                f"vendor {vendor!r} cannot run out of process: its options cannot be written as "
                f"JSON: {error}"
            ) from None
        text = len(text).to_bytes(8, "little") + text
        parts.insert(0, np.frombuffer(text, np.uint8))
        self._functions = function("Worker")(
            vendor,
            [_interpreter(vendor), "-c", _BOOT, json.dumps(sys.path)],
            [as_tensor(part) for part in parts],
            isolation.start,
        )

    def start(self) -> None:
        """Begin to start it; waits for nothing."""
        self._functions["start"]()

    def stop(self) -> None:
        """End it; the next call starts it again."""
        self._functions["stop"]()

    def wait(self) -> None:
        """Raises VendorError when the vendor cannot load its segments."""
        if self._ready:
            return
        if self._failure is not None:
            raise VendorError(self._failure)
        try:
            self._functions["wait"]()
        except Exception as error:
            text = str(error)
            if not text.startswith(f"vendor {self.vendor!r}"):
                text = f"vendor {self.vendor!r} could not be loaded out of process: {text}"
            self._failure = text
            raise VendorError(text) from None
        self._ready = True
        for artifact in self._artifacts:
            for array in (*artifact.constants, blob_array(artifact.blob)):
                release(array)

    def segment(self, name: str, outputs: int, deadline: float | None, healed: bool) -> Any:
        advice = "" if healed else (
            "; the next call starts another one. Compile with heal=True, and the host answers "
            "such calls"
        )  # fmt: skip
        return self._functions["segment"](
            name, self._numbers[name], outputs, deadline or 0.0, not healed, advice
        )

    @property
    def pid(self) -> int:
        return int(self._functions["pid"]())


class Workers:
    """The processes of one session's isolated vendors; they end with the session's functions.

    Args:
        program: The compiled model.
        segments: Those to load now; all their processes are started before the first is waited for.

    Raises:
        VendorError: A vendor cannot run out of process at all.
    """

    def __init__(self, program: Program, segments: Iterable[Artifact]) -> None:
        self._program = program
        self._processes: list[_Process] = []
        self._of: dict[str, _Process] = {}
        grouped: dict[str, list[Artifact]] = {}
        for artifact in segments:
            if self.isolates(artifact.vendor):
                grouped.setdefault(artifact.vendor, []).append(artifact)
        for artifacts in grouped.values():
            self._make(artifacts).start()

    def isolates(self, vendor: str) -> bool:
        """Return whether the vendor runs out of process."""
        return isolates(self._program.isolation, vendor)

    def _make(self, artifacts: Sequence[Artifact]) -> _Process:
        vendor = artifacts[0].vendor
        process = _Process(vendor, self._program.vendors[vendor], artifacts, self._program)
        self._processes.append(process)
        for artifact in artifacts:
            self._of[artifact.segment] = process
        return process

    def bind(self, artifact: Artifact, healed: bool) -> Any:
        """Return a segment as a function; one that came late gets a process of its own.

        Args:
            artifact: The segment.
            healed: A fallback stands behind it.

        Raises:
            VendorError: The vendor does not load it, or does not tell how many outputs it has.
        """
        process = self._of.get(artifact.segment) or self._make([artifact])
        process.wait()
        isolation, healing = self._program.isolation, self._program.healing
        assert isolation is not None
        limits = [isolation.deadline, healing.deadline if healed else None]
        outputs = self._program.output_counts.get(artifact.segment)
        if outputs is None:
            raise VendorError(
                f"vendor {artifact.vendor!r}, segment {artifact.segment!r}: the program does not "
                f"say how many outputs it has, so it cannot run out of process"
            )
        deadline = min((limit for limit in limits if limit is not None), default=None)
        return process.segment(artifact.segment, outputs, deadline, healed)

    def stop(self) -> None:
        """End the processes; the next call of a segment starts its own again."""
        for process in self._processes:
            process.stop()

    @property
    def pids(self) -> tuple[tuple[str, int], ...]:
        """Vendor and process id of every worker that runs."""
        return tuple((p.vendor, pid) for p in self._processes if (pid := p.pid))


def _interpreter(vendor: str) -> str:
    if not sys.executable:
        raise VendorError(
            f"vendor {vendor!r} cannot run out of process: this program has no Python interpreter "
            f"to start (sys.executable is empty)"
        )
    return sys.executable


def _reference(vendor: str, use: VendorUse) -> dict[str, Any]:
    """A vendor's runtime as another process finds it again."""
    runtime = use.runtime
    if isinstance(runtime, NativeRuntime):
        return {"library": runtime.library, "package": runtime.package}
    if isinstance(runtime, LibraryRuntime):
        return {"symbol": runtime.symbol}
    if isinstance(runtime, HostRuntime):
        return {"kernels": True}
    hooks = {}
    for hook in ("init", "can_load", "equipment"):
        function = getattr(runtime, hook)
        if function is not None:
            hooks[hook] = _importable(vendor, hook, function)
    return {"hooks": hooks}


def _importable(vendor: str, hook: str, function: Any) -> tuple[str, str]:
    """Module and name of a hook, as another process finds it."""
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", "")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function or module == "__main__":
        raise VendorError(
            f"vendor {vendor!r} cannot run out of process: its {hook} ({module}.{name}) cannot be "
            f"imported there; make it a function of a module, not of the main script or of "
            f"another function"
        )
    return module, name


def find_runtime(reference: Mapping[str, Any]) -> Runtime:
    """Return the runtime that `_reference` described, in another process.

    Args:
        reference: "library" and "package" of a native vendor, the "symbol" of one whose blobs are
            shared objects, "kernels" for one that gives kernels, or module and name of each hook.
    """
    if "library" in reference:
        return NativeRuntime(reference["library"], reference["package"])
    if "symbol" in reference:
        return LibraryRuntime(reference["symbol"])
    if "kernels" in reference:
        return HostRuntime()
    from importlib import import_module

    hooks = {
        hook: reduce(getattr, name.split("."), import_module(module))
        for hook, (module, name) in reference["hooks"].items()
    }
    return PythonRuntime(**hooks)  # type: ignore[arg-type]
