"""Walk an ONNX graph and write it down in Relax, operator by operator.

TVM's importer knows how to express an operator (its converter classes); the walk is ours::

    node ──converter──▶ Relax expression ──emit──▶ binding, remembered under the node's name

so that every binding keeps the name of its node, every refusal names the node, constants are
folded while walking (converters need constant shapes and axes), and both branches of an `If`
stay inside it. A node that cannot be expressed is kept whole (`opaque.py`), and so are its readers
while its results are no values for Relax. Values are constants, variables, or, for shape
arithmetic over symbolic dimensions, shapes (`ShapeExpr`) and numbers (`PrimExpr`).
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections import ChainMap
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import helper
from tvm import relax, tirx
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend as stock

from byoc.errors import ByocError, ModelError
from byoc.frontends.normalise.fold import fold_expression
from byoc.frontends.normalise.graph import Graph
from byoc.frontends.normalise.tensors import from_numpy
from byoc.frontends.onnx.converters import Inputs
from byoc.frontends.onnx.opaque import DOMAINS, OpaqueNodes, Pending, captured
from byoc.frontends.onnx.symbols import Symbols
from byoc.frontends.onnx.table import OWN
from byoc.frontends.onnx.weights import Weights

__all__ = ["import_graph", "known_operator", "opaque_operator"]

Names = tuple[str, ...]

# Operators of the contrib domain for which TVM has converters.
_CONTRIB = {
    "Attention", "BiasGelu", "EmbedLayerNormalization", "FastGelu", "Gelu", "MatMulInteger16",
    "SkipLayerNormalization",
}  # fmt: skip
_CONTROL = {"If"}

# Operators whose converters understand shapes of symbolic dimensions; others get a tensor.
_TAKES_SHAPES = {
    "Cast", "CastLike", "Concat", "ConstantOfShape", "Equal", "Expand", "Gather", "Reshape",
    "Resize", "Shape", "Slice", "Squeeze", "Unsqueeze", "Where",
}  # fmt: skip
_TAKES_NUMBERS = _TAKES_SHAPES | {"Add", "Sub", "Mul", "Div", "Pow", "Mod", "Range"}

# Results that are one Relax tuple (a sequence), not one value per output.
_SEQUENCES = {
    "Optional", "OptionalGetElement", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
    "SequenceInsert", "SplitToSequence",
}  # fmt: skip


def known_operator(node: onnx.NodeProto) -> bool:
    """True when there is a converter for the node's operator."""
    domain, op = _domain(node), node.op_type
    if (domain, op) in OWN or (not domain and op in _CONTROL):
        return True
    if domain == "com.microsoft":
        return op in _CONTRIB
    return not domain and op in _stock_converters() and op != "Attention"


def opaque_operator(node: onnx.NodeProto) -> bool:
    """True when a node without a converter can be kept whole: ONNX Runtime may know it."""
    domain = _domain(node)
    if domain == "com.microsoft":
        return True
    return domain in DOMAINS and onnx.defs.has(node.op_type, domain)


def import_graph(
    model: onnx.ModelProto, weights: Weights, where: str
) -> tuple[Graph, Names, Names]:
    """The model's main graph as Relax ops, and the names of its inputs and outputs.

    where: the model, for messages. Raises ModelError naming the node that cannot be expressed.
    """
    opsets = {o.domain if o.domain != "ai.onnx" else "": o.version for o in model.opset_import}
    return _Importer(where, weights, opsets).run(model.graph)


