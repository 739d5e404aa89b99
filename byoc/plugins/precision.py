"""What vendors compute in: one word for all of them, told to each as its option ``precision``.

In: checked requests and the word. Out: requests that compute so where the vendor can, and a
sentence for each that cannot, which then computes in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byoc.errors import VendorError
from byoc.plugins.discovery import Requested, with_options
from byoc.plugins.vendor_options import validate_options
from byoc.vendor import Vendor

__all__ = ["FLOAT32", "NARROW", "in_precision"]

FLOAT32 = "f32"
"""What everything computes in unless told otherwise."""

NARROW = ("bf16", "f16")
"""Precisions below it, the first that are fast."""

_FIELD = "precision"


def in_precision(
    requests: Sequence[Requested], precision: str
) -> tuple[tuple[Requested, ...], tuple[str, ...]]:
    """Have vendors compute in a precision.

    A vendor whose own option ``precision`` was given keeps it: it was meant for that one.

    Args:
        requests: the vendors that were asked for.
        precision: "f32", or a word of `NARROW`.

    Returns:
        The requests with their options, and why some vendors compute in float32 all the same.

    Raises:
        VendorError: a vendor breaks its contract.
    """
    found, told = [], []
    for request in requests:
        vendor, options = request.vendor, request.options
        own = _FIELD in options.model_fields_set
        word = getattr(options, _FIELD, FLOAT32) if own else precision
        if word == FLOAT32:
            found.append(request)
            continue
        reason = _why_not(vendor, options, word)
        if reason is not None:
            told.append(f"precision={word!r}: vendor {vendor.name!r} computes in float32: {reason}")
        if own or reason is not None:
            found.append(request)
            continue
        if _FIELD not in type(options).model_fields:
            raise VendorError(
                f"vendor author: precision() of {vendor.name!r} takes {word!r}, but its options "
                f"have no field {_FIELD!r} to be told by"
            )
        given = options.model_dump(exclude_unset=True)
        found.append(with_options(request, validate_options(vendor, {**given, _FIELD: word})))
    return tuple(found), tuple(told)


def _why_not(vendor: Vendor, options: Any, precision: str) -> str | None:
    try:
        reason: object = vendor.precision(options, precision)
    except Exception as error:
        raise VendorError(
            f"vendor author: precision() of {vendor.name!r} raised {type(error).__name__}: {error}"
        ) from error
    if reason is not None and (not isinstance(reason, str) or not reason.strip()):
        raise VendorError(
            f"vendor author: precision() of {vendor.name!r} must return None or one sentence that "
            f"says why not, found {reason!r}"
        )
    return reason
