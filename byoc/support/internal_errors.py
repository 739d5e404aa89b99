"""What fails inside byoc reaches users as an `InternalError`, never as it was raised.

    byoc.compile, an executable's calls ──any exception──▶ an error of byoc's?  yes ──▶ as it is
                                                              no ──▶ InternalError from it

An exception of TVM's, numpy's or Python's own says nothing about a user's model and cannot be
caught as `ByocError`. Left alone are those that are no bug of byoc's: an exhausted memory, a
warning that the user wants raised, and what ends a process (no `Exception`).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from byoc.errors import ByocError, InternalError
from byoc.support.last_line import last_line

__all__ = ["expect_no_foreign", "refuse_foreign"]

_PASSED = (ByocError, MemoryError, Warning)


def refuse_foreign(error: Exception, model: str, stage: str) -> None:
    """Raise an `InternalError` in place of an exception that is none of byoc's.

    Args:
        error: what was raised; the caller raises it again where this returns.
        model: name of the model.
        stage: what was being done ("importing").

    Raises:
        InternalError: `error` is no error of byoc's.
    """
    if isinstance(error, _PASSED):
        return
    said = f": {last_line(error)}" if str(error).strip() else ""
    raise InternalError(
        f"model {model!r}: byoc failed while {stage} it, {_where(error)}: "
        f"{type(error).__name__}{said}. This is a bug of byoc, neither of the model nor of its "
        f"use: please report it with the model, or with this message and its cause; another "
        f"choice of vendors, or none, may avoid it"
    ) from error


@contextmanager
def expect_no_foreign(model: str, stage: str) -> Iterator[None]:
    """Let the body raise errors of byoc's only, see `refuse_foreign`.

    Args:
        model: name of the model.
        stage: what is being done ("importing").

    Raises:
        InternalError: the body raised another exception.
    """
    try:
        yield
    except Exception as error:
        refuse_foreign(error, model, stage)
        raise


def _where(error: Exception) -> str:
    """The innermost place of byoc's own code that an exception passed."""
    own = [
        f"in {frame.f_globals['__name__']}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").startswith("byoc.")
    ]
    return own[-1] if own else "outside of its own code"
