"""`broadcast_to` of dimensions that are 1, or not, only at run time.

TOPI takes a symbolic dimension for the one it is broadcast to, and reads past the end where it is 1
when the model runs. Here such a dimension is looked at::

    y[i] = x[0 if n == 1 else i]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import relax, te, tirx

from byoc.tir.schedule.kernel import extent_of

__all__ = ["BROADCASTS"]


def _broadcast_to(builder: Any, call: Any) -> Any | None:
    """None where nothing is left to the run: TOPI's kernel is right."""
    x, shape = call.args
    have = getattr(x.ty, "shape", None)
    if not isinstance(have, relax.ShapeExpr) or not isinstance(shape, relax.ShapeExpr):
        return None
    lead = len(shape.values) - len(have.values)
    kinds = [_kind(h, w) for h, w in zip(have.values, shape.values[lead:], strict=True)]
    if None not in kinds:
        return None

    def compute(x: te.Tensor, wanted: list[Any]) -> te.Tensor:
        def element(*at: Any) -> Any:
            places = [
                tirx.Select(dim == 1, tirx.const(0, "int64"), i.astype("int64"))
                if kind is None
                else (i if kind else tirx.const(0, "int64"))
                for dim, kind, i in zip(x.shape, kinds, at[lead:], strict=True)
            ]
            return x(*places)

        return te.compute(wanted, element, name="T_broadcast_to", tag="broadcast")

    return builder.call_te(compute, x, list(shape.values), primfunc_name_hint="broadcast_to")


def _kind(have: Any, want: Any) -> bool | None:
    """True for an axis that is kept, False for one that is repeated, None where nobody knows."""
    known, wanted = extent_of(have), extent_of(want)
    if known == 1:
        return False
    if known is not None and known == wanted:
        return True
    return True if bool(tvm.sym.Analyzer().can_prove_equal(have, want)) else None


BROADCASTS: Mapping[str, Callable[[Any, Any], Any]] = {"relax.broadcast_to": _broadcast_to}
"""Op → a legalizer that gives None for what it leaves to TOPI."""
