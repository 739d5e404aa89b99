"""What ONNX Runtime is offered: every op that the shared ONNX exporter can write, and opaque nodes.

The check is the exporter's own refusal, and a table of kernels that ONNX Runtime lacks. An opaque
node is ONNX that Relax cannot express; nothing is asked of it before the segment is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence

from byoc.kit.foreign_op import OP, register
from byoc.kit.onnx_export import EXPORTABLE, refusal
from byoc.kit.patterns import any_call
from byoc.vendor import Match, Pattern, Reject

__all__ = ["patterns"]


_NO_KERNEL = {
    "bool": {"where"},
    "float64": {
        "acos", "asin", "atan", "cosh", "erf", "nn.gelu", "nn.leakyrelu", "sinh", "tan",
        *(f"nn.{kind}avg_pool{d}d" for kind in ("", "adaptive_") for d in (1, 2, 3)),
    },
    "int64": {"nn.relu"},
}  # fmt: skip
"""What ONNX defines and ONNX Runtime (1.31) has no kernel for on the CPU: a model that holds
one is refused as a whole. Of bfloat16 it has hardly any."""


def _check(match: Match) -> Reject | None:
    reason = refusal(match)
    if reason is not None:
        return Reject(reason)
    for node in match.nodes:
        dtype = match.type(node.outputs[0]).dtype
        if "bfloat16" in (dtype, *(match.type(name).dtype for name in node.inputs)):
            return Reject(f"{node.op}: ONNX Runtime has few kernels of bfloat16 on the CPU")
        if node.op in _NO_KERNEL.get(dtype, ()):
            return Reject(f"{node.op}: ONNX Runtime has no kernel of {dtype} on the CPU")
    return None


def patterns() -> Sequence[Pattern]:
    """Return the pattern of opaque nodes and one for every exportable op (the engine fuses)."""
    register()
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
