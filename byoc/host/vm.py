"""The Relax VM path: symbolic shapes, control flow, several functions.

Kernels are made as for static models, loops of symbolic extent included. What differs is who
calls them: bytecode that computes shapes and allocates as it goes.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax import transform

from byoc.errors import CompileError

from .library import HostLibrary, library_of
from .lower import lower_module
from .target import host_machine

__all__ = ["build_vm"]


def build_vm(mod: tvm.IRModule, *, threads: int | None = None) -> HostLibrary:
    """Compile a partitioned module to a Relax VM executable.

    mod: `PartitionResult.mod`; its segments become calls of external functions by name.
    threads: as for `byoc.host.build`. Raises CompileError when TVM cannot compile it.
    """
    machine = host_machine(threads)
    lowered, _, _ = lower_module(mod, machine)
    pipeline = tvm.transform.Sequential(
        [
            transform.ToNonDataflow(),
            transform.RemovePurityChecking(),
            transform.CallTIRRewrite(),
            transform.StaticPlanBlockMemory(),
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
        detail = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise CompileError(f"TVM could not compile the dynamic part: {detail[0][:300]}") from error
    return library_of(executable, machine)
