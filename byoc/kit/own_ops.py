"""Ops that byoc adds to Relax, for what TVM has no op for.

They are ordinary pure ops of one tuple of tensors: `partition` sees their names, tensors and
attributes, vendors take them by patterns like any other op. Their results' types are declared by
whoever builds a call (`ty_args`), not inferred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "BITCAST",
    "FOREIGN",
    "ONNX",
    "RECURRENT",
    "SUPPRESSION",
    "TORCH",
    "own_call",
    "relax_op",
]

ONNX = "byoc.onnx"
"""ONNX nodes kept whole (`byoc.kit.foreign_op`), as `byoc.Node.op` spells it."""

TORCH = "byoc.torch"
"""Operators of PyTorch kept whole (`byoc.kit.torch_steps`), as `byoc.Node.op` spells it."""

FOREIGN = frozenset({ONNX, TORCH})
"""What the host cannot run."""

BITCAST = "byoc.bitcast"
"""The bits of numbers as numbers of another dtype of that width, as `byoc.Node.op` spells it."""

RECURRENT = "byoc.recurrent"
"""A layer of LSTM, GRU or RNN (`byoc.kit.recurrent`), as `byoc.Node.op` spells it."""

SUPPRESSION = "byoc.suppression"
"""Non-maximum suppression: rows of image, class and box, -1 behind, as `byoc.Node.op` spells it."""

_OWN: Mapping[str, str] = {
    ONNX: "ONNX nodes kept whole.",
    TORCH: "Operators of PyTorch kept whole.",
    BITCAST: "The bits of numbers as numbers of another dtype.",
    RECURRENT: "A layer of LSTM, GRU or RNN.",
    SUPPRESSION: "Non-maximum suppression, rows of -1 behind.",
}


def relax_op(name: str) -> Any:
    """Return an op from TVM's registry, adding byoc's own at the first call.

    To be called before a module that holds one of these is built or loaded.

    Args:
        name: Its name without ``relax.``, for example ``nn.conv2d`` or ``byoc.recurrent``.

    Raises:
        AttributeError: TVM has no such op, and it is none of byoc's.
    """
    import tvm
    from tvm.ir import Op, register_op_attr

    full = f"relax.{name}"
    if name in _OWN and full not in Op.list_op_names():
        tvm.ir._ffi_api.RegisterOp(full, _OWN[name])
        op = Op.get(full)
        op.set_num_inputs(1)
        op.add_argument("inputs", "Tuple of tensors", "What it reads.")
        register_op_attr(full, "FInferType", _declared_type)
        register_op_attr(full, "FPurity", True)
    return Op.get(full)


def own_call(
    name: str, inputs: Sequence[Any], types: Sequence[Any], attrs: Mapping[str, Any]
) -> Any:
    """Build a call of one of byoc's own ops.

    Args:
        name: Its name without ``relax.``.
        inputs: Relax tensors.
        types: Relax tensor types, one per result.
        attrs: Texts and numbers.

    Returns:
        The call; its result is a tuple unless there is one type.
    """
    import tvm
    from tvm import relax

    made = tvm.ir.make_node("ir.DictAttrs", **attrs)
    return tvm.ir.Call(relax_op(name), [relax.Tuple(list(inputs))], made, list(types))


def _declared_type(call: Any, _context: Any) -> Any:
    import tvm

    types = list(call.ty_args)
    return types[0] if len(types) == 1 else tvm.ir.TupleType(types)
