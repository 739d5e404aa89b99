"""Operators that Relax cannot express, as opaque calls (`byoc.kit.torch_steps`) for torch itself.

An operator's results can be Relax values when they are dense tensors of a common dtype whose
dimensions are numbers or sizes of inputs. Results that are not (complex numbers, lengths that
depend on data, sparse tensors) stay inside a *region* that grows with their readers until its
results can be::

    mask ─ nonzero ─┐ int64[u0, 2]   pending: its length depends on data
    x ──────────────┴ index ─┐ float32[u0]   pending
                             └ sum ─▶ float32[]   one opaque call of three steps

Two readers of a pending value make two regions, both with its steps, so operators that draw random
numbers may not be shared. A number that an operator makes of tensors (`item`, a custom operator's
size) is a scalar tensor for Relax, read as a number again by the opaque calls it goes to.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import tvm
from tvm import relax

from byoc.errors import ModelError
from byoc.frontends.torch.context import Later, TorchContext, dtype_name, is_tensor
from byoc.frontends.torch.sizes import Sizes
from byoc.frontends.torch.strides import stored_order
from byoc.kit.torch_steps import FUNCTIONS, HIGHER_ORDER, Step, Steps, function, torch_call

__all__ = ["MAX_STEPS", "InnerValue", "Number", "OpaqueOperators", "read_parts", "spelled"]

MAX_STEPS = 1000
"""Operators of one region; a chain of values that never become tensors ends here."""

_NUMBERS = {torch.SymBool: "bool", torch.SymInt: "int", torch.SymFloat: "float"}
_DTYPES = {"bool": "bool", "int": "int64", "float": "float64"}

_NAMES = {function(name): name for name in FUNCTIONS}


@dataclass(frozen=True, eq=False)
class Number:
    """A number that is known when the model runs. tensor: a Relax scalar; kind: as it is read."""

    tensor: Any
    kind: str
    reason: str = "a number that depends on data"


@dataclass(frozen=True, eq=False)
class InnerValue:
    """A value that is none for Relax.

    Attributes:
        steps: The nodes that make it, with their places in the walk.
        reason: What it is.
        origin: Why the first of them cannot be expressed.
    """

    steps: Mapping[Any, int]
    reason: str
    origin: str


@dataclass
class OpaqueOperators:
    """Keeps operators of one graph whole.

    Attributes:
        sizes: The program's symbolic sizes.
        env: Node → what the walk has made of it.
        params: The graph's inputs, as Relax variables.
        kept: Operators as reports call them → how many of them were kept.
    """

    sizes: Sizes
    env: Mapping[Any, Any]
    params: Mapping[str, Any]
    kept: Counter[str] = field(default_factory=Counter)
    _count: int = 0
    _drawn: set[Any] = field(default_factory=set)
    _last_draw: Any = None

    def add(self, c: TorchContext, name: str, reason: str) -> Any:
        """Keep a node whole.

        Args:
            c: The node.
            name: What its binding is called.
            reason: Why Relax cannot express it.

        Returns:
            What it makes, shaped like torch's own result: Relax tensors, numbers, `Number`s,
            `InnerValue`s, None for what nobody reads.

        Raises:
            ModelError: The region gets too large.
            ValueError: torch could not run it from here either.
        """
        node = c.node
        if getattr(getattr(node.target, "_schema", None), "is_mutable", False):
            raise ValueError("it writes to its arguments")
        before = [self.env[n] for n in node.all_input_nodes if isinstance(self.env[n], InnerValue)]
        steps = dict(item for pending in before for item in pending.steps.items())
        steps[node] = self._count = self._count + 1
        if len(steps) > MAX_STEPS:
            raise ModelError(
                f"{c.what} would be the last of {len(steps)} operators that must be run by torch "
                f"together; byoc keeps up to {MAX_STEPS}"
            )
        if _is_operator(node):
            self.kept[spelled(node)] += 1
        origin = before[0].origin if before else reason
        found = _Results(self.sizes, node, not before and node.target not in _NAMES)
        shape = found.collect(node.meta.get("val"), (), read_parts(node))
        made: list[Any] = []
        if found.types:
            made = self._call(c, steps, found, name, origin)
        return _filled(shape, made, lambda why: InnerValue(steps, f"{name!r}, {why}", origin))

    def part(self, node: Any, pending: InnerValue) -> InnerValue:
        """A pending part of a pending result: the node that picks it is a step, too."""
        self._count += 1
        return InnerValue({**pending.steps, node: self._count}, pending.reason, pending.origin)

    def _call(
        self, c: TorchContext, steps: Mapping[Any, int], found: _Results, name: str, origin: str
    ) -> list[Any]:
        nodes = sorted(steps, key=steps.__getitem__)
        random = [n for n in nodes if _is_random(n)]
        for node in random:
            if node in self._drawn:
                raise ModelError(
                    f"{c.what} reads {node.name!r} ({spelled(node)}), random numbers of a shape "
                    f"that depends on data, which others read, too: they would be drawn twice"
                )
        self._drawn.update(random)
        writer = _Writer(c, self.env, self.params)
        if random and self._last_draw is not None:
            writer.input(self._last_draw, "tensor")  # draws keep their order
        program = writer.steps(nodes, found)
        ops = ", ".join(dict.fromkeys(map(spelled, filter(_is_operator, nodes))))
        call = torch_call(program, writer.values, found.types, op=ops, node=name, reason=origin)
        var = c.bindings.bind(call, name)
        made = [var]
        if len(found.types) > 1:
            made = [
                c.bindings.bind(relax.TupleGetItem(var, i), name) for i in range(len(found.types))
            ]
        if random:
            self._last_draw = made[0]
        return [
            Number(value, kind) if kind else value
            for value, kind in zip(made, found.kinds, strict=True)
        ]


# -- results


@dataclass(frozen=True)
class _Made:
    """The place of a result among those of the call."""

    index: int


@dataclass(frozen=True)
class _Not:
    """A result that Relax has no value for, and what it is."""

    reason: str


@dataclass
class _Results:
    """Which results of a node can leave its region: their paths, Relax types and kinds."""

    sizes: Sizes
    node: Any
    numbers: bool
    paths: list[tuple[int, ...]] = field(default_factory=list)
    types: list[Any] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def collect(self, meta: Any, path: tuple[int, ...], read: set[int] | None) -> Any:
        """The results as torch nests them; leaves are `_Made`, `_Not` or plain values."""
        if isinstance(meta, (list, tuple)):
            return tuple(
                None if read is not None and i not in read else self.collect(m, (*path, i), None)
                for i, m in enumerate(meta)
            )
        if isinstance(meta, torch.Tensor):
            return self._tensor(meta, path)
        kind = _NUMBERS.get(type(meta))
        if kind is None:
            return meta
        try:
            return self.sizes.size(meta)
        except ValueError as error:
            if not self.numbers:
                return _Not(str(error))
        return self._leave(path, relax.TensorType((), _DTYPES[kind]), kind)

    def _tensor(self, fake: Any, path: tuple[int, ...]) -> Any:
        if fake.device.type != "cpu":
            raise ModelError(
                f"node {self.node.name!r} ({spelled(self.node)}): its result is on "
                f"{str(fake.device)!r}; byoc compiles for the CPU"
            )
        if fake.layout != torch.strided or fake.is_quantized:
            return _Not(f"{fake.layout} {fake.dtype}")
        try:
            kind = relax.TensorType(self.sizes.shape(fake.shape), dtype_name(fake.dtype))
        except ValueError as error:
            return _Not(str(error))
        return self._leave(path, kind, "")

    def _leave(self, path: tuple[int, ...], kind: Any, number: str) -> _Made:
        self.paths.append(path)
        self.types.append(kind)
        self.kinds.append(number)
        return _Made(len(self.paths) - 1)


def _filled(shape: Any, made: Sequence[Any], pending: Any) -> Any:
    if isinstance(shape, tuple):
        return tuple(_filled(s, made, pending) for s in shape)
    if isinstance(shape, _Made):
        return made[shape.index]
    return pending(shape.reason) if isinstance(shape, _Not) else shape


def read_parts(node: Any) -> set[int] | None:
    """Which parts of its result are read; None for all."""
    found = set()
    for user in node.users:
        if user.target is not operator.getitem or user.args[0] is not node:
            return None
        if user.users:
            found.add(int(user.args[1]))
    return found


# -- steps


@dataclass
class _Writer:
    """Nodes of torch's graph as steps.

    Attributes:
        values: The Relax tensors that the steps read.
    """

    c: TorchContext
    env: Mapping[Any, Any]
    params: Mapping[str, Any]
    values: list[Any] = field(default_factory=list)
    _kinds: list[str] = field(default_factory=list)
    _inputs: dict[Any, dict[str, int]] = field(default_factory=dict)
    _numbers: dict[Any, dict[str, int]] = field(default_factory=dict)

    def input(self, value: Any, kind: str) -> dict[str, int]:
        """A Relax tensor as an argument."""
        key = (value, kind)
        if key not in self._inputs:
            self._inputs[key] = {"value": len(self.values)}
            self.values.append(value)
            self._kinds.append(kind)
        return self._inputs[key]

    def steps(self, nodes: Sequence[Any], found: _Results) -> Steps:
        """The function of some nodes that the walk has come by; it gives parts of the last one."""
        inside = set(nodes)
        for node in nodes:
            for source in node.all_input_nodes:
                if source not in inside and not isinstance(self.env[source], torch.nn.Module):
                    self._outside(source)
        self._define_sizes(found.types)
        written = [self._written(n, len(self.values) + i) for i, n in enumerate(nodes)]
        last, results = len(self.values) + len(nodes) - 1, []
        for path in found.paths:
            at = last
            for index in path:
                written.append(Step("python::getitem", ({"value": at}, index)))
                at = len(self.values) + len(written) - 1
            results.append({"value": at})
        return Steps(tuple(self._kinds), tuple(written), results)

    def _define_sizes(self, types: Sequence[Any]) -> None:
        """Read an input of the graph for each size that no value has as a dimension of its own.

        A segment learns the sizes of its tensors from those that it reads.
        """
        read = [value.ty for value in self.values]
        known = {s for kind in read for s in relax.analysis.definable_tir_vars_in_type(kind)}
        for size in relax.analysis.tir_vars_in_type(relax.TupleType([*read, *types])):
            if size in known:
                continue
            for param in self.params.values():
                defines = relax.analysis.definable_tir_vars_in_type(param.ty)
                if size in defines:
                    self.input(param, "tensor")
                    known.update(defines)
                    break

    def _written(self, node: Any, number: int) -> Step:
        step = Step(
            _name(node.target),
            tuple(self._argument(a) for a in node.args),
            {key: self._argument(a) for key, a in node.kwargs.items()},
        )
        self._numbers[node] = {"value": number}
        return step

    def _outside(self, node: Any) -> None:
        """What the walk has made of a node, as an argument."""
        meta = node.meta.get("val")
        self._numbers[node] = self._known(self.env[node], meta)

    def _known(self, value: Any, meta: Any) -> Any:
        if isinstance(value, tuple):
            return [self._known(v, m) for v, m in zip(value, meta, strict=True)]
        if isinstance(value, Number):
            return self.input(value.tensor, value.kind)
        if is_tensor(value):
            order = stored_order(meta) if isinstance(meta, torch.Tensor) else ()
            plain = list(order) == sorted(order)
            return self.input(value, "tensor" if plain else "tensor:" + ",".join(map(str, order)))
        if isinstance(value, Later):
            raise ValueError(value.reason)
        if isinstance(value, tvm.ir.Expr):  # a symbolic size
            return self.input(self.c.cast(value, "int64"), "int")
        return _plain(value)

    def _argument(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            if value in self._numbers:
                return self._numbers[value]
            inner = self.env[value]
            if isinstance(inner, torch.fx.GraphModule):
                return {"graph": _function(inner).to_json()}
            raise ValueError(f"its argument {value.name!r} is nothing that torch could be given")
        if isinstance(value, (list, tuple)):
            return [self._argument(v) for v in value]
        return _plain(value)


def _function(module: torch.fx.GraphModule) -> Steps:
    """A graph that an operator is given (a branch, the body of a loop) as steps."""
    numbers: dict[Any, Any] = {}
    written: list[Step] = []
    kinds: list[str] = []

    def argument(value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            return numbers[value]
        if isinstance(value, (list, tuple)):
            return [argument(v) for v in value]
        return _plain(value)

    nodes = list(module.graph.nodes)
    count = sum(n.op == "placeholder" for n in nodes)
    for node in nodes:
        if node.op == "placeholder":
            numbers[node] = {"value": len(kinds)}
            kinds.append("tensor")
        elif node.op == "get_attr":
            inner = getattr(module, node.target)
            if not isinstance(inner, torch.fx.GraphModule):
                raise ValueError(f"its inner graph holds the constant {node.target!r}")
            numbers[node] = {"graph": _function(inner).to_json()}
        elif node.op == "call_function":
            step = Step(
                _name(node.target),
                tuple(argument(a) for a in node.args),
                {key: argument(a) for key, a in node.kwargs.items()},
            )
            numbers[node] = {"value": count + len(written)}
            written.append(step)
        elif node.op == "output":
            return Steps(tuple(kinds), tuple(written), argument(node.args[0]))
    raise ValueError("its inner graph has no output")


def _plain(value: Any) -> Any:
    """An argument that is no value of the graph."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    for kind in ("dtype", "layout", "memory_format"):
        if isinstance(value, getattr(torch, kind)):
            return {kind: str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if isinstance(value, torch._ops.OpOverload):
        return {"op": _name(value)}
    raise ValueError(f"its argument {value!r:.60} cannot be kept in a compiled model")


def _name(target: Any) -> str:
    """``namespace::name.overload``, as steps spell it."""
    if isinstance(target, torch._ops.OpOverload):
        return f"{target.namespace}::{target.__name__}"
    if target in _NAMES:
        return f"python::{_NAMES[target]}"
    name = getattr(target, "__name__", str(target))
    if isinstance(target, torch._ops.HigherOrderOperator) and name in HIGHER_ORDER:
        return f"higher_order::{name}"
    raise ValueError(f"{name} is no operator that torch could run between compiled parts")


def spelled(node: Any) -> str:
    """An operator as reports call it: of one that writes, the operator itself."""
    if isinstance(node.target, torch._ops.HigherOrderOperator) and node.args:
        first = node.args[0]
        if isinstance(first, torch._ops.OpOverload):
            return str(first)
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    return str(getattr(node.target, "__name__", node.target))


def _is_operator(node: Any) -> bool:
    return node.target not in _NAMES


def _is_random(node: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
