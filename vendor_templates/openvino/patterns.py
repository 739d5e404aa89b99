"""What OpenVINO is offered: one pattern for each op that the shared ONNX exporter can write.

The check is the exporter's own refusal, and OpenVINO's dtypes. The engine fuses by itself, so
single ops are enough: neighbours become one segment.
"""

from __future__ import annotations

from collections.abc import Sequence

from byoc.kit.onnx_export import EXPORTABLE, refusal
from byoc.kit.patterns import any_call
from byoc.vendor import Match, Pattern, Reject

__all__ = ["patterns"]

_EXACT = ("float32", "int32", "int64", "bool", "uint8", "int8")
"""Dtypes that OpenVINO computes in themselves; others it converts, so results would differ."""


def _check(match: Match) -> Reject | None:
    for node in match.nodes:
        for value in (*node.inputs, *node.outputs):
            dtype = match.type(value).dtype
            if dtype not in _EXACT:
                return Reject(
                    f"dtype {dtype} is computed in another dtype by OpenVINO; "
                    f"it computes {', '.join(_EXACT[:-1])} and {_EXACT[-1]} as they are"
                )
    reason = refusal(match)
    return None if reason is None else Reject(reason)


def patterns() -> Sequence[Pattern]:
    """Return a pattern for every exportable op."""
    return [
        Pattern(name=op.removeprefix("nn.").replace(".", "_"), expr=any_call(op), check=_check)
        for op in sorted(EXPORTABLE)
    ]
