"""How torch lays out a result: the order of its axes in memory.

A compiled model writes its results row by row. Where torch's own result has its axes in another
order (channels-last, a transposed input), the model computes the transposed result, whose rows are
that memory, and the caller looks at it through a view: no pass over the values is added, and a
vendor that has them in that order anyway need not turn them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["hint", "is_dense", "stored_order"]


def hint(size: Any) -> int:
    """Return a size or stride as a number: of a symbolic one, that of torch's example.

    Args:
        size: An int or a `torch.SymInt`.
    """
    return size if isinstance(size, int) else int(size.node.hint)


def stored_order(fake: Any) -> tuple[int, ...]:
    """Return a tensor's axes from the slowest to the fastest; axes of size 1 stay where they are.

    Args:
        fake: The tensor that torch computed while tracing.
    """
    sizes, strides = [hint(s) for s in fake.shape], [hint(s) for s in fake.stride()]
    if 0 in sizes:
        return tuple(range(len(sizes)))
    wide = [i for i, size in enumerate(sizes) if size != 1]
    ordered = iter(sorted(wide, key=lambda i: (-strides[i], i)))
    return tuple(i if size == 1 else next(ordered) for i, size in enumerate(sizes))


def is_dense(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Return True where the elements fill their memory without gaps and overlap.

    Args:
        sizes: Of each axis.
        strides: Of each axis, in elements.
    """
    expected = 1
    for size, stride in sorted(zip(sizes, strides, strict=True), key=lambda p: (p[1], p[0])):
        if size != 1 and stride != expected:
            return size == 0 or 0 in sizes
        expected *= size
    return True
