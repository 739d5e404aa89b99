"""Tensor expressions of the ops that matter most; their schedules are in `byoc.tir.schedule`.

In: TE tensors and a tile. Out: TE tensors, marked (``byoc.kernel``) for their schedule.
"""

__all__ = ["conv", "matmul", "row_kernels"]
