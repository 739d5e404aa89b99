"""What convolutions and pools share: layouts by rank, numbers for each dimension, batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from byoc.frontends.torch.context import TorchContext

__all__ = ["LAYOUTS", "batched", "each"]

R = relax.op

LAYOUTS = {1: ("NCW", "OIW", "IOW"), 2: ("NCHW", "OIHW", "IOHW"), 3: ("NCDHW", "OIDHW", "IODHW")}
"""Number of spatial dimensions → layouts of data, of weights, of weights of the transposed."""


def each(value: Sequence[int], rank: int) -> list[int]:
    """Return one number for every spatial axis: torch lets one stand for all.

    Args:
        value: One number, or one for each axis.
        rank: How many spatial axes there are.
    """
    numbers = [int(v) for v in value]
    return numbers * rank if len(numbers) == 1 else numbers


def batched(c: TorchContext, x: Any, rank: int) -> Any:
    """Return a tensor with a batch axis, which torch lets pools and convolutions go without.

    Args:
        c: The operator.
        x: One item, of rank + 1 dimensions, or a batch of them.
        rank: How many spatial axes there are.

    Returns:
        The batch, and whether an axis was added.
    """
    if x.ty.ndim == rank + 1:
        return c.emit(R.expand_dims(x, 0)), True
    return x, False
