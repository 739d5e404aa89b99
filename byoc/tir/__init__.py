"""A toolbox for CPU kernels in TensorIR: the target, tensor expressions, schedules."""

__all__ = ["fast_math", "kernels", "nan_safe", "schedule", "target"]
