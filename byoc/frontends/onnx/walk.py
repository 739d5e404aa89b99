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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
import tvm
from onnx import helper
from tvm import relax, tirx
from tvm.ir import GenericConst

from byoc.errors import ByocError, ModelError
from byoc.frontends.bindings import packed
from byoc.frontends.context import InexpressibleError, sentence
from byoc.frontends.model import Model, finish
from byoc.frontends.normalise.graph import Graph
from byoc.frontends.onnx.context import NodeInputs, OnnxContext, RefusedError
from byoc.frontends.onnx.file import Source, describe, open_model
from byoc.frontends.onnx.input_types import default_inputs, plain_names, tensor_type
from byoc.frontends.onnx.loops import MAX_NODES, unroll_loop, unroll_scan
from byoc.frontends.onnx.nodes import captured, domain_of, last_uses, name_of, read_names
from byoc.frontends.onnx.opaque import Boxed, OpaqueNodes, Pending, boxed_input
from byoc.frontends.onnx.operators import known_operator, opaque_operator
from byoc.frontends.onnx.ops.table import OPERATORS
from byoc.frontends.onnx.scope import Scope
from byoc.frontends.onnx.specialise import deciding_operands, operand_name
from byoc.frontends.onnx.stock import convert_stock
from byoc.frontends.onnx.values import Values
from byoc.frontends.onnx.weights import Weights
from byoc.frontends.symbols import Symbols

__all__ = ["import_onnx"]

_POSITIVE = {"blocksize", "dilations", "group", "kernel_shape", "strides"}
_VALUES = {"value_int", "value_ints"}
"""Attributes that hold data."""


def import_onnx(source: Source, given: frozenset[str] = frozenset()) -> Model:
    """Read an ONNX model.

    Args:
        source: The path of a file, its bytes, or a proto, which is not changed.
        given: Stored tensors that are inputs instead, see `Model.defaults`.

    Raises:
        ModelError: It cannot be read, is damaged, or holds an operator that byoc does not import;
            the message names the node.
    """
    try:
        opened = open_model(source)
        opsets = {
            o.domain if o.domain != "ai.onnx" else "": o.version for o in opened.proto.opset_import
        }
        walk = _Walk(opened.where, opened.weights, opsets)
        graph = walk.run(opened.proto.graph, given)
    except RecursionError:
        raise ModelError(
            f"{describe(source)}: its graphs are nested too deeply within each other"
        ) from None
    return finish(
        graph,
        opened.name,
        walk.inputs,
        tuple(o.name for o in opened.proto.graph.output),
        "onnx",
        values=walk.ports,
        versions=opened.versions,
        operators=opened.operators,
        defaults=default_inputs(opened.proto, given),
    )


