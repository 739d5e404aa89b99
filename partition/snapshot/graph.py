"""Pass 1: snapshot. A function becomes flat tables of ints that the other passes walk.

Two number spaces: *nodes* (one per binding that computes something) and *values* (what nodes
read and write). Everything that only renames is resolved away here::

    lv  = R.nn.conv2d(x, w)        node 0   values  x=0  w=1 (constant)  lv=2
    s   = R.split(lv, 2)           node 1   values  s=3, its fields 4 and 5
    a   = s[0]                     no node: `a` is value 4
    t   = (a, lv)                  no node: `t` is the tuple (4, 2)
    y   = R.concat(t)              node 2   args ((4, 2),)  value 6
    r   = y                        no node: `r` is value 6

What a variable or an argument stands for is a `ValueRef`: a value id, a tuple of refs, or a `RawArg`
expression (a shape, a number, a data type: no tensor). A binding block is a *scope*; branches
of an `If` are scopes of their own, values of outer scopes are visible in them. Segments never
cross a scope: the blocks of a function stay in their order. Nodes are in binding order, which
is topological.

`order` holds the edges that are not data: side effects keep their order, and an op whose shape
names a variable that a `match_cast` binds comes after it.

Each FFI object is touched once; types and attributes are decoded when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tvm
from tvm import relax

from byoc.ir.decode import Decoder, items
from byoc.partition.snapshot.bindings import (
    ESCAPE,
    Binding,
    BindingScope,
    OpInfo,
    RawArg,
    ValueRef,
    flatten,
)
from byoc.segment import Array, Attr, Node, TensorType

__all__ = ["OpGraph"]

# Looked up for every binding.
_Call, _Const, _Op, _Var = tvm.ir.Call, tvm.ir.GenericConst, tvm.ir.Op, tvm.ir.Var
_DataflowVar, _MatchCast, _TupleType = relax.DataflowVar, relax.MatchCast, tvm.ir.TupleType

# Operators that call something a vendor cannot see into.
_OPAQUE = frozenset(
    {
        "call_tir",
        "call_tir_with_grad",
        "call_tir_inplace",
        "call_dps_packed",
        "call_pure_packed",
        "call_inplace_packed",
        "call_py_func",
        "call_builtin_with_ctx",
        "invoke_closure",
        "invoke_pure_closure",
    }
)


# Operators that take more arguments than they declare (TVM 0.27).
_ARGUMENTS = {"strided_slice": ("x", "axes", "begin", "end", "strides")}


class OpGraph:
    """Snapshot of one Relax function. Tables are public to the passes of this package."""

    def __init__(
        self, func: Any, name: str, decoder: Decoder, *, inline_composites: bool = False
    ) -> None:
        self.func = func
        self.inline = inline_composites
        self.inlined: list[tuple[str, tuple[int, ...]]] = []  # composite -> its nodes
        self.name = name
        self.decoder = decoder
        # values
        self.producer: list[int] = []
        self.typed_by: list[Any] = []  # a Var, a GenericConst or, for a field, a type
        self.types: list[TensorType | None] = []
        self.users: list[list[int]] = []
        self.constants: dict[int, Any] = {}
        self.fields: dict[int, tuple[int, ...]] = {}  # value of tuple type -> its fields
        self.field_of: dict[int, tuple[int, int]] = {}  # field -> (tuple value, index)
        # nodes
        self.op: list[str] = []
        self.opaque: list[bool] = []
        self.calls: list[Any] = []
        self.infos: list[OpInfo | None] = []
        self.vars: list[Any] = []
        self.arg_exprs: list[list[Any]] = []
        self.args: list[tuple[ValueRef, ...]] = []
        self.ins: list[tuple[int, ...]] = []  # args with tuples flattened
        self.outs: list[tuple[int, ...]] = []
        self.names: list[str] = []  # in the model it came from
        self.result: list[int] = []
        self.scope_of: list[int] = []
        self.order: dict[int, tuple[int, ...]] = {}
        self.scopes: list[BindingScope] = []
        self.branches: dict[int, tuple[list[int], list[int]]] = {}  # If node -> its scopes
        # snapshot state
        self._refs: dict[int, ValueRef] = {}
        self._defined_in: dict[int, int] = {}
        self._tuples: dict[int, tuple[Any, int]] = {}  # variable -> tuple it names, its scope
        self._ops: dict[int, OpInfo] = {}
        self._keep: list[Any] = []
        self._symbols: dict[int, int] = {}
        self._nodes: dict[int, Node] = {}
        self._attrs: dict[int, Mapping[str, Attr]] = {}
        self._composites: dict[int, Any] = {}  # variable -> composite function bound to it
        for param in func.params:
            self._leaf(param)
        self.body_scopes = self._sequence(func.body)
        self.result_ref = self._ref(func.body.body, -1, [])

    # -- questions -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.op)

    def value_of(self, var: Any) -> int:
        """The value a parameter stands for."""
        ref = self._refs[var.__chandle__()]
        assert type(ref) is int
        return ref

    def array(self, value: int) -> Array | None:
        """The array of a constant, else None."""
        const = self.constants.get(value)
        return None if const is None else self.decoder.array(const)

    def leaves(self, value: int) -> Iterator[int]:
        """`value`, or its fields when it is a tuple."""
        fields = self.fields.get(value)
        if fields is None:
            yield value
        else:
            for inner in fields:
                yield from self.leaves(inner)

    def preds(self, node: int) -> list[int]:
        """The nodes this node must come after, without duplicates."""
        producer = self.producer
        found = {producer[v]: None for v in self.ins[node]}
        for other in self.order.get(node, ()):
            found[other] = None
        found.pop(-1, None)
        return list(found)

    def node(self, node: int) -> Node:
        """The node as vendors see it."""
        found = self._nodes.get(node)
        if found is None:
            found = self._nodes[node] = Node(
                self.op[node],
                self.ins[node],
                self.outs[node],
                self.attrs(node),
                (self.names[node],),
            )
        return found

    def attrs(self, node: int) -> Mapping[str, Attr]:
        """The attributes of a node, its non-tensor arguments included."""
        found = self._attrs.get(node)
        if found is None:
            found = self._attrs[node] = self._decode(node)
        return found

    def _decode(self, node: int) -> Mapping[str, Attr]:
        info, decoder = self.infos[node], self.decoder
        if info is None:
            return {}
        attrs = decoder.attrs(self.calls[node].attrs)
        names = info.arguments
        for k, ref in enumerate(self.args[node]):
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

    # -- snapshot ------------------------------------------------------------------------------

    def _value(self, producer: int, typed_by: Any, ty: Any) -> int:
        value = len(self.producer)
        self.producer.append(producer)
        self.typed_by.append(typed_by)
        self.types.append(self.decoder.tensor_type(ty))
        self.users.append([])
        return value

    def _define(self, var: Any, ref: ValueRef, scope: int) -> int:
        key: int = var.__chandle__()
        self._refs[key] = ref
        self._defined_in[key] = scope
        return key

    def _leaf(self, var: Any) -> int:
        """The value of a parameter, or of a variable bound outside the function."""
        ty = var.ty
        value = self._value(-1, var, ty)
        if type(ty) is tvm.ir.TupleType:
            self._split(value, ty, -1)
        self._define(var, value, -1)
        self._keep.append(var)
        return value

    def _constant(self, const: Any) -> int:
        key = const.__chandle__()
        ref = self._refs.get(key)
        if ref is None:
            ref = self._refs[key] = self._value(-1, const, const.ty)
            self.constants[ref] = const
            self._keep.append(const)
        assert type(ref) is int
        return ref

    def _ref(self, expr: Any, scope: int, reads: list[int]) -> ValueRef:
        """What an argument stands for; handles of the variables it names go to `reads`."""
        kind = type(expr)
        if kind is _DataflowVar or kind is _Var:
            key = expr.__chandle__()
            ref = self._refs.get(key)
            if ref is None:
                if tvm.ir.is_prim_var(expr):  # a symbolic dimension used as a number
                    return RawArg(expr)
                ref = self._leaf(expr)  # a variable of an enclosing function
            reads.append(key)
            home = self._defined_in[key]
            if home >= 0 and home != scope:
                self.scopes[home].escaping.add(key)
                if type(ref) is tuple:  # the other block sees all of it
                    for value in flatten(ref):
                        self._use(value, ESCAPE)
            return ref
        if kind is _Const:
            return self._constant(expr)
        if kind is tvm.ir.Tuple:
            return tuple([self._ref(inner, scope, reads) for inner in items(expr.fields)])
        return RawArg(expr)

    def _sequence(self, seq: Any) -> list[int]:
        """Snapshot a SeqExpr; the scopes of its blocks."""
        scopes = []
        for block in seq.blocks:
            index = len(self.scopes)
            self.scopes.append(BindingScope(block, type(block) is relax.DataflowBlock))
            scopes.append(index)
            self._block(block, index)
        for value in flatten(self._ref(seq.body, -1, [])):
            self._use(value, ESCAPE)
        return scopes

    def _use(self, value: int, user: int) -> None:
        """Record a reader of a value; reading a tuple is reading its fields."""
        for leaf in self.leaves(value):
            self.users[leaf].append(user)
        if value in self.fields:
            self.users[value].append(user)

    def _block(self, block: Any, index: int) -> None:
        scope = self.scopes[index]
        dataflow, last_effect = scope.dataflow, -1
        for binding in items(block.bindings):
            var, value = binding.var, binding.value
            kind = type(value)
            reads: list[int] = []
            if type(binding) is _MatchCast:
                ref = self._ref(value, index, reads)
                node = self._node("match_cast", None, value, var, [value], (ref,), index)
                self._bind_symbols(binding.ty, node)
            elif kind is _Call:
                op = value.op
                if self._composites and op.__chandle__() in self._composites:
                    self._inline(binding, self._composites[op.__chandle__()], index)
                    continue
                node = self._call(value, op, var, index, reads)
                if not dataflow:
                    last_effect = self._after(node, last_effect)
            elif kind is tvm.ir.TupleGetItem:
                base = self._ref(value.tuple_value, index, reads)
                if type(base) is int and base not in self.fields:
                    node = self._node("tuple_get_item", None, value, var, [], (base,), index)
                else:
                    self._item(binding, base, reads, index)
                    continue
            elif kind is relax.If:
                node = self._branch(value, var, index, reads)
                last_effect = self._after(node, last_effect)
            elif kind is relax.Function and self.inline and "Composite" in (value.attrs or ()):
                self._composites[var.__chandle__()] = value
                self._keep.append(var)
                continue
            elif kind is relax.Function:
                free = [self._ref(v, index, reads) for v in relax.analysis.free_vars(value)]
                node = self._node("function", None, value, var, [], tuple(free), index)
            else:  # a variable, constant, tuple, shape or number
                if kind is tvm.ir.Tuple:
                    self._tuples[var.__chandle__()] = (value, index)
                self._alias(binding, self._ref(value, index, reads), reads, index)
                continue
            if self._symbols:
                self._after_symbols(node, var)
            result = self._node_result(node, var)
            key = self._define(var, result, index)
            scope.entries.append(Binding(binding, key, node, tuple(reads), result))

    def _inline(self, binding: Any, func: Any, scope: int) -> None:
        """Put the body of a composite function in place of its call."""
        for param, arg in zip(func.params, binding.value.args, strict=True):
            self.decoder.equate(param.ty, arg.ty)
            self._define(param, self._ref(arg, scope, []), scope)
        first = len(self.op)
        for block in func.body.blocks:
            self._block(block, scope)
        self.inlined.append((str(func.attrs["Composite"]), tuple(range(first, len(self.op)))))
        self._alias(binding, self._ref(func.body.body, scope, []), [], scope)

    def _item(self, binding: Any, base: ValueRef, reads: list[int], scope: int) -> None:
        """A field of a tuple. That of a tuple built in this block is the field itself: reading
        one field must not count as reading the others.
        """
        index = binding.value.index
        parts = self.fields[base] if type(base) is int else base
        assert type(parts) is tuple
        built, home = self._tuples.get(reads[0], (None, -1)) if reads else (None, -1)
        if built is not None and home == scope:
            part = built.fields[index]
            reads.clear()
            self._ref(part, scope, reads)
            binding = relax.VarBinding(binding.var, part)
        self._alias(binding, parts[index], reads, scope)

    def _alias(self, binding: Any, ref: ValueRef, reads: list[int], scope: int) -> None:
        key = self._define(binding.var, ref, scope)
        self.scopes[scope].entries.append(Binding(binding, key, -1, tuple(reads), ref))

    def _node(
        self,
        op: str,
        info: OpInfo | None,
        call: Any,
        var: Any,
        exprs: list[Any],
        args: tuple[ValueRef, ...],
        scope: int,
    ) -> int:
        node = len(self.op)
        self.op.append(op)
        self.opaque.append(info is None or info.host)
        self.infos.append(info)
        self.calls.append(call)
        self.vars.append(var)
        self.arg_exprs.append(exprs)
        self.args.append(args)
        self.scope_of.append(scope)
        self.scopes[scope].nodes.append(node)
        self.names.append(str(var.name))
        self.ins.append(self._read(node, args))
        return node

    def _read(self, node: int, args: tuple[ValueRef, ...]) -> tuple[int, ...]:
        """Record a node as user of its arguments; the tensors it reads, in order."""
        found: list[int] = []
        users, fields = self.users, self.fields
        for arg in args:
            if type(arg) is int and arg not in fields:
                users[arg].append(node)
                found.append(arg)
            else:
                for value in flatten(arg):
                    self._use(value, node)
                    found.extend(self.leaves(value))
        return tuple(found)

    def _node_result(self, node: int, var: Any) -> int:
        ty = var.ty
        value = self._value(node, var, ty)
        self.result.append(value)
        if type(ty) is _TupleType:
            self._split(value, ty, node)
            self.outs.append(tuple(self.leaves(value)))
        else:
            self.outs.append((value,))
        return value

    def _split(self, value: int, ty: Any, node: int) -> None:
        """Give every field of a tuple a value of its own."""
        found = []
        for index, field_type in enumerate(ty.fields):
            inner = self._value(node, field_type, field_type)
            self.field_of[inner] = (value, index)
            if type(field_type) is tvm.ir.TupleType:
                self._split(inner, field_type, node)
            found.append(inner)
        self.fields[value] = tuple(found)

    def _call(self, call: Any, op: Any, var: Any, scope: int, reads: list[int]) -> int:
        exprs = items(call.args)
        if type(op) is _Op:
            info = self._ops.get(op.__chandle__()) or self._op_info(op)
            if not info.host:
                args = tuple([self._ref(expr, scope, reads) for expr in exprs])
                return self._node(info.name, info, call, var, exprs, args, scope)
            name = info.name
        else:
            name, info = f"call {getattr(op, 'name_hint', None) or 'function'}", None
            if type(op) is tvm.ir.Var or type(op) is relax.DataflowVar:
                exprs = [op, *exprs]
        # Arguments of opaque calls may hold anything; only what they read matters.
        args = tuple([self._ref(expr, scope, reads) for expr in exprs])
        return self._node(name, info, call, var, exprs, args, scope)

    def _op_info(self, op: Any) -> OpInfo:
        name = str(op.name).removeprefix("relax.")
        purity = op.get_attr("FPurity")
        pure = purity is None or bool(purity)
        arguments = _ARGUMENTS.get(name) or tuple([str(a.name) for a in op.arguments])
        info = OpInfo(name, arguments, name in _OPAQUE or not pure, pure)
        self._ops[op.__chandle__()] = info
        self._keep.append(op)
        return info

    def _branch(self, value: Any, var: Any, scope: int, reads: list[int]) -> int:
        """An `If`: the values its branches capture count as its own arguments."""
        cond = self._ref(value.cond, scope, reads)
        first = len(self.op)
        scopes = (self._sequence(value.true_branch), self._sequence(value.false_branch))
        captured: dict[int, None] = {}
        inside = {*scopes[0], *scopes[1]}
        outer: dict[int, None] = dict.fromkeys(reads)
        for inner in sorted(inside):
            for entry in self.scopes[inner].entries:
                for key in entry.reads:
                    if self._defined_in[key] not in inside:
                        outer[key] = None
            for node in self.scopes[inner].nodes:
                for v in (v for arg in self.args[node] for v in flatten(arg)):
                    if self.producer[v] < first and v not in self.constants:
                        captured[v] = None
        for branch in (value.true_branch, value.false_branch):
            body: list[int] = []
            for v in flatten(self._ref(branch.body, -1, body)):
                if self.producer[v] < first and v not in self.constants:
                    captured[v] = None
            outer.update(dict.fromkeys(k for k in body if self._defined_in[k] not in inside))
        reads[:] = outer
        node = self._node("if", None, value, var, [], (cond, *captured), scope)
        self.branches[node] = scopes
        return node

    # -- edges that are not data -----------------------------------------------------------------

    def _after(self, node: int, last_effect: int) -> int:
        """Keep side effects in order; the node that the next effect must follow."""
        info = self.infos[node]
        if info is not None and info.pure:
            return last_effect
        if last_effect >= 0:
            self._order(node, last_effect)
        return node

    def _order(self, node: int, before: int) -> None:
        self.order[node] = (*self.order.get(node, ()), before)

    def _bind_symbols(self, ty: Any, node: int) -> None:
        for symbol in relax.analysis.tir_vars_in_type(ty):
            if symbol.__chandle__() not in self._symbols:
                self._symbols[symbol.__chandle__()] = node
                self._keep.append(symbol)

    def _after_symbols(self, node: int, var: Any) -> None:
        types = [var.ty, *(e.ty for e in self.arg_exprs[node] if isinstance(e, tvm.ir.Expr))]
        for ty in types:
            for symbol in relax.analysis.tir_vars_in_type(ty):
                binder = self._symbols.get(symbol.__chandle__(), -1)
                if 0 <= binder != node and self.scope_of[binder] == self.scope_of[node]:
                    self._order(node, binder)
