"""What pydantic finds wrong with a document, in words for the one who has the document.

In: pydantic's error, which speaks of classes of Python. Out: the first wrong field, and why.
"""

from __future__ import annotations

import pydantic

__all__ = ["first_problem"]


def first_problem(error: pydantic.ValidationError, whole: str) -> str:
    """Name the first field that is wrong.

    Args:
        error: What pydantic raised.
        whole: What the document is called where no field of it is to blame.

    Returns:
        Like "segments.0.name: input should be a valid string".
    """
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or whole
    return f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
