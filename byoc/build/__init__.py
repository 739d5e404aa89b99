"""From a partitioned model to a `Program`: vendors' artifacts, host kernels, memory plan."""

__all__ = ["background", "child_process", "fallback", "memory_plan", "program", "vm_fallback"]
