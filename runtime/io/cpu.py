"""What the CPU of this process can do, in LLVM's names."""

from __future__ import annotations

from byoc.runtime.native import function

__all__ = ["cpu_features"]


def cpu_features() -> frozenset[str] | None:
    """Tell what the CPU of this machine can do, as loading an artifact sees it; no compiler needed.

    Returns:
        Features in LLVM's names ("avx512f", "sse4.2", "neon"); None where the system does not tell.

    """
    features = function("cpu_features")()
    return None if features is None else frozenset(map(str, features))
