"""A module that `tvm.ir.save_json` wrote → syntax tree.

Relay's objects form a graph: an expression that two others read is one node. Here every call
becomes a binding of the innermost scope (module function, closure, branch) that needs it::

    Call(relu, Call(conv, x, w))      %12 = conv(%3, %5);   named after their nodes
                                      %13 = relu(%12);

Within a scope the walk keeps its own stack, so that a chain of any length is read. What only a
branch reads stays inside it; what two branches read is written twice.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from byoc.frontends.relay.graph import JsonGraph, JsonNode, load_graph
from byoc.frontends.relay.syntax import (
    MAX_DEPTH,
    Absent,
    At,
    Call,
    Constant,
    Expr,
    Function,
    Global,
    If,
    LetBinding,
    LetBlock,
    Local,
    Module,
    OperatorName,
    OtherType,
    Param,
    PlaceError,
    Project,
    RelayTensorType,
    Tuple,
    TupleType,
    Type,
    known_dtype,
    nested,
)

__all__ = ["parse_json"]

_COPIES = 8
"""Bindings per node, at most: nodes shared by nested branches multiply."""

_ABSENT = {
    "relay.Match": "algebraic data types (match) have no place in Relax",
    "relay.Constructor": "algebraic data types have no place in Relax",
    "relay.RefCreate": "references have no place in Relax",
    "relay.RefRead": "references have no place in Relax",
    "relay.RefWrite": "references have no place in Relax",
}

Bound = MutableMapping[int, Expr]
"""Number of a variable's node → what stands for it."""


def parse_json(text: str, where: str) -> Module:
    """The module in a file of `tvm.ir.save_json`; a lone function is its `main`.

    Args:
        text: The JSON.
        where: The file, as messages begin.

    Raises:
        ModelError: As ``where:line:column: what`` or ``where:node N: what``.
    """
    try:
        graph = load_graph(text)
        return Module(_Reader(graph).functions(), where, version=graph.version)
    except PlaceError as error:
        raise error.at_file(where) from None


