"""Ops to kernels: byoc's own where they matter, TOPI's for the rest, views for reshapes.

In: a module of Relax ops. Out: one of calls of PrimFuncs, not yet fused or scheduled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import tvm
from tvm import relax
from tvm.relax import transform

from byoc.host.emit import (
    emit_conv,
    emit_layer_norm,
    emit_matmul,
    emit_rms_norm,
    emit_softmax,
    emit_transposed_conv,
)
from byoc.host.legalize.arg_reductions import ARG_REDUCTIONS
from byoc.host.legalize.broadcast import BROADCASTS
from byoc.host.legalize.hyperbolic import HYPERBOLIC
from byoc.host.legalize.many_parts import MANY_PARTS
from byoc.host.legalize.max_pools import MAX_POOLS
from byoc.host.legalize.minmax_reductions import MINMAX_REDUCTIONS
from byoc.host.legalize.not_numbers import NOT_NUMBERS
from byoc.host.legalize.type_promotion import PROMOTED
from byoc.tir.target import Machine

__all__ = ["legalize"]

Legalizer = Callable[[Any, Any], Any]

Emitter = Callable[[Any, Any, Machine], Any]
"""Like a legalizer, for a machine; gives None for what it leaves to TOPI."""


def _as_reshape(builder: Any, call: Any) -> Any:
    """flatten, squeeze and expand_dims move no data: ``reshape(x, shape of the result)``."""
    return relax.op.reshape(call.args[0], call.ty.shape)


_VIEWS: Mapping[str, Legalizer] = {
    "relax.expand_dims": _as_reshape,
    "relax.flatten": _as_reshape,
    "relax.squeeze": _as_reshape,
}


def _stock(op: str) -> Legalizer:
    """TVM's own legalisation of an op."""
    function: Legalizer = tvm.ir.Op.get(op).get_attr("FLegalize")
    return function


_WEIGHTED: Mapping[str, Callable[..., Any]] = {
    "relax.matmul": emit_matmul,
    "relax.nn.conv1d": emit_conv,
    "relax.nn.conv1d_transpose": emit_transposed_conv,
    "relax.nn.conv2d": emit_conv,
    "relax.nn.conv2d_transpose": emit_transposed_conv,
    "relax.nn.conv3d": emit_conv,
    "relax.nn.conv3d_transpose": emit_transposed_conv,
}
"""Emitters that pack constant weights, unless told ``pack=False``."""

_EMITTERS: Mapping[str, Emitter] = {
    "relax.nn.layer_norm": emit_layer_norm,
    "relax.nn.log_softmax": partial(emit_softmax, log=True),
    "relax.nn.rms_norm": emit_rms_norm,
    "relax.nn.softmax": partial(emit_softmax, log=False),
}


def _or_stock(op: str, emit: Legalizer) -> Legalizer:
    """`emit`, and TVM's own legalisation of an op where it gives None."""

    def legalizer(builder: Any, call: Any) -> Any:
        mine = emit(builder, call)
        return _stock(op)(builder, call) if mine is None else mine

    return legalizer


def legalize(mod: tvm.IRModule, machine: Machine, *, pack: bool = True) -> tvm.IRModule:
    """Replace every op by a call of a PrimFunc, except `relax.reshape`, which stays a view.

    Args:
        mod: The module, segments taken out and large ops decomposed.
        machine: What tiles are chosen for.
        pack: Lay constant weights out anew at compile time; else kernels do, in every call.

    """
    weighted = {op: partial(emit, pack=pack) for op, emit in _WEIGHTED.items()}
    emitters: dict[str, Callable[..., Any]] = {**_EMITTERS, **weighted}
    own: dict[str, Legalizer] = {
        **BROADCASTS,
        **PROMOTED,
        **MINMAX_REDUCTIONS,
        **ARG_REDUCTIONS,
        **MANY_PARTS,
        **MAX_POOLS,
        **NOT_NUMBERS,
    }
    own.update((op, partial(emit, machine=machine)) for op, emit in emitters.items())
    stocked = {op: _or_stock(op, emit) for op, emit in own.items()}
    table = {**_VIEWS, **HYPERBOLIC, **stocked}
    return transform.LegalizeOps(table, skip_ops=["relax.reshape"])(mod)
