"""Softmax and normalisations over the last axis: everything about one row happens at once.

A row of E elements is reduced lane by lane, whatever E is, and stays in the L1 cache between
the passes over it::

    x  |--------main: E // 16 vectors--------|-tail-|
        lanes[16] = op over vectors            op over elements
            └── op over lanes ──┬──────────────┘
                               row
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx

__all__ = ["layer_norm", "rms_norm", "softmax"]

_Read = Callable[..., Any]


def _larger(a: Any, b: Any) -> Any:
    """The larger of two, whichever of a number and NaN: softmax is NaN by its sum anyway."""
    return tirx.Select(a > b, a, b)


_LARGEST = te.comm_reducer(
    lambda a, b: _larger(a, b),  # it looks at the arguments of a Python function
    te.min_value,
)


class _Rows:
    """Reductions over rows of `length`, one value for each index of `outer`."""

    def __init__(self, outer: Sequence[Any], length: Any, lanes: int) -> None:
        self.outer, self.length, self.lanes = list(outer), length, lanes

    def fold(self, name: str, read: _Read, combine: Any, join: Callable[[Any, Any], Any]) -> _Read:
        """A reader of the rows' ``combine(read(*row, j) for j in range(length))``."""
        outer, lanes = self.outer, self.lanes
        # A symbolic length has both parts; either may turn out empty.
        main, tail = self.length // lanes, self.length % lanes
        static = isinstance(self.length, int)
        parts: list[te.Tensor] = []
        if not static or main:
            step = te.reduce_axis((0, main), "step")
            partial = te.compute(
                (*outer, lanes),
                lambda *i: combine(read(*i[:-1], step * lanes + i[-1]), axis=[step]),
                name=f"{name}_lanes",
            )
            lane = te.reduce_axis((0, lanes), "lane")
            parts.append(
                te.compute(
                    tuple(outer),
                    lambda *i: combine(partial(*i, lane), axis=[lane]),
                    name=f"{name}_row",
                )
            )
        if not static or tail:
            rest = te.reduce_axis((0, tail), "rest")
            parts.append(
                te.compute(
                    tuple(outer),
                    lambda *i: combine(read(*i, main * lanes + rest), axis=[rest]),
                    name=f"{name}_tail",
                )
            )

        def row(*i: Any) -> Any:
            values = [part(*i) for part in parts]
            return values[0] if len(values) == 1 else join(*values)

        return row

    @property
    def size(self) -> Any:
        """The length as a float32 expression."""
        if isinstance(self.length, int):
            return tirx.const(self.length, "float32")
        return self.length.astype("float32")

    def sum(self, name: str, read: _Read) -> _Read:
        """Row sums."""
        return self.fold(name, read, te.sum, lambda a, b: a + b)

    def map(self, name: str, value: _Read, dtype: str, last: bool = False) -> te.Tensor:
        """An element-wise stage; the `last` one marks the kernel for its schedule."""
        attrs = {"byoc.kernel": "rows"} if last else None
        return te.compute(
            (*self.outer, self.length), lambda *i: value(*i).astype(dtype), name=name, attrs=attrs
        )


def _rows(x: te.Tensor, lanes: int) -> tuple[_Rows, _Read]:
    length = x.shape[-1]
    rows = _Rows(x.shape[:-1], int(length) if isinstance(length, tirx.IntImm) else length, lanes)
    return rows, lambda *i: x(*i).astype("float32")


def softmax(x: te.Tensor, *, lanes: int, log: bool) -> te.Tensor:
    """Build softmax over the last axis, computed in float32.

    Args:
        x: [..., E].
        lanes: float32 elements of a vector register.
        log: Give the logarithm instead.

    """
    rows, read = _rows(x, lanes)
    top = rows.fold("top", read, _LARGEST, _larger)
    power = rows.map("power", lambda *i: tirx.exp(read(*i) - top(*i[:-1])), "float32")
    total = rows.sum("total", power)
    if log:
        return rows.map(
            "log_softmax",
            lambda *i: read(*i) - top(*i[:-1]) - tirx.log(total(*i[:-1])),
            str(x.dtype),
            last=True,
        )
    inverse = te.compute(tuple(rows.outer), lambda *i: tirx.const(1, "float32") / total(*i))
    return rows.map("softmax", lambda *i: power(*i) * inverse(*i[:-1]), str(x.dtype), last=True)


def layer_norm(
    x: te.Tensor, scale: te.Tensor, shift: te.Tensor, *, lanes: int, eps: float
) -> te.Tensor:
    """Build ``(x - mean) / sqrt(variance + eps) * scale + shift`` over the last axis.

    Args:
        x: [..., E].
        scale: [E].
        shift: [E].
        lanes: float32 elements of a vector register.
        eps: Keeps the root away from 0.

    """
    rows, read = _rows(x, lanes)
    size = rows.size
    sums = rows.sum("sum", read)
    mean = te.compute(tuple(rows.outer), lambda *i: sums(*i) / size, name="mean")
    centred = rows.map("centred", lambda *i: read(*i) - mean(*i[:-1]), "float32")
    squares = rows.sum("squares", lambda *i: centred(*i) * centred(*i))
    factor = _inverse_root(rows, squares, size, eps)
    return rows.map(
        "layer_norm",
        lambda *i: centred(*i) * factor(*i[:-1]) * _f32(scale, i) + _f32(shift, i),
        str(x.dtype),
        last=True,
    )


def rms_norm(x: te.Tensor, scale: te.Tensor, *, lanes: int, eps: float) -> te.Tensor:
    """Build ``x / sqrt(mean(x²) + eps) * scale`` over the last axis.

    Args:
        x: [..., E].
        scale: [E].
        lanes: float32 elements of a vector register.
        eps: Keeps the root away from 0.

    """
    rows, read = _rows(x, lanes)
    squares = rows.sum("squares", lambda *i: read(*i) * read(*i))
    factor = _inverse_root(rows, squares, rows.size, eps)
    return rows.map(
        "rms_norm",
        lambda *i: read(*i) * factor(*i[:-1]) * _f32(scale, i),
        str(x.dtype),
        last=True,
    )


def _inverse_root(rows: _Rows, squares: _Read, size: Any, eps: float) -> te.Tensor:
    one, small = tirx.const(1, "float32"), tirx.const(eps, "float32")
    return te.compute(
        tuple(rows.outer), lambda *i: one / tirx.sqrt(squares(*i) / size + small), name="factor"
    )


def _f32(weights: te.Tensor, index: Sequence[Any]) -> Any:
    return weights(index[-1]).astype("float32")
