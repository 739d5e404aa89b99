"""A Relax function as a graph that small passes can edit cheaply.

Relax functions are immutable: every rewrite through its visitors costs a walk of the whole
function. Here a function is read once into nodes, edited in place, and written back once::

    Relax function ──read──▶ Graph ──rules──▶ Graph ──write──▶ Relax function

    Input ─┐            args, users: both directions of every edge
    Const ─┴▶ Node ─▶ Node ─▶ result      (a tuple argument is a Python tuple)
                │
                └ "if": two inner graphs, whose nodes may read values of the outer one

A rule that needs new ops writes them with `relax.op` on the `expr` of values and hands the
expression to `Graph.emit`, so TVM checks and types everything that passes create.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, TypeAlias

import numpy.typing as npt
import tvm
import tvm_ffi
from tvm import relax
from tvm.ir import Call, GenericConst, Op

from byoc.frontends.normalise.tensors import from_numpy, to_numpy

__all__ = [
    "Arg",
    "Const",
    "Graph",
    "Input",
    "Leaf",
    "Node",
    "NotReadableError",
    "Value",
    "expression",
    "same_dims",
    "swap",
]

Array = npt.NDArray[Any]
Dims: TypeAlias = "tuple[Any, ...]"


class NotReadableError(Exception):
    """The function holds a construct that graphs do not model; it is left as it is."""


class Value:
    """Something with a type that nodes can read.

    expr: the Relax expression that stands for the value in expressions given to `emit`.
    users: the nodes that read it, in the order they began to.
    """

    def __init__(self, expr: Any) -> None:
        self.expr = expr
        self.users: dict[Node, None] = {}

    @cached_property
    def shape(self) -> Dims | None:
        """Dimensions as ints, or TVM expressions where symbolic; None when not a known shape."""
        shape = getattr(self.expr.ty, "shape", None)
        if shape is None or not isinstance(shape, relax.ShapeExpr):
            return None
        return tuple(_dim(d) for d in shape.values)

    @cached_property
    def static_shape(self) -> tuple[int, ...] | None:
        """The shape when every dimension is an int, else None."""
        if self.shape is None or not all(isinstance(d, int) for d in self.shape):
            return None
        return self.shape

    @cached_property
    def dtype(self) -> str:
        """Element type as numpy spells it; empty when unknown or not a tensor."""
        return str(getattr(self.expr.ty, "dtype", None) or "")

    @property
    def ndim(self) -> int:
        """Number of dimensions, -1 when unknown."""
        return int(getattr(self.expr.ty, "ndim", -1))


class Input(Value):
    """A parameter of the function."""


class Const(Value):
    """A constant tensor."""

    @cached_property
    def array(self) -> Array:
        """The data, not to be written to."""
        return to_numpy(self.expr.value)

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.static_shape or ())

    @cached_property
    def number(self) -> float | None:
        """The number when there is one element, or a few thousand equal ones, else None."""
        if not 0 < self.size <= 4096:
            return None
        flat = self.array.reshape(-1)
        first: float = flat[0].item()
        return first if self.size == 1 or bool((flat == flat[0]).all()) else None


class Node(Value):
    """One binding: an op call, or "tuple", "get", "if", "match_cast" and other plain bindings.

    op: Relax name without prefix ("nn.conv2d"); "call" for anything that is no operator.
    name: the source name, written to the binding's variable.
    key: where the node stood, to keep the order of the source.
    """

    def __init__(
        self, graph: Graph, op: str, call: Any, args: list[Any], expr: Any, name: str, key: int
    ) -> None:
        super().__init__(expr)
        self.graph = graph
        self.op = op
        self.call = call
        self.args = args
        self.name = name
        self.key = key
        self.branches: tuple[Graph, ...] = ()
        self.pure = True
        self.dead = False
        for value in self.inputs():
            value.users[self] = None

    @property
    def attrs(self) -> Any:
        """The op's attributes."""
        return self.call.attrs

    def inputs(self) -> Iterator[Value]:
        """Every value the node reads, tuples flattened; inner graphs not included."""
        return _values(self.args)

    def leaf(self, index: int) -> Any:
        """A non-tensor argument (a shape, a number, a tuple of them) as plain Python."""
        return plain(self.args[index])


@dataclass(frozen=True, eq=False)
class Leaf:
    """A non-tensor argument: a shape, a number, a dtype, a function."""

    expr: Any


Arg: TypeAlias = "Value | Leaf | tuple[Arg, ...]"


def plain(arg: Any) -> Any:
    """Python value of a non-tensor argument; symbolic dimensions stay TVM expressions."""
    if isinstance(arg, tuple):
        return tuple(plain(a) for a in arg)
    expr = arg.expr
    if isinstance(expr, relax.ShapeExpr):
        return tuple(_dim(d) for d in expr.values)
    if isinstance(expr, (tvm.tirx.IntImm, tvm.tirx.FloatImm, tvm.ir.StringImm)):
        return expr.value
    return expr


