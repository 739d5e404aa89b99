"""What the CPU of this process can do, in LLVM's names."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

__all__ = ["cpu_features"]

# Where LLVM's name is not the kernel's with its underscores removed.
_LLVM_NAMES = {
    "pni": "sse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "abm": "lzcnt",
    "bmi1": "bmi",
    "pclmulqdq": "pclmul",
    "rdrand": "rdrnd",
    "asimd": "neon",
    "asimddp": "dotprod",
    "asimdhp": "fullfp16",
    "avx10_1": "avx10.1",
    "avx10_2": "avx10.2",
}
_KEEP_UNDERSCORES = ("amx_",)  # LLVM has "amx-tile"


@cache
def cpu_features() -> frozenset[str] | None:
    """Features of this CPU ("avx512f", "sse4.2", "neon"), or None where the system does not tell.

    Read from /proc/cpuinfo, so that loading an artifact needs no compiler.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    key = "flags" if platform.machine() in ("x86_64", "i686") else "Features"
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return frozenset(_translate(flag) for flag in value.split())
    return None


def _translate(flag: str) -> str:
    if flag.startswith(_KEEP_UNDERSCORES):
        return flag.replace("_", "-")
    return _LLVM_NAMES.get(flag, flag.replace("_", ""))
