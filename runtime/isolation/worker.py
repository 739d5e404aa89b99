"""The process of an isolated vendor: it loads segments, runs them, and ends with its parent.

It is started by runtime/src/worker/worker.cc with the files of runtime/src/worker/worker.h open.
In: one piece of memory that holds what to load, every part at a multiple of 64 bytes; then calls
over a socket. Out: answers over that socket::

    │ 8 bytes: length │ header, JSON ...│ blob │ constant │ constant ...│ blob │ constant …
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from byoc.errors import ByocError, VendorError
from byoc.runtime import vendor_runtimes as vendors
from byoc.runtime.isolation.processes import find_runtime
from byoc.runtime.native import call_on, function, set_num_threads
from byoc.runtime.program import PortCounts, VendorUse
from byoc.segment import Array, Artifact, PortType, Requires, SegmentSignature, TensorType
from byoc.support.dtypes import numpy_dtype
from byoc.support.memory import round_up

__all__ = ["main"]

_LOAD = 5  # file number, see kWorkerLoad
_EXPENDABLE = "500"  # of -1000 … 1000: when memory runs out, this process goes before its parent


def main() -> None:
    """Load the segments that the process was given and serve them until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent decides
    data = np.from_dlpack(function("MapFile")(_LOAD, 0, os.fstat(_LOAD).st_size))
    data.flags.writeable = False
    os.close(_LOAD)
    size = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8 : 8 + size].tobytes())
    function("watch_parent")(int(sys.argv[-1]))
    _limit(header["memory"])
    try:
        set_num_threads(header["threads"])
        function("install_thread_pool")()  # for kernels of TVM's that a vendor brings
        use = VendorUse(
            header["version"],
            header["options"],
            find_runtime(header["runtime"]),
            header["processor"],
        )
        segments = _load(header["vendor"], use, header, data, 8 + size)
    except ByocError as error:
        function("report_failure")(type(error).__name__, str(error))
        return
    except BaseException as error:
        function("report_failure")(type(error).__name__, f"{type(error).__name__}: {error}")
        return
    del data  # a vendor that keeps a constant keeps it mapped
    call_on(use.processor, function("serve"), segments)  # where its `init` ran, too
    del segments
    call_on(use.processor, function("num_threads"))  # after them, which end there


def _limit(memory: int | None) -> None:
    if memory is not None:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard != resource.RLIM_INFINITY:
            memory = min(memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))
    with suppress(OSError):  # no /proc, or its parent is more expendable already
        Path("/proc/self/oom_score_adj").write_text(_EXPENDABLE)


def _load(
    vendor: str, use: VendorUse, header: Mapping[str, Any], data: Array, end: int
) -> list[Any]:
    """The vendor's segments as functions."""
    parts = []
    for nbytes in header["parts"]:
        start = round_up(end)
        end = start + nbytes
        parts.append(data[start:end])
    loaded = []
    for entry in header["segments"]:
        constants = []
        for name, shape, part in entry["constants"]:
            constants.append(parts[part].view(numpy_dtype(name)).reshape(shape))
        requires = {**entry["requires"], "cpu_features": tuple(entry["requires"]["cpu_features"])}
        artifact = Artifact(
            entry["name"],
            vendor,
            parts[entry["blob"]].data,
            tuple(constants),
            requires=Requires(**requires),
        )
        missing = vendors.missing_here(artifact, use.runtime)
        if missing:
            raise VendorError(missing)
        loaded.append((artifact, PortCounts(*entry["ports"]), _signature(entry["signature"])))
    return [
        vendors.bind(artifact, use, ports, signature=signature)
        for artifact, ports, signature in loaded
    ]


def _signature(fields: Mapping[str, Any] | None) -> SegmentSignature | None:
    if fields is None:
        return None

    def ports(described: Sequence[Mapping[str, Any]]) -> tuple[PortType, ...]:
        return tuple(
            PortType(p["name"], TensorType(tuple(p["type"]["shape"]), p["type"]["dtype"]))
            for p in described
        )

    return SegmentSignature(ports(fields["inputs"]), ports(fields["outputs"]))
