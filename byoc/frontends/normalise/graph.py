"""A Relax function as a graph that small passes can edit cheaply.

Relax functions are immutable: every rewrite through its visitors costs a walk of the whole
function. Here a function is read once into nodes, edited in place, and written back once::

    Relax function ──reading.py──▶ Graph ──rules──▶ Graph ──writing.py──▶ Relax function

    Input ─┐            args, users: both directions of every edge
    Const ─┴▶ GraphNode ─▶ GraphNode ─▶ result  (a tuple is a Python tuple, a shape a Leaf)
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

import tvm
from tvm import relax
from tvm.ir import Call, GenericConst

from byoc.frontends.normalise.values import Dims, Leaf, dims_of, plain
from byoc.ir.arrays import from_numpy, to_numpy
from byoc.segment import Array

__all__ = [
    "Arg",
    "Const",
    "Graph",
    "GraphNode",
    "Input",
    "NotReadableError",
    "Value",
    "expression",
    "flat_values",
    "swap",
]


class NotReadableError(Exception):
    """The function holds a construct that graphs do not model; it is left as it is."""


class Value:
    """Something with a type that nodes can read.

    Attributes:
        expr: The Relax expression that stands for the value in expressions given to `emit`.
        users: The nodes that read it, in the order they began to.
    """

    def __init__(self, expr: Any) -> None:
        self.expr = expr
        self.users: dict[GraphNode, None] = {}

    @cached_property
    def shape(self) -> Dims | None:
        """Dimensions as ints, or TVM expressions where symbolic; None when not a known shape."""
        return dims_of(self.expr.ty)

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


class GraphNode(Value):
    """One binding: an op call, or "tuple", "get", "if", "match_cast" and other plain bindings.

    Attributes:
        graph: The graph that computes it.
        op: Relax name without prefix ("nn.conv2d"); "call" for anything that is no operator.
        call: The Relax call, for attributes and types; its arguments are `args`.
        args: What it reads: values, leaves, tuples of these.
        name: The source name, written to the binding's variable.
        key: Where the node stood, to keep the order of the source.
        branches: The two inner graphs of an "if".
        pure: False for what has an effect besides its result.
        dead: True when it was dropped.
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
        return flat_values(self.args)

    def leaf(self, index: int) -> Any:
        """A non-tensor argument (a shape, a number, a tuple of them) as plain Python."""
        return plain(self.args[index])


Arg: TypeAlias = "Value | Leaf | tuple[Arg, ...]"


