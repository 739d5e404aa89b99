"""Engines that vendors have built on this machine: kept, found again, looked after.

In: what `init` of a Python-hosted vendor gives to `SegmentContext.engine`. Out: its engine, loaded
or built. The files, their key and the locks are those of runtime/src/artifact/engines.h, which
native vendors reach by byoc/segment_init.h.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tvm_ffi
from pydantic_core import to_json

from byoc.errors import VendorError
from byoc.runtime.io.weights import blob_array
from byoc.runtime.native import as_tensor, function
from byoc.runtime.program import VendorUse
from byoc.segment import Array, Artifact, Blob

__all__ = [
    "StoredEngine",
    "code_identity",
    "engine_limit",
    "make_engine",
    "prune_engines",
    "remove_engine",
    "stored_engines",
]

_T = TypeVar("_T")
_CODE = {".py", ".so", ".pyd", ".dll", ".yaml", ".json"}


@dataclass(frozen=True, slots=True)
class StoredEngine:
    """One file of the cache of engines.

    Attributes:
        key: Its name.
        vendor: Who built it; empty where that cannot be read.
        version: Of the vendor that compiled the segment.
        segment: The segment that it was first built for.
        of: What its vendor says that it depends on.
        bytes: Of the file.
        seconds: That building took.
        created: Seconds since 1970.
        used: Likewise, when it was last found.
        problem: "set aside", or what is wrong with it; empty for a good one.
    """

    key: str
    vendor: str
    version: str
    segment: str
    of: tuple[str, ...]
    bytes: int
    seconds: float
    created: float
    used: float
    problem: str


def stored_engines(whole: bool = False) -> list[StoredEngine]:
    """List the engines that are kept, those that were not used for longest first.

    Args:
        whole: Read every byte, and set aside what is damaged.
    """
    found = []
    for key, about, size, used, problem in function("engines")(whole):
        try:
            told = dict(json.loads(str(about) or "{}"))
        except ValueError:
            told = {}
        found.append(
            StoredEngine(
                str(key),
                str(told.get("vendor", "")),
                str(told.get("version", "")),
                str(told.get("segment", "")),
                tuple(map(str, told.get("of", ()))),
                int(size),
                float(told.get("seconds", 0.0)),
                float(told.get("created", used)),
                float(used),
                str(problem),
            )
        )
    return found


def remove_engine(key: str) -> bool:
    """Remove a file of the cache.

    Args:
        key: Its name.

    Returns:
        Whether it was there.
    """
    return bool(function("remove_engine")(key))


def prune_engines(limit: int | None = None) -> int:
    """Remove what crashed processes left, and engines that were not used for longest.

    Args:
        limit: Bytes that all may have together; None: what `engine_limit` says.

    Returns:
        How many engines were removed.
    """
    return int(function("prune_engines")(engine_limit() if limit is None else limit))


def engine_limit() -> int:
    """Return how many bytes all engines may have: ``$BYOC_ENGINE_BYTES``, else 4 GiB.

    Raises:
        ValueError: The variable holds no such number.
    """
    return int(function("engine_limit")())


def code_identity(hook: Callable[..., object]) -> str:
    """Return what differs when the code behind a vendor's hook does.

    Args:
        hook: `init` of a `PythonRuntime`, or `compile`.

    Returns:
        Its name, and size and time of its module, or of all files of the package that this is in.
    """
    name = f"{getattr(hook, '__module__', '')}.{getattr(hook, '__qualname__', '')}"
    module = sys.modules.get(getattr(hook, "__module__", None) or "")
    package = sys.modules.get(getattr(module, "__package__", None) or "")
    folders = [Path(folder) for folder in getattr(package, "__path__", ())]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in _CODE]
    file = getattr(module, "__file__", None)
    if not paths and file:
        paths = [Path(file)]
    stamps = []
    for path in sorted(paths):
        with suppress(OSError):
            status = path.stat()
            stamps.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return ", ".join([name, *stamps])


def make_engine(
    artifact: Artifact,
    use: VendorUse,
    threads: int,
    identity: tuple[str, str],
    of: Sequence[str],
    build: Callable[[], _T],
    save: Callable[[_T], Blob],
    load: Callable[[memoryview], _T],
) -> _T:
    """Load an engine of a segment, or build it and keep it: see `SegmentContext.engine`.

    Args:
        artifact: The segment.
        use: How its vendor is used.
        threads: How many it may compute with.
        identity: What tells the vendor's code from other code, and what it finds on this machine.
        of: What else the engine depends on.
        build: () -> the engine.
        save: (engine) -> its bytes.
        load: (bytes, in a mapped file) -> the engine.

    Raises:
        VendorError: `of` is no list of texts, or `save` gives no bytes.
    """
    who = f"{artifact.vendor!r}, segment {artifact.segment!r}"
    if isinstance(of, str) or not all(isinstance(text, str) for text in of):
        raise VendorError(
            f"vendor author: engine(of=...) of {who} takes a list of texts (versions of what the "
            f"engine depends on), found {of!r:.80}"
        )
    engines: list[_T] = []
    failed: list[BaseException] = []

    def loaded(data: Any) -> str:
        array = np.from_dlpack(data)
        array.flags.writeable = False
        try:
            engines.append(load(array.data))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def built() -> None:
        try:
            engines.append(build())
        except BaseException as error:
            failed.append(error)
            raise

    def saved() -> Any:
        try:
            data: object = save(engines[0])
        except Exception:  # the engine is there all the same
            logging.getLogger(f"byoc.vendor.{artifact.vendor}").exception(
                "%s: its engine is not kept", artifact.segment
            )
            return None
        if isinstance(data, (bytes, memoryview)):
            return as_tensor(blob_array(data))
        failed.append(
            VendorError(
                f"vendor author: save of engine() of {who} must return bytes, "
                f"found {type(data).__name__}"
            )
        )
        raise failed[0]

    constants: Sequence[Array] = artifact.constants
    source = {
        "vendor": artifact.vendor,
        "version": use.version,
        "segment": artifact.segment,
        "blob": as_tensor(blob_array(artifact.blob)),
        "constants": [as_tensor(constant) for constant in constants],
        "options": to_json(dict(use.options)).decode(),
        "threads": threads,
        "code": identity[0],
        "equipment": identity[1],
        "of": list(of),
    }
    try:
        function("engine_of")(source, [tvm_ffi.convert(f) for f in (loaded, built, saved)])
    except BaseException:
        if failed:
            raise failed[0] from None
        raise
    return engines[0]
