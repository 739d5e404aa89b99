"""The process that tries a vendor: ``python -m byoc.debug.child FD``, or a fork.

    parent ──vendor's name, options──▶ child                           spawned only
           ◀──"ready"──
           ──name, segment or None, inputs, types of outputs, calls──▶
           ◀──"step", build | load | run──                             before each: where it died
           ◀──"done", outputs, seconds  or  "error", text──

A segment that was tried is kept, and not sent again. What a vendor prints goes to stderr.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from byoc.build.kernels import compile_apart
from byoc.build.lone_segment import lone_program
from byoc.build.segments import vendor_use
from byoc.errors import ByocError
from byoc.runtime import Session
from byoc.support.block_torch_import import leave_torch_out

if TYPE_CHECKING:
    from byoc.plugins.discovery import Requested
    from byoc.segment import Array, Segment, TensorType

__all__ = ["serve"]

_ENOUGH = 0.25
"""Seconds of calls after which half of them are enough: a machine that is busy interrupts some."""

_MOST = 10.0
"""Seconds of calls after which no more are timed."""


def serve(connection: Connection[Any, Any], request: Requested) -> None:
    """Answer tries until the parent is gone.

    Args:
        connection: to the parent.
        request: the vendor to try.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent decides
    os.dup2(2, 1)
    loaded: dict[str, Session] = {}
    connection.send(("ready", None, None))
    while True:
        try:
            name, segment, inputs, types, calls = connection.recv()
        except EOFError:
            return
        try:
            if segment is not None:
                loaded[name] = _load(connection, request, segment, inputs, types)
            outputs, seconds = _run(connection, loaded[name], inputs, calls)
            connection.send(("done", outputs, seconds))
        except ByocError as error:
            connection.send(("error", str(error), None))
        except Exception as error:
            connection.send(("error", f"{type(error).__name__}: {error}", None))


def _load(
    connection: Connection[Any, Any],
    request: Requested,
    segment: Segment,
    inputs: Sequence[Array],
    types: Sequence[TensorType],
) -> Session:
    from byoc.segment import TensorType as Type

    connection.send(("step", "build", None))
    artifact = compile_apart(segment, [request])
    connection.send(("step", "load", None))
    reads = [
        Type(array.shape, segment.type(value).dtype)
        for array, value in zip(inputs, segment.inputs, strict=True)
    ]
    return Session(lone_program(artifact, vendor_use(request), reads, types))


def _run(
    connection: Connection[Any, Any], session: Session, inputs: Sequence[Array], calls: int
) -> tuple[list[Array], float]:
    """The outputs of the first call, and the seconds of the fastest."""
    times: list[float] = []
    outputs: list[Array] = []
    while not times or (
        len(times) < calls and sum(times) < (_MOST if len(times) <= calls // 2 else _ENOUGH)
    ):
        connection.send(("step", "run", None))
        begin = time.perf_counter()
        found = session.run_positional(inputs)
        times.append(time.perf_counter() - begin)
        outputs = outputs or found
    return outputs, min(times)


def _main() -> None:
    leave_torch_out()
    from byoc.plugins.discovery import Requested, find
    from byoc.plugins.vendor_options import validate_options

    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    name, options = connection.recv()
    try:
        vendor = find(name)
        request = Requested(vendor, validate_options(vendor, options), ())  # no patterns: no TVM
    except ByocError as error:
        connection.send(("error", str(error), None))
        return
    serve(connection, request)


if __name__ == "__main__":
    _main()