@dataclass
class _Walk:
    """One model on its way. ports: inputs and outputs that are no tensors → what they are."""

    where: str
    weights: Weights
    opsets: dict[str, int]
    values: Values = field(default_factory=Values)
    symbols: Symbols = field(default_factory=Symbols)
    opaque: OpaqueNodes = field(init=False)
    inputs: tuple[str, ...] = ()
    ports: dict[str, str] = field(default_factory=dict)
    empty: dict[str, onnx.NodeProto] = field(default_factory=dict)
    """Name of an empty sequence → the node that made it, which knows the type of its elements."""
    inside: int = 0
    """How many branches of `If`, taken or not at run time, are around the node."""
    unrolled: int = 0
    """How many nodes turns of loops have made so far."""

    def __post_init__(self) -> None:
        self.opaque = OpaqueNodes(self.where, self.opsets, self.symbols)

    def run(self, graph: onnx.GraphProto, given: frozenset[str]) -> Graph:
        stored = {t.name: t for t in graph.initializer if t.name not in given}
        scope = Scope(self.weights, stored)
        inputs = [i for i in graph.input if i.name not in scope]
        self.inputs = tuple(i.name for i in inputs)
        params = []
        names = plain_names(inputs)
        for info in inputs:
            boxed = boxed_input(info)
            if boxed:
                self.ports[info.name] = boxed.kind
                params.append(boxed.var)
            else:
                kind = tensor_type(info, self.symbols, self.where, names)
                params.append(relax.Var(info.name, kind))
            scope.values[info.name] = boxed or params[-1]

        def body() -> Any:
            self._nodes(graph, scope)
            return packed([self._port(scope, o.name) for o in graph.output])

        return self.values.main(params, body)

    # -- nodes

    def _nodes(
        self,
        graph: onnx.GraphProto,
        scope: Scope,
    ) -> None:
        self.opaque.declare(graph)
        last, read = last_uses(graph), read_names(graph)
        for index, node in enumerate(graph.node):
            what = self._describe(node)
            straight = self._transposed_weight(node, scope)
            inputs = NodeInputs(
                straight if i == 1 and straight else scope.lookup(n, what)
                for i, n in enumerate(node.input)
            )
            wanted = [name for name in node.output if name in read]
            outputs = self._outputs(node, inputs, scope, straight is not None, wanted, what)
            for name, value in zip(node.output, outputs, strict=False):
                if name and value is not None:
                    scope.values[name] = self.values.keep(value, name_of(node), what)
            for name in node.input:  # a weight that was folded into another is free now
                if last.get(name) == index:
                    scope.forget(name)

    def _outputs(
        self,
        node: onnx.NodeProto,
        inputs: NodeInputs,
        scope: Scope,
        transposed: bool,
        wanted: Sequence[str],
        what: str,
    ) -> Sequence[Any]:
        """The node's outputs: expressed in Relax, or of an opaque call, or pending."""
        given = NodeInputs(inputs)
        c = OnnxContext(self.values, what, inputs, {}, self._opset(node), len(node.output))
        pending = next((v for v in given if isinstance(v, (Pending, Boxed))), None)
        try:
            if pending is not None:
                raise InexpressibleError(f"it reads {pending.reason}")
            if not known_operator(node):
                raise InexpressibleError("it has no converter")
            outputs = self._node(node, c, scope, transposed)
            if node.op_type == "SequenceEmpty":
                self.empty[node.output[0]] = node
            if len(outputs) < len(node.output) and any(node.output[len(outputs) :]):
                raise InexpressibleError(
                    f"it has {len(node.output)} outputs, byoc imports the first {len(outputs)}"
                )
            return [self._typed(v, n) for v, n in zip(outputs, node.output, strict=False)]
        except RefusedError as error:
            raise ModelError(f"{what} is refused: {error}") from None
        except Exception as error:
            reason = sentence(error)
            if not isinstance(error, ByocError):
                reason = str(c.failure(_computed_operand(node, given, error) or error))
            if not opaque_operator(node):
                raise ModelError(reason) from error
            return self._whole(node, given, scope, wanted, reason)

    def _typed(self, value: Any, name: str) -> Any:
        """The value, its type checked against what the model declares where TVM knows too little.

        A number of dimensions that nobody knows makes a node inexpressible.
        """
        if not isinstance(value, relax.Expr) or isinstance(value, (GenericConst, relax.ShapeExpr)):
            return value
        if tvm.ir.is_prim_expr(value):
            return value
        value = self.values.builder.normalize(value)
        kind = value.ty
        if not isinstance(kind, relax.TensorType) or isinstance(kind.shape, relax.ShapeExpr):
            return value
        declared = self.opaque.declared_type(name)
        if declared is None or str(declared.dtype) != str(kind.dtype):
            if kind.ndim < 0:
                raise InexpressibleError("the number of dimensions of its result is not known")
            stem = re.sub(r"\W", "_", name)
            dims = [tirx.Var(f"{stem}_d{i}", "int64") for i in range(kind.ndim)]
            declared = relax.TensorType(dims, str(kind.dtype))
        return self.values.builder.match_cast(self.values.builder.emit(value, name), declared, name)

    def _whole(
        self,
        node: onnx.NodeProto,
        given: NodeInputs,
        scope: Scope,
        wanted: Sequence[str],
        reason: str,
    ) -> Sequence[Any]:
        """Keep the node whole; `reason` says why it cannot be expressed."""
        named = dict(zip(node.input, given, strict=False))
        for name in captured(node):
            if name in scope:
                named[name] = scope.lookup(name, reason)
        if node.input and len(node.input) > 1 and node.op_type == "Gemm":  # read transposed
            named[node.input[1]] = scope.lookup(node.input[1], reason)
        if self.inside:
            raise InexpressibleError(reason)  # segments do not stand inside branches
        tensors = {name: self._readable(name, value) for name, value in named.items() if name}
        call, ready, pending = self.opaque.add(node, tensors, wanted, reason)
        found: dict[str, Any] = dict(pending)
        if call is not None:
            whole = self.values.bind(call, name_of(node))
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
        c: OnnxContext,
        scope: Scope,
        transposed: bool,
    ) -> Sequence[Any]:
        op, domain = node.op_type, domain_of(node)
        c.attrs.update((a.name, self._attribute(a)) for a in node.attribute)
        _check_numbers(c.attrs)
        if transposed:
            c.attrs["transB"] = 0
        if not domain and op == "If":
            return self._if(node, c, scope)
        if not domain and op in ("Loop", "Scan"):
            return self._loop(node, c, scope)
        for i, value in enumerate(c.inputs):
            c.inputs[i] = self.values.tensor(value, op)
        own = OPERATORS.get((domain, op))
        if own is not None:
            expr = own(c)
        else:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expr = convert_stock(
                    op,
                    c.builder,
                    c.inputs,
                    c.attrs,
                    c.opset,
                    outputs=c.outputs,
                    title=name_of(node),
                    scope=scope.values,
                )
        return self.values.unpack(expr, node)

    def _transposed_weight(
        self,
        node: onnx.NodeProto,
        scope: Scope,
    ) -> Any:
        """The weight of a Gemm with transB, read transposed: large ones are in memory once."""
        if node.op_type != "Gemm" or domain_of(node) or len(node.input) < 2:
            return None
        stored = scope.unread(node.input[1])
        if stored is None or len(stored.dims) != 2:
            return None
        if not any(a.name == "transB" and a.i for a in node.attribute):
            return None
        return relax.const(self.weights.tensor(stored, transpose=True))

    def _if(
        self,
        node: onnx.NodeProto,
        c: OnnxContext,
        scope: Scope,
    ) -> Sequence[Any]:
        name, condition, attrs = name_of(node), c[0], c.attrs
        if isinstance(condition, GenericConst):
            taken = bool(condition.value.numpy().all())
            graph = attrs["then_branch" if taken else "else_branch"]
            inner = scope.inner(graph)
            self._nodes(graph, inner)
            return [self._result(inner, o.name) for o in graph.output]
        condition = self.values.tensor(condition, "If")
        if condition.ty.ndim != 0:
            condition = self.values.builder.emit(relax.op.reshape(condition, ()), name)
        branches = []
        for key in ("then_branch", "else_branch"):
            graph = attrs[key]
            inner = scope.inner(graph)
            self.values.builder._begin_binding_block()
            self.inside += 1
            try:
                self._nodes(graph, inner)
                body = packed([self._result(inner, o.name) for o in graph.output])
                var = self.values.builder.emit(self.values.builder.normalize(body), name)
            finally:
                self.inside -= 1
                block = self.values.builder._end_block()
            branches.append(relax.SeqExpr([block], var))
        result = self.values.bind(relax.If(condition, *branches), name)
        if len(node.output) == 1:
            return [result]
        return [relax.TupleGetItem(result, i) for i in range(len(node.output))]

    def _loop(
        self,
        node: onnx.NodeProto,
        c: OnnxContext,
        scope: Scope,
    ) -> Sequence[Any]:
        """A Loop or a Scan, turn by turn."""
        graph: onnx.GraphProto = c.attrs["body"]

        def body(values: Sequence[Any]) -> Sequence[Any]:
            self.unrolled += len(graph.node)
            if self.unrolled > MAX_NODES:
                raise InexpressibleError(f"its turns would make more than {MAX_NODES:,} nodes")
            if len(values) != len(graph.input):
                raise InexpressibleError(
                    f"its body takes {len(graph.input)} inputs, it gets {len(values)}"
                )
            inner = scope.inner(graph)
            inner.values.update(zip((i.name for i in graph.input), values, strict=True))
            self._nodes(graph, inner)
            return [self._result(inner, o.name) for o in graph.output]

        given = [None if v is None else self.values.tensor(v, node.op_type) for v in c.inputs]
        if node.op_type == "Loop":
            return unroll_loop(self.values.builder, node, given, body)
        return unroll_scan(self.values.builder, node, given, c.opset, body)

    # -- values

    def _readable(self, name: str, value: Any) -> Any:
        """A value as opaque nodes read it: a tensor, or one that is none for Relax."""
        if isinstance(value, (Pending, Boxed)):
            return value
        value = self.values.tensor(value, "")
        if isinstance(value, relax.Expr) and isinstance(value.ty, relax.TupleType):
            builder = self.values.builder
            if name in self.empty and not value.ty.fields:
                return self.opaque.add(self.empty[name], {}, [name], "it is a sequence")[2][name]
            fields = [relax.TupleGetItem(value, i) for i in range(len(value.ty.fields))]
            return self.opaque.sequence(name, [builder.emit(f, name) for f in fields])
        return value

    def _port(self, scope: Scope, name: str) -> Any:
        """An output of the model; a handle where it is no tensor of known shape."""
        value = scope.lookup(name, f"{self.where}: the graph's output")
        value = self._readable(name, value)
        if isinstance(value, Pending):
            value = self.opaque.box(value)
            value = replace(value, var=self.values.bind(value.var, name))
        if isinstance(value, Boxed):
            self.ports[name] = value.kind
            return value.var
        return self._result(scope, name)

    def _result(
        self,
        scope: Scope,
        name: str,
    ) -> Any:
        value = scope.lookup(name, f"{self.where}: the graph's output")
        if isinstance(value, Pending):
            raise ModelError(
                f"{value.origin}; it cannot be kept whole for another engine either, since the "
                f"output {name!r} would be {value.reason}"
            )
        value = self.values.tensor(value, "")
        if not isinstance(value.ty, relax.TensorType):
            sequence = isinstance(value.ty, relax.TupleType)
            what = f"a sequence of {len(value.ty.fields)}" if sequence else "a shape"
            raise ModelError(
                f"{self.where}: output {name!r} is no tensor but {what}; "
                f"byoc takes models whose outputs are tensors"
            )
        return value

    def _attribute(self, attr: onnx.AttributeProto) -> Any:
        value = helper.get_attribute_value(attr)
        if isinstance(value, onnx.TensorProto):
            return _with_data(self.weights, value)
        return tuple(value) if isinstance(value, list) else value

    def _describe(self, node: onnx.NodeProto) -> str:
        return (
            f"{self.where}: node {name_of(node)!r} "
            f"({domain_of(node) or 'ai.onnx'}::{node.op_type}, opset {self._opset(node)})"
        )

    def _opset(self, node: onnx.NodeProto) -> int:
        return self.opsets.get(domain_of(node), 1)


