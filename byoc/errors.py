"""Every error that byoc raises.

    ByocError                 base class: catch this one
    ├── ModelError            the model file or module cannot be read or is not supported
    ├── VendorError           a vendor is unknown, unavailable, or breaks the contract
    │   └── OptionError       an option of a vendor or command is unknown or has a bad value
    ├── CompileError          a segment or the host remainder failed to build
    ├── ArtifactError         a .byoc file is damaged, incompatible, or cannot be written
    ├── LockError             a placement lock is damaged, or does not fit the model
    ├── InputError            wrong name, count, shape or dtype given to a session
    ├── ExecutionError        a segment failed at run time
    └── InternalError         byoc itself failed: a bug of byoc, with what it failed of as its cause

Each message says what failed, where (model, op, segment, vendor), what was expected
against what was found, and what to do; where there is a closed set of legal choices it
lists them (see `choices`). The command line prints these messages without a traceback.

`FallbackWarning` says at once what a report says, too: something else than asked for is done.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "ByocError",
    "CompileError",
    "ExecutionError",
    "FallbackWarning",
    "InputError",
    "InternalError",
    "LockError",
    "ModelError",
    "OptionError",
    "VendorError",
    "choices",
]


class ByocError(Exception):
    """Base class of every error that byoc raises."""


class ModelError(ByocError):
    """The model cannot be read, or holds something byoc does not support."""


class VendorError(ByocError):
    """A vendor is unknown, unavailable, or does not keep the vendor contract."""


class OptionError(VendorError):
    """An option is unknown or its value is not legal."""


class CompileError(ByocError):
    """A segment or the host remainder failed to build."""


class ArtifactError(ByocError):
    """A .byoc file is damaged, does not fit this machine, or cannot be written."""


class LockError(ByocError):
    """A placement lock is damaged, cannot be written, or does not fit the model."""


class InputError(ByocError):
    """The inputs given to a session do not fit the model."""


class ExecutionError(ByocError):
    """A task of a plan failed at run time."""


class InternalError(ByocError):
    """Byoc itself failed, by no fault of the model, the options or a vendor: its cause says how."""


class FallbackWarning(UserWarning):
    """Something else than asked for is done, because that cannot be; the message says why.

    Torch runs operators that byoc cannot compile; a vendor computes in float32.
    """


def choices(found: str, legal: Iterable[str]) -> str:
    """Return the end of an error message about an illegal name: a suggestion and the legal names.

    ``choices("dnn", ["dnnl", "npu"])`` is ``"did you mean 'dnnl'? legal: dnnl, npu"``.

    Args:
        found: The illegal name, as the user wrote it.
        legal: All legal names, in any order; they are listed sorted.

    Returns:
        The text to append to the message. The suggestion is left out where no legal name is
        similar to `found`.
    """
    names = sorted(legal)
    near = difflib.get_close_matches(found, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}legal: {', '.join(names) if names else '(none)'}"
