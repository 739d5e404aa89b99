"""Inputs that decide shapes, and models with their values filled in.

Some models read at run time what others hold as constants: the axes of a reduction, the sizes of a
Resize, the k of a TopK. A compiler needs them. `deciding_inputs` finds them, walking back from such
operands; `with_constants` makes the model for given values::

    axes ─ Mul ─ ReduceSum[1]       axes decides the shape of the result
    x ─ Shape ─ Gather ─ Reshape[1] x does not: its shape is known, its values do not matter
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from byoc.errors import ModelError
from byoc.frontends.onnx.nodes import captured, domain_of

__all__ = [
    "MAX_ELEMENTS",
    "deciding_inputs",
    "deciding_operands",
    "operand_name",
    "with_constants",
]

MAX_ELEMENTS = 256
"""What decides shapes is small: a larger input is data."""

_REDUCTIONS = {
    f"Reduce{kind}": (1,)
    for kind in (
        "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare",
    )
}  # fmt: skip
_OPERANDS: Mapping[str, tuple[int, ...]] = {
    **_REDUCTIONS,
    "AffineGrid": (1,), "BlackmanWindow": (0,), "CenterCropPad": (1,), "Col2Im": (1, 2),
    "ConstantOfShape": (0,), "CumProd": (1,), "CumSum": (1,), "DFT": (1, 2), "Dropout": (1, 2),
    "Expand": (1,), "HammingWindow": (0,), "HannWindow": (0,), "If": (0,),
    "Loop": (0, 1), "MaxUnpool": (2,), "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (1,), "Pad": (1, 2, 3), "Range": (0, 1, 2),
    "Reshape": (1,), "Resize": (1, 2, 3),
    "STFT": (1, 3), "SequenceAt": (1,), "Slice": (1, 2, 3, 4), "Split": (1,),
    "SplitToSequence": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,), "Trilu": (1,),
    "Unsqueeze": (1,), "Upsample": (1,),
}  # fmt: skip
"""Operator → the operands that its converter must know."""

_ONLY_SHAPES = {"Shape", "Size"}


_EXACT = {"DFT", "STFT"}
"""Operators whose sums cancel: engines that run them whole sum in the type of the input."""


def deciding_inputs(model: onnx.ModelProto, only_exact: bool = False) -> tuple[str, ...]:
    """Names of the model's small inputs whose values decide shapes or attributes.

    Args:
        model: The model.
        only_exact: True for those alone of operators that come out more exact when byoc knows their
            values.
    """
    maker = {name: node for node in model.graph.node for name in node.output if name}
    stack = [
        node.input[i]
        for node in model.graph.node
        if not domain_of(node) and (node.op_type in _EXACT or not only_exact)
        for i in _OPERANDS.get(node.op_type, ())
        if i < len(node.input)
    ]
    seen: set[str] = set()
    while stack:
        name = stack.pop()
        if not name or name in seen:
            continue
        seen.add(name)
        node = maker.get(name)
        if node is not None and node.op_type not in _ONLY_SHAPES:
            stack.extend((*node.input, *captured(node)))
    seen -= {t.name for t in model.graph.initializer}  # known already
    return tuple(i.name for i in model.graph.input if i.name in seen and _is_small(i))


def deciding_operands(node: onnx.NodeProto) -> tuple[int, ...]:
    """The operands of a node that its converter must know, by number."""
    return () if domain_of(node) else _OPERANDS.get(node.op_type, ())


def operand_name(node: onnx.NodeProto, index: int) -> str:
    """How ONNX calls an operand of a node."""
    try:
        inputs = onnx.defs.get_schema(node.op_type, domain=domain_of(node)).inputs
    except onnx.defs.SchemaError:
        return f"operand {index}"
    return str(inputs[index].name) if index < len(inputs) else f"operand {index}"


def with_constants(
    model: onnx.ModelProto, values: Mapping[str, np.ndarray[Any, Any]]
) -> onnx.ModelProto:
    """A copy of the model that holds the values of some inputs.

    Args:
        model: The model; it is not changed.
        values: Input → its value.

    Raises:
        ModelError: The model has no such input.
    """
    unknown = set(values) - {i.name for i in model.graph.input}
    if unknown:
        raise ModelError(f"the model has no input {', '.join(sorted(unknown))}")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [i for i in copy.graph.input if i.name not in values]
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    copy.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in values.items())
    return copy


def _is_small(info: onnx.ValueInfoProto) -> bool:
    tensor = info.type.tensor_type
    if info.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        return False
    count = 1
    for dim in tensor.shape.dim:
        if not dim.HasField("dim_value"):
            return False
        count *= dim.dim_value
    return count <= MAX_ELEMENTS