def _computed_operand(
    node: onnx.NodeProto, given: NodeInputs, error: Exception
) -> Exception | None:
    """Why a converter cannot read the node, in our words: an operand that it must know is computed.

    None where the converter says itself what is wrong.
    """
    if isinstance(error, InexpressibleError) or "computed by the model" in str(error):
        return None
    for index in deciding_operands(node):
        value = given[index]
        if isinstance(value, relax.Expr) and not isinstance(value, (GenericConst, relax.ShapeExpr)):
            return InexpressibleError(
                f"{operand_name(node, index)} is computed by the model; byoc needs it as a constant"
            )
    return None


def _with_data(weights: Weights, tensor: onnx.TensorProto) -> onnx.TensorProto:
    """An attribute's tensor with its data inside, as converters expect it."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return tensor
    return onnx.numpy_helper.from_array(weights.read(tensor), tensor.name)


def _check_numbers(attrs: Mapping[str, Any]) -> None:
    """Raise RefusedError for numbers that no attribute can be: TVM cuts them to 32 bits."""
    for name, value in attrs.items():
        numbers = value if isinstance(value, tuple) else (value,)
        least = 1 if name in _POSITIVE else -(1 << 31)
        for number in numbers if name not in _VALUES else ():
            if isinstance(number, int) and not least <= number < 1 << 31:
                raise RefusedError(f"its attribute {name!r} is {number}")
