"""A Relax function as a graph that small passes can edit cheaply.

Relax functions are immutable: every rewrite through its visitors costs a walk of the whole
function. Here a function is read once into nodes, edited in place, and written back once::

    Relax function ──reading.py──▶ Graph ──rules──▶ Graph ──writing.py──▶ Relax function

    Input ─┐            args, users: both directions of every edge
    Const ─┴▶ Node ─▶ Node ─▶ result      (values.py)
                │
                └ "if": two inner graphs, whose nodes may read values of the outer one

A rule that needs new ops writes them with `relax.op` on the `expr` of values and hands the
expression to `Graph.emit`, so TVM checks and types everything that passes create.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax
from tvm.ir import Call, GenericConst

from byoc.frontends.normalise.tensors import from_numpy
from byoc.frontends.normalise.values import (
    Arg,
    Array,
    Const,
    Input,
    Leaf,
    Node,
    Value,
    expression,
    flat_values,
    swap,
)

__all__ = ["Graph", "NotReadableError"]


class NotReadableError(Exception):
    """The function holds a construct that graphs do not model; it is left as it is."""


@dataclass(eq=False)
class Graph:
    """One function body, or one branch of an `if`.

    result: what the body returns.
    header: parameters, result type, purity and attributes of the function that was read.
    """

    result: Any = ()
    params: list[Input] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    table: dict[Any, Value | Leaf | tuple[Any, ...]] = field(default_factory=dict)
    current: Node | None = None
    has_control_flow: bool = False
    header: tuple[Any, ...] = ()
    on_new: Callable[[Node], None] = lambda node: None
    _keys: list[int] = field(default_factory=lambda: [0])
    _results: dict[Value, int] = field(default_factory=dict)
    _builder: Any = field(default_factory=relax.BlockBuilder)

    @staticmethod
    def read(function: relax.Function, names: dict[Any, str] | None = None) -> Graph:
        """The graph of a function (see `reading.read_function`)."""
        from byoc.frontends.normalise.reading import read_function

        return read_function(function, names)

    def write(self) -> relax.Function:
        """The function of the graph (see `writing.write_function`)."""
        from byoc.frontends.normalise.writing import write_function

        return write_function(self)

    # -- building

    def typed(self, expr: Any) -> Any:
        """The expression with its type inferred."""
        return self._builder.normalize(expr)

    def add(self, op: str, call: Any, args: list[Any], var: Any, name: str) -> Node:
        """Add a binding as it stands; `var` is its variable."""
        self._keys[0] += 1
        node = Node(self, op, call, args, var, name, self._keys[0])
        self.nodes.append(node)
        self.table[var] = node
        return node

    def arg(self, expr: Any) -> Any:
        """The argument for an expression; calls in it become nodes.

        Raises NotReadableError for functions and branches inside expressions.
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

        The nodes stand where `current`, the node being rewritten, stands, and carry its name
        unless another is given.
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

    def _emit_call(self, call: Any) -> Node:
        args = [self.arg(a) for a in call.args]
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
        for value in flat_values((result,)):
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
            for value in flat_values((new,)):
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
        stack += [v for v in flat_values((self.result,)) if isinstance(v, Node)]
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


def _reads(node: Node) -> Iterator[Value]:
    """Everything a node needs, values read by its branches included."""
    yield from node.inputs()
    for branch in node.branches:
        for inner in branch.nodes:
            yield from _reads(inner)
        yield from flat_values((branch.result,))


def _with_inner(node: Node) -> Iterator[Node]:
    """The node and every node of its branches."""
    yield node
    for branch in node.branches:
        for inner in branch.nodes:
            yield from _with_inner(inner)
