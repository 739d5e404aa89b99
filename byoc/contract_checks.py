"""Whether what a vendor's author wrote keeps the contract, told in words for that author.

    a vendor is asked for ──▶ check_vendor     its fields, before any hook runs
    its patterns are read ──▶ check_patterns
    it compiled a segment ──▶ check_artifact   before anything is kept of it

What its runtime does is watched in C++ (`runtime/src/plan/segment_check.h`).
"""

from __future__ import annotations

import difflib
import inspect
import keyword
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pydantic

from byoc.errors import CompileError, VendorError
from byoc.segment import Array, Artifact, Requires, Segment
from byoc.vendor import (
    API_VERSION,
    RESERVED_NAMES,
    HostRuntime,
    LibraryRuntime,
    NativeRuntime,
    Pattern,
    PythonRuntime,
    Rates,
    Vendor,
)

__all__ = [
    "can_be_stored",
    "check_artifact",
    "check_patterns",
    "check_requires",
    "check_vendor",
    "takes_context",
]

_HOOKS = (
    ("patterns", 0),
    ("compile", 2),
    ("status", 0),
    ("estimate", 1),
    ("choose", 2),
    ("precision", 2),
    ("rewrites", 0),
)
"""Functions of a vendor, and how many arguments each takes."""

_PROCESSOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:.+-]*")
_MOST_IN_FLIGHT = 64  # binding.cc of the runtime takes no more
_LIBRARY = re.compile(r"[A-Za-z0-9_.+-]+")  # what libraries.cc of the runtime takes, too


def check_vendor(vendor: object, origin: str = "this value") -> Vendor:
    """Return `vendor` after checking that it keeps the contract.

    Args:
        vendor: What a package published as its vendor; any object.
        origin: Where the value came from, for the error messages.

    Returns:
        The same object.

    Raises:
        VendorError: The value is not a `Vendor`, was written for another API version, has a bad
            name, or has a field of the wrong type, a hook that is not callable or one that takes
            the wrong number of arguments. The message is written for the vendor's author.
    """
    if not isinstance(vendor, Vendor):
        raise VendorError(
            f"vendor author: {origin} is a {type(vendor).__name__}, expected a byoc.Vendor value"
        )
    who = f"vendor author: {vendor.name!r} ({origin})"
    if vendor.api_version != API_VERSION:
        raise VendorError(
            f"{who} was written for vendor API {vendor.api_version}, this byoc has {API_VERSION}; "
            f"install a matching release of the vendor package or of byoc"
        )
    _check_words(vendor, who)
    optional = (("design", 2), ("keep", 0))
    for hook, count in (*_HOOKS, *(o for o in optional if getattr(vendor, o[0]) is not None)):
        function = getattr(vendor, hook)
        if not callable(function):
            found = type(function).__name__
            raise VendorError(f"{who}: hook {hook!r} must be callable, found {found}")
        if not _arity(function, count):
            raise VendorError(
                f"{who}: hook {hook!r} must take {count} positional argument(s), "
                f"found {inspect.signature(function)}"
            )
    _check_runtime(vendor, who)
    if not isinstance(vendor.rates, Rates):
        raise VendorError(f"{who}: rates must be byoc.vendor.Rates, found {vendor.rates!r:.80}")
    if not (isinstance(vendor.options, type) and issubclass(vendor.options, pydantic.BaseModel)):
        raise VendorError(f"{who}: options must be a subclass of pydantic.BaseModel")
    if vendor.options.model_config.get("extra") != "forbid":
        raise VendorError(
            f"{who}: options must refuse unknown fields (model_config extra='forbid')"
        )
    return vendor


def check_patterns(vendor: Vendor) -> tuple[Pattern, ...]:
    """Return a vendor's patterns in the order in which they are tried, after checking them.

    Args:
        vendor: A vendor that `check_vendor` accepted.

    Returns:
        The patterns, highest priority first; the vendor's own order among equal priorities.

    Raises:
        VendorError: `patterns` raises, two patterns have one name, a value is not a `Pattern` or
            has a field of the wrong type, or a pattern's check cannot be called with one match.
    """
    who = f"vendor author: {vendor.name!r}"
    try:
        offered: Any = vendor.patterns()
        patterns = () if isinstance(offered, Pattern) else tuple(offered)
    except Exception as error:
        raise VendorError(
            f"{who}: patterns() raised {type(error).__name__}: {error}{_unknown_op(error)}"
        ) from error
    if isinstance(offered, Pattern):
        raise VendorError(
            f"{who}: patterns() must return a list of byoc.Pattern values, found one Pattern "
            f"({offered.name!r}); return [pattern]"
        )
    seen: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, Pattern):
            raise VendorError(
                f"{who}: patterns() must return byoc.Pattern values, found {type(pattern).__name__}"
            )
        if not isinstance(pattern.name, str) or not pattern.name:
            raise VendorError(f"{who}: name of a pattern must be a string, found {pattern.name!r}")
        if not isinstance(pattern.parts, Mapping):
            raise VendorError(
                f"{who}: parts of pattern {pattern.name!r} must map names to sub-patterns, "
                f"found {type(pattern.parts).__name__}"
            )
        if not isinstance(pattern.priority, (int, float)) or pattern.priority != pattern.priority:
            raise VendorError(
                f"{who}: priority of pattern {pattern.name!r} must be a number, "
                f"found {pattern.priority!r}"
            )
        if pattern.name in seen:
            raise VendorError(f"{who}: two patterns are named {pattern.name!r}; names are unique")
        seen.add(pattern.name)
        if not callable(pattern.check) or not _arity(pattern.check, 1):
            raise VendorError(f"{who}: check of pattern {pattern.name!r} must take one match")
    return tuple(sorted(patterns, key=lambda p: -p.priority))


