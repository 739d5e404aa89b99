"""Foreign ops: nodes that Relax cannot express, kept whole for a vendor that runs their format.

    LSTM(x, w, r) ──▶ y, y_h          relax.byoc.onnx((x, w, r), op="LSTM", model=…) : (type, type)
    acme::nms(x) ──▶ y                relax.byoc.torch((x,), op="acme::nms.default", steps=…) : type

One call stands for one node, or for several connected ones whose inner values have no place in
Relax (sequences, strings, complex numbers, tensors whose shape depends on data). The call is an
ordinary pure op: `partition` sees its name, its tensors and its attributes, a vendor takes it by a
pattern on ``byoc.onnx`` or ``byoc.torch``, and what no vendor takes is refused by `byoc.build`,
since the host has no kernel.

Attributes (all text): op, the operators; node, their names; reason, why Relax cannot express
them. Of ONNX nodes: model, a serialised `onnx.ModelProto` in base64 whose graph inputs and outputs
are those of the call, in order; boxes, the ports that are no tensors ("i0 o1"), see `boxed_ports`.
Of operators of PyTorch: steps, see `byoc.kit.torch_steps`. Types are declared (`ty_args`), not
inferred.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from byoc.kit.own_ops import FOREIGN, ONNX, TORCH, own_call

if TYPE_CHECKING:
    import onnx

__all__ = ["FOREIGN", "OP", "TORCH", "boxed_ports", "model_of", "opaque_call"]

OP = ONNX
"""The name of the op that holds ONNX nodes, as `byoc.Node.op` spells it."""


def opaque_call(
    model: onnx.ModelProto,
    inputs: Sequence[Any],
    types: Sequence[Any],
    *,
    op: str,
    node: str,
    reason: str,
    boxes: Sequence[str] = (),
) -> Any:
    """Build the Relax call that stands for ONNX nodes.

    Args:
        model: The nodes, as a model whose graph inputs and outputs are those of the call, in order.
        inputs: Relax tensors, one per graph input.
        types: Relax tensor types, one per graph output.
        op: The ONNX operators, for messages and patterns ("LSTM").
        node: Names of the nodes in the model file.
        reason: Why Relax cannot express them, one sentence.
        boxes: The ports ("i0", "o0") that are no tensors of numbers; the tensor there is a handle.

    Returns:
        The call; its result is a tuple unless there is one output.

    """
    text = base64.b64encode(model.SerializeToString(deterministic=True)).decode()
    fields = {"op": op, "node": node, "reason": reason, "model": text, "boxes": " ".join(boxes)}
    return own_call(OP, inputs, types, fields)


def model_of(attrs: Mapping[str, Any]) -> onnx.ModelProto:
    """Return the ONNX model of an opaque node.

    Args:
        attrs: The node's attributes (`byoc.segment.Node.attrs`).

    """
    import onnx

    return onnx.ModelProto.FromString(base64.b64decode(attrs["model"]))


def boxed_ports(attrs: Mapping[str, Any]) -> tuple[frozenset[int], frozenset[int]]:
    """Return which ports of an opaque node are no tensors of numbers.

    The tensor there is a handle (`byoc.runtime.value_handles`); the type is that of the model's
    port.

    Args:
        attrs: The node's attributes.

    Returns:
        Positions of such inputs, and of such outputs.

    The tensor there is a handle (`byoc.runtime.value_handles`); its type is that of the port.
    """
    words = str(attrs["boxes"]).split()
    return tuple(  # type: ignore[return-value]
        frozenset(int(w[1:]) for w in words if w[0] == kind) for kind in "io"
    )
