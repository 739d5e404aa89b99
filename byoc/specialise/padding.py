"""Inputs padded up to a larger size, outputs cut back, and whether the model minded.

::

    x [5, 3] ──pad──▶ [8, 3] ──plan for 8──▶ y [8, 2] ──cut──▶ [5, 2]  ==?  the VM's y [5, 2]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from byoc.dims import size_of
from byoc.segment import Array, PortType

__all__ = ["cut", "difference", "pad"]

_LOOSE, _TIGHT = 2e-2, 1e-3  # of the largest value: 16-bit floats, all others


def pad(
    ports: Sequence[PortType],
    arrays: Sequence[Array],
    sizes: Mapping[str, int],
    fill: Mapping[str, float],
) -> list[Array]:
    """Pad inputs up to the shapes they have for larger sizes.

    Args:
        ports: the model's inputs, in order.
        arrays: what a call gave for them.
        sizes: symbolic dimension → the size to pad to.
        fill: input → value of new elements; 0 where none is named.

    Returns:
        The arrays, new ones where they were padded.
    """
    padded = []
    for port, array in zip(ports, arrays, strict=True):
        shape = _shape(port, sizes)
        if shape != array.shape:
            whole = np.full(shape, fill.get(port.name, 0), array.dtype)
            whole[tuple([slice(n) for n in array.shape])] = array
            array = whole
        padded.append(array)
    return padded


def cut(
    ports: Sequence[PortType], arrays: Sequence[Array], sizes: Mapping[str, int]
) -> list[Array]:
    """Cut padded outputs back to the shapes they have for smaller sizes.

    Args:
        ports: the model's outputs, in order.
        arrays: what a plan made.
        sizes: symbolic dimension → the size that was asked for.

    Returns:
        The arrays, copies where they were cut.
    """
    parts = []
    for port, array in zip(ports, arrays, strict=True):
        part = array[tuple([slice(n) for n in _shape(port, sizes)])]
        parts.append(part if part.shape == array.shape else part.copy())
    return parts


def _shape(port: PortType, sizes: Mapping[str, int]) -> tuple[int, ...]:
    shape = []
    for dim in port.type.shape:
        size = size_of(dim, sizes)
        assert size is not None, (port, dim)  # see `check_outputs`
        shape.append(size)
    return tuple(shape)


def difference(ports: Sequence[PortType], found: list[Array], expected: list[Array]) -> str:
    """Compare two answers to one call.

    Args:
        ports: the model's outputs, in order.
        found: the padded answer, cut back.
        expected: the answer of the symbolic model.

    Returns:
        Which output differs and by how much; "" when all agree within rounding.
    """
    for port, a, b in zip(ports, found, expected, strict=True):
        if a.shape != b.shape:
            return f"output {port.name!r} has shape {a.shape}, not {b.shape}"
        if a.dtype.kind in "biu":
            if not np.array_equal(a, b):
                return f"output {port.name!r} differs in {np.count_nonzero(a != b)} elements"
            continue
        wide_a, wide_b = a.astype("float64"), b.astype("float64")
        same = (wide_a == wide_b) | (np.isnan(wide_a) & np.isnan(wide_b))
        gap = np.where(same, 0.0, np.abs(wide_a - wide_b))
        finite = np.abs(wide_b[np.isfinite(wide_b)])
        scale = max(float(finite.max(initial=0.0)), 1e-6)
        limit = _LOOSE if a.dtype.itemsize == 2 else _TIGHT
        if not np.all(gap <= limit * scale):
            return f"output {port.name!r} differs by {float(gap.max()) / scale:.1e} of its range"
    return ""
