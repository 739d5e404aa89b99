"""Constant folding in numpy: ``op(const, …) → const``.

TVM's own FoldConstant compiles every folded op with LLVM (8 s for ResNet-50); numpy takes
microseconds. An op that is not in the table, or whose result would be larger than
`MAX_BYTES` and larger than what it is made from, stays in the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import Call, GenericConst, Op

from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Arg, Const, Graph, GraphNode, Value
from byoc.frontends.normalise.tensors import transposed
from byoc.frontends.normalise.values import Leaf, plain
from byoc.ir.arrays import to_numpy
from byoc.ir.decode import items
from byoc.segment import Array
from byoc.support.memory import aligned_empty

__all__ = ["MAX_BYTES", "RULES", "fold", "fold_expression", "fold_node"]

Evaluator = Callable[..., Any]

MAX_BYTES = 1 << 30
"""No fold creates a larger array, unless its inputs are as large."""


class _TooLargeError(Exception):
    pass


def fold(op: str, attrs: Any, args: tuple[Any, ...]) -> Array | None:
    """Compute the value of an op on arrays and plain arguments.

    Args:
        op: Name of the op without ``relax.``.
        attrs: The op's attributes.
        args: Its arguments: arrays, numbers, lists or None.

    Returns:
        The array, or None when the op is not to be folded: it is unknown, ill-typed or too large.
    """
    evaluate = _TABLE.get(op)
    if evaluate is None or not all(map(_is_known, args)):
        return None
    room = max(MAX_BYTES, sum(_nbytes(a) for a in args))
    try:
        with np.errstate(all="ignore"):
            if op in _BROADCASTING:
                shape = np.broadcast_shapes(*(np.shape(a) for a in args))
                _check(math.prod(shape) * 8, room)
            result = np.asarray(evaluate(attrs, room, *args))
    except (_TooLargeError, ValueError, TypeError, IndexError, AttributeError, MemoryError):
        return None  # an ill-typed op is refused by type inference, with a better message
    return result


def _is_known(arg: Any) -> bool:
    """False for an argument with a symbolic dimension in it."""
    if isinstance(arg, tuple):
        return all(map(_is_known, arg))
    return arg is None or isinstance(arg, (np.ndarray, int, float, str))


def fold_node(graph: Graph, node: GraphNode) -> Value | None:
    """Fold one node, ``op(const, …) → const``.

    Args:
        graph: The graph, which gets the constant.
        node: The node; all its inputs must be constants.

    Returns:
        The constant, or None when the node is not to be folded.
    """
    if node.op not in _TABLE or not all(isinstance(v, Const) for v in node.inputs()):
        return None
    result = fold(node.op, node.attrs, tuple(_argument(a) for a in node.args))
    if result is None or result.shape != node.static_shape:
        return None
    return graph.constant(result.astype(node.dtype, copy=False))


def fold_expression(
    expr: Any, lookup: Callable[[Any], Any], unknown: set[Any] | None = None
) -> Array | None:
    """The value of an expression whose leaves are all constants, else None.

    Args:
        expr: A Relax expression.
        lookup: Variable → the expression bound to it, or None.
        unknown: Variables that have no such value; found ones are added. One set for all
            expressions of a model keeps long chains from being followed at every op.
    """
    if isinstance(expr, GenericConst):
        return to_numpy(expr.value) if isinstance(expr.ty, relax.TensorType) else None
    if isinstance(expr, relax.Var):
        if unknown is not None and expr in unknown:
            return None
        bound = lookup(expr)
        value = None if bound is None else fold_expression(bound, lookup, unknown)
        if value is None and unknown is not None:
            unknown.add(expr)
        return value
    if not isinstance(expr, Call) or not isinstance(expr.op, Op):
        return None
    op = expr.op.name.removeprefix("relax.")
    if op not in _TABLE:
        return None
    args = []
    for arg in items(expr.args):
        value = _fold_argument(arg, lookup, unknown)
        if value is None:
            return None
        args.append(value)
    return fold(op, expr.attrs, tuple(args))


def _fold_argument(arg: Any, lookup: Callable[[Any], Any], unknown: set[Any] | None) -> Any:
    if isinstance(arg, relax.Tuple):
        fields = [_fold_argument(f, lookup, unknown) for f in arg.fields]
        return None if any(f is None for f in fields) else tuple(fields)
    if isinstance(arg, (GenericConst, relax.Var, Call)):
        return fold_expression(arg, lookup, unknown)
    return plain(Leaf(arg))


def _argument(arg: Arg) -> Any:
    if isinstance(arg, tuple):
        return tuple(_argument(a) for a in arg)
    return arg.array if isinstance(arg, Const) else plain(arg)


# -- how each op is computed: (attributes, room in bytes, *arguments) -> array


def _check(nbytes: float, room: int) -> None:
    if nbytes > room:
        raise _TooLargeError


def _nbytes(arg: Any) -> int:
    if isinstance(arg, tuple):
        return sum(_nbytes(a) for a in arg)
    return int(arg.nbytes) if isinstance(arg, np.ndarray) else 0


def _ints(values: Any) -> tuple[int, ...] | None:
    if values is None:
        return None
    try:
        return tuple(int(v) for v in values)
    except TypeError:
        return (int(values),)


def _unary(function: Callable[..., Any]) -> Evaluator:
    return lambda attrs, room, x: function(x)


def _binary(function: Callable[..., Any]) -> Evaluator:
    return lambda attrs, room, a, b: function(a, b)


def _divide(a: Array, b: Array) -> Any:
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    if not np.all(b):
        raise ValueError("division by zero")
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def _power(a: Array, b: Array) -> Any:
    return np.power(a, b.astype(a.dtype, copy=False))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _keep_dtype(function: Callable[[Array], Any]) -> Evaluator:
    return lambda attrs, room, x: np.asarray(function(x)).astype(x.dtype)


def _reduction(function: Callable[..., Any]) -> Evaluator:
    def evaluate(attrs: Any, room: int, x: Array) -> Any:
        axis = _ints(attrs.axis)
        return function(x, axis=axis, keepdims=bool(attrs.keepdims)).astype(x.dtype)

    return evaluate


def _arg_reduction(function: Callable[..., Any]) -> Evaluator:
    def evaluate(attrs: Any, room: int, x: Array) -> Any:
        axis = None if attrs.axis is None else int(attrs.axis)
        return function(x, axis=axis, keepdims=bool(attrs.keepdims)).astype(np.int64)

    return evaluate


def _broadcast_to(attrs: Any, room: int, x: Array, shape: tuple[int, ...]) -> Array:
    _check(math.prod(shape) * x.itemsize, room)
    out = aligned_empty(shape, x.dtype)
    out[...] = x
    return out


def _reshape(attrs: Any, room: int, x: Array, shape: tuple[int, ...]) -> Array:
    return x.reshape(shape)


def _flatten(attrs: Any, room: int, x: Array) -> Array:
    return x.reshape(-1)


def _batch_flatten(attrs: Any, room: int, x: Array) -> Array:
    return x.reshape(x.shape[0], -1)


def _permute_dims(attrs: Any, room: int, x: Array) -> Array:
    return transposed(x, _ints(attrs.axes))


def _expand_dims(attrs: Any, room: int, x: Array) -> Array:
    return np.expand_dims(x, _ints(attrs.axis) or ())


def _squeeze(attrs: Any, room: int, x: Array) -> Array:
    return np.squeeze(x, _ints(attrs.axis))


def _concat(attrs: Any, room: int, xs: tuple[Array, ...]) -> Array:
    return np.concatenate(xs, axis=0 if attrs.axis is None else int(attrs.axis))


def _stack(attrs: Any, room: int, xs: tuple[Array, ...]) -> Array:
    return np.stack(xs, axis=0 if attrs.axis is None else int(attrs.axis))


def _strided_slice(
    attrs: Any, room: int, x: Array, axes: Any, begin: Any, end: Any, *strides: Any
) -> Array:
    steps = strides[0] if strides else (1,) * len(axes)
    index = [slice(None)] * x.ndim
    for axis, first, last, step in zip(axes, begin, end, steps, strict=True):
        if step < 0 and last < -x.shape[axis]:
            last = None
        index[axis] = slice(first, last, step)
    return x[tuple(index)]


def _take(attrs: Any, room: int, x: Array, indices: Any) -> Array:
    indices = np.asarray(indices)
    axis = None if attrs.axis is None else int(attrs.axis)
    length = x.size if axis is None else x.shape[axis]
    _check(x.nbytes / max(length, 1) * indices.size, room)
    if np.any(indices >= length) or np.any(indices < -length):
        raise IndexError
    return np.asarray(np.take(x, indices, axis=axis))


def _tile(attrs: Any, room: int, x: Array) -> Array:
    repeats = _ints(attrs.repeats) or ()
    _check(x.nbytes * math.prod(repeats), room)
    return np.tile(x, repeats)


def _repeat(attrs: Any, room: int, x: Array) -> Array:
    _check(x.nbytes * int(attrs.repeats), room)
    return np.repeat(x, int(attrs.repeats), None if attrs.axis is None else int(attrs.axis))


def _flip(attrs: Any, room: int, x: Array) -> Array:
    return np.flip(x, _ints(attrs.axis))


def _astype(attrs: Any, room: int, x: Array) -> Array:
    return x.astype(str(attrs.dtype))


def _full(attrs: Any, room: int, shape: tuple[int, ...], value: Array) -> Array:
    _check(math.prod(shape) * 8, room)
    return np.full(shape, value, str(attrs.dtype) if attrs.dtype else value.dtype)


def _filled(value: int) -> Evaluator:
    def evaluate(attrs: Any, room: int, shape: tuple[int, ...]) -> Array:
        _check(math.prod(shape) * 8, room)
        return np.full(shape, value, str(attrs.dtype))

    return evaluate


def _filled_like(value: int) -> Evaluator:
    def evaluate(attrs: Any, room: int, x: Array) -> Array:
        return np.full(x.shape, value, str(attrs.dtype) if attrs.dtype else x.dtype)

    return evaluate


def _arange(attrs: Any, room: int, start: Any, stop: Any, step: Any) -> Array:
    _check(abs((stop - start) / step) * 8, room)
    return np.arange(start, stop, step, dtype=str(attrs.dtype))


def _triangle(function: Callable[..., Any]) -> Evaluator:
    return lambda attrs, room, x, k: function(x, int(k))


def _shape_to_tensor(attrs: Any, room: int, shape: tuple[Any, ...]) -> Array:
    if not all(isinstance(d, int) for d in shape):
        raise TypeError
    return np.array(shape, np.int64)


def _clip(attrs: Any, room: int, x: Array, low: Any, high: Any) -> Array:
    return np.clip(x, low, high).astype(x.dtype)


def _cumsum(attrs: Any, room: int, x: Array) -> Array:
    if attrs.exclusive:
        raise ValueError
    axis = None if attrs.axis is None else int(attrs.axis)
    return np.cumsum(x, axis=axis, dtype=str(attrs.dtype) if attrs.dtype else x.dtype)


def _matmul(attrs: Any, room: int, a: Array, b: Array) -> Array:
    work = a.size * (b.shape[-1] if b.ndim > 1 else 1)
    if work > 1 << 28:
        raise _TooLargeError
    return np.asarray(np.matmul(a, b))


def _where(attrs: Any, room: int, c: Array, a: Array, b: Array) -> Array:
    return np.where(c, a, b)


_FLOAT: Mapping[str, Callable[..., Any]] = {
    "abs": np.abs, "negative": np.negative, "exp": np.exp, "log": np.log, "sqrt": np.sqrt,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc, "sign": np.sign,
    "square": np.square, "erf": _erf,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "nn.relu": lambda x: np.maximum(x, 0),
}  # fmt: skip

_BINARY: Mapping[str, Callable[..., Any]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": _divide,
    "floor_divide": np.floor_divide, "power": _power, "maximum": np.maximum,
    "minimum": np.minimum, "mod": np.fmod, "floor_mod": np.mod,
    "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "greater": np.greater,
    "less_equal": np.less_equal, "greater_equal": np.greater_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
    "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor,
    "left_shift": np.left_shift, "right_shift": np.right_shift,
}  # fmt: skip

_BROADCASTING = {*_BINARY, "where"}

_TABLE: Mapping[str, Evaluator] = {
    **{op: _keep_dtype(f) for op, f in _FLOAT.items()},
    **{op: _binary(f) for op, f in _BINARY.items()},
    "logical_not": _unary(np.logical_not), "bitwise_not": _unary(np.invert),
    "isnan": _unary(np.isnan), "isinf": _unary(np.isinf), "isfinite": _unary(np.isfinite),
    "sum": _reduction(np.sum), "mean": _reduction(np.mean), "prod": _reduction(np.prod),
    "max": _reduction(np.max), "min": _reduction(np.min),
    "argmax": _arg_reduction(np.argmax), "argmin": _arg_reduction(np.argmin),
    "broadcast_to": _broadcast_to, "reshape": _reshape, "flatten": _flatten,
    "nn.batch_flatten": _batch_flatten, "permute_dims": _permute_dims,
    "expand_dims": _expand_dims, "squeeze": _squeeze, "concat": _concat, "stack": _stack,
    "strided_slice": _strided_slice, "take": _take, "tile": _tile, "repeat": _repeat,
    "flip": _flip, "astype": _astype, "full": _full, "ones": _filled(1), "zeros": _filled(0),
    "ones_like": _filled_like(1), "zeros_like": _filled_like(0), "arange": _arange,
    "tril": _triangle(np.tril), "triu": _triangle(np.triu),
    "shape_to_tensor": _shape_to_tensor, "clip": _clip, "cumsum": _cumsum,
    "matmul": _matmul, "where": _where,
}  # fmt: skip

RULES: Rules = {op: [fold_node] for op in _TABLE}
