"""What an exception of TVM's says, for a message of byoc's own.

TVM's exceptions begin with a trace and end in the condition that did not hold::

    Check failed: (depth > 0) is false: one_hot: depth must be positive, but got 0
                                        └──────────── what users can read ──────┘
"""

from __future__ import annotations

import re

__all__ = ["last_line"]

_CONDITION = re.compile(
    r"^(?:\w*Error: )?Check failed: (?:\(.*\) is false|.*? \(.* vs\. .*\))\s*:\s*(?=\S)"
)


def last_line(error: Exception, longest: int = 300) -> str:
    """Return the last line of an exception's text, without the C++ condition that TVM puts first.

    Args:
        error: Any exception.
        longest: How many characters to keep.

    Returns:
        The line; the name of the class when there is no text. A condition without words stays.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _CONDITION.sub("", lines[-1])[:longest] if lines else type(error).__name__
