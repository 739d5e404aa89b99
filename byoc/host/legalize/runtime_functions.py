"""What kernels call by name: functions of byoc's runtime instead of those of TVM's.

In: a module whose host code calls functions that only a process with TVM has: its compiler's
library sorts, its Python package looks for zeros. Out: the same that calls functions of byoc's
runtime (runtime/src/bindings/kernels_ffi.cc), which every process has that runs a model::

    tvm.contrib.sort.topk(…)     in a kernel        ──▶  byoc.runtime.kernel.topk(…)
    relax.nonzero(x)             in bytecode        ──▶  byoc.runtime.kernel.nonzero(x)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.ir import StringImm

from byoc.errors import CompileError
from byoc.host.legalize.op_rewriter import OpRewriter, rewrite_ops
from byoc.host.legalize.recurrent import KERNEL as RECURRENT_KERNEL
from byoc.host.legalize.sort_keys import is_stored_otherwise

__all__ = ["call_runtime_functions", "call_runtime_kernels"]

_KERNELS: Mapping[str, str] = {
    f"tvm.contrib.sort.{name}": f"byoc.runtime.kernel.{name}"
    for name in ("argsort", "argsort_nms", "sort", "topk")
}

_OPS: Mapping[str, str] = {
    "relax.nonzero": "byoc.runtime.kernel.nonzero",
    "relax.shape_to_tensor": "byoc.runtime.kernel.shape_to_tensor",
    "relax.unique": "byoc.runtime.kernel.unique",
}

_REFUSED: Mapping[str, str] = {
    "relax.assert_op": "leave the assertion out of the model, or return its condition",
    "relax.print": "leave the print out of the model, or return what it prints",
}
"""Ops that TVM's Python package runs, and what to do without them."""


def call_runtime_functions(mod: tvm.IRModule) -> tvm.IRModule:
    """Replace ops that bytecode hands to functions of TVM's Python package.

    Raises:
        CompileError: There is no function of byoc's for one of them.
    """
    return rewrite_ops(mod, _Rewriter, (*_OPS, *_REFUSED))


@relax.expr_functor.mutator
class _Rewriter(OpRewriter):
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        op = getattr(call.op, "name", "")
        if op in _REFUSED:
            raise CompileError(
                f"op {op.removeprefix('relax.')!r} ({self.name or 'unnamed'}) is run by TVM's "
                f"Python package, which is not there when a model runs; {_REFUSED[op]}"
            )
        if op not in _OPS:
            return call
        return relax.call_pure_packed(_OPS[op], *call.args, ty_args=call.ty)


def call_runtime_kernels(mod: tvm.IRModule) -> tvm.IRModule:
    """Replace the functions of TVM that kernels call.

    Raises:
        CompileError: There is no function of byoc's for one of them.
    """
    changed = {}
    for gv, func in mod.functions_items():
        if not isinstance(func, tirx.PrimFunc):
            continue
        called = _called(func) - {RECURRENT_KERNEL}
        unknown = sorted(called - _KERNELS.keys())
        if unknown:
            raise CompileError(
                f"the host's kernel {gv.name_hint!r} calls {', '.join(unknown)}, which only a "
                f"process with TVM has; a vendor that takes its op, or another spelling of the "
                f"op, is needed"
            )
        if called:
            _check_stored(gv.name_hint, func)
            body = tvm_ffi.structural_map(func.body, (StringImm, _renamed))
            changed[gv] = func.with_body(body)
    if changed:
        mod = tvm.IRModule({**dict(mod.functions_items()), **changed}, attrs=mod.attrs)
    return mod


def _check_stored(name: str, func: Any) -> None:
    for param in func.params:
        if isinstance(param.ty, tirx.BufferType) and is_stored_otherwise(str(param.dtype)):
            raise CompileError(
                f"the host's kernel {name!r} sorts {param.dtype}, expected numbers that it stores "
                f"as they are; cast them to float32 before"
            )


def _called(func: Any) -> set[str]:
    """Names of the functions that a kernel calls through the registry of functions."""
    found: set[str] = set()

    def visit(call: Any) -> None:
        if getattr(call.op, "name", "").startswith("tirx.tvm_call_"):
            found.add(str(getattr(call.args[0], "value", call.args[0])))

    tvm_ffi.structural_walk(func.body, (tvm.ir.Call, visit))
    return found


def _renamed(text: Any) -> Any:
    return StringImm(_KERNELS[text.value]) if text.value in _KERNELS else text
