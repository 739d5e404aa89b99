"""What ONNX Runtime is offered: every op that the shared ONNX exporter can write, and opaque nodes.

The check is the exporter's own refusal, and a table of kernels that ONNX Runtime lacks. An opaque
node is ONNX that Relax cannot express; nothing is asked of it before the segment is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byoc.kit.foreign_op import OP
from byoc.kit.onnx_export import EXPORTABLE, Export, refusal
from byoc.kit.onnx_export.nan_keeping import highest
from byoc.kit.own_ops import RECURRENT
from byoc.kit.patterns import any_call
from byoc.kit.recurrent import Recurrent
from byoc.segment import Node
from byoc.vendor import Match, Pattern, Reject

__all__ = ["SPELLING", "patterns"]


_NO_KERNEL = {
    "bool": {"where"},
    "float64": {
        "acos", "asin", "atan", "cosh", "erf", "nn.gelu", "nn.leakyrelu", "sinh", "tan",
        "nn.instance_norm", "nn.softplus",
        *(f"nn.{kind}avg_pool{d}d" for kind in ("", "adaptive_") for d in (1, 2, 3)),
        *(f"nn.conv{d}d{kind}" for kind in ("", "_transpose") for d in (1, 2, 3)),
    },
    "int64": {"nn.relu"},
}  # fmt: skip
"""What ONNX defines and ONNX Runtime (1.31) has no kernel for on the CPU: a model that holds
one is refused as a whole. Of bfloat16 it has hardly any."""

_FLOATS = ("float16", "float32", "float64")
_INEXACT = {
    **dict.fromkeys(
        _FLOATS,
        dict.fromkeys(("argmax", "argmin"), "ONNX Runtime passes NaN over"),
    ),
    **dict.fromkeys(
        ("int32", "int64"),
        {"power": "ONNX Runtime computes it in float64"}
        | dict.fromkeys(("mean", "prod", "sum"), "ONNX Runtime saturates or rounds it"),
    ),
}
_INEXACT["float64"] = _INEXACT["float64"] | {
    "nn.gelu_tanh": "ONNX Runtime rounds its coefficients to float32"
}
"""Dtype of the first input → op → what ONNX Runtime gives other numbers for, as the sweep of
`byoc.testing.conformance` found it."""

SPELLING: dict[str, Export] = {
    "max": highest("max"),
    "min": highest("min", -1.0),
    **{
        op: highest(op, from_least=True)
        for op in ("nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d")
    },
}
"""Relax op → how it is written instead of the usual way: reductions lose NaN."""

_ENDS_THE_PROCESS = (0, -1)
"""Whole divisors that trap: 0 always, -1 below the least number."""


def _check(match: Match) -> Reject | None:
    reason = refusal(match, SPELLING)
    if reason is not None:
        return Reject(reason)
    for node in match.nodes:
        dtype = match.type(node.outputs[0]).dtype
        if "bfloat16" in (dtype, *(match.type(name).dtype for name in node.inputs)):
            return Reject(f"{node.op}: ONNX Runtime has few kernels of bfloat16 on the CPU")
        if node.op in _NO_KERNEL.get(dtype, ()):
            return Reject(f"{node.op}: ONNX Runtime has no kernel of {dtype} on the CPU")
        given = match.type(node.inputs[0]).dtype
        inexact = _INEXACT.get(given, {}).get(node.op)
        if inexact is not None:
            return Reject(f"{node.op}: {inexact} ({given})")
        if node.op == RECURRENT:
            unsafe = _recurrent(match, node)
            if unsafe is not None:
                return Reject(f"{node.op}: {unsafe}")
        if node.op == "divide" and dtype.startswith(("int", "uint")):
            divisor = match.constant(node.inputs[1])
            if divisor is None or np.isin(divisor, _ENDS_THE_PROCESS).any():
                return Reject(
                    f"divide: a whole divisor ({dtype}) that may be 0 or -1 ends the process in "
                    f"ONNX Runtime (the processor's division traps)"
                )
    return None


def _recurrent(match: Match, node: Node) -> str | None:
    """Why ONNX Runtime must not be given a recurrent layer."""
    layer, x = Recurrent.of_attrs(node.attrs), match.type(node.inputs[0])
    if x.dtype != "float32":
        return f"ONNX Runtime has no kernel of {x.dtype} on the CPU"
    if not all(isinstance(size, int) and size > 0 for size in x.shape[:2]):
        return "where there are no steps or rows ONNX Runtime ends the process"
    if layer.kind != "rnn" or not layer.usual:
        return "ONNX Runtime makes numbers of NaN in its gates, but for an RNN of tanh"
    return None


def patterns() -> Sequence[Pattern]:
    """Return the pattern of opaque nodes and one for every exportable op (the engine fuses)."""
    opaque = Pattern(name="opaque", expr=any_call(OP))
    return [
        opaque,
        *(
            Pattern(
                name=op.removeprefix("nn.").replace(".", "_"),
                expr=any_call(op),
                check=_check,
            )
            for op in sorted(EXPORTABLE)
        ),
    ]
