"""Pass 5: outline. Each segment becomes a private function, called from where it was.

    main                                  main                        dnnl_0 (private)
      lv  = conv2d(x, w)   ┐                                            lv = conv2d(x', w)
      lv1 = relu(lv)       ┘ dnnl         lv1 = dnnl_0(x)               gv = relu(lv)
      lv2 = foo(lv1)                      lv2 = foo(lv1)                return gv
      return lv2                          return lv2

A segment's call stands where its first reader needs it: bindings keep their order, and what one
of them reads is emitted before it, segments included. That always ends, since the graph with
contracted segments has no cycle. Bindings whose arguments stay the same are reused as they are;
nothing is re-inferred, so the cost is that of the bindings that change.

Names (bindings without a node) are dropped when nobody outside the segments reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from byoc.ir.decode import items
from byoc.partition.grouping.group import SegmentDraft
from byoc.partition.grouping.size_inputs import size_inputs
from byoc.partition.outlining import build
from byoc.partition.snapshot.bindings import BindingScope, BlockBinding, RawArg, ValueRef
from byoc.partition.snapshot.graph import OpGraph

__all__ = ["Outlined", "outline_function"]


@dataclass(frozen=True, slots=True)
class Outlined:
    """A segment that has become a function.

    Attributes:
        name: of the segment and the function.
        vendor: who runs it.
        nodes: its ops, topological.
        inputs: the values it takes, in the order of the function's parameters.
        outputs: the values it returns, in order.
        symbol: the GlobalVar.
        function: the relax.Function, marked with Codegen = vendor.
    """

    name: str
    vendor: str
    nodes: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    symbol: Any
    function: Any


Fresh = Callable[[str], str]
"""Vendor -> a new segment name."""


def outline_function(
    graph: OpGraph, drafts: Mapping[int, Sequence[SegmentDraft]], fresh: Fresh
) -> tuple[Any, list[Outlined]]:
    """Rebuild a function around its segments.

    Args:
        graph: snapshot of the function.
        drafts: index of a scope → its segments.
        fresh: vendor → a new segment name.

    Returns:
        (the function, which calls the segments; the segments in the order they were named). With no
        segments the function is the one it was.
    """
    if not any(drafts.values()):
        return graph.func, []
    outliner = _Outliner(graph, drafts, fresh)
    old = graph.func
    body = outliner.sequence(old.body, graph.body_scopes)
    func = relax.Function(old.params, body, old.ret_ty, old.is_pure, old.attrs, old.span)
    return func, outliner.done


class _Outliner:
    """Rewrites one function; done: the segments made so far."""

    def __init__(
        self, graph: OpGraph, drafts: Mapping[int, Sequence[SegmentDraft]], fresh: Fresh
    ) -> None:
        self.graph = graph
        self.drafts = drafts
        self.fresh = fresh
        self.done: list[Outlined] = []

    def sequence(self, seq: Any, scopes: Sequence[int]) -> Any:
        """Rebuild a SeqExpr whose blocks are `scopes`."""
        if not any(self._touched(s) for s in scopes):
            return seq
        blocks = [
            _Block(self, s, self.graph.scopes[s], self.drafts.get(s, ())).rebuild()
            if self._touched(s)
            else self.graph.scopes[s].block
            for s in scopes
        ]
        return build.sequence(blocks, seq.body)

    def _touched(self, scope: int) -> bool:
        if self.drafts.get(scope):
            return True
        return any(
            self._touched(inner)
            for node in self.graph.scopes[scope].nodes
            for branch in self.graph.branches.get(node, ())
            for inner in branch
        )

    def branch(self, node: int, binding: Any) -> Any:
        """Rebuild an `If` binding."""
        value = binding.value
        true_scopes, false_scopes = self.graph.branches[node]
        true_branch = self.sequence(value.true_branch, true_scopes)
        false_branch = self.sequence(value.false_branch, false_scopes)
        again = relax.If(value.cond, true_branch, false_branch, value.span)
        return build.binding(binding.var, build.typed(again, value.ty))


@dataclass(slots=True)
class _Read:
    """How a segment's input is spelled in the calling block: fields `path` of `expr`."""

    expr: Any
    path: tuple[int, ...]


def _whole(graph: OpGraph, value: int) -> _Read:
    """How a value is spelled by the variable that holds it, or holds the tuple it is part of."""
    path: tuple[int, ...] = ()
    while value in graph.values.field_of:
        value, index = graph.values.field_of[value]
        path = (index, *path)
    return _Read(graph.values.typed_by[value], path)


