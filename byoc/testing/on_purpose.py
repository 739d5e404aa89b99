"""Whether an error was raised on purpose, as fuzzers ask of every one that they meet.

Errors of byoc's own classes count as refusals, anything else as a failure. A failure can hide in a
refusal: as its cause (an AttributeError that a handler wrapped), or as text that speaks of byoc's
or TVM's inside and not of the model.
"""

from __future__ import annotations

import re

from byoc.errors import ByocError, InternalError

__all__ = ["accident"]

_ACCIDENTS = (AssertionError, AttributeError, NameError, RecursionError, UnicodeError)
"""Exceptions that nobody raises to refuse something."""

_INSIDE = re.compile(
    r"Traceback|Check failed|InternalError|\bobject (has no attribute|is not|of type)"
    r"|NoneType|unsupported operand|positional argument|keyword argument|<class '|<function "
    r"| object at 0x|not '(Var|DataflowVar|Call|TupleGetItem|GenericConst|\w*Imm)'"
    r"|\b(relax|tirx?|topi|T|R|I)\.[a-zA-Z_]\w*\(|Cannot find global var|\.cc:\d|\.h:\d"
)
"""Text that speaks of byoc's inside, or of TVM's."""


def accident(error: BaseException) -> str | None:
    """Say why an error looks as if nobody had meant to raise it.

    Args:
        error: what a call of byoc's raised.

    Returns:
        None for an error of byoc's that speaks to its user; the reason else.

    Examples:
        >>> accident(KeyError("x"))
        'KeyError is no error of byoc'
    """
    if not isinstance(error, ByocError) or isinstance(error, InternalError):
        return f"{type(error).__name__} is no error of byoc"
    found = _INSIDE.search(str(error))
    if found:
        return f"its text shows the inside: {found[0]!r}"
    cause, seen = error.__cause__, set[int]()
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, _ACCIDENTS):
            return f"its cause is a {type(cause).__name__}: {cause}"
        seen.add(id(cause))
        cause = cause.__cause__
    return None
