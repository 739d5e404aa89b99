"""The processor that host kernels are compiled for.

In: this machine. Out: what schedules and artifacts need to know of it. `Target.from_device("cpu")`
asks LLVM for the CPU's name. (The spelling ``mcpu="native"`` is accepted by TVM, logs a warning and
generates code for a generic SSE machine.)
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

import tvm

from byoc.tir.features import cpu_features_of_llvm

__all__ = ["Machine", "host_machine"]

_VECTOR_BITS = (("avx512f", 512), ("avx2", 256), ("neon", 128), ("sse2", 128))

# Features that change which instructions LLVM emits for our kernels. The rest of what a CPU
# reports (virtualisation, timers, cache control) would only keep artifacts from loading, and so
# would those that LLVM uses for intrinsics alone (AMX): `byoc.tir.features` finds them in kernels.
_CODEGEN_FEATURE = re.compile(
    r"^(avx\w*|fma|f16c|bmi2?|s?sse[\w.]*|popcnt|lzcnt|movbe|gfni|neon|sve\w*|dotprod|bf16|i8mm"
    r"|fullfp16)$"
)


@dataclass(frozen=True)
class Machine:
    """The CPU that kernels are made for.

    Attributes:
        target: TVM's target.
        features: LLVM's names of the CPU features that code may use.
        vector_bits: Width of the widest vector register.
        registers: How many of them there are.
        threads: Threads a parallel kernel runs on (a hint: kernels are right on any number).

    """

    target: Any
    features: tuple[str, ...]
    vector_bits: int
    registers: int
    threads: int

    @property
    def triple(self) -> str:
        """LLVM's target triple ("x86_64-unknown-linux-gnu")."""
        return str(self.target.attrs.get("mtriple", ""))

    @property
    def cpu(self) -> str:
        """LLVM's name of the CPU ("znver3")."""
        return str(self.target.attrs.get("mcpu", ""))

    def lanes(self, dtype: str) -> int:
        """Return how many elements of a dtype one vector register holds, at least 1."""
        return max(1, self.vector_bits // max(8, int(tvm.DataType(dtype).bits)))


@functools.cache
def _cpu() -> tuple[Any, tuple[str, ...], int]:
    target = tvm.target.Target.from_device("cpu")
    present = {f for f in cpu_features_of_llvm() if _CODEGEN_FEATURE.match(f)}
    bits = next((width for name, width in _VECTOR_BITS if name in present), 128)
    return target, tuple(sorted(present)), bits


def host_machine(threads: int = 1) -> Machine:
    """Return the CPU this process runs on.

    Args:
        threads: Threads that kernels are made for.

    """
    target, features, bits = _cpu()
    registers = 32 if bits == 512 or "neon" in features else 16
    return Machine(target, features, bits, registers, threads)