def same_dims(a: Dims | None, b: Dims | None) -> bool:
    """True when both shapes are known and equal, symbolic dimensions included."""
    if a is None or b is None or len(a) != len(b):
        return False
    return all(_same_dim(x, y) for x, y in zip(a, b, strict=True))


def _same_dim(a: Any, b: Any) -> bool:
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return bool(a.same_as(b)) or bool(tvm_ffi.structural_equal(a, b))


def _dim(d: Any) -> Any:
    return int(d) if isinstance(d, tvm.tirx.IntImm) else d


def _values(arg: Any) -> Iterator[Value]:
    for a in arg:
        if isinstance(a, Value):
            yield a
        elif isinstance(a, tuple):
            yield from _values(a)


@dataclass(eq=False)
class Graph:
    """One function body, or one branch of an `if`.

    result: what the body returns. pinned: nodes that stay though nobody reads them (effects).
    names: variable → source name, for bindings whose own name says less.
    """

    result: Any = ()
    params: list[Input] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    table: dict[Any, Value | Leaf | tuple[Any, ...]] = field(default_factory=dict)
    current: Node | None = None
    has_control_flow: bool = False
    header: tuple[Any, ...] = ()  # parameters, result type, purity and attributes
    on_new: Callable[[Node], None] = lambda node: None
    _keys: list[int] = field(default_factory=lambda: [0])
    _results: dict[Value, int] = field(default_factory=dict)
    _builder: Any = field(default_factory=relax.BlockBuilder)

    # -- reading

    @classmethod
    def read(cls, function: relax.Function, names: dict[Any, str] | None = None) -> Graph:
        """Read a function. names: variable → source name, where the variable's own says less.

        The graph keeps no reference to the function, so that weights which rules replace are
        freed at once. Raises NotReadableError for a function that defines functions inside.
        """
        graph = cls()
        graph.header = (function.params, function.ret_ty, function.is_pure, function.attrs)
        for param in function.params:
            graph.params.append(Input(param))
            graph.table[param] = graph.params[-1]
        graph._read_body(function.body, names or {})
        return graph

    def _read_body(self, body: Any, names: dict[Any, str]) -> None:
        if not isinstance(body, relax.SeqExpr):
            body = relax.SeqExpr([], body)
        for block in body.blocks:
            for binding in block.bindings:
                self._read_binding(binding, names)
        self.set_result(self._arg(body.body))

    def _read_binding(self, binding: Any, names: dict[Any, str]) -> None:
        var, value = binding.var, binding.value
        name = names.get(var) or var.name
        if isinstance(binding, relax.MatchCast):
            node = self._add("match_cast", binding, [self._arg(value)], var, name)
            node.pure = False
        elif isinstance(value, relax.Function):
            raise NotReadableError("a function inside the function")
        elif isinstance(value, relax.If):
            self.has_control_flow = True
            branches = tuple(
                self._branch(b, names) for b in (value.true_branch, value.false_branch)
            )
            # A branch may return a value of this graph; as an argument it is kept up to date.
            passed = tuple(v for b in branches for v in _values((b.result,)) if _foreign(v, b))
            node = self._add("if", value, [self._arg(value.cond), passed], var, name)
            node.branches = branches
            node.pure = all(n.pure for b in branches for n in b.nodes)
        elif isinstance(value, relax.TupleGetItem):
            source = self._arg(value.tuple_value)
            if isinstance(source, tuple):
                self.table[var] = source[value.index]
            else:
                self._add("get", value, [source], var, name)
        elif isinstance(value, Call):
            op = value.op
            known = isinstance(op, Op)
            if isinstance(op, relax.Var):
                raise NotReadableError("a call of a closure")
            node = self._add(
                op.name.removeprefix("relax.") if known else "call",
                value,
                [self._arg(a) for a in value.args],
                var,
                name,
            )
            node.pure = bool(op.get_attr("FPurity")) if known else _is_pure_callee(op)
        else:  # an alias of a value, a constant, a tuple, a shape
            self.table[var] = self._arg(value)

    def _branch(self, body: Any, names: dict[Any, str]) -> Graph:
        graph = Graph(table=self.table, _keys=self._keys, _builder=self._builder)
        graph._read_body(body, names)
        return graph

    def _add(self, op: str, call: Any, args: list[Any], var: Any, name: str) -> Node:
        self._keys[0] += 1
        node = Node(self, op, call, args, var, name, self._keys[0])
        self.nodes.append(node)
        self.table[var] = node
        return node

    def _arg(self, expr: Any) -> Any:
        if isinstance(expr, relax.Var):
            # Variables of symbolic shapes are not values: they live in types.
            found = self.table.get(expr)
            return Leaf(expr) if found is None else found
        if isinstance(expr, GenericConst):
            if isinstance(expr.ty, relax.TensorType):
                found = self.table.get(expr)
                if found is None:
                    found = self.table[expr] = Const(expr)
                return found
            return Leaf(expr)
        if isinstance(expr, relax.Tuple):
            return tuple(self._arg(f) for f in expr.fields)
        if isinstance(expr, Call) and not tvm.ir.is_prim_expr(expr):
            return self._emit_call(expr)
        if isinstance(expr, relax.TupleGetItem):
            source = self._arg(expr.tuple_value)
            if isinstance(source, tuple):
                return source[expr.index]
            return self._emit_get(source, expr.index)
        if isinstance(expr, (relax.SeqExpr, relax.Function, relax.If)):
            raise NotReadableError(f"a nested {type(expr).__name__}")
        return Leaf(expr)

    # -- editing

    def emit(self, expr: Any, name: str | None = None) -> Value:
        """Add the ops of an expression over `Value.expr`s; return the value of its root.

        The nodes stand where `current`, the node being rewritten, stands, and carry its name
        unless another is given.
        """
        before, self._name = getattr(self, "_name", None), name
        try:
            value = self._arg(expr)
        finally:
            self._name = before
        assert isinstance(value, Value), "emit takes an expression of one tensor"
        return value

    def constant(self, array: Array) -> Const:
        """Add a constant."""
        expr = relax.const(from_numpy(array))
        const = self.table[expr] = Const(expr)
        return const

    def _emit_call(self, call: Any) -> Node:
        args = [self._arg(a) for a in call.args]
        flat = Call(call.op, [expression(a) for a in args], call.attrs, call.ty_args)
        flat = self._builder.normalize(flat)
        return self._new(call.op.name.removeprefix("relax."), flat, args)

    def _emit_get(self, source: Arg, index: int) -> Node:
        get = self._builder.normalize(relax.TupleGetItem(expression(source), index))
        return self._new("get", get, [source])

    def _new(self, op: str, call: Any, args: list[Any]) -> Node:
        at = self.current
        name = getattr(self, "_name", None) or (at.name if at else op)
        var = relax.Var(name, call.ty)
        node = Node(self, op, call, args, var, name, at.key if at else self._keys[0] + 1)
        self.nodes.append(node)
        self.table[var] = node
        self.on_new(node)
        return node

    def set_result(self, result: Arg) -> None:
        """Declare what the body returns."""
        self.result = result
        self._results = {}
        for value in _values((result,)):
            self._results[value] = self._results.get(value, 0) + 1

    def is_result(self, value: Value) -> bool:
        """True when the body returns the value."""
        return value in self._results

    def only_user(self, value: Value) -> Node | None:
        """The single node that reads a value nobody else needs, else None."""
        if len(value.users) != 1 or (isinstance(value, Node) and value.graph.is_result(value)):
            return None
        return next(iter(value.users))

    def replace(self, old: Node, new: Arg) -> None:
        """Let every reader of `old` read `new` instead, and drop what nobody reads then."""
        for user in list(old.users):
            user.args = [swap(a, old, new) for a in user.args]
            for branch in user.branches:
                branch.set_result(swap(branch.result, old, new))
            for value in _values((new,)):
                value.users[user] = None
        old.users.clear()
        if old in self._results:
            self.set_result(swap(self.result, old, new))
        self.release(old)

    def release(self, node: Node) -> None:
        """Drop a node when nobody reads it, and then its inputs."""
        stack = [node]
        while stack:
            top = stack.pop()
            if top.dead or top.users or not top.pure or top.graph.is_result(top):
                continue
            for reader in _with_inner(top):
                for value in reader.inputs():
                    value.users.pop(reader, None)
                    if isinstance(value, Node):
                        stack.append(value)
                    elif not value.users:
                        self._forget(value)
                self._bury(reader)

    def _bury(self, node: Node) -> None:
        node.dead = True
        node.args = []
        node.call = None  # it refers to constants
        self.table.pop(node.expr, None)

    def _forget(self, value: Value) -> None:
        if isinstance(value, Const):
            self.table.pop(value.expr, None)

    # -- walking

    def order(self) -> list[Node]:
        """Live nodes of this graph, every one after what it reads, close to the source's order."""
        mine = {n for n in self.nodes if not n.dead}
        done: set[Node] = set()
        order: list[Node] = []

        def visit(root: Node) -> None:
            stack: list[tuple[Node, bool]] = [(root, False)]
            while stack:
                node, ready = stack.pop()
                if ready:
                    order.append(node)
                elif node not in done:
                    done.add(node)
                    stack.append((node, True))
                    stack.extend(
                        (v, False)
                        for v in reversed(list(_reads(node)))
                        if isinstance(v, Node) and v in mine and v not in done
                    )

        wanted = self._live(mine)
        for node in sorted(wanted, key=lambda n: n.key):
            visit(node)
        return order

    def _live(self, mine: set[Node]) -> set[Node]:
        stack = [n for n in mine if not n.pure]
        stack += [v for v in _values((self.result,)) if isinstance(v, Node)]
        live: set[Node] = set()
        while stack:
            node = stack.pop()
            if node in live or node not in mine:
                continue
            live.add(node)
            stack.extend(v for v in _reads(node) if isinstance(v, Node))
        return live

    def sweep(self) -> None:
        """Forget nodes that do not reach the result."""
        live = self.order()
        keep = set(live)
        for node in self.nodes:
            if node not in keep and not node.dead:
                for reader in _with_inner(node):
                    for value in reader.inputs():
                        value.users.pop(reader, None)
                    self._bury(reader)
        self.nodes = live
        for node in live:
            for branch in node.branches:
                branch.sweep()

    # -- writing

    def write(self) -> relax.Function:
        """The graph as a Relax function, with the parameters and attributes of the one read."""
        params, result, pure, attrs = self.header
        body = self._write_body({p: p.expr for p in self.params}, not self.has_control_flow)
        return relax.Function(params, body, result, pure, attrs)

    def _write_body(self, table: dict[Value, Any], dataflow: bool) -> Any:
        dataflow = dataflow and all(n.pure or n.op == "match_cast" for n in self.nodes)
        order = self.order()
        returned = isinstance(self.result, Node)
        bindings = []
        for node in order:
            last = returned and node is self.result
            make = relax.Var if last or not dataflow else relax.DataflowVar
            var = table[node] = make(node.name, node.expr.ty)
            bindings.append(self._write_binding(node, var, table))
        result = expression(self.result, table)
        if not returned and bindings and dataflow:
            # What leaves a dataflow block must be a plain variable.
            out = relax.Var("output", self._builder.normalize(result).ty)
            bindings.append(relax.VarBinding(out, result))
            result = out
        block = relax.DataflowBlock if dataflow else relax.BindingBlock
        blocks = [block(bindings)] if bindings else []
        seq = relax.SeqExpr(blocks, result)
        if seq.body.ty is not None:
            relax.expr._update_type(seq, seq.body.ty)
        return seq

    def _write_binding(self, node: Node, var: Any, table: dict[Value, Any]) -> Any:
        args = [expression(a, table) for a in node.args]
        call = node.call
        if node.op == "match_cast":
            return relax.MatchCast(var, args[0], call.ty)
        if node.op == "if":
            inner = [b._write_body(dict(table), False) for b in node.branches]
            value = relax.If(args[0], *inner)
            relax.expr._update_type(value, node.expr.ty)
            return relax.VarBinding(var, value)
        if node.op == "get":
            return relax.VarBinding(var, relax.TupleGetItem(args[0], call.index))
        value = Call(call.op, args, call.attrs, call.ty_args)
        # Rules replace values by values of the same type, so nothing need be inferred again
        # (inference of one convolution takes 0.2 ms).
        relax.expr._update_type(value, call.ty)
        return relax.VarBinding(var, value)


