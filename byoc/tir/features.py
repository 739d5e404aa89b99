"""Which CPU features kernels need beyond what LLVM is told it may use: those of intrinsics.

In: PrimFuncs. Out: LLVM's names of features. LLVM stops the process at an instruction that its
target does not have, and a file whose code has one would stop another process; so both are asked
before. An intrinsic that no rule knows is its author's to declare (`HostArtifact.requires`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call
from tvm.target.codegen import llvm_get_intrinsic_name

from byoc.errors import CompileError

__all__ = ["check_features", "cpu_features_of_llvm", "features_of_intrinsic", "kernel_features"]

_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"x86\.tdpb[su]{2}d", ("amx-int8", "amx-tile")),
    (r"x86\.tdpbf16ps", ("amx-bf16", "amx-tile")),
    (r"x86\.tdpfp16ps", ("amx-fp16", "amx-tile")),
    (r"x86\.(ld|st)?tile", ("amx-tile",)),
    (r"x86\.avx512\.vpdp", ("avx512vnni",)),
    (r"x86\.avx512bf16\.", ("avx512bf16",)),
    (r"x86\.avx512fp16\.", ("avx512fp16",)),
    (r"x86\.avx512\.", ("avx512f",)),
    (r"x86\.avx2\.", ("avx2",)),
    (r"aarch64\.neon\.[su]dot", ("dotprod",)),
    (r"aarch64\.neon\.u?s?u?mmla", ("i8mm",)),
    (r"aarch64\.neon\.bf", ("bf16",)),
    (r"aarch64\.neon\.", ("neon",)),
    (r"aarch64\.sve\.", ("sve",)),
)
"""The first that fits the name of an intrinsic, without "llvm.", counts."""

_CALLS = ("tirx.call_llvm_intrin", "tirx.call_llvm_pure_intrin")


def features_of_intrinsic(name: str) -> tuple[str, ...]:
    """Return the CPU features that an intrinsic of LLVM needs, as far as byoc knows.

    Args:
        name: With its prefix ("llvm.x86.avx512.vpdpbusd.512").
    """
    bare = name.removeprefix("llvm.")
    return next((found for rule, found in _RULES if re.match(rule, bare)), ())


def kernel_features(kernels: tvm.IRModule) -> tuple[str, ...]:
    """Return the CPU features that the intrinsics in kernels need.

    Args:
        kernels: Functions of other kinds are left out.
    """
    found: set[str] = set()

    def visit(call: Any) -> None:
        if getattr(call.op, "name", "") in _CALLS:
            number = getattr(call.args[0], "value", None)
            if isinstance(number, int):
                found.update(features_of_intrinsic(str(llvm_get_intrinsic_name(number))))

    for _, func in kernels.functions_items():
        if isinstance(func, tirx.PrimFunc):
            tvm_ffi.structural_walk(func.body, (Call, visit))
    return tuple(sorted(found))


@functools.cache
def cpu_features_of_llvm() -> frozenset[str]:
    """Return what the CPU of this machine can do, in LLVM's names."""
    probe = tvm_ffi.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures", allow_missing=True)
    found = probe() if probe is not None else {}
    return frozenset(str(feature) for feature, on in found.items() if on)


def check_features(used: Iterable[str], present: Collection[str] | None = None) -> None:
    """Refuse kernels that this CPU cannot run, before LLVM meets them.

    Args:
        used: What `kernel_features` found.
        present: What there is; default: what the CPU of this machine has.

    Raises:
        CompileError: A feature is missing.
    """
    there = cpu_features_of_llvm() if present is None else present
    missing = [feature for feature in used if feature not in there]
    if missing:
        raise CompileError(
            f"kernels use instructions that this CPU lacks: {', '.join(missing)}; compile the "
            f"model on a machine that has them, or without the vendor that gave the kernels"
        )