@dataclass
class _Reader:
    graph: JsonGraph
    made: int = 0

    def functions(self) -> dict[str, Function]:
        root = self.graph.node(self.graph.root)
        if root.type_key == "relay.Function":
            return {"main": self._function(self.graph.root, {}, 0)}
        if root.type_key != "IRModule":
            raise PlaceError(
                At(self.graph.root),
                f"expected an IRModule or a relay.Function, found {root.type_key or 'nothing'!r}",
            )
        table = self.graph.node(self.graph.reference(self.graph.root, "functions"))
        found: dict[str, Function] = {}
        for key, value in zip(table.data[::2], table.data[1::2], strict=False):
            name = self.graph.text(key, "name_hint") if self._kind(key) == "GlobalVar" else ""
            if self._kind(value) != "relay.Function":
                continue  # a loop nest; an error where something calls it
            if not name or name in found:
                raise PlaceError(At(key), f"a function called {name!r}, without a name or again")
            found[name] = self._function(value, {}, 0)
        if not found:
            raise PlaceError(At(self.graph.root), "the module holds no Relay function")
        return found

    def _kind(self, index: int) -> str:
        return self.graph.node(index).type_key

    # -- functions and blocks

    def _function(self, index: int, outer: Bound, level: int) -> Function:
        at = At(index)
        if level > MAX_DEPTH:
            raise PlaceError(at, f"functions are nested deeper than {MAX_DEPTH}")
        params, scope = [], ChainMap({}, outer)
        for var in self.graph.node(self.graph.reference(index, "params"), index).data:
            if self._kind(var) != "relay.Var":
                raise PlaceError(at, f"a parameter that is no variable but node {var}")
            label = self._label(var)
            kind = self._type(self.graph.reference(var, "type_annotation"))
            params.append(Param(f"v{var}", kind, At(var), f"%{label}"))
            scope[var] = Local(f"v{var}", At(var))
        body = self._block(self.graph.reference(index, "body"), scope, level)
        attrs = self.graph.value(self.graph.reference(index, "attrs"))
        given = attrs if isinstance(attrs, dict) else {}
        return Function(tuple(params), body, given, at, nested([body], at))

    def _label(self, var: int) -> str:
        """The name of a variable as text shows it."""
        name = self.graph.text(self.graph.reference(var, "vid"), "name_hint")
        return name or f"v{var}"

    def _block(self, index: int, scope: Bound, level: int) -> LetBlock:
        """Everything that the scope must compute for one node, and that node's value."""
        bindings: list[LetBinding] = []
        open_nodes: set[int] = set()
        stack: list[tuple[int, int]] = [(index, 0)]
        while stack:
            top, phase = stack.pop()
            if phase == 0 and top in scope:
                continue
            if phase == 0 and top in open_nodes:
                raise PlaceError(At(top), "the node is made from itself: a cycle")
            node = self.graph.node(top)
            needs = self._needs(top, node, phase)
            if needs is not None:
                open_nodes.add(top)
                stack.append((top, phase + 1))
                stack.extend((n, 0) for n in reversed(needs))
                if node.type_key == "relay.Let" and phase == 0:
                    var = self.graph.reference(top, "var")
                    scope[var] = Local(f"v{var}", At(var))
                continue
            open_nodes.discard(top)
            if node.type_key == "relay.Let" and phase == 1:
                self._let(top, scope, bindings)
                stack.append((top, 2))
                open_nodes.add(top)
                stack.append((self.graph.reference(top, "body"), 0))
                continue
            scope[top] = self._bind(top, self._expression(top, node, scope, level), bindings)
        result = scope[index]
        at = At(index)
        return LetBlock(
            tuple(bindings), result, at, nested([*(b.value for b in bindings), result], at)
        )

    def _needs(self, index: int, node: JsonNode, phase: int) -> list[int] | None:
        """The nodes that come first, None when it is the node's own turn."""
        if phase:
            return None
        key = node.type_key
        ref = self.graph.reference
        if key == "relay.Call":
            return [ref(index, "op"), *self.graph.node(ref(index, "args"), index).data]
        if key == "relay.Tuple":
            return list(self.graph.node(ref(index, "fields"), index).data)
        if key == "relay.TupleGetItem":
            return [ref(index, "tuple_value" if "tuple_value" in node.attrs else "tuple")]
        if key == "relay.If":
            return [ref(index, "cond")]
        if key == "relay.Let":
            return [ref(index, "value")]
        return []

    def _let(self, index: int, scope: Bound, bindings: list[LetBinding]) -> None:
        var, value = self.graph.reference(index, "var"), self.graph.reference(index, "value")
        label = f"%{self._label(var)}"
        bindings.append(LetBinding(f"v{var}", scope[value], At(index), label, once=False))

    def _bind(self, index: int, value: Expr, bindings: list[LetBinding]) -> Expr:
        """Give what is computed a name; leaves stand for themselves."""
        if isinstance(value, (Call, Tuple, Project, If, Function)):
            self.made += 1
            if self.made > _COPIES * len(self.graph.nodes):
                raise PlaceError(At(index), "branches share so much that the model grows too large")
            bindings.append(LetBinding(f"n{index}", value, At(index), f"%{index}", once=False))
            return Local(f"n{index}", At(index))
        return value

    # -- expressions

    def _expression(self, index: int, node: JsonNode, scope: Bound, level: int) -> Expr:
        key, at = node.type_key, At(index)
        ref = self.graph.reference
        if key == "Op" or key == "relay.Op":
            return OperatorName(node.text or self.graph.text(index, "name"), at)
        if key == "relay.Constant":
            return Constant(self.graph.array(index), at)
        if key == "GlobalVar":
            return Global(self.graph.text(index, "name_hint"), at)
        if key == "relay.Call":
            callee = scope[ref(index, "op")]
            args = tuple(scope[i] for i in self.graph.node(ref(index, "args")).data)
            attrs = self.graph.value(ref(index, "attrs"))
            given = attrs if isinstance(attrs, dict) else {}
            return Call(callee, args, given, at, nested([callee, *args], at), self._source(index))
        if key == "relay.Tuple":
            fields = tuple(scope[i] for i in self.graph.node(ref(index, "fields")).data)
            return Tuple(fields, at, nested(fields, at))
        if key == "relay.TupleGetItem":
            value = scope[ref(index, "tuple_value" if "tuple_value" in node.attrs else "tuple")]
            field = node.attrs.get("index", "")
            if not field.isdecimal() or len(field) > 9:
                raise PlaceError(at, f"expected the number of a field, found {field!r:.20}")
            return Project(value, int(field), at, nested([value], at))
        if key == "relay.If":
            return self._if(index, scope, level)
        if key == "relay.Let":
            return scope[ref(index, "body")]
        if key == "relay.Function":
            return self._function(index, scope, level + 1)
        if key == "relay.Var":
            raise PlaceError(
                at, f"the variable %{self._label(index)} is read where nothing binds it"
            )
        if key in _ABSENT:
            return Absent(_ABSENT[key], at)
        raise PlaceError(at, f"expected an expression of Relay, found {key or 'nothing'!r}")

    def _if(self, index: int, scope: Bound, level: int) -> If:
        at = At(index)
        if level > MAX_DEPTH:
            raise PlaceError(at, f"branches are nested deeper than {MAX_DEPTH}")
        condition = scope[self.graph.reference(index, "cond")]
        then, other = (
            self._block(self.graph.reference(index, key), ChainMap({}, scope), level + 1)
            for key in ("true_branch", "false_branch")
        )
        return If(condition, then, other, at, nested([condition, then, other], at))

    def _source(self, index: int) -> str:
        """The name that the model's first framework gave a call, where TVM kept it."""
        span = self.graph.reference(index, "span")
        if self._kind(span) != "Span":
            return ""
        name = self.graph.node(self.graph.reference(span, "source_name"), span).text
        return "" if name in ("from_string", "from_relay") else name

    # -- types

    def _type(self, index: int, depth: int = 0) -> Type:
        node = self.graph.node(index)
        if not node.type_key or node.type_key.endswith("IncompleteType"):
            return None
        if depth > MAX_DEPTH:
            raise PlaceError(At(index), "a type is nested too deep, or in a circle")
        kind = node.type_key.split(".")[-1]
        if kind == "TensorType":
            dims: Any = self.graph.value(self.graph.reference(index, "shape"))
            dtype = known_dtype(node.attrs.get("dtype"))
            if not isinstance(dims, list) or dtype is None:
                raise PlaceError(
                    At(index),
                    f"a tensor of dtype {node.attrs.get('dtype')!r:.20}, shape {dims!r:.40}",
                )
            return RelayTensorType(tuple(d if _is_int(d) else None for d in dims), dtype)
        if kind == "TupleType":
            fields = self.graph.node(self.graph.reference(index, "fields"), index).data
            return TupleType(tuple(self._type(i, depth + 1) for i in fields))
        return OtherType(kind)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
