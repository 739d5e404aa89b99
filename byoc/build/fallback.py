"""Host fallbacks: what takes over when a vendor's segment fails at run time.

A fallback is the segment's own Relax function, lowered like the host remainder and compiled into
the same library::

    segment npu_0 ──▶ host.lower ──▶ kernels npu_0__fused_conv, … ─┐
    main          ──▶ host.lower ──▶ kernels …                     ─┴─▶ one library
                                └──▶ plan of the fallback: tasks over those kernels

Its kernels take weights as the segment has them and pack them in every call (`pack=False`): so the
constants are the very arrays that the vendor got, and an artifact holds them once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from byoc.build.memory_plan import make_plan
from byoc.errors import CompileError
from byoc.ir.arrays import same_array
from byoc.runtime.program import Twin

if TYPE_CHECKING:
    import tvm

    from byoc.segment import Artifact

__all__ = ["Fallbacks", "make_fallbacks", "note_refusal", "segment_functions"]


@dataclass(frozen=True, eq=False)
class Fallbacks:
    """The host fallbacks of a model, and the kernels that they and the host remainder call.

    Attributes:
        plans: segment name → its fallback.
        kernels: all PrimFuncs to build, those of the host remainder included.
    """

    plans: dict[str, Twin]
    kernels: tvm.IRModule


def make_fallbacks(
    mod: tvm.IRModule,
    artifacts: Sequence[Artifact],
    kernels: tvm.IRModule,
    names: Iterable[str],
    refused: dict[str, str] | None = None,
) -> Fallbacks:
    """Lower segments for the host, so that it can stand in for their vendors.

    Args:
        mod: the partitioned module, whose shapes are static.
        artifacts: what the vendors made, whose constants the fallbacks share.
        kernels: those of the host remainder.
        names: which segments.
        refused: takes up the segments that the host cannot run, with the reason.

    Returns:
        The fallbacks, and all kernels to compile.

    Raises:
        CompileError: the host cannot run a segment and there is no `refused` to tell.
    """
    import tvm

    names = tuple(names)
    if not names:
        return Fallbacks({}, kernels)
    pool = _Pool(dict(kernels.functions_items()))
    functions = segment_functions(mod)
    known = {id(c): c for a in artifacts for c in a.constants}
    plans: dict[str, Twin] = {}
    for name in names:
        try:
            plans[name] = _fallback(name, functions[name], pool, list(known.values()))
        except CompileError as error:
            note_refusal(name, error, refused)
    return Fallbacks(plans, tvm.IRModule(pool.functions))


def segment_functions(mod: tvm.IRModule) -> dict[str, Any]:
    """Find the functions of a partitioned module's segments.

    Args:
        mod: The partitioned module.

    Returns:
        Segment name → its Relax function.
    """
    return {
        str(func.attrs["global_symbol"]): func
        for _, func in mod.functions_items()
        if getattr(func, "attrs", None) is not None and "Codegen" in func.attrs
    }


def note_refusal(name: str, error: CompileError, refused: dict[str, str] | None) -> None:
    """Tell that the host cannot stand in for a segment: in `refused`, or by an error.

    Args:
        name: The segment.
        error: Why the host cannot run it.
        refused: Takes up the segment, with the reason; None where that is an error.

    Raises:
        CompileError: There is no `refused`.
    """
    if refused is None:
        raise CompileError(
            f"segment {name!r} can have no host twin: {error}; compile with heal=False to "
            f"do without"
        ) from error
    refused[name] = str(error)


def _fallback(name: str, func: Any, pool: _Pool, known: list[Any]) -> Twin:
    from byoc import host
    from byoc.ir.lone_function import as_main

    alone = as_main(func)
    main = alone["main"]
    lowered = host.lower(alone, pack=False)
    fields = getattr(main.ret_ty, "fields", None)
    outputs = [f"y{i}" for i in range(1 if fields is None else len(fields))]
    planned = make_plan(
        lowered.main, [f"x{i}" for i in range(len(main.params))], outputs, sources=lowered.sources
    )
    new_names = {
        var.name_hint: pool.add(name, var.name_hint, kernel)
        for var, kernel in lowered.kernels.functions_items()
    }
    tasks = tuple(
        replace(task, function=new_names[task.function]) if task.kind == "host" else task
        for task in planned.plan.tasks
    )
    constants = tuple(same_array(array, known) for array in planned.constants)
    return Twin(replace(planned.plan, tasks=tasks), constants)


class _Pool:
    """Kernels by name; equal ones are compiled once."""

    def __init__(self, functions: dict[Any, Any]) -> None:
        import tvm_ffi

        self._hash = tvm_ffi.structural_hash
        self._equal = tvm_ffi.structural_equal
        self.functions = functions
        self._by_hash: dict[int, list[tuple[str, Any]]] = {}
        for var, kernel in functions.items():
            self._remember(var.name_hint, _bare(kernel))

    def _remember(self, name: str, kernel: Any) -> None:
        self._by_hash.setdefault(self._hash(kernel), []).append((name, kernel))

    def add(self, segment: str, name: str, kernel: Any) -> str:
        """Name under which the kernel is compiled."""
        import tvm

        bare = _bare(kernel)
        for other, candidate in self._by_hash.get(self._hash(bare), ()):
            if self._equal(bare, candidate):
                return other
        new = f"{segment}__{name}"
        self.functions[tvm.ir.GlobalVar(new)] = kernel
        self._remember(new, bare)
        return new


def _bare(kernel: Any) -> Any:
    return kernel.without_attr("global_symbol") if "global_symbol" in kernel.attrs else kernel