def check_artifact(artifact: object, segment: Segment) -> Artifact:
    """Return what a vendor's compile() gave back, after checking that it keeps the contract.

    Args:
        artifact: What it returned; any object.
        segment: What it was given.

    Returns:
        The artifact, its blob as `bytes`, constants and notes as tuples.

    Raises:
        CompileError: It is no `Artifact` of this segment and vendor, or a field has a wrong type.
            The message is written for the vendor's author.
    """
    who = f"vendor author: compile() of {segment.vendor!r}, segment {segment.name!r}"
    if not isinstance(artifact, Artifact) or artifact.segment != segment.name:
        raise CompileError(
            f"vendor author: compile() of {segment.vendor!r} must return the byoc.Artifact of "
            f"segment {segment.name!r}, found {artifact!r:.80}"
        )
    if artifact.vendor != segment.vendor:
        raise CompileError(
            f"{who}: Artifact.vendor must be segment.vendor, {segment.vendor!r}, "
            f"found {artifact.vendor!r}"
        )
    if not isinstance(artifact.blob, (bytes, bytearray, memoryview)):
        raise CompileError(
            f"{who}: Artifact.blob must be bytes, found {type(artifact.blob).__name__}; encode "
            f"text with .encode(), other values with json.dumps(value).encode()"
        )
    if not isinstance(artifact.constants, (tuple, list)):
        raise CompileError(
            f"{who}: Artifact.constants must be a tuple of numpy arrays, found "
            f"{type(artifact.constants).__name__}; write tuple(segment.constants.values())"
        )
    for number, array in enumerate(artifact.constants):
        if not isinstance(array, np.ndarray) or not can_be_stored(array):
            kind = type(array).__name__
            found = f"{kind} of {array.dtype}" if isinstance(array, np.ndarray) else kind
            raise CompileError(
                f"{who}: Artifact.constants[{number}] must be a numpy array of numbers, found "
                f"{found}; put anything else into the blob"
            )
    if not isinstance(artifact.notes, (tuple, list)) or not all(
        isinstance(note, str) for note in artifact.notes
    ):
        raise CompileError(
            f"{who}: Artifact.notes must be a tuple of strings, found {artifact.notes!r:.60}; "
            f'write notes=("text",)'
        )
    blob, constants, notes = artifact.blob, artifact.constants, artifact.notes
    return Artifact(
        segment.name,
        segment.vendor,
        bytes(blob),
        tuple(constants),
        tuple(notes),
        check_requires(artifact.requires, who),
    )


def check_requires(requires: object, who: str) -> Requires:
    """Return requirements whose fields can be written into a file.

    Args:
        requires: What a vendor gave; any object.
        who: Begins messages.

    Raises:
        CompileError: It is no `Requires`, or a field has a wrong type.
    """
    if not isinstance(requires, Requires):
        raise CompileError(
            f"{who}: Artifact.requires must be a byoc.segment.Requires, found {requires!r:.60}"
        )
    features = requires.cpu_features
    words = (requires.machine, requires.device, requires.driver)
    if not isinstance(features, (tuple, list)) or not all(
        isinstance(word, str) for word in (*features, *words)
    ):
        raise CompileError(
            f"{who}: Requires takes strings and a tuple of strings, found {requires!r:.120}"
        )
    memory = requires.memory
    if isinstance(memory, bool) or not isinstance(memory, int) or not 0 <= memory < 2**48:
        raise CompileError(f"{who}: Requires.memory must be bytes, 0 or more, found {memory!r}")
    return replace(requires, cpu_features=tuple(features))


def takes_context(init: Callable[..., object]) -> bool:
    """Tell whether the init of a `PythonRuntime` asks for a `SegmentContext`.

    Args:
        init: The function; any object.
    """
    try:
        found = inspect.signature(init).parameters.get("context")
    except (TypeError, ValueError):
        return False
    return found is not None and found.kind in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY)


def _arity(
    function: Callable[..., object], count: int, keywords: Mapping[str, object] | None = None
) -> bool:
    """True when `function` can be called with `count` positional arguments, and keywords."""
    try:
        inspect.signature(function).bind(*range(count), **(keywords or {}))
    except TypeError:
        return False
    except ValueError:  # builtins without a signature: nothing to check
        return True
    return True


