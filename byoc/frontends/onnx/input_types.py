"""Types of graph inputs; a dimension is fixed, named, computed from names, or unknown.

dim_value 3            → 3
dim_param "batch"      → the variable batch, one per name in the whole model
dim_param "2*seq + 1"  → an expression over the variable seq, where an input has a dimension seq
dim_param "seq-len"    → the variable seq-len, where none has seq or len
nothing, or "?"        → a fresh variable named after the input, "ids_d1"
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import onnx
from tvm import relax

from byoc.errors import ModelError
from byoc.frontends.symbols import Symbols
from byoc.segment import PortType, TensorType

__all__ = ["default_inputs", "plain_names", "tensor_type"]

_MAX_BYTES = 1 << 46  # 64 TiB: no machine has it; a larger input is a damaged file

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,  # dimensions are whole numbers
    ast.FloorDiv: operator.floordiv,
}


def plain_names(inputs: Iterable[onnx.ValueInfoProto]) -> frozenset[str]:
    """Return the identifiers that are dimensions of a graph's inputs: each is read off one of them.

    Args:
        inputs: The inputs of the graph.
    """
    dims = (dim for info in inputs for dim in info.type.tensor_type.shape.dim)
    return frozenset(d.dim_param.strip() for d in dims if d.dim_param.strip().isidentifier())


def default_inputs(
    model: onnx.ModelProto, given: Collection[str] = frozenset()
) -> tuple[PortType, ...]:
    """The inputs of a model that have a default: stored tensors that the graph lists, too.

    Before version 4 of the format all stored tensors were listed, and none could be given.

    Args:
        model: The model.
        given: Names that are left out.
    """
    if model.ir_version < 4:
        return ()
    stored = {t.name: t for t in model.graph.initializer if t.name not in given}
    ports = []
    for info in model.graph.input:
        tensor = stored.get(info.name)
        if tensor is not None and info.type.HasField("tensor_type"):
            dtype = _dtype(tensor.data_type, f"input {info.name!r}")
            ports.append(PortType(info.name, TensorType(tuple(map(int, tensor.dims)), dtype)))
    return tuple(ports)


def tensor_type(
    info: onnx.ValueInfoProto, symbols: Symbols, where: str, names: Collection[str]
) -> Any:
    """The Relax type of a graph input.

    Args:
        info: What the model declares.
        symbols: The model's symbolic dimensions; new names are added.
        where: The model, as messages begin.
        names: Names that expressions of dimensions may hold, see `plain_names`.

    Raises:
        ModelError: It is no tensor, has no rank, or is larger than any machine.
    """
    what = f"{where}: input {info.name!r}"
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelError(
            f"{what} has the type {kind or 'unknown'}; byoc takes models whose inputs are tensors"
        )
    tensor = info.type.tensor_type
    dtype = _dtype(tensor.elem_type, what)
    if not tensor.HasField("shape"):
        raise ModelError(
            f"{what} has no shape, not even a number of dimensions; give it one "
            f"(onnx.tools.update_model_dims, or when exporting)"
        )
    dims = [_dim(d, f"{info.name}_d{i}", symbols, names) for i, d in enumerate(tensor.shape.dim)]
    size = 1
    for d in dims:
        size *= max(1, d) if isinstance(d, int) else 1
    if size > _MAX_BYTES:
        raise ModelError(f"{what} has the shape {dims}; no machine holds such a tensor")
    return relax.TensorType(dims, dtype)


def _dim(dim: Any, fresh: str, symbols: Symbols, names: Collection[str]) -> Any:
    kind = dim.WhichOneof("value")
    if kind == "dim_value" and dim.dim_value >= 0:
        return int(dim.dim_value)
    text = dim.dim_param.strip() if kind == "dim_param" else ""
    if text in ("", "?", "-1", "None"):
        return symbols.variable(fresh)
    try:
        tree = ast.parse(text, mode="eval").body
        if not text.isidentifier() and not _names(tree) <= set(names):
            return symbols.variable(text)  # nobody could compute it
        return _expression(tree, symbols)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return symbols.variable(text)  # a name of its own kind, such as "unk__12:0"


def _names(tree: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _expression(node: ast.expr, symbols: Symbols) -> Any:
    if isinstance(node, ast.Name):
        return symbols.variable(node.id)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _expression(node.left, symbols), _expression(node.right, symbols)
        divides = isinstance(node.op, (ast.FloorDiv, ast.Mod, ast.Div))
        if divides and isinstance(right, int) and right == 0:
            raise ZeroDivisionError  # by symbols TVM raises an error of its own
        return _OPERATORS[type(node.op)](left, right)
    raise ValueError(node)


def _dtype(elem_type: int, what: str) -> str:
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"{what} has the unknown element type {elem_type}") from None
    if dtype == "object":
        raise ModelError(f"{what} is a tensor of strings; byoc takes numbers only")
    return dtype
