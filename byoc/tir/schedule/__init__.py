"""CPU schedules: a table of rules, tried in order, each ``match → schedule or None``.

In: PrimFuncs as loops over blocks. Out: the same, parallel and vectorised, and a note of how. A
rule that does not match leaves the kernel as it was; one that fails is skipped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import tvm
from tvm import tirx

from byoc.tir.fast_math import vectorizable
from byoc.tir.nan_safe import nan_safe
from byoc.tir.schedule.conv import conv
from byoc.tir.schedule.empty import start_before_empty_loops
from byoc.tir.schedule.injective import injective
from byoc.tir.schedule.kernel import Kernel
from byoc.tir.schedule.matmul import matmul
from byoc.tir.schedule.reduction import reduction
from byoc.tir.schedule.row_kernels import rows
from byoc.tir.target import Machine

__all__ = ["GIVEN", "OPAQUE", "RULES", "UNSCHEDULED", "schedule", "schedule_kernels"]

_LOG = logging.getLogger(__name__)

Rule = Callable[[Kernel], str | None]

RULES: tuple[Rule, ...] = (injective, conv, matmul, rows, reduction)

_RULES_WITHOUT_TILES: tuple[Rule, ...] = (injective, reduction)
"""For kernels with a loop that never runs: there is nothing to cut into tiles."""

UNSCHEDULED = "serial"
"""Note of a kernel that no rule could schedule: it runs as one thread's scalar loops."""

GIVEN = "given"
"""Note of a kernel that came scheduled, with the attribute ``tirx.is_scheduled``."""

OPAQUE = "opaque"
"""Note of a kernel that is a program, not loops over blocks (sort, scan): left as TVM wrote it."""


def schedule(func: tirx.PrimFunc, machine: Machine) -> tuple[tirx.PrimFunc, str]:
    """Schedule one kernel by the first rule that matches.

    Args:
        func: The kernel.
        machine: The CPU it is for.

    Returns:
        The scheduled function, and the name of its schedule (`UNSCHEDULED` and `OPAQUE` included).

    """
    if getattr(getattr(func.body, "block", None), "name_hint", "") != "root":
        return func, OPAQUE
    kernel = Kernel(func, machine)
    for rule in _RULES_WITHOUT_TILES if kernel.empty else RULES:
        try:
            note = rule(kernel)  # None: did not match, and left the kernel as it was
        except Exception as error:  # a right kernel with plain loops beats no kernel
            _LOG.debug("%s gave up: %s", rule.__name__, error)
            kernel = Kernel(func, machine)
            continue
        if note is not None:
            start_before_empty_loops(kernel)
            return vectorizable(kernel.result()), note
    start_before_empty_loops(kernel)
    return kernel.result(), UNSCHEDULED


def schedule_kernels(mod: tvm.IRModule, machine: Machine) -> tuple[tvm.IRModule, dict[str, str]]:
    """Schedule every PrimFunc of a module that is not marked as scheduled.

    Args:
        mod: The module; other functions stay.
        machine: The CPU it is for.

    Returns:
        The module, and kernel name → name of its schedule.

    """
    functions: dict[Any, Any] = {}
    notes: dict[str, str] = {}
    for gv, func in mod.functions_items():
        if isinstance(func, tirx.PrimFunc) and "tirx.is_scheduled" in func.attrs:
            notes[gv.name_hint] = GIVEN
        elif isinstance(func, tirx.PrimFunc):
            scheduled, notes[gv.name_hint] = schedule(func, machine)
            func = nan_safe(scheduled)
            _LOG.debug("%s: %s", gv.name_hint, notes[gv.name_hint])
        functions[gv] = func
    return tvm.IRModule(functions, attrs=mod.attrs), notes
