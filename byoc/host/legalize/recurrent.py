"""Recurrent layers as one product for all steps and a call of byoc's runtime for the steps.

    x [T, B, I] ─ matmul w [I, D·G·H] ─▶ [T, B, D·G·H] ─┐
    r b lengths h c p proj ─────────────────────────────┴─ byoc.runtime.kernel.recurrent ─▶ y h c

The steps (runtime/src/kernels/recurrent.h) are a loop whose length may be known only at run time.
They read r and proj in panels of 16 rows; constants are laid out so at compile time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax, te
from tvm.ir import GenericConst

from byoc.ir.arrays import from_numpy, to_numpy
from byoc.segment import Array

__all__ = ["KERNEL", "RECURRENT", "emit_recurrent"]

RECURRENT = "relax.byoc.recurrent"
"""The op, see `byoc.kit.recurrent`."""

KERNEL = "byoc.runtime.kernel.recurrent"
"""The function that takes the steps."""

_GATES: Mapping[str, int] = {"rnn": 1, "gru": 3, "lstm": 4}
_PANEL = 16
"""kPanel of runtime/src/kernels/recurrent.h."""


def emit_recurrent(builder: Any, call: Any, emit: Callable[[Any], Any], pack: bool) -> Any:
    """Emit a recurrent layer.

    Args:
        builder: The block builder of the function.
        call: The op.
        emit: Binds an expression to a variable.
        pack: Lay constant weights out at compile time; else in every call.

    Returns:
        The call of the kernel; its result is a tuple, as that of the op.
    """
    attrs = call.attrs
    names = str(attrs["operands"]).split()
    given = dict(zip(names, call.args[0].fields, strict=True))
    x, w = given.pop("x"), given.pop("w")
    steps, batch, width = x.ty.shape.values
    columns = int(w.ty.shape.values[0]) * int(w.ty.shape.values[1])
    if any(isinstance(d, tvm.tirx.IntImm) and int(d) == 0 for d in (steps, batch)):
        # Of nothing; and in a reshape 0 says "as before".
        gates = emit(relax.op.zeros([steps, batch, columns], str(x.ty.dtype)))
    else:
        rows = emit(relax.op.reshape(x, [steps * batch, width]))
        gates = emit(relax.op.matmul(rows, _turned(w, [columns, width], emit, pack)))
        gates = emit(relax.op.reshape(gates, [steps, batch, columns]))
    for name, count in (("r", _GATES[str(attrs["kind"])]), ("proj", 1)):
        weight = given.get(name)
        if pack and isinstance(weight, GenericConst):
            given[name] = relax.const(from_numpy(_panels(to_numpy(weight.value), count)))
    types = list(call.ty.fields)

    def kernel(*tensors: Any) -> Any:
        return te.extern(
            [list(ty.shape.values) for ty in types],
            list(tensors),
            lambda ins, outs: tvm.tirx.call_packed(
                KERNEL,
                str(attrs["kind"]),
                str(attrs["direction"]),
                " ".join(n for n in names if n != "w"),
                str(attrs["activations"]),
                tvm.tirx.FloatImm("float64", float(attrs["clip"])),
                int(attrs["linear_before_reset"]),
                int(attrs["input_forget"]),
                *ins,
                *outs,
            ),
            name="recurrent",
            dtype=[str(ty.dtype) for ty in types],
        )

    return builder.call_te(kernel, gates, *given.values(), primfunc_name_hint="recurrent")


def _turned(w: Any, shape: list[Any], emit: Callable[[Any], Any], pack: bool) -> Any:
    """w [D, G·H, I] as the right side of a product, [I, D·G·H]."""
    if pack and isinstance(w, GenericConst):
        flat = to_numpy(w.value).reshape([int(d) for d in shape])
        return relax.const(from_numpy(np.ascontiguousarray(flat.T)))
    return emit(relax.op.permute_dims(emit(relax.op.reshape(w, shape)), [1, 0]))


def _panels(weight: Array, gates: int) -> Array:
    """[D, G·N, K] as [D, G, ceil(N / 16), K, 16], gates padded with zeros to whole panels."""
    directions, rows, depth = weight.shape
    size = rows // gates
    count = -(-size // _PANEL)
    padded = np.zeros((directions, gates, count * _PANEL, depth), weight.dtype)
    padded[:, :, :size] = weight.reshape(directions, gates, size, depth)
    panels = padded.reshape(directions, gates, count, _PANEL, depth)
    return np.ascontiguousarray(panels.transpose(0, 1, 2, 4, 3))
