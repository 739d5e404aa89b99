"""The snapshot of a Relax function: flat tables of ints that the other passes walk.

Two number spaces: *nodes* (one per binding that computes something, an op) and *values* (what ops
read and write). Everything that only renames is resolved away::

    lv  = R.nn.conv2d(x, w)        node 0   values  x=0  w=1 (constant)  lv=2
    s   = R.split(lv, 2)           node 1   values  s=3, its fields 4 and 5
    a   = s[0]                     no node: `a` is value 4
    t   = (a, lv)                  no node: `t` is the tuple (4, 2)
    y   = R.concat(t)              node 2   args ((4, 2),)  value 6
    r   = y                        no node: `r` is value 6

The tables are lists with one entry per node or value, not lists of objects: partitioning 25 000
ops takes 1 s of a core and 530 MB this way, model included (benchmarks/partition_scaling.py), and
most passes read two or three of the columns. What belongs together stands in one table:

    graph.ops.kind[node]      graph.values.producer[value]      graph.scopes, branches, order

`walk.py` fills the tables; nothing changes them afterwards. Types and attributes are decoded when
they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from byoc.ir.decode import Decoder
from byoc.partition.snapshot.bindings import BindingScope, OpInfo, RawArg, ValueRef
from byoc.segment import Array, Attr, Node, TensorType

__all__ = ["OpGraph", "OpTable", "ValueTable"]


@dataclass(frozen=True, slots=True)
class ValueTable:
    """What is known of each value; every list is indexed by the value's number.

    Attributes:
        producer: the node that makes it; -1 for parameters and constants.
        typed_by: what has its type: a Var, a GenericConst or, for a field of a tuple, a type.
        types: its tensor type; None when it is no tensor of known rank.
        users: the nodes that read it, and `ESCAPE` for each time it leaves as a result.
        constants: value → its GenericConst, for constants only.
        fields: value of tuple type → the values of its fields.
        field_of: field of a tuple → (value of the tuple, index of the field).
    """

    producer: list[int] = field(default_factory=list)
    typed_by: list[Any] = field(default_factory=list)
    types: list[TensorType | None] = field(default_factory=list)
    users: list[list[int]] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    fields: dict[int, tuple[int, ...]] = field(default_factory=dict)
    field_of: dict[int, tuple[int, int]] = field(default_factory=dict)

    def leaves(self, value: int) -> Iterator[int]:
        """Yield the value itself, or the fields (of fields) when it is a tuple."""
        fields = self.fields.get(value)
        if fields is None:
            yield value
        else:
            for inner in fields:
                yield from self.leaves(inner)


@dataclass(frozen=True, slots=True)
class OpTable:
    """What is known of each op; every list is indexed by the node's number.

    Attributes:
        kind: Relax name without prefix ("nn.conv2d"); "if", "function", "call <name>",
            "match_cast" and "tuple_get_item" for what is no operator.
        opaque: no vendor may take it: it calls a function, or has a side effect.
        calls: the bound expression, a Call for operators.
        infos: the operator; None for what is no operator.
        vars: the variable it is bound to.
        arg_exprs: argument expressions; empty where the op has none of its own.
        args: what each argument stands for.
        ins: the values it reads: `args` with tuples flattened.
        outs: the values it writes, fields of a tuple one by one.
        names: in the model it came from.
        result: the value of its variable, of tuple type for ops with several outputs.
        scope: index into `OpGraph.scopes`.
    """

    kind: list[str] = field(default_factory=list)
    opaque: list[bool] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    infos: list[OpInfo | None] = field(default_factory=list)
    vars: list[Any] = field(default_factory=list)
    arg_exprs: list[list[Any]] = field(default_factory=list)
    args: list[tuple[ValueRef, ...]] = field(default_factory=list)
    ins: list[tuple[int, ...]] = field(default_factory=list)
    outs: list[tuple[int, ...]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    result: list[int] = field(default_factory=list)
    scope: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class OpGraph:
    """Snapshot of one Relax function; made by `walk.take_snapshot`.

    Attributes:
        func: the function.
        name: its name, for messages and records.
        decoder: decodes types and attributes; shared by the functions of a module, so that equal
            types are one object.
        ops: one row per node, in binding order, which is topological.
        values: one row per value.
        scopes: binding blocks. Branches of an `If` are scopes of their own, in which values of
            outer scopes are visible. Segments never cross a scope: the blocks of a function stay
            in their order.
        body_scopes: the scopes of the function's own body, in order.
        branches: node of an `If` → the scopes of its two branches.
        order: node → nodes it must follow although it reads nothing of them: side effects keep
            their order, and an op whose shape names a variable that a `match_cast` binds comes
            after it.
        result: what the function returns.
        inlined: (name of a composite function, its nodes), where composites were asked for.
        params: handle of a parameter → its value.
    """

    func: Any
    name: str
    decoder: Decoder
    ops: OpTable
    values: ValueTable
    scopes: list[BindingScope]
    body_scopes: list[int]
    branches: dict[int, tuple[list[int], list[int]]]
    order: dict[int, tuple[int, ...]]
    result: ValueRef
    inlined: list[tuple[str, tuple[int, ...]]]
    params: dict[int, ValueRef]
    _alive: list[Any]  # handles stand for these objects: none may be freed while they are in use
    _nodes: dict[int, Node] = field(default_factory=dict)
    _attrs: dict[int, Mapping[str, Attr]] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of nodes."""
        return len(self.ops.kind)

    def named(self, node: int) -> str:
        """An op in messages: its kind and its name in the model, ``nn.relu (lv1)``."""
        return f"{self.ops.kind[node]} ({self.ops.names[node]})"

    def value_of(self, var: Any) -> int:
        """The value that a parameter of the function stands for."""
        ref = self.params[var.__chandle__()]
        assert type(ref) is int
        return ref

    def array(self, value: int) -> Array | None:
        """The array of a constant; None for every other value."""
        const = self.values.constants.get(value)
        return None if const is None else self.decoder.array(const)

    def preds(self, node: int) -> list[int]:
        """The nodes this node must come after, without duplicates."""
        producer = self.values.producer
        found = {producer[v]: None for v in self.ops.ins[node]}
        for other in self.order.get(node, ()):
            found[other] = None
        found.pop(-1, None)
        return list(found)

    def node(self, node: int) -> Node:
        """The op as vendors see it; its value ids are those of this graph."""
        found = self._nodes.get(node)
        if found is None:
            ops = self.ops
            found = self._nodes[node] = Node(
                ops.kind[node],
                ops.ins[node],
                ops.outs[node],
                self.attrs(node),
                (ops.names[node],),
            )
        return found

    def attrs(self, node: int) -> Mapping[str, Attr]:
        """The attributes of an op, its arguments that are no tensors included."""
        found = self._attrs.get(node)
        if found is None:
            found = self._attrs[node] = self._decode(node)
        return found

    def _decode(self, node: int) -> Mapping[str, Attr]:
        info, decoder = self.ops.infos[node], self.decoder
        if info is None:
            return {}
        attrs = decoder.attrs(self.ops.calls[node].attrs)
        names = info.arguments
        for k, ref in enumerate(self.ops.args[node]):
            if type(ref) is int:
                continue
            name = names[k] if k < len(names) else f"arg{k}"
            if type(ref) is RawArg:
                attrs[name] = decoder.attr(ref.expr)
            elif type(ref) is tuple:
                raws = [r for r in ref if type(r) is RawArg]
                if len(raws) == len(ref):
                    attrs[name] = tuple([decoder.attr(r.expr) for r in raws])
        return attrs
