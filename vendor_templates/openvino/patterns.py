"""What OpenVINO is offered: one pattern for each op that the shared ONNX exporter can write.

The check is the exporter's own refusal, and what OpenVINO computes otherwise than its graph says,
as the sweep of `byoc.testing.conformance` found it (OpenVINO 2026.2, CPU): int64 in 32 bits, bytes
that saturate, int32 by way of float32, NaN that becomes a number. The engine fuses by itself, so
single ops are enough: neighbours become one segment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byoc.kit.onnx_export import EXPORTABLE, refusal
from byoc.kit.own_ops import RECURRENT
from byoc.kit.patterns import any_call
from byoc.kit.recurrent import Recurrent
from byoc.segment import Node
from byoc.vendor import Match, Pattern, Reject
from byoc.vendor_templates.openvino.spelling import SPELLING

__all__ = ["patterns"]

_EXACT = ("float32", "int32", "int64", "bool", "uint8", "int8")
"""Dtypes that OpenVINO computes in themselves; others it converts, so results would differ."""

_BYTES = ("int8", "uint8")

_MOVES = frozenset(
    {
        "broadcast_to", "concat", "expand_dims", "flatten", "nn.batch_flatten", "nn.pad",
        "permute_dims", "reshape", "split", "squeeze", "strided_slice", "take", "where",
    }
)  # fmt: skip
"""Ops that carry numbers and compute none."""

_WHOLE = {
    "int32": _MOVES
    | {"abs", "add", "clip", "maximum", "minimum", "multiply", "negative", "nn.relu", "sign"}
    | {"square", "subtract"},
    **dict.fromkeys(
        _BYTES,
        _MOVES
        | {"clip", "equal", "greater", "greater_equal", "less", "less_equal"}
        | {"maximum", "minimum", "nn.relu", "sign"},
    ),
}
"""Dtype → ops that are exact in it."""

_WHY = {
    "int32": "computed by way of float32, or saturating",
    "int8": "saturated",
    "uint8": "saturated",
}

_LOSES_NAN = {"argmax", "argmin", "max", "min"}
"""Ops of float32 in which a NaN is passed over, and that have no other spelling (a maximum of
nothing but -inf is not -inf either)."""

_COARSE = {
    "erf": "0 of what is below 1e-4",
    "nn.softplus": "off by 2e-6 below -12, where it is next to nothing",
}
"""Ops of float32 whose small results are not right to a digit."""

_FLOAT_BITS = 1 << 24

_NO_RECIPROCAL = 2.0**126
"""Above it the reciprocal of a float32 is denormal."""


def _check(match: Match) -> Reject | None:
    for node in match.nodes:
        reason = _dtypes(match, node) or _numbers(match, node)
        if reason is not None:
            return Reject(reason)
    reason = refusal(match, SPELLING)
    return None if reason is None else Reject(reason)


def _dtypes(match: Match, node: Node) -> str | None:
    for value in (*node.inputs, *node.outputs):
        dtype = match.type(value).dtype
        if dtype not in _EXACT:
            return (
                f"dtype {dtype} is computed in another dtype by OpenVINO; "
                f"it computes {', '.join(_EXACT[:-1])} and {_EXACT[-1]} as they are"
            )
    return None


def _numbers(match: Match, node: Node) -> str | None:
    """Why OpenVINO would give other numbers."""
    given = [match.type(value).dtype for value in node.inputs]
    made = match.type(node.outputs[0]).dtype
    if node.op == "astype":
        return _cast(given[0], made)
    if node.op == RECURRENT:
        return _recurrent(match, node)
    if node.op == "take":
        given = given[:1]  # indices are checked when the segment runs, see runtime.py
    if "int64" in given or (made == "int64" and node.op not in ("argmax", "argmin")):
        return f"{node.op}: OpenVINO computes int64 in 32 bits on the CPU"
    for dtype in given:
        if dtype in _WHOLE and node.op not in _WHOLE[dtype]:
            return f"{node.op}: {dtype} is {_WHY[dtype]} by OpenVINO on the CPU"
    if given[:1] == ["float32"] and node.op in _LOSES_NAN:
        return f"{node.op}: of float32, OpenVINO passes NaN over on the CPU"
    if node.op in _COARSE:
        return f"{node.op}: OpenVINO's is {_COARSE[node.op]}"
    if node.op == "divide" and made == "float32":
        divisor = match.constant(node.inputs[1])
        if divisor is not None and (np.abs(divisor) > _NO_RECIPROCAL).any():
            return "divide: OpenVINO multiplies by the divisor's reciprocal, which is flushed to 0"
    if node.op == "nn.pad" and made == "int32":
        value = node.attrs.get("pad_value", 0)
        if abs(value) > _FLOAT_BITS:
            return (
                f"nn.pad: OpenVINO holds the padded number in float32, {value:.0f} would be another"
            )
    return None


def _recurrent(match: Match, node: Node) -> str | None:
    """Why OpenVINO would give other numbers for a recurrent layer, or none."""
    layer, steps = Recurrent.of_attrs(node.attrs), match.type(node.inputs[0]).shape[0]
    if not isinstance(steps, int) or steps < 1:
        return f"{node.op}: of no steps, OpenVINO leaves states unwritten"
    if "lengths" in layer.operands:
        return f"{node.op}: OpenVINO has other states after sequences of length 0"
    if not layer.usual or layer.input_forget or "p" in layer.operands:
        return f"{node.op}: OpenVINO computes the usual gates only"
    return None


def _cast(source: str, target: str) -> str | None:
    if source == "int64":
        return f"astype: OpenVINO reads int64 in 32 bits on the CPU, {target} would be of those"
    if target == "int64" and source == "float32":
        return "astype: OpenVINO writes int64 in 32 bits on the CPU"
    if target == "bool" and source in ("float32", "int32"):
        return f"astype: OpenVINO makes False of some {source} that is not 0 (NaN, -2³¹)"
    return None


def patterns() -> Sequence[Pattern]:
    """Return a pattern for every exportable op."""
    return [
        Pattern(name=op.removeprefix("nn.").replace(".", "_"), expr=any_call(op), check=_check)
        for op in sorted(EXPORTABLE)
    ]