def _reads(
    graph: OpGraph, expr: Any, ref: ValueRef, path: tuple[int, ...]
) -> Iterator[tuple[int, _Read]]:
    """The tensors an argument stands for, and how to spell each."""
    if type(ref) is int:
        fields = graph.values.fields.get(ref)
        if fields is None:
            yield ref, _Read(expr, path)
        else:
            for k, part in enumerate(fields):
                yield from _reads(graph, expr, part, (*path, k))
    elif type(ref) is tuple:
        if type(expr) is tvm.ir.Tuple and not path:
            for field, inner in zip(items(expr.fields), ref, strict=True):
                yield from _reads(graph, field, inner, ())
        else:
            for k, inner in enumerate(ref):
                yield from _reads(graph, expr, inner, (*path, k))


class _Block:
    """Rebuilds one binding block. Items are entries (by index), then segments."""

    def __init__(
        self, outliner: _Outliner, index: int, scope: BindingScope, drafts: Sequence[SegmentDraft]
    ) -> None:
        self.outliner = outliner
        self.graph = outliner.graph
        self.scope = scope
        self.drafts = drafts
        self.new_var = build.dataflow_var if scope.dataflow else build.var
        self.draft_of = {node: d for d, draft in enumerate(drafts) for node in draft.nodes}
        self.inputs: list[dict[int, _Read]] = [self._inputs(d) for d in drafts]
        self.outputs: list[set[int]] = [set() for _ in drafts]
        self.whole: list[list[BlockBinding]] = [[] for _ in drafts]  # results wanted as a tuple
        self.item_of: dict[int, int] = {}  # variable -> item that defines it
        self.item_of_node: dict[int, int] = {}
        self.kept = [False] * len(scope.bindings)
        self.fields: dict[int, Any] = {}  # field that a segment returns -> its expression
        self.bindings: list[Any] = []
        self._sweep()

    def _inputs(self, draft: SegmentDraft) -> dict[int, _Read]:
        graph = self.graph
        found: dict[int, _Read] = {}
        inside = set(draft.nodes)
        for node in draft.nodes:
            for expr, ref in zip(graph.ops.arg_exprs[node], graph.ops.args[node], strict=True):
                for value, read in _reads(graph, expr, ref, ()):
                    if (
                        value not in graph.values.constants
                        and graph.values.producer[value] not in inside
                    ):
                        found.setdefault(value, read)
        for value in size_inputs(graph, draft.nodes).values:
            found.setdefault(value, _whole(graph, value))
        return found

    # -- what stays, from the last binding to the first ------------------------------------------

    def _sweep(self) -> None:
        """Find the names that stay and the values each segment must return."""
        graph, draft_of = self.graph, self.draft_of
        producer = graph.values.producer
        wanted = set(self.scope.escaping)
        for inputs in self.inputs:
            for value, read in inputs.items():
                home = draft_of.get(producer[value], -1)
                if read.path and home >= 0:
                    self.outputs[home].add(value)
                else:
                    wanted.add(read.expr.__chandle__())
        count = len(self.scope.bindings)
        for at in range(count - 1, -1, -1):
            bound = self.scope.bindings[at]
            home = draft_of.get(bound.node, -1) if bound.node >= 0 else -1
            if home >= 0:
                self.item_of[bound.key] = self.item_of_node[bound.node] = count + home
                if bound.key in wanted:
                    self.outputs[home].update(graph.ops.outs[bound.node])
                    assert type(bound.ref) is int
                    if bound.ref in graph.values.fields:
                        self.whole[home].append(bound)
                continue
            if bound.node < 0 and bound.key not in wanted:
                continue
            self.kept[at] = True
            self.item_of[bound.key] = at
            if bound.node >= 0:
                self.item_of_node[bound.node] = at
            source = self._returned_field(bound)
            if source >= 0:
                assert type(bound.ref) is int
                self.outputs[source].add(bound.ref)
            else:
                wanted.update(bound.reads)

    def _returned_field(self, bound: BlockBinding) -> int:
        """The segment whose op this bound takes a field of, else -1."""
        ref = bound.ref
        if bound.node >= 0 or type(ref) is not int or ref not in self.graph.values.field_of:
            return -1
        if type(bound.relax.value) is not tvm.ir.TupleGetItem:
            return -1
        return self.draft_of.get(self.graph.values.producer[ref], -1)

    # -- emission, in order, what is read first --------------------------------------------------

    def rebuild(self) -> Any:
        count = len(self.scope.bindings)
        emitted = [False] * (count + len(self.drafts))
        for first in range(count + len(self.drafts)):
            if first < count and not self.kept[first]:
                continue
            stack = [first]
            while stack:
                item = stack[-1]
                if emitted[item]:
                    stack.pop()
                    continue
                waiting = [d for d in self._before(item) if not emitted[d]]
                if waiting:
                    stack.extend(reversed(waiting))
                    continue
                emitted[item] = True
                stack.pop()
                if item < count:
                    self._emit_binding(self.scope.bindings[item])
                else:
                    self._emit_segment(item - count)
        kind = relax.DataflowBlock if self.scope.dataflow else relax.BindingBlock
        return kind(self.bindings, self.scope.block.span)

    def _before(self, item: int) -> list[int]:
        """The items that must be emitted before this one."""
        graph, found = self.graph, []
        count = len(self.scope.bindings)
        if item < count:
            bound = self.scope.bindings[item]
            source = self._returned_field(bound)
            if source >= 0:
                return [count + source]
            found = [self.item_of[key] for key in bound.reads if key in self.item_of]
            nodes: tuple[int, ...] = (bound.node,) if bound.node >= 0 else ()
        else:
            for value, read in self.inputs[item - count].items():
                key = read.expr.__chandle__()
                node = graph.values.producer[value]
                if key in self.item_of:
                    found.append(self.item_of[key])
                elif node in self.item_of_node:
                    found.append(self.item_of_node[node])
            nodes = self.drafts[item - count].nodes
        if graph.order:
            for node in nodes:
                for before in graph.order.get(node, ()):
                    at = self.item_of_node.get(before, item)
                    if at != item:
                        found.append(at)
        return found

    def _emit(self, var: Any, value: Any) -> None:
        self.bindings.append(build.binding(var, value))

    def _emit_binding(self, bound: BlockBinding) -> None:
        if self._returned_field(bound) >= 0:
            assert type(bound.ref) is int
            self._emit(bound.relax.var, self.fields[bound.ref])
        elif bound.node in self.graph.branches:
            self.bindings.append(self.outliner.branch(bound.node, bound.relax))
        else:
            self.bindings.append(bound.relax)

    def _named(self, value: Any, name: str) -> Any:
        """A variable bound to `value`."""
        var = self.new_var(name, value.ty)
        self._emit(var, value)
        return var

    def _spell(self, value: int, read: _Read) -> Any:
        """The calling block's expression for a segment's input."""
        if not read.path:
            return read.expr
        if value in self.fields:
            found = self.fields[value]
            if type(found) is tvm.ir.TupleGetItem:
                found = self.fields[value] = self._named(found, f"{found.tuple_value.name}_field")
            return found
        expr = read.expr
        for index in read.path:
            expr = self._named(build.item(expr, index), f"{expr.name}_{index}")
        return expr

    def _emit_segment(self, index: int) -> None:
        graph, draft = self.graph, self.drafts[index]
        args = [self._spell(value, read) for value, read in self.inputs[index].items()]
        inputs = tuple(self.inputs[index])
        outputs = [v for n in draft.nodes for v in graph.ops.outs[n] if v in self.outputs[index]]
        name = self.outliner.fresh(draft.vendor)
        whole = {graph.values.producer[w.ref] for w in self.whole[index] if type(w.ref) is int}
        function = _lift(graph, draft, name, args, inputs, outputs, whole)
        symbol = build.symbol(name, function.ty)
        if len(outputs) == 1:
            value = outputs[0]
            call = build.call(symbol, args, _type_of(graph, value))
            if value in graph.values.field_of:
                self.fields[value] = self._named(call, f"{name}_out")
            else:
                self._emit(graph.values.typed_by[value], call)
        else:
            kind = tvm.ir.TupleType([_type_of(graph, v) for v in outputs])
            result = self._named(build.call(symbol, args, kind), f"{name}_out")
            for k, value in enumerate(outputs):
                if value in graph.values.field_of:
                    self.fields[value] = build.item(result, k)
                else:
                    self._emit(graph.values.typed_by[value], build.item(result, k))
        for bound in self.whole[index]:
            assert type(bound.ref) is int
            parts = [self._spell(v, _Read(None, (0,))) for v in graph.values.fields[bound.ref]]
            self._emit(bound.relax.var, build.tuple_of(parts))
        self.outliner.done.append(
            Outlined(name, draft.vendor, draft.nodes, inputs, tuple(outputs), symbol, function)
        )


