"""From a partitioned model to a `Program`: vendors' artifacts, host kernels, memory plan."""

__all__ = [
    "background",
    "child_process",
    "compiler_lock",
    "fallback",
    "foreign_ops",
    "memory_plan",
    "program",
    "progress",
    "readiness",
    "segments",
    "vm_fallback",
]