@dataclass(eq=False)
class Graph:
    """One function body, or one branch of an `if`.

    Attributes:
        result: What the body returns.
        params: The function's parameters.
        nodes: Its nodes, in the order they were added.
        table: Expression → the value that it stands for.
        current: The node that is being rewritten.
        has_control_flow: True when there is an `if`.
        header: Parameters, result type, purity and attributes of the function that was read.
        on_new: Called with each node that a rule makes.
    """

    result: Any = ()
    params: list[Input] = field(default_factory=list)
    nodes: list[GraphNode] = field(default_factory=list)
    table: dict[Any, Value | Leaf | tuple[Any, ...]] = field(default_factory=dict)
    current: GraphNode | None = None
    has_control_flow: bool = False
    header: tuple[Any, ...] = ()
    on_new: Callable[[GraphNode], None] = lambda node: None
    _keys: list[int] = field(default_factory=lambda: [0])
    _results: dict[Value, int] = field(default_factory=dict)
    _builder: Any = field(default_factory=relax.BlockBuilder)

    # -- building

    def typed(self, expr: Any) -> Any:
        """The expression with its type inferred."""
        return self._builder.normalize(expr)

    def add(self, op: str, call: Any, args: list[Any], var: Any, name: str) -> GraphNode:
        """Add a binding of the function that is read, as it stands.

        Args:
            op: Name of the op without ``relax.``.
            call: The Relax expression that is bound.
            args: Its arguments, as values of this graph.
            var: The variable it is bound to.
            name: The source name of the op.
        """
        self._keys[0] += 1
        node = GraphNode(self, op, call, args, var, name, self._keys[0])
        self.nodes.append(node)
        self.table[var] = node
        return node

    def arg(self, expr: Any) -> Any:
        """The argument for an expression; calls in it become nodes.

        Raises:
            NotReadableError: There are functions or branches inside the expression.
        """
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
            return tuple(self.arg(f) for f in expr.fields)
        if isinstance(expr, Call) and not tvm.ir.is_prim_expr(expr):
            return self._emit_call(expr)
        if isinstance(expr, relax.TupleGetItem):
            source = self.arg(expr.tuple_value)
            if isinstance(source, tuple):
                return source[expr.index]
            return self._emit_get(source, expr.index)
        if isinstance(expr, (relax.SeqExpr, relax.Function, relax.If)):
            raise NotReadableError(f"a nested {type(expr).__name__}")
        return Leaf(expr)

    def branch(self) -> Graph:
        """An empty graph inside this one: it sees the values of this one."""
        return Graph(table=self.table, _keys=self._keys, _builder=self._builder)

    # -- editing

    def emit(self, expr: Any, name: str | None = None) -> Value:
        """Add the ops of an expression over `Value.expr`s; return the value of its root.

        The nodes stand where `current`, the node being rewritten, stands, and carry its name unless
        another is given.

        Args:
            expr: A Relax expression of one tensor.
            name: The source name of the new nodes; None takes that of `current`.
        """
        before, self._name = getattr(self, "_name", None), name
        try:
            value = self.arg(expr)
        finally:
            self._name = before
        assert isinstance(value, Value), "emit takes an expression of one tensor"
        return value

    def constant(self, array: Array) -> Const:
        """Add a constant."""
        expr = relax.const(from_numpy(array))
        const = self.table[expr] = Const(expr)
        return const

    def _emit_call(self, call: Any) -> GraphNode:
        args = [self.arg(a) for a in call.args]
        flat = Call(call.op, [expression(a) for a in args], call.attrs, call.ty_args)
        flat = self._builder.normalize(flat)
        return self._new(call.op.name.removeprefix("relax."), flat, args)

    def _emit_get(self, source: Arg, index: int) -> GraphNode:
        get = self._builder.normalize(relax.TupleGetItem(expression(source), index))
        return self._new("get", get, [source])

    def _new(self, op: str, call: Any, args: list[Any]) -> GraphNode:
        at = self.current
        name = getattr(self, "_name", None) or (at.name if at else op)
        var = relax.Var(name, call.ty)
        node = GraphNode(self, op, call, args, var, name, at.key if at else self._keys[0] + 1)
        self.nodes.append(node)
        self.table[var] = node
        self.on_new(node)
        return node

    def set_result(self, result: Arg) -> None:
        """Declare what the body returns."""
        self.result = result
        self._results = {}
        for value in flat_values((result,)):
            self._results[value] = self._results.get(value, 0) + 1

    def is_result(self, value: Value) -> bool:
        """True when the body returns the value."""
        return value in self._results

    def only_user(self, value: Value) -> GraphNode | None:
        """The single node that reads a value nobody else needs, else None."""
        if len(value.users) != 1 or (isinstance(value, GraphNode) and value.graph.is_result(value)):
            return None
        return next(iter(value.users))

    def replace(self, old: GraphNode, new: Arg) -> None:
        """Let every reader of one node read another value instead, and drop what nobody reads then.

        Args:
            old: The node that disappears.
            new: What takes its place.
        """
        for user in list(old.users):
            user.args = [swap(a, old, new) for a in user.args]
            for branch in user.branches:
                branch.set_result(swap(branch.result, old, new))
            for value in flat_values((new,)):
                value.users[user] = None
        old.users.clear()
        if old in self._results:
            self.set_result(swap(self.result, old, new))
        self.release(old)

    def release(self, node: GraphNode) -> None:
        """Drop a node when nobody reads it, and then its inputs."""
        stack = [node]
        while stack:
            top = stack.pop()
            if top.dead or top.users or not top.pure or top.graph.is_result(top):
                continue
            for reader in _with_inner(top):
                for value in reader.inputs():
                    value.users.pop(reader, None)
                    if isinstance(value, GraphNode):
                        stack.append(value)
                    elif not value.users:
                        self._forget(value)
                self._bury(reader)

    def _bury(self, node: GraphNode) -> None:
        node.dead = True
        node.args = []
        node.call = None  # it refers to constants
        self.table.pop(node.expr, None)

    def _forget(self, value: Value) -> None:
        if isinstance(value, Const):
            self.table.pop(value.expr, None)

    # -- walking

    def order(self) -> list[GraphNode]:
        """Live nodes of this graph, every one after what it reads, close to the source's order."""
        mine = {n for n in self.nodes if not n.dead}  # sets of nodes are in order of addresses
        done: set[GraphNode] = set()
        order: list[GraphNode] = []

        def missing(node: GraphNode) -> list[GraphNode]:
            return [v for v in _read_nodes(node) if v not in done and v in mine]

        def visit(root: GraphNode) -> None:
            stack: list[tuple[GraphNode, bool]] = [(root, False)]
            while stack:
                node, ready = stack.pop()
                if ready:
                    order.append(node)
                elif node not in done:
                    before = missing(node)
                    done.add(node)
                    if before:
                        stack.append((node, True))
                        stack.extend((v, False) for v in reversed(before))
                    else:
                        order.append(node)

        live = self._live(mine)
        for node in sorted((n for n in self.nodes if n in live), key=lambda n: n.key):
            visit(node)
        return order

    def _live(self, mine: set[GraphNode]) -> set[GraphNode]:
        stack = [n for n in mine if not n.pure]
        stack += [v for v in flat_values((self.result,)) if isinstance(v, GraphNode)]
        live: set[GraphNode] = set()
        while stack:
            node = stack.pop()
            if node in live or node not in mine:
                continue
            live.add(node)
            stack.extend(_read_nodes(node))
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


