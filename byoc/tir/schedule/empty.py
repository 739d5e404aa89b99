"""Start values of reductions that may have nothing to reduce.

TVM writes the start value in the first step of the reduced loops; where these may have no step,
the result would be whatever its memory held::

    for k in range(n):                    out = 0
        if k == 0: out = 0         →      for k in range(n):
        out += x[k]                           out += x[k]
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlockRealize
from tvm.tirx import Var

from byoc.tir.schedule.kernel import Kernel, extent_of

__all__ = ["start_before_empty_loops"]


def start_before_empty_loops(kernel: Kernel) -> None:
    """Move start values ahead of reduced loops that may not run: length 0, or unknown."""
    sch = kernel.sch
    found: list[Any] = []
    tvm_ffi.structural_walk(sch.mod["main"].body, (SBlockRealize, lambda r: found.append(r)))
    for realize in found:
        if realize.block.init is None or not _may_be_empty(realize.block):
            continue
        variables = _reduced_variables(realize)
        rv = sch.get_sblock(realize.block.name_hint)
        for loop in sch.get_loops(rv):
            if any(sch.get(loop).loop_var.same_as(v) for v in variables):
                sch.decompose_reduction(rv, loop)
                break


def _may_be_empty(block: Any) -> bool:
    return any(
        axis.iter_type == tirx.IterVar.CommReduce and not extent_of(axis.dom.extent)
        for axis in block.iter_vars
    )


def _reduced_variables(realize: Any) -> list[Any]:
    """Variables of the loops that a reduction runs over."""
    found: list[Any] = []
    for axis, value in zip(realize.block.iter_vars, realize.iter_values, strict=True):
        if axis.iter_type == tirx.IterVar.CommReduce:
            tvm_ffi.structural_walk(value, (Var, lambda node: found.append(node)))
    return found
