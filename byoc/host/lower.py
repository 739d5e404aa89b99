"""The host remainder of a partitioned module, lowered to kernel calls.

::

    main: ops, segment calls                 PartitionResult.mod
      │ externalize   segment calls → call_dps_packed, or calls of kernels that vendors gave
      │ checks        casts of shapes → calls that name what does not fit
      │ decompose     attention → products and a softmax
      │ guard         indices and whole divisors → checked copies of them
      │ legalize      ops → call_tir of PrimFuncs; reshapes stay views
      │               functions of TVM that they call → those of byoc's runtime
      │ fuse          neighbouring PrimFuncs → one
      │ schedule      loops → parallel, vectorised
      ▼
    main: call_tir, call_dps_packed, reshape, tuples          kernels: PrimFuncs
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax import transform

from byoc.errors import ByocError, CompileError
from byoc.host.decompose import decompose
from byoc.host.given import Given, Label, labels_of_variables
from byoc.host.legalize.guard import guard
from byoc.host.legalize.rules import legalize
from byoc.host.legalize.runtime_functions import call_runtime_functions, call_runtime_kernels
from byoc.host.names import restore, tag
from byoc.host.round_narrow import keep_roundings
from byoc.host.segments import externalize_segments, is_segment
from byoc.host.shape_checks import call_shape_checks
from byoc.runtime.native import usable_processors
from byoc.support.last_line import last_line
from byoc.tir.schedule import schedule_kernels
from byoc.tir.target import Machine, host_machine

__all__ = ["Lowered", "lower", "lower_module", "needs_vm"]

_MOST_FUSED = 64
"""Ops in one kernel. Scheduling takes time by the square of it; TVM's own limit is 256."""

_ALLOWED = frozenset({"relax.call_tir", "relax.call_dps_packed", "relax.reshape"})


@dataclass(frozen=True, eq=False)
class Lowered:
    """What is left for the host, as kernels and calls of them.

    Attributes:
        main: Its bindings are calls of kernels and segments, views (`relax.reshape`), tuples,
            aliases.
        kernels: The scheduled PrimFuncs by name.
        notes: Kernel name → name of its schedule.
        sources: Name of a variable of `main` → source names of all ops its kernel computes.
        labels: Name of a variable of `main` → what it stands for, where a vendor gave the kernel.

    """

    main: relax.Function
    kernels: tvm.IRModule
    notes: Mapping[str, str]
    sources: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, Label]


def needs_vm(mod: tvm.IRModule) -> bool:
    """Return whether a module has symbolic shapes, control flow or several host functions."""
    host = [
        f for f in mod.functions.values() if isinstance(f, relax.Function) and not is_segment(f)
    ]
    return len(host) != 1 or not _is_straight_line(host[0])


def lower(
    mod: tvm.IRModule,
    *,
    threads: int | None = None,
    pack: bool = True,
    given: Given | None = None,
) -> Lowered:
    """Lower a module whose only host function is `main`, with static shapes.

    Args:
        mod: A partitioned module (`PartitionResult.mod`).
        threads: As for `byoc.host.build`.
        pack: Constant weights may be laid out anew; else they stay as they are in `mod`, and
            kernels that want another layout copy them in every call.
        given: Segments whose vendors gave kernels, which `main` is to call itself.

    Raises:
        CompileError: An op has no kernel, or the module needs the VM (`needs_vm`).

    """
    if needs_vm(mod):
        raise CompileError(
            "lower() takes a module with static shapes, without control flow, and with one host "
            "function `main`; use build_vm() for this one (needs_vm() tells which)"
        )
    lowered, notes, sources, labels = lower_module(
        mod, host_machine(threads or usable_processors()), pack=pack, given=given
    )
    main = lowered["main"]
    _check_lowered(main)
    labels = labels_of_variables(main, labels)
    sources = {**sources, **{name: label.source for name, label in labels.items()}}
    kernels = {gv: f for gv, f in lowered.functions_items() if isinstance(f, tirx.PrimFunc)}
    return Lowered(main, tvm.IRModule(kernels), notes, sources, labels)


_Parts = tuple[tvm.IRModule, dict[str, str], dict[str, tuple[str, ...]], dict[str, Label]]


def lower_module(
    mod: tvm.IRModule, machine: Machine, *, pack: bool = True, given: Given | None = None
) -> _Parts:
    """Lower every host function of a module.

    Args:
        mod: A partitioned module.
        machine: What kernels are scheduled for.
        pack: As for `lower`.
        given: As for `lower`.

    Returns:
        The lowered module, notes, sources and labels (see `Lowered`).

    Raises:
        CompileError: TVM cannot lower something.

    """
    try:
        return _lower_module(mod, machine, pack, given)
    except ByocError:
        raise
    except Exception as error:
        raise CompileError(
            f"TVM cannot lower what is left for the host: {last_line(error)}; a vendor that takes "
            f"the op would help"
        ) from error


def _lower_module(mod: tvm.IRModule, machine: Machine, pack: bool, given: Given | None) -> _Parts:
    mod, labels = externalize_segments(mod, given)
    checked = guard(decompose(call_shape_checks(mod), pack=pack))
    mod = call_runtime_functions(checked)
    with machine.target:
        mod = relax.backend.DispatchSortScan()(mod)
    mod = call_runtime_kernels(legalize(mod, machine, pack=pack))
    mod = keep_roundings(transform.AnnotateTIROpPattern()(mod))
    with tvm.transform.PassContext(config={"relax.FuseOps.max_depth": _MOST_FUSED}):
        mod = transform.FuseOps()(transform.Normalize()(tag(mod, labels)))
    mod, sources = restore(mod)
    mod = transform.FuseTIR()(mod)
    mod = transform.DeadCodeElimination()(mod)
    mod, notes = schedule_kernels(mod, machine)
    return mod, notes, sources, labels


def _check_lowered(main: relax.Function) -> None:
    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, tvm.ir.Call) and _op_name(value) not in _ALLOWED:
                raise CompileError(
                    f"the host has no kernel for op {_op_name(value)!r} ({binding.var.name}); "
                    f"a vendor that takes it, or another spelling of the op, is needed"
                )


def _op_name(call: Any) -> str:
    return str(getattr(call.op, "name", call.op))


def _is_straight_line(func: relax.Function) -> bool:
    """True for a function of plain bindings whose types are all static tensors."""
    if not isinstance(func.body, relax.SeqExpr) or not all(map(_static, func.params)):
        return False
    for block in func.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, (relax.If, relax.Function)) or not _static(binding.var):
                return False
            if isinstance(binding, relax.MatchCast):
                return False
    return True


def _static(expr: Any) -> bool:
    return _static_type(expr.ty)


def _static_type(ty: Any) -> bool:
    if isinstance(ty, relax.TupleType):
        return all(map(_static_type, ty.fields))
    if isinstance(ty, relax.TensorType):
        shape = ty.shape
        if not isinstance(shape, relax.ShapeExpr):
            return False
        return all(isinstance(dim, tirx.IntImm) for dim in shape.values)
    return (
        isinstance(ty, relax.ShapeType)
        and ty.values is not None
        and all(isinstance(dim, tirx.IntImm) for dim in ty.values)
    )
