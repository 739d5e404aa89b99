"""Entries of the metadata section: constants, and attributes too long to print in place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from byoc.frontends.relay.syntax import Call, Meta, Module, PlaceError
from byoc.segment import Array

__all__ = ["attribute", "meta_array", "with_attributes"]


def _entry(module: Module, meta: Meta) -> Any:
    table = module.metadata
    if table is None:
        raise PlaceError(
            meta.at, f"meta[{meta.key}][{meta.index}], and the file has no #[metadata] section; "
            f"print the module with show_meta_data=True, or save it by tvm.ir.save_json"
        )  # fmt: skip
    entries = table.get(meta.key, [])
    if meta.index >= len(entries):
        raise PlaceError(
            meta.at, f"meta[{meta.key}][{meta.index}], and the section has {len(entries)} such"
        )
    return entries[meta.index]


def meta_array(module: Module, meta: Meta) -> Array:
    """Return the constant that stands in the metadata section.

    Args:
        module: The module with the section.
        meta: Which entry.

    Raises:
        PlaceError: There is no such entry, or it is no constant.
    """
    entry = _entry(module, meta)
    if not isinstance(entry, np.ndarray):
        raise PlaceError(meta.at, f"meta[{meta.key}][{meta.index}] is no constant")
    return entry


def attribute(module: Module, value: Any) -> Any:
    """Return an attribute with the entries of the metadata section that it refers to.

    Args:
        module: The module with the section.
        value: The attribute; lists are looked into.

    Raises:
        PlaceError: There is no such entry.
    """
    if isinstance(value, Meta):
        return _entry(module, value)
    if isinstance(value, list):
        return [attribute(module, v) for v in value]
    return value


def with_attributes(module: Module, call: Call) -> Call:
    """Return a call with the attributes that stand in the metadata: `op(%x, meta[…Attrs][0])`.

    Args:
        module: The module with the section.
        call: The call of an operator; returned as it is where its last argument is none such.

    Raises:
        PlaceError: There is no such entry, or it holds no attributes.
    """
    last = call.args[-1]
    if not isinstance(last, Meta) or not last.key.startswith("relay.attrs."):
        return call
    entry = _entry(module, last)
    if not isinstance(entry, dict):
        raise PlaceError(last.at, f"meta[{last.key}][{last.index}] holds no attributes")
    return replace(call, args=call.args[:-1], attrs={**entry, **call.attrs})
