"""The Relax VM path: symbolic shapes, control flow, several functions.

In: a partitioned module. Out: a library with bytecode. Kernels are made as for static models, loops
of symbolic extent included. What differs is who calls them: bytecode that computes shapes and
allocates as it goes.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax import transform

from byoc.errors import CompileError
from byoc.host.empty_constants import flatten_empty_constants
from byoc.host.given import Given
from byoc.host.library import HostLibrary, library_of
from byoc.host.lower import lower_module
from byoc.host.own_storage import give_own_storage
from byoc.runtime.native import usable_processors
from byoc.support.last_line import last_line
from byoc.tir.features import check_features, kernel_features
from byoc.tir.target import host_machine

__all__ = ["build_vm", "check_vm"]


def build_vm(
    mod: tvm.IRModule, *, threads: int | None = None, given: Given | None = None
) -> HostLibrary:
    """Compile a partitioned module to a Relax VM executable.

    Args:
        mod: `PartitionResult.mod`; its segments become calls of external functions by name.
        threads: As for `byoc.host.build`.
        given: Segments whose vendors gave kernels, which the bytecode is to call itself.

    Raises:
        CompileError: TVM cannot compile it, or a kernel uses instructions that this CPU lacks.

    """
    machine = host_machine(threads or usable_processors())
    lowered, *_ = lower_module(mod, machine, given=given)
    used = kernel_features(lowered)
    check_features(used)
    lowered = flatten_empty_constants(lowered)
    # Planned by TVM 0.27, functions with branches were seen to crash when they allocate a tensor
    # in storage planned across an `If`; without a plan every tensor has storage of its own.
    own = tvm.transform.module_pass(lambda mod, _: give_own_storage(mod), opt_level=0)
    plan = [] if _has_branches(lowered) else [own, transform.StaticPlanBlockMemory()]
    pipeline = tvm.transform.Sequential(
        [
            transform.ToNonDataflow(),
            transform.RemovePurityChecking(),
            transform.CallTIRRewrite(),
            *plan,
            transform.LowerAllocTensor(),
            transform.KillAfterLastUse(),
            transform.LowerRuntimeBuiltin(),
            transform.ComputePrimValue(),
            transform.VMShapeLower(),
            transform.AttachGlobalSymbol(),
        ]
    )
    try:
        executable = relax.build(lowered, target=machine.target, relax_pipeline=pipeline)
    except Exception as error:
        raise CompileError(f"TVM could not compile the dynamic part: {last_line(error)}") from error
    return library_of(executable, machine, used)


def check_vm(mod: tvm.IRModule) -> None:
    """Refuse a module whose functions the host cannot run.

    Raises:
        CompileError: TVM cannot lower something in it.

    """
    lower_module(mod, host_machine(usable_processors()))


def _has_branches(mod: tvm.IRModule) -> bool:
    """Whether a Relax function of the module holds an `If`."""
    found: list[bool] = []

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.If):
            found.append(True)

    for func in mod.functions.values():
        if isinstance(func, relax.Function):
            relax.analysis.post_order_visit(func, visit)
    return bool(found)
