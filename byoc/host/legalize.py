"""Ops to kernels: byoc's own where they matter, TOPI's for the rest, views for reshapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import relax
from tvm.relax import transform

from .emit import emit_conv, emit_matmul
from .spelled import SPELLED
from .target import Machine

__all__ = ["legalize"]

Legalizer = Callable[[Any, Any], Any]


def _as_reshape(builder: Any, call: Any) -> Any:
    """flatten, squeeze and expand_dims move no data: ``reshape(x, shape of the result)``."""
    return relax.op.reshape(call.args[0], call.ty.shape)


_VIEWS: Mapping[str, Legalizer] = {
    "relax.expand_dims": _as_reshape,
    "relax.flatten": _as_reshape,
    "relax.squeeze": _as_reshape,
}


def _conv2d(machine: Machine) -> Legalizer:
    def legalize_conv2d(builder: Any, call: Any) -> Any:
        attrs = call.attrs
        if (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) != ("NCHW", "OIHW", "NCHW"):
            return _stock("relax.nn.conv2d")(builder, call)
        return emit_conv(builder, call, machine)

    return legalize_conv2d


def _matmul(machine: Machine) -> Legalizer:
    def legalize_matmul(builder: Any, call: Any) -> Any:
        mine = emit_matmul(builder, call, machine)
        return _stock("relax.matmul")(builder, call) if mine is None else mine

    return legalize_matmul


def _stock(op: str) -> Legalizer:
    """TVM's own legalisation of an op."""
    function: Legalizer = tvm.ir.Op.get(op).get_attr("FLegalize")
    return function


def legalize(mod: tvm.IRModule, machine: Machine) -> tvm.IRModule:
    """Replace every op by a call of a PrimFunc, except `relax.reshape`, which stays a view."""
    table = {**_VIEWS, **SPELLED, "relax.nn.conv2d": _conv2d(machine), "relax.matmul": _matmul(machine)}
    return transform.LegalizeOps(table, skip_ops=["relax.reshape"])(mod)