def _type_of(graph: OpGraph, value: int) -> Any:
    source = graph.values.typed_by[value]
    return getattr(source, "ty", source)


class _Body:
    """Writes a segment function: the graph's bindings over new parameters."""

    def __init__(self, graph: OpGraph) -> None:
        self.graph = graph
        self.env: dict[int, Any] = {}
        self.bindings: list[Any] = []

    def value(self, value: int) -> Any:
        """The segment's expression for a value."""
        found = self.env.get(value)
        if found is None:
            graph = self.graph
            if value in graph.values.constants:
                return graph.values.constants[value]
            if value in graph.values.field_of:
                whole, index = graph.values.field_of[value]
                found = self.field(value, whole, index, build.dataflow_var)
            else:  # a tuple from outside, whose fields are parameters
                return build.tuple_of([self.value(v) for v in graph.values.fields[value]])
        return found

    def field(self, value: int, whole: int, index: int, kind: Any) -> Any:
        base = self.value(whole)
        item = build.item(base, index)
        var = self.env[value] = kind(f"{base.name}_{index}", item.ty)
        self.bindings.append(build.binding(var, item))
        return var

    def argument(self, expr: Any, ref: ValueRef) -> Any:
        if type(ref) is int:
            return self.value(ref)
        if type(ref) is tuple:
            parts = items(expr.fields) if type(expr) is tvm.ir.Tuple else [None] * len(ref)
            inner = [self.argument(e, r) for e, r in zip(parts, ref, strict=True)]
            same = [e is not None and e.same_as(i) for e, i in zip(parts, inner, strict=True)]
            return expr if inner and all(same) else build.tuple_of(inner)
        assert type(ref) is RawArg
        return ref.expr


