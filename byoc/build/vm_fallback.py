"""Host fallbacks of segments whose model runs on the VM: functions of the same executable.

A plan has fixed shapes; a segment here may not have. Its fallback is its own Relax function,
compiled beside the model's, weights passed to it so that an artifact holds them once::

    segment dnnl_0(x) ──▶ dnnl_0__fallback(x, w0, w1) ─┐
    main ─────────────────────────────────────────┴─▶ one VM executable
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import tvm
from tvm import relax

from byoc.build.fallback import note_refusal, segment_functions
from byoc.errors import CompileError
from byoc.ir.arrays import same_array, to_numpy
from byoc.runtime.program import VmTwin

if TYPE_CHECKING:
    from byoc.segment import Array, Artifact

__all__ = ["with_vm_fallbacks"]

_SMALL = 64  # bytes; below it a constant stays one, so that kernels may be folded over it


def with_vm_fallbacks(
    mod: tvm.IRModule,
    artifacts: Sequence[Artifact],
    names: Iterable[str],
    refused: dict[str, str] | None = None,
) -> tuple[tvm.IRModule, dict[str, VmTwin]]:
    """Add a function of the host for each of some segments to a partitioned module.

    Args:
        mod: the partitioned module.
        artifacts: what the vendors made, whose constants the fallbacks share.
        names: which segments.
        refused: takes up the segments that the host cannot run, with the reason.

    Returns:
        The module with the functions, and segment name → its fallback.

    Raises:
        CompileError: the host cannot run a segment and there is no `refused` to tell.
    """
    from byoc import host

    functions = segment_functions(mod)
    known = [constant for artifact in artifacts for constant in artifact.constants]
    added: dict[Any, Any] = {}
    fallbacks: dict[str, VmTwin] = {}
    for name in names:
        entry = f"{name}__twin"
        function, constants = _fallback(functions[name], entry, known)
        try:
            host.check_vm(tvm.IRModule({entry: function}))
        except CompileError as error:
            note_refusal(name, error, refused)
            continue
        added[tvm.ir.GlobalVar(entry)] = function
        fields = getattr(function.ret_ty, "fields", None)
        fallbacks[name] = VmTwin(entry, 1 if fields is None else len(fields), constants)
    if not added:
        return mod, fallbacks
    return tvm.IRModule({**dict(mod.functions_items()), **added}, attrs=mod.attrs), fallbacks


def _fallback(func: Any, entry: str, known: list[Array]) -> tuple[Any, tuple[Array, ...]]:
    """The segment's function under another name, and the arrays that follow its arguments."""
    lift = _Lift()
    body = lift.visit_expr(relax.utils.copy_with_new_vars(func))
    params = [*body.params, *lift.params]
    fallback = relax.Function(params, body.body, body.ret_ty, func.is_pure)
    constants = tuple(same_array(array, known) for array in lift.arrays)
    return fallback.with_attr("global_symbol", entry), constants


@relax.expr_functor.mutator
class _Lift(relax.PyExprMutator):  # type: ignore[misc]
    """Constants become parameters, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.params: list[Any] = []
        self.arrays: list[Array] = []
        self._vars: dict[int, Any] = {}

    def visit_generic_const_(self, constant: Any) -> Any:
        if not isinstance(constant.ty, relax.TensorType):
            return constant
        array = to_numpy(constant.value)
        if array.nbytes < _SMALL:
            return constant
        key = array.__array_interface__["data"][0]
        if key not in self._vars:
            self._vars[key] = relax.Var(f"constant{len(self.params)}", constant.ty)
            self.params.append(self._vars[key])
            self.arrays.append(array)
        return self._vars[key]
