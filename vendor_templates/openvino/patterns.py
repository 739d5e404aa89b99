"""One pattern per op the shared exporter can write; its refusal is the check."""

from __future__ import annotations

from collections.abc import Sequence

from byoc.kit.onnx_export import EXPORTABLE, refusal
from byoc.kit.patterns import any_call
from byoc.vendor import Match, Pattern, Reject

__all__ = ["patterns"]

_DTYPES = ("float32", "int32", "int64", "bool", "uint8", "int8")


def _check(match: Match) -> Reject | None:
    for node in match.nodes:
        for value in (*node.inputs, *node.outputs):
            dtype = match.type(value).dtype
            if dtype not in _DTYPES:
                return Reject(f"dtype {dtype} is computed in another one; expected {_DTYPES}")
    reason = refusal(match)
    return None if reason is None else Reject(reason)


def patterns() -> Sequence[Pattern]:
    """Every exportable op on its own: the engine fuses by itself."""
    return [
        Pattern(name=op.removeprefix("nn.").replace(".", "_"), expr=any_call(op), check=_check)
        for op in sorted(EXPORTABLE)
    ]