def _domain(node: onnx.NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else str(node.domain)


_CACHE: dict[str, Any] = {}


def _stock_converters() -> dict[str, Any]:
    if not _CACHE:
        _CACHE.update(stock._get_convert_map())
    return _CACHE


@dataclass
class _Importer:
    where: str
    weights: Weights
    opsets: dict[str, int]
    names: dict[Any, str] = field(default_factory=dict)
    builder: Any = field(default_factory=relax.BlockBuilder)
    symbols: Symbols = field(init=False)
    opaque: OpaqueNodes = field(init=False)

    def __post_init__(self) -> None:
        self.symbols = Symbols(self.where)
        self.opaque = OpaqueNodes(self.where, self.opsets, self.symbols)

    def run(self, graph: onnx.GraphProto) -> tuple[Graph, Names, Names]:
        values: MutableMapping[str, Any] = {}
        stored = {t.name: t for t in graph.initializer}
        inputs = [i for i in graph.input if i.name not in stored]
        params = [relax.Var(i.name, self.symbols.tensor_type(i)) for i in inputs]
        values.update(zip((i.name for i in inputs), params, strict=True))
        with self.builder.function("main", params):
            try:
                self._nodes(graph, values, stored)
                results = [self._result(values, o.name, stored) for o in graph.output]
            except BaseException:
                self.builder._end_block()  # or TVM warns of it on stderr
                raise
            body = results[0] if len(results) == 1 else relax.Tuple(results)
            self.builder.emit_func_output(body)
        function = self.builder.get()["main"]
        self._spread_names(function.body)
        result = Graph.read(function, self.names)
        return result, tuple(i.name for i in inputs), tuple(o.name for o in graph.output)

    # -- nodes

    def _nodes(
        self,
        graph: onnx.GraphProto,
        values: MutableMapping[str, Any],
        stored: dict[str, onnx.TensorProto],
    ) -> None:
        self.opaque.declare(graph)
        last, read = _last_uses(graph), _read_names(graph)
        for index, node in enumerate(graph.node):
            what = self._describe(node)
            straight = self._transposed_weight(node, values, stored)
            inputs = Inputs(
                straight if i == 1 and straight else self._lookup(n, values, stored, what)
                for i, n in enumerate(node.input)
            )
            wanted = [name for name in node.output if name in read]
            outputs = self._outputs(
                node, inputs, values, stored, straight is not None, wanted, what
            )
            for name, value in zip(node.output, outputs, strict=False):
                if name and value is not None:
                    values[name] = self._keep(value, _name(node))
            for name in node.input:  # a weight that was folded into another is free now
                if name in stored and last.get(name) == index:
                    values.pop(name, None)

    def _outputs(
        self,
        node: onnx.NodeProto,
        inputs: Inputs,
        values: MutableMapping[str, Any],
        stored: dict[str, onnx.TensorProto],
        transposed: bool,
        wanted: Sequence[str],
        what: str,
    ) -> Sequence[Any]:
        """The node's outputs: expressed in Relax, or of an opaque call, or pending."""
        given = Inputs(inputs)
        pending = next((v for v in given if isinstance(v, Pending)), None)
        try:
            if pending is not None:
                raise _InexpressibleError(f"it reads {pending.reason}")
            if not known_operator(node):
                raise _InexpressibleError("it has no converter")
            outputs = self._node(node, inputs, values, stored, transposed)
            if len(outputs) < len(node.output) and any(node.output[len(outputs) :]):
                raise _InexpressibleError(
                    f"it has {len(node.output)} outputs, byoc imports the first {len(outputs)}"
                )
            return [self._typed(v, n) for v, n in zip(outputs, node.output, strict=False)]
        except Exception as error:
            reason = _sentence(error)
            if not isinstance(error, ByocError):
                reason = f"{what} cannot be imported: {reason}"
            if not opaque_operator(node):
                raise ModelError(reason) from error
            return self._whole(node, given, values, stored, wanted, reason)

    def _typed(self, value: Any, name: str) -> Any:
        """The value, its type checked against what the model declares where TVM knows too little.

        A number of dimensions that nobody knows makes a node inexpressible.
        """
        if not isinstance(value, relax.Expr) or isinstance(value, (GenericConst, relax.ShapeExpr)):
            return value
        if tvm.ir.is_prim_expr(value):
            return value
        value = self.builder.normalize(value)
        kind = value.ty
        if not isinstance(kind, relax.TensorType) or isinstance(kind.shape, relax.ShapeExpr):
            return value
        declared = self.opaque.declared_type(name)
        if declared is None or str(declared.dtype) != str(kind.dtype):
            if kind.ndim < 0:
                raise _InexpressibleError("the number of dimensions of its result is not known")
            stem = re.sub(r"\W", "_", name)
            dims = [tirx.Var(f"{stem}_d{i}", "int64") for i in range(kind.ndim)]
            declared = relax.TensorType(dims, str(kind.dtype))
        return self.builder.match_cast(self.builder.emit(value, name), declared, name)

    def _whole(
        self,
        node: onnx.NodeProto,
        given: Inputs,
        values: MutableMapping[str, Any],
        stored: dict[str, onnx.TensorProto],
        wanted: Sequence[str],
        reason: str,
    ) -> Sequence[Any]:
        """Keep the node whole; `reason` says why it cannot be expressed."""
        named = dict(zip(node.input, given, strict=False))
        for name in captured(node):
            if name in values or name in stored:
                named[name] = self._lookup(name, values, stored, reason)
        if node.input and len(node.input) > 1 and node.op_type == "Gemm":  # read transposed
            named[node.input[1]] = self._lookup(node.input[1], values, stored, reason)
        tensors = {
            name: self._acceptable(value, "") if not isinstance(value, Pending) else value
            for name, value in named.items()
            if name
        }
        call, ready, pending = self.opaque.add(node, tensors, wanted, reason)
        found: dict[str, Any] = dict(pending)
        if call is not None:
            whole = self.builder.emit(call, _name(node))
            self.names[whole] = _name(node)
            parts = (
                [whole]
                if len(ready) == 1
                else [relax.TupleGetItem(whole, i) for i in range(len(ready))]
            )
            found.update(zip(ready, parts, strict=True))
        return [found.get(name) for name in node.output]

    def _node(
        self,
        node: onnx.NodeProto,
        inputs: Inputs,
        values: MutableMapping[str, Any],
        stored: dict[str, onnx.TensorProto],
        transposed: bool,
    ) -> Sequence[Any]:
        op, domain = node.op_type, _domain(node)
        attrs = {a.name: self._attribute(a) for a in node.attribute}
        if transposed:
            attrs["transB"] = 0
        if not domain and op == "If":
            return self._if(node, inputs[0], attrs, values, stored)
        for i, value in enumerate(inputs):
            inputs[i] = self._acceptable(value, op)
        opset = self.opsets.get(domain, 1)
        own = OWN.get((domain, op))
        if own is not None:
            expr = own(self.builder, inputs, attrs, opset, len(node.output))
        else:
            attrs["tvm_custom"] = {"name": _name(node), "num_outputs": len(node.output)}
            converter = _stock_converters()[op].get_converter(opset)
            padded = stock.onnx_input(inputs)
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expr = converter(self.builder, padded, attrs, [values, {}])
        return self._unpack(expr, node)

    def _transposed_weight(
        self,
        node: onnx.NodeProto,
        values: MutableMapping[str, Any],
        stored: dict[str, onnx.TensorProto],
    ) -> Any:
        """The weight of a Gemm with transB, read transposed: large ones are in memory once."""
        if node.op_type != "Gemm" or _domain(node) or len(node.input) < 2:
            return None
        name = node.input[1]
        if name in values or name not in stored or len(stored[name].dims) != 2:
            return None
        if not any(a.name == "transB" and a.i for a in node.attribute):
            return None
        return relax.const(self.weights.tensor(stored[name], transpose=True))

    def _unpack(self, expr: Any, node: onnx.NodeProto) -> Sequence[Any]:
        if node.op_type in _SEQUENCES:
            return [self.builder.emit(expr, _name(node))]
        if isinstance(expr, (list, tuple)):
            return expr
        if isinstance(expr, relax.Tuple):
            return list(expr.fields)
        if isinstance(expr, relax.Expr) and not isinstance(expr, relax.ShapeExpr):
            folded = fold_expression(expr, self.builder.lookup_binding)
            if folded is not None:
                return [relax.const(from_numpy(folded))]
            expr = self.builder.normalize(expr)
            if isinstance(expr.ty, relax.TupleType):
                whole = self.builder.emit(expr, _name(node))
                self.names[whole] = _name(node)
                return [relax.TupleGetItem(whole, i) for i in range(len(expr.ty.fields))]
        return [expr]

    def _keep(self, value: Any, name: str) -> Any:
        """The value in the form later nodes read it: calls become named variables."""
        value = _constant_shape(value)
        if isinstance(value, Pending):
            return value
        if isinstance(value, (GenericConst, relax.ShapeExpr, relax.Var)):
            return value
        if tvm.ir.is_prim_expr(value) or not isinstance(value, relax.Expr):
            return value
        folded = fold_expression(value, self.builder.lookup_binding)
        if folded is not None:
            return relax.const(from_numpy(folded))
        var = self.builder.emit(value, name)
        self.names[var] = name
        return var

    def _if(
        self,
        node: onnx.NodeProto,
        condition: Any,
        attrs: dict[str, Any],
        values: MutableMapping[str, Any],
        stored: dict[str, onnx.TensorProto],
    ) -> Sequence[Any]:
        name = _name(node)
        if isinstance(condition, GenericConst):
            taken = bool(condition.value.numpy().all())
            graph = attrs["then_branch" if taken else "else_branch"]
            scope = self._scope(graph, values, stored)
            self._nodes(graph, *scope)
            return [self._result(scope[0], o.name, scope[1]) for o in graph.output]
        condition = self._acceptable(condition, "If")
        if condition.ty.ndim != 0:
            condition = self.builder.emit(relax.op.reshape(condition, ()), name)
        branches = []
        for key in ("then_branch", "else_branch"):
            graph = attrs[key]
            scope = self._scope(graph, values, stored)
            self.builder._begin_binding_block()
            try:
                self._nodes(graph, *scope)
                results = [self._result(scope[0], o.name, scope[1]) for o in graph.output]
                body = results[0] if len(results) == 1 else relax.Tuple(results)
                var = self.builder.emit(self.builder.normalize(body), name)
            finally:
                block = self.builder._end_block()
            branches.append(relax.SeqExpr([block], var))
        result = self.builder.emit(relax.If(condition, *branches), name)
        self.names[result] = name
        if len(node.output) == 1:
            return [result]
        return [relax.TupleGetItem(result, i) for i in range(len(node.output))]

    def _scope(
        self,
        graph: onnx.GraphProto,
        values: MutableMapping[str, Any],
        stored: dict[str, onnx.TensorProto],
    ) -> tuple[MutableMapping[str, Any], dict[str, onnx.TensorProto]]:
        return ChainMap({}, values), stored | {t.name: t for t in graph.initializer}

    # -- values

    def _lookup(
        self,
        name: str,
        values: MutableMapping[str, Any],
        stored: dict[str, onnx.TensorProto],
        what: str,
    ) -> Any:
        if not name:
            return None
        if name not in values:
            if name not in stored:
                raise ModelError(f"{what} reads {name!r}, which nothing before it produces")
            values[name] = relax.const(self.weights.tensor(stored[name]))
        return values[name]

    def _result(
        self,
        values: MutableMapping[str, Any],
        name: str,
        stored: dict[str, onnx.TensorProto],
    ) -> Any:
        value = self._lookup(name, values, stored, f"{self.where}: the graph's output")
        if isinstance(value, Pending):
            raise ModelError(
                f"{value.origin}; it cannot be kept whole for another engine either, since the "
                f"output {name!r} would be {value.reason}"
            )
        value = self._acceptable(value, "")
        if not isinstance(value.ty, relax.TensorType):
            raise ModelError(
                f"{self.where}: output {name!r} is no tensor but {value.ty}; "
                f"byoc takes models whose outputs are tensors"
            )
        return value

    def _acceptable(self, value: Any, op: str) -> Any:
        """The value as a tensor, unless the operator's converter understands shapes."""
        if isinstance(value, relax.ShapeExpr) or (
            isinstance(value, relax.Var) and isinstance(value.ty, relax.ShapeType)
        ):
            if op in _TAKES_SHAPES:
                return value
            return self.builder.emit(relax.op.shape_to_tensor(value))
        if value is not None and not isinstance(value, (GenericConst, relax.Var)):
            if not tvm.ir.is_prim_expr(value):
                return value
            if op in _TAKES_NUMBERS:
                return value
            vector = self.builder.emit(relax.op.shape_to_tensor(relax.ShapeExpr([value])))
            return self.builder.emit(relax.op.reshape(vector, ()))
        return value

    def _attribute(self, attr: onnx.AttributeProto) -> Any:
        value = helper.get_attribute_value(attr)
        if isinstance(value, onnx.TensorProto):
            return numpy_tensor(self.weights, value)
        return tuple(value) if isinstance(value, list) else value

    def _describe(self, node: onnx.NodeProto) -> str:
        domain = _domain(node)
        version = self.opsets.get(domain, 1)
        return (
            f"{self.where}: node {_name(node)!r} ({domain or 'ai.onnx'}::{node.op_type}, "
            f"opset {version})"
        )

    def _spread_names(self, body: Any) -> None:
        """Give the bindings that a converter made on its way the name of its node."""
        name = ""
        for block in reversed(body.blocks):
            for binding in reversed(block.bindings):
                name = self.names.get(binding.var, name)
                if name:
                    self.names[binding.var] = name
                if isinstance(binding.value, relax.If):
                    self._spread_names(binding.value.true_branch)
                    self._spread_names(binding.value.false_branch)


def numpy_tensor(weights: Weights, tensor: onnx.TensorProto) -> onnx.TensorProto:
    """An attribute's tensor with its data inside, as converters expect it."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return tensor
    return onnx.numpy_helper.from_array(weights.read(tensor), tensor.name)


class _InexpressibleError(Exception):
    """The node has no place in Relax."""


def _read_names(graph: onnx.GraphProto) -> set[str]:
    """Every name that a node, an inner graph or the result reads."""
    read = {name for node in graph.node for name in node.input}
    read.update(name for node in graph.node for a in node.attribute for name in _captured(a))
    read.update(o.name for o in graph.output)
    return read


def _last_uses(graph: onnx.GraphProto) -> dict[str, int]:
    """Value → index of the last node that reads it; nothing for those inner graphs may read."""
    last = {name: index for index, node in enumerate(graph.node) for name in node.input}
    inner = {name for node in graph.node for a in node.attribute for name in _captured(a)}
    kept = inner | {o.name for o in graph.output}
    return {name: index for name, index in last.items() if name not in kept}


def _captured(attribute: onnx.AttributeProto) -> Iterator[str]:
    if attribute.type == onnx.AttributeProto.GRAPH:
        for node in attribute.g.node:
            yield from node.input
            for inner in node.attribute:
                yield from _captured(inner)
        yield from (o.name for o in attribute.g.output)


def _name(node: onnx.NodeProto) -> str:
    return str(node.name or next((o for o in node.output if o), node.op_type))


def _constant_shape(value: Any) -> Any:
    """Shapes and numbers without symbols as constants, which every converter understands."""
    if isinstance(value, relax.ShapeExpr):
        if all(isinstance(d, tirx.IntImm) for d in value.values):
            return relax.const(from_numpy(np.array([int(d) for d in value.values], np.int64)))
    elif isinstance(value, tirx.IntImm):
        return relax.const(from_numpy(np.array(int(value), np.int64)))
    return value


def _sentence(error: Exception) -> str:
    """What an exception of TVM's importer says, in one line."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    if isinstance(error, KeyError):
        text = f"attribute {text} is missing"
    return text if len(text) < 400 else text[:400] + "…"
