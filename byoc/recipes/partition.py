"""The first stage of every recipe: who runs what, by a strategy or by a lock.

In: an imported model, the vendors and the options. Out: segments, the remainder and the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from byoc.recipes.options import CompileOptions

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionResult
    from byoc.plugins.discovery import Requested

__all__ = ["partition"]


def partition(
    model: Model, requests: Sequence[Requested], options: CompileOptions
) -> PartitionResult:
    """Split a model among vendors as the options say.

    Args:
        model: the model as it was imported.
        requests: the vendors that were asked for, in order.
        options: `placement`, `constraints` and `locked` are obeyed.

    Returns:
        The module with one function per segment, the segments, and the report.

    Raises:
        OptionError: constraints that cannot be obeyed.
        VendorError: a vendor breaks its contract.
        LockError: the lock cannot be read, or does not fit the model.
    """
    vendors = [request.vendor for request in requests]
    if options.locked is None:
        parts = options.constraints.partition(model.mod, vendors, options.placement)
    else:
        from byoc.placement.locked import partition_locked

        parts = partition_locked(model.mod, vendors, options.locked, options.constraints)
    report = replace(parts.report, warnings=(*options.told, *parts.report.warnings))
    return replace(parts, report=report)