def _check_words(vendor: Vendor, who: str) -> None:
    """Name, version and processor: they become keys of reports, caches and files."""
    name, version, processor = vendor.name, vendor.version, vendor.processor
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise VendorError(
            f"{who}: name must be a lower-case identifier (a-z, 0-9, _), found {name!r}"
        )
    if name in RESERVED_NAMES or keyword.iskeyword(name):
        raise VendorError(
            f"{who}: name {name!r} is reserved ({', '.join(sorted(RESERVED_NAMES))} and Python's "
            f"keywords mean something else); take the name of your SDK or chip"
        )
    if not isinstance(version, str) or not version.isprintable():
        raise VendorError(
            f'{who}: version must be a string such as "1.0", found {version!r}; files hold it'
        )
    if not isinstance(processor, str) or not _PROCESSOR.fullmatch(processor):
        raise VendorError(
            f"{who}: processor must be the name of a queue (letters, digits, _:.+-), such as "
            f'"cpu" or "npu", found {processor!r}'
        )


def _check_runtime(vendor: Vendor, who: str) -> None:
    runtime: object = vendor.runtime
    if isinstance(runtime, PythonRuntime):
        context = {"context": None} if takes_context(runtime.init) else {}
        if not callable(runtime.init) or not _arity(runtime.init, 3, context):
            raise VendorError(
                f"{who}: init of its PythonRuntime must take (blob, constants, options), and "
                f"context if it likes, found {runtime.init!r:.80}"
            )
        for hook, count in (("can_load", 2), ("equipment", 0)):
            function = getattr(runtime, hook)
            if function is not None and not (callable(function) and _arity(function, count)):
                raise VendorError(
                    f"{who}: {hook} of its PythonRuntime must take {count} positional "
                    f"argument(s), found {function!r:.80}"
                )
        depth = runtime.queue_depth
        if type(depth) is not int or not 0 <= depth <= _MOST_IN_FLIGHT:
            raise VendorError(
                f"{who}: queue_depth of its PythonRuntime must be a whole number, 0 to "
                f"{_MOST_IN_FLIGHT}, found {depth!r:.80}"
            )
        if not callable(runtime.devices) or not _arity(runtime.devices, 0):
            raise VendorError(
                f"{who}: devices of its PythonRuntime must take no argument and return how many "
                f"there are, found {runtime.devices!r:.80}"
            )
        if depth and vendor.processor == "cpu":
            raise VendorError(
                f"{who}: its PythonRuntime has queue_depth={depth}, and its segments run on "
                f"processor 'cpu', where one call runs at a time; name a processor of its own: "
                f"Vendor(processor={vendor.name!r})"
            )
    elif isinstance(runtime, LibraryRuntime):
        if not isinstance(runtime.symbol, str) or not runtime.symbol.isidentifier():
            raise VendorError(
                f"{who}: LibraryRuntime.symbol must be the name of a C function, "
                f"found {runtime.symbol!r}"
            )
    elif isinstance(runtime, HostRuntime):
        if vendor.processor != "cpu":
            raise VendorError(
                f"{who}: a vendor with a HostRuntime gives kernels of the host, which run on "
                f"processor 'cpu', found processor={vendor.processor!r}; leave it out"
            )
    elif not isinstance(runtime, NativeRuntime):
        raise VendorError(
            f"{who}: runtime must be a NativeRuntime, PythonRuntime, LibraryRuntime or "
            f"HostRuntime, found {type(runtime).__name__}"
        )
    elif not isinstance(runtime.library, str) or not _LIBRARY.fullmatch(runtime.library):
        stem = str(runtime.library).rsplit("/", 1)[-1].removeprefix("lib").removesuffix(".so")
        raise VendorError(
            f"{who}: NativeRuntime takes the base name of a library, found {runtime.library!r}; "
            f"write NativeRuntime({stem!r}, package=...) for a file lib{stem}.so, and see "
            f"BYOC_LIBRARY_PATH for one that no package holds"
        )
    elif not isinstance(runtime.package, str) or not runtime.package:
        raise VendorError(
            f"{who}: NativeRuntime.package must be the name of the installed package that brings "
            f"lib{runtime.library}.so, found {runtime.package!r}"
        )


def _unknown_op(error: Exception) -> str:
    """A hint where TVM does not know the op that a pattern names."""
    found = re.search(r"Operator (\S+) is not registered", str(error))
    if found is None:
        return ""
    name = found[1]
    hint = "; ops are named as in Relax, with their prefix: is_op('relax.nn.relu')"
    try:
        from tvm.ir import Op

        known = [str(op) for op in Op.list_op_names()]
    except Exception:  # no TVM here: then it did not say so either
        return hint
    wanted = name if name.startswith("relax.") else f"relax.{name}"
    last = wanted.rsplit(".", 1)[-1]
    near = [op for op in known if op.startswith("relax.") and op.rsplit(".", 1)[-1] == last]
    near = near or difflib.get_close_matches(wanted, known, n=1)
    return f"{hint}; did you mean {sorted(near)[0]!r}?" if near else hint


def can_be_stored(array: Array) -> bool:
    """Tell whether an array holds numbers: of numpy, or of ml_dtypes (kind "V", no fields)."""
    return array.dtype.kind in "biufc" or (array.dtype.kind == "V" and array.dtype.isbuiltin == 2)
