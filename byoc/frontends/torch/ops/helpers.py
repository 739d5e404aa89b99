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
    """One number for every spatial axis: torch lets one stand for all."""
    numbers = [int(v) for v in value]
    return numbers * rank if len(numbers) == 1 else numbers


def batched(c: TorchContext, x: Any, rank: int) -> Any:
    """Pools and convolutions also take one item without its batch axis."""
    if x.ty.ndim == rank + 1:
        return c.emit(R.expand_dims(x, 0)), True
    return x, False