def _read_nodes(node: GraphNode) -> list[GraphNode]:
    """The nodes among what a node needs."""
    if not node.branches and not any(type(a) is tuple for a in node.args):
        return [a for a in node.args if isinstance(a, GraphNode)]
    return [v for v in _reads(node) if isinstance(v, GraphNode)]


def _reads(node: GraphNode) -> Iterator[Value]:
    """Everything a node needs, values read by its branches included."""
    yield from node.inputs()
    for branch in node.branches:
        for inner in branch.nodes:
            yield from _reads(inner)
        yield from flat_values((branch.result,))


def _with_inner(node: GraphNode) -> Iterator[GraphNode]:
    """The node and every node of its branches."""
    yield node
    for branch in node.branches:
        for inner in branch.nodes:
            yield from _with_inner(inner)


def flat_values(arg: Any) -> Iterator[Value]:
    """The values in a tuple of arguments, inner tuples flattened."""
    for a in arg:
        if isinstance(a, Value):
            yield a
        elif isinstance(a, tuple):
            yield from flat_values(a)


def expression(arg: Any, table: dict[Value, Any] | None = None) -> Any:
    """Return the Relax expression of an argument.

    Args:
        arg: A value, a plain argument, or a tuple of them.
        table: Value → expression, where values are written anew; None takes their own.
    """
    if isinstance(arg, tuple):
        fields = [expression(a, table) for a in arg]
        return relax.Tuple(fields)
    if table is not None and not isinstance(arg, (Leaf, Const)):
        return table[arg]
    return arg.expr


def swap(arg: Any, old: Value, new: Any) -> Any:
    """Return an argument with one value replaced wherever it occurs in it.

    Args:
        arg: A value, a plain argument, or a tuple of them.
        old: The value to replace.
        new: What takes its place.
    """
    if arg is old:
        return new
    if isinstance(arg, tuple):
        return tuple(swap(a, old, new) for a in arg)
    return arg