def _lift(
    graph: OpGraph,
    draft: SegmentDraft,
    name: str,
    args: Sequence[Any],
    inputs: Sequence[int],
    outputs: Sequence[int],
    whole: set[int],
) -> Any:
    """The segment's function. `whole`: nodes whose tuple variable stays with the caller."""
    body = _Body(graph)
    params = [build.var(str(arg.name), arg.ty) for arg in args]
    body.env.update(zip(inputs, params, strict=True))
    returned = set(outputs)
    bindings, env = body.bindings, body.env
    constants, fields = graph.values.constants, graph.values.fields
    for node in draft.nodes:
        call, result, var = graph.ops.calls[node], graph.ops.result[node], graph.ops.vars[node]
        again, same = [], True
        for expr, ref in zip(graph.ops.arg_exprs[node], graph.ops.args[node], strict=True):
            new = None
            if type(ref) is int:
                new = env.get(ref)
                if new is None:
                    new = constants.get(ref)
            if new is None:
                new = body.argument(expr, ref)
            again.append(new)
            same = same and expr.same_as(new)
        kept = var
        if result in returned:
            kept = build.var(graph.ops.names[node], var.ty)
        elif node in whole:
            kept = build.dataflow_var(graph.ops.names[node], var.ty)
        if not same:
            call = build.call(call.op, again, var.ty, like=call)
        env[result] = kept
        bindings.append(build.binding(kept, call))
        if result in fields:
            for value in graph.ops.outs[node]:
                if value in returned:
                    body.field(value, *graph.values.field_of[value], build.var)
    results = [env[v] for v in outputs]
    result = results[0] if len(results) == 1 else build.tuple_of(results)
    seq = build.sequence([relax.DataflowBlock(bindings)], result)
    attrs = tvm.ir.make_node("ir.DictAttrs", Codegen=draft.vendor, global_symbol=name)
    function = build.function(params, seq, attrs)
    if graph.decoder.symbolic and not _is_static(graph, draft.nodes):
        # Functions of a module may not share symbolic variables.
        function = relax.utils.copy_with_new_vars(function)
    return function


def _is_static(graph: OpGraph, nodes: Sequence[int]) -> bool:
    kinds = [graph.values.types[v] for n in nodes for v in (*graph.ops.ins[n], *graph.ops.outs[n])]
    return all(kind is not None and kind.is_static for kind in kinds)