def expression(arg: Any, table: dict[Value, Any] | None = None) -> Any:
    """The Relax expression of an argument, values taken from `table` where given."""
    if isinstance(arg, tuple):
        fields = [expression(a, table) for a in arg]
        return relax.Tuple(fields)
    if table is not None and not isinstance(arg, (Leaf, Const)):
        return table[arg]
    return arg.expr


def swap(arg: Any, old: Value, new: Any) -> Any:
    """The argument with `new` for every `old` in it."""
    if arg is old:
        return new
    if isinstance(arg, tuple):
        return tuple(swap(a, old, new) for a in arg)
    return arg


def _reads(node: Node) -> Iterator[Value]:
    """Everything a node needs, values read by its branches included."""
    yield from node.inputs()
    for branch in node.branches:
        for inner in branch.nodes:
            yield from _reads(inner)
        yield from _values((branch.result,))


def _with_inner(node: Node) -> Iterator[Node]:
    """The node and every node of its branches."""
    yield node
    for branch in node.branches:
        for inner in branch.nodes:
            yield from _with_inner(inner)


def _foreign(value: Value, graph: Graph) -> bool:
    """True for a value that the graph reads but does not compute."""
    return not (isinstance(value, Node) and value.graph is graph)


def _is_pure_callee(op: Any) -> bool:
    return bool(getattr(getattr(op, "ty", None), "purity", False))
