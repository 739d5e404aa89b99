"""Pass 1: snapshot. Walk a Relax function once and fill the tables of an `OpGraph`.

In: a function in A-normal form. Out: its `OpGraph`. What a variable or an argument stands for is
a `ValueRef`: a value, a tuple of refs, or a `RawArg` (a shape, a number, a data type: no tensor).
The walk keeps, per variable handle, what it stands for and the block it was bound in::

    binding          call                 field of a tuple      another name, a tuple
    becomes          a node, its values   the field's value     a ref, no node

Each FFI object is touched once: reading one field of a TVM object costs as much as a dozen list
operations, so handles stand for variables, and operators are decoded once per operator.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from byoc.ir.decode import Decoder, items
from byoc.partition.snapshot.bindings import (
    ESCAPE,
    BindingScope,
    BlockBinding,
    OpInfo,
    RawArg,
    ValueRef,
    flatten,
)
from byoc.partition.snapshot.graph import OpGraph, OpTable, ValueTable

__all__ = ["take_snapshot"]

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


def take_snapshot(
    func: Any, name: str, decoder: Decoder, *, inline_composites: bool = False
) -> OpGraph:
    """Read a Relax function into flat tables.

    Args:
        func: a relax.Function in A-normal form with types; not changed.
        name: for messages and records.
        decoder: shared by the functions of one module.
        inline_composites: put the bodies of composite functions, which stock passes bind inside
            of a function, in place of their calls, and list them in `OpGraph.inlined`.
    """
    walk = _Walk(func, decoder, inline_composites)
    for param in func.params:
        walk.leaf(param)
    params = dict(walk.refs)
    body = walk.sequence(func.body)
    return OpGraph(
        func=func,
        name=name,
        decoder=decoder,
        ops=walk.ops,
        values=walk.values,
        scopes=walk.scopes,
        body_scopes=body,
        branches=walk.branches,
        order=walk.order,
        result=walk.ref(func.body.body, -1, []),
        inlined=walk.inlined,
        params=params,
        _alive=walk.keep,
    )


class _Walk:
    """The tables so far, and what each variable handle stands for."""

    def __init__(self, func: Any, decoder: Decoder, inline: bool) -> None:
        self.decoder = decoder
        self.inline = inline
        self.inlined: list[tuple[str, tuple[int, ...]]] = []
        self.ops = OpTable()
        self.values = ValueTable()
        self.scopes: list[BindingScope] = []
        self.branches: dict[int, tuple[list[int], list[int]]] = {}
        self.order: dict[int, tuple[int, ...]] = {}
        self.refs: dict[int, ValueRef] = {}  # handle of a variable or constant → what it is
        self.defined_in: dict[int, int] = {}  # handle of a variable → its scope
        self.tuples: dict[int, tuple[Any, int]] = {}  # variable → tuple it names, its scope
        self.operators: dict[int, OpInfo] = {}
        self.keep: list[Any] = []
        self.symbols: dict[int, int] = {}  # handle of a symbolic dimension → node that binds it
        self.composites: dict[int, Any] = {}  # variable → composite function bound to it

    # -- values and references -------------------------------------------------------------------

    def value(self, producer: int, typed_by: Any, ty: Any) -> int:
        table = self.values
        value = len(table.producer)
        table.producer.append(producer)
        table.typed_by.append(typed_by)
        table.types.append(self.decoder.tensor_type(ty))
        table.users.append([])
        return value

    def define(self, var: Any, ref: ValueRef, scope: int) -> int:
        """Note what a variable stands for and where it is bound; its handle."""
        key: int = var.__chandle__()
        self.refs[key] = ref
        self.defined_in[key] = scope
        return key

    def leaf(self, var: Any) -> int:
        """The value of a parameter, or of a variable bound outside the function."""
        ty = var.ty
        value = self.value(-1, var, ty)
        if type(ty) is tvm.ir.TupleType:
            self.split(value, ty, -1)
        self.define(var, value, -1)
        self.keep.append(var)
        return value

    def constant(self, const: Any) -> int:
        """The value of a constant; the same one each time it is met."""
        key = const.__chandle__()
        ref = self.refs.get(key)
        if ref is None:
            ref = self.refs[key] = self.value(-1, const, const.ty)
            self.values.constants[ref] = const
            self.keep.append(const)
        assert type(ref) is int
        return ref

    def ref(self, expr: Any, scope: int, reads: list[int]) -> ValueRef:
        """What an argument stands for; handles of the variables it names go to `reads`."""
        kind = type(expr)
        if kind is _DataflowVar or kind is _Var:
            key = expr.__chandle__()
            ref = self.refs.get(key)
            if ref is None:
                if tvm.ir.is_prim_var(expr):  # a symbolic dimension used as a number
                    return RawArg(expr)
                ref = self.leaf(expr)  # a variable of an enclosing function
            reads.append(key)
            home = self.defined_in[key]
            if home >= 0 and home != scope:
                self.scopes[home].escaping.add(key)
                if type(ref) is tuple:  # the other block sees all of it
                    for value in flatten(ref):
                        self.use(value, ESCAPE)
            return ref
        if kind is _Const:
            return self.constant(expr)
        if kind is tvm.ir.Tuple:
            return tuple([self.ref(inner, scope, reads) for inner in items(expr.fields)])
        return RawArg(expr)

    def sequence(self, seq: Any) -> list[int]:
        """Snapshot a SeqExpr; the scopes of its blocks."""
        scopes = []
        for block in seq.blocks:
            index = len(self.scopes)
            self.scopes.append(BindingScope(block, type(block) is relax.DataflowBlock))
            scopes.append(index)
            self.block(block, index)
        for value in flatten(self.ref(seq.body, -1, [])):
            self.use(value, ESCAPE)
        return scopes

    def use(self, value: int, user: int) -> None:
        """Record a reader of a value; reading a tuple is reading its fields."""
        values = self.values
        for leaf in values.leaves(value):
            values.users[leaf].append(user)
        if value in values.fields:
            values.users[value].append(user)

    def block(self, block: Any, index: int) -> None:
        """Read the bindings of one block, scope number `index`."""
        scope = self.scopes[index]
        dataflow, last_effect = scope.dataflow, -1
        for binding in items(block.bindings):
            var, value = binding.var, binding.value
            kind = type(value)
            reads: list[int] = []
            if type(binding) is _MatchCast:
                ref = self.ref(value, index, reads)
                node = self.node(
                    "match_cast", (ref,), call=value, var=var, scope=index, exprs=[value]
                )
                self.bind_symbols(binding.ty, node)
            elif kind is _Call:
                op = value.op
                if self.composites and op.__chandle__() in self.composites:
                    self.inline_call(binding, self.composites[op.__chandle__()], index)
                    continue
                node = self.call(value, op, var, index, reads)
                if not dataflow:
                    last_effect = self.after(node, last_effect)
            elif kind is tvm.ir.TupleGetItem:
                base = self.ref(value.tuple_value, index, reads)
                if type(base) is int and base not in self.values.fields:
                    node = self.node("tuple_get_item", (base,), call=value, var=var, scope=index)
                else:
                    self.item(binding, base, reads, index)
                    continue
            elif kind is relax.If:
                node = self.branch(value, var, index, reads)
                last_effect = self.after(node, last_effect)
            elif kind is relax.Function and self.inline and "Composite" in (value.attrs or ()):
                self.composites[var.__chandle__()] = value
                self.keep.append(var)
                continue
            elif kind is relax.Function:
                free = [self.ref(v, index, reads) for v in relax.analysis.free_vars(value)]
                node = self.node("function", tuple(free), call=value, var=var, scope=index)
            else:  # a variable, constant, tuple, shape or number
                if kind is tvm.ir.Tuple:
                    self.tuples[var.__chandle__()] = (value, index)
                self.alias(binding, self.ref(value, index, reads), reads, index)
                continue
            if self.symbols:
                self.after_symbols(node, var)
            result = self.node_result(node, var)
            key = self.define(var, result, index)
            scope.bindings.append(BlockBinding(binding, key, node, tuple(reads), result))

    def inline_call(self, binding: Any, func: Any, scope: int) -> None:
        """Put the body of a composite function in place of its call."""
        for param, arg in zip(func.params, binding.value.args, strict=True):
            self.decoder.equate(param.ty, arg.ty)
            self.define(param, self.ref(arg, scope, []), scope)
        first = len(self.ops.kind)
        for block in func.body.blocks:
            self.block(block, scope)
        self.inlined.append((str(func.attrs["Composite"]), tuple(range(first, len(self.ops.kind)))))
        self.alias(binding, self.ref(func.body.body, scope, []), [], scope)

    def item(self, binding: Any, base: ValueRef, reads: list[int], scope: int) -> None:
        """A field of a tuple. That of a tuple built in this block is the field itself: reading
        one field must not count as reading the others.
        """
        index = binding.value.index
        parts = self.values.fields[base] if type(base) is int else base
        assert type(parts) is tuple
        built, home = self.tuples.get(reads[0], (None, -1)) if reads else (None, -1)
        if built is not None and home == scope:
            part = built.fields[index]
            reads.clear()
            self.ref(part, scope, reads)
            binding = relax.VarBinding(binding.var, part)
        self.alias(binding, parts[index], reads, scope)

    def alias(self, binding: Any, ref: ValueRef, reads: list[int], scope: int) -> None:
        key = self.define(binding.var, ref, scope)
        self.scopes[scope].bindings.append(BlockBinding(binding, key, -1, tuple(reads), ref))

    def node(
        self,
        kind: str,
        args: tuple[ValueRef, ...],
        *,
        call: Any,
        var: Any,
        scope: int,
        info: OpInfo | None = None,
        exprs: list[Any] | None = None,
    ) -> int:
        """Append a row to the table of ops; `node_result` completes it."""
        ops = self.ops
        node = len(ops.kind)
        ops.kind.append(kind)
        ops.opaque.append(info is None or info.host)
        ops.infos.append(info)
        ops.calls.append(call)
        ops.vars.append(var)
        ops.arg_exprs.append([] if exprs is None else exprs)
        ops.args.append(args)
        ops.scope.append(scope)
        self.scopes[scope].nodes.append(node)
        ops.names.append(str(var.name))
        ops.ins.append(self.read(node, args))
        return node

    def read(self, node: int, args: tuple[ValueRef, ...]) -> tuple[int, ...]:
        """Record a node as user of its arguments; the tensors it reads, in order."""
        found: list[int] = []
        users, fields = self.values.users, self.values.fields
        for arg in args:
            if type(arg) is int and arg not in fields:
                users[arg].append(node)
                found.append(arg)
            else:
                for value in flatten(arg):
                    self.use(value, node)
                    found.extend(self.values.leaves(value))
        return tuple(found)

    def node_result(self, node: int, var: Any) -> int:
        ty = var.ty
        value = self.value(node, var, ty)
        self.ops.result.append(value)
        if type(ty) is _TupleType:
            self.split(value, ty, node)
            self.ops.outs.append(tuple(self.values.leaves(value)))
        else:
            self.ops.outs.append((value,))
        return value

    def split(self, value: int, ty: Any, node: int) -> None:
        """Give every field of a tuple a value of its own."""
        found = []
        for index, field_type in enumerate(ty.fields):
            inner = self.value(node, field_type, field_type)
            self.values.field_of[inner] = (value, index)
            if type(field_type) is tvm.ir.TupleType:
                self.split(inner, field_type, node)
            found.append(inner)
        self.values.fields[value] = tuple(found)

    def call(self, call: Any, op: Any, var: Any, scope: int, reads: list[int]) -> int:
        exprs = items(call.args)
        if type(op) is _Op:
            info = self.operators.get(op.__chandle__()) or self.operator(op)
            if not info.host:
                args = tuple([self.ref(expr, scope, reads) for expr in exprs])
                return self.node(
                    info.name, args, call=call, var=var, scope=scope, info=info, exprs=exprs
                )
            name = info.name
        else:
            name, info = f"call {getattr(op, 'name_hint', None) or 'function'}", None
            if type(op) is tvm.ir.Var or type(op) is relax.DataflowVar:
                exprs = [op, *exprs]
        # Arguments of opaque calls may hold anything; only what they read matters.
        args = tuple([self.ref(expr, scope, reads) for expr in exprs])
        return self.node(name, args, call=call, var=var, scope=scope, info=info, exprs=exprs)

    def operator(self, op: Any) -> OpInfo:
        name = str(op.name).removeprefix("relax.")
        purity = op.get_attr("FPurity")
        pure = purity is None or bool(purity)
        arguments = _ARGUMENTS.get(name) or tuple([str(a.name) for a in op.arguments])
        info = OpInfo(name, arguments, name in _OPAQUE or not pure, pure)
        self.operators[op.__chandle__()] = info
        self.keep.append(op)
        return info

    def branch(self, value: Any, var: Any, scope: int, reads: list[int]) -> int:
        """An `If`: the values its branches capture count as its own arguments."""
        cond = self.ref(value.cond, scope, reads)
        first = len(self.ops.kind)
        scopes = (self.sequence(value.true_branch), self.sequence(value.false_branch))
        captured: dict[int, None] = {}
        inside = {*scopes[0], *scopes[1]}
        outer: dict[int, None] = dict.fromkeys(reads)
        for inner in sorted(inside):
            for bound in self.scopes[inner].bindings:
                for key in bound.reads:
                    if self.defined_in[key] not in inside:
                        outer[key] = None
            for node in self.scopes[inner].nodes:
                for v in (v for arg in self.ops.args[node] for v in flatten(arg)):
                    if self.values.producer[v] < first and v not in self.values.constants:
                        captured[v] = None
        for branch in (value.true_branch, value.false_branch):
            body: list[int] = []
            for v in flatten(self.ref(branch.body, -1, body)):
                if self.values.producer[v] < first and v not in self.values.constants:
                    captured[v] = None
            outer.update(dict.fromkeys(k for k in body if self.defined_in[k] not in inside))
        reads[:] = outer
        node = self.node("if", (cond, *captured), call=value, var=var, scope=scope)
        self.branches[node] = scopes
        return node

    # -- edges that are not data -----------------------------------------------------------------

    def after(self, node: int, last_effect: int) -> int:
        """Keep side effects in order; the node that the next effect must follow."""
        info = self.ops.infos[node]
        if info is not None and info.pure:
            return last_effect
        if last_effect >= 0:
            self.follow(node, last_effect)
        return node

    def follow(self, node: int, before: int) -> None:
        self.order[node] = (*self.order.get(node, ()), before)

    def bind_symbols(self, ty: Any, node: int) -> None:
        for symbol in relax.analysis.tir_vars_in_type(ty):
            if symbol.__chandle__() not in self.symbols:
                self.symbols[symbol.__chandle__()] = node
                self.keep.append(symbol)

    def after_symbols(self, node: int, var: Any) -> None:
        types = [var.ty, *(e.ty for e in self.ops.arg_exprs[node] if isinstance(e, tvm.ir.Expr))]
        for ty in types:
            for symbol in relax.analysis.tir_vars_in_type(ty):
                binder = self.symbols.get(symbol.__chandle__(), -1)
                if 0 <= binder != node and self.ops.scope[binder] == self.ops.scope[node]:
                    self.follow(node, binder)
