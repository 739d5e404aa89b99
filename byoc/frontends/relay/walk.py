"""Walk a Relay module and write it down in Relax.

Relay is a small functional language; models use it as a notation for graphs. The walk evaluates
it: a variable is what it was bound to, a call of a function is its body with the arguments in
place, and what is left are calls of operators, one Relax binding each::

    def @f(%a) { nn.relu(%a) }                        %1 = nn.conv2d(%x, w)
    def @main(%x) { %1 = nn.conv2d(%x, w); @f(%1) }   f/relu = nn.relu(%1)

Values are Relax expressions, Python tuples of values, closures, and quantised numbers that wait
for their scale (`ops/qnn.py`). An `if` whose condition is known is taken; others become Relax's.
Functions made for a vendor (attributes Compiler, Composite) are inlined as well; which operators
they held becomes rules of the placement (`placement.py`).
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tvm import relax, tirx

from byoc.errors import ModelError, choices
from byoc.frontends.context import sentence
from byoc.frontends.helpers import const, is_const, scalar_like
from byoc.frontends.model import Model, finish
from byoc.frontends.normalise.graph import Graph
from byoc.frontends.relay.file import RelayModel
from byoc.frontends.relay.metadata import attribute, meta_array, with_attributes
from byoc.frontends.relay.ops.qnn import QnnAccumulator, Rounded
from byoc.frontends.relay.ops.table import OPERATORS, convert
from byoc.frontends.relay.parameters import match_params
from byoc.frontends.relay.placement import Force, placement_rules, vendor_of
from byoc.frontends.relay.scopes import graph_bindings
from byoc.frontends.relay.syntax import (
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
    Meta,
    Module,
    OperatorName,
    Param,
    PlaceError,
    Project,
    RelayTensorType,
    Tuple,
)
from byoc.frontends.relay.values import checked_tuple, flat, packed, structure
from byoc.frontends.relay.writer import RelaxWriter
from byoc.segment import Array

__all__ = ["RelayGraph", "build", "import_relay"]

Variables = MutableMapping[str, Any]
"""Name of a variable → its value."""

_LEVELS = 120
"""How deep expressions may be nested while functions are inlined."""

_INLINED = 50_000
"""Operators that inlining may add to those that are written in the file."""

_WITHOUT_PLACE = ("ref", "ref_read", "ref_write")

_RECURSIONS = 60
"""Calls of a function within itself; more is a loop, not a repetition."""


@dataclass(frozen=True, eq=False)
class _Closure:
    """A function, the scope it was written in, and a name for it."""

    function: Function
    scope: Variables
    name: str


def import_relay(model: RelayModel) -> Model:
    """The model with its functions inlined, and what they ask of the placement as rules.

    Raises:
        ModelError: As ``where:line:column: what``.
    """
    version = model.module.version
    built = build(model)
    finished = finish(
        built.graph,
        model.name,
        built.inputs,
        built.outputs,
        "relay",
        versions={"tvm": version} if version else {},
        operators=built.operators,
    )
    if not model.placement:
        return finished
    rules = placement_rules(built.forced, built.graph, model.module.where)
    return replace(finished, rules=rules)


@dataclass(frozen=True)
class RelayGraph:
    """A module as one graph of Relax ops, not yet in normal form.

    Attributes:
        graph: The graph, functions inlined.
        inputs: Names of the inputs as the file spells them.
        outputs: Names of the outputs.
        forced: What functions made for a vendor hold.
        operators: OperatorName → how often it is called, functions inlined.
    """

    graph: Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    forced: tuple[Force, ...]
    operators: Mapping[str, int]


def build(model: RelayModel) -> RelayGraph:
    """Evaluate @main.

    Raises:
        ModelError: As ``where:line:column: what``.
    """
    where = model.module.where
    try:
        return _Walk(module=model.module, version=model.module.version).run(model.params)
    except PlaceError as error:
        raise error.at_file(where) from None
    except RecursionError:
        raise ModelError(f"{where}:1:1: its functions call each other too deep") from None


@dataclass(kw_only=True)
class _Walk(RelaxWriter):
    module: Module
    active: list[Function] = field(default_factory=list)
    open_ifs: list[int] = field(default_factory=list)
    globals: dict[str, _Closure] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    seen: dict[int, Variables] = field(default_factory=dict)
    """Scopes that functions see, by identity."""
    graph_bindings: dict[int, Mapping[str, LetBinding]] = field(default_factory=dict)
    """Function, by identity → its graph bindings."""
    evaluated: list[int] = field(default_factory=list)
    """Bindings whose value is being evaluated, by identity: none may read itself."""
    level: int = 0
    inlined: int = 0

    def __post_init__(self) -> None:
        for name, function in self.module.functions.items():
            self.globals[name] = _Closure(function, {}, name)

    def run(self, arrays: Mapping[str, Array]) -> RelayGraph:
        """Evaluate `main`. arrays: parameters of `main` that are known, by name."""
        functions = self.module.functions
        main = functions.get("main")
        if main is None and len(functions) == 1:
            (main,) = functions.values()
        if main is None:
            raise PlaceError(
                At(1, 1),
                f"there is no function @main, only {', '.join(f'@{name}' for name in functions)}",
            )
        values: Variables = {}
        inputs: list[tuple[str, Any]] = []
        known = match_params(main, arrays)
        for param in main.params:
            if param.name in known:
                values[param.name] = const(known[param.name])
            else:
                values[param.name] = self.input(param.label[1:], param.type, param.at, inputs)
        outputs: list[str] = []

        def body() -> Any:
            value = self._body(main, values)
            results = [self.output(v, main.body.result.at) for v in flat(value)]
            if not results:
                raise PlaceError(main.at, "@main returns an empty tuple: nothing to compute")
            if not isinstance(value, tuple):
                outputs.append("output")
                return results[0]
            outputs.extend(f"output_{i}" for i in range(len(results)))
            return relax.Tuple(results)

        graph = self.bindings.main([variable for _, variable in inputs], body)
        return RelayGraph(
            graph,
            tuple(name for name, _ in inputs),
            tuple(outputs),
            tuple(Force(vendor, tuple(names), at) for vendor, at, names in self.placed),
            dict(self.counts.most_common()),
        )

    # -- blocks and functions

    def _body(self, function: Function, scope: Variables) -> Any:
        self.active.append(function)
        try:
            return self._block(function.body, scope, "")
        finally:
            self.active.pop()

    def _block(self, block: LetBlock, scope: Variables, label: str) -> Any:
        for binding in block.bindings:
            scope = self._binding(binding, scope)
        return self._expr(block.result, scope, label)

    def _binding(self, binding: LetBinding, scope: Variables) -> Variables:
        """The scope of what follows; another one where a function still sees the older value."""
        if not isinstance(binding.value, Function):
            value = self._bound_value(binding, scope)
        if binding.name in scope and id(scope) in self.seen:
            scope = ChainMap({}, *(scope.maps if isinstance(scope, ChainMap) else [scope]))
        if isinstance(binding.value, Function):
            # Visible in its own body: that is how Relay writes loops.
            value = self._closure(binding.value, scope, binding.label[1:])
        scope[binding.name] = value
        return scope

    def _closure(self, function: Function, scope: Variables, name: str) -> _Closure:
        """A function that sees a scope, and the scopes around it, from now on."""
        parts = [scope]
        while parts:
            part = parts.pop()
            self.seen[id(part)] = part
            if isinstance(part, ChainMap):
                parts.extend(m for m in part.maps if id(m) not in self.seen)
        return _Closure(function, scope, name)

    def _call_closure(self, closure: _Closure, args: list[Any], at: At, label: str) -> Any:
        function = closure.function
        if len(args) != len(function.params):
            raise PlaceError(
                at, f"{closure.name or 'the function'} at {function.at} takes "
                f"{len(function.params)} arguments, found {len(args)}"
            )  # fmt: skip
        again = self.active.count(function)
        if again and self.open_ifs and self.open_ifs[-1] > self.active.index(function):
            raise PlaceError(
                at, f"{closure.name} at {function.at} calls itself while data decides: "
                f"a loop, which byoc does not read"
            )  # fmt: skip
        if again > _RECURSIONS:
            raise PlaceError(
                at, f"{closure.name} at {function.at} calls itself more than {_RECURSIONS} times"
            )
        scope: Variables = ChainMap({}, closure.scope)
        for param, value in zip(function.params, args, strict=True):
            self._check_argument(param, value, at)
            scope[param.name] = value
        vendor = vendor_of(function)
        outermost = bool(vendor) and not self.vendor
        if outermost:
            self.vendor.append(len(self.placed))
            self.placed.append((vendor, function.at, []))
        self.path.append(closure.name or label.lstrip("%"))
        try:
            return self._body(function, scope)
        finally:
            self.path.pop()
            if outermost:
                self.vendor.pop()

    def _check_argument(self, param: Param, value: Any, at: At) -> None:
        kind = param.type
        if not isinstance(kind, RelayTensorType):
            return
        value = value.real if isinstance(value, Rounded) else value
        if isinstance(value, QnnAccumulator) or not isinstance(value, relax.Expr):
            return
        found = value.ty
        shape = getattr(found, "shape", None)
        if not isinstance(found, relax.TensorType) or shape is None:
            return
        sizes = [int(d) if isinstance(d, tirx.IntImm) else None for d in shape]
        fits = len(sizes) == len(kind.shape) and all(
            a is None or b is None or a == b for a, b in zip(sizes, kind.shape, strict=True)
        )
        if not fits:
            raise PlaceError(
                at, f"{param.label} at {param.at} is declared with shape {kind.shape}, the "
                f"argument has {tuple(sizes)}"
            )  # fmt: skip

    # -- expressions

    def _expr(self, expr: Expr, scope: Variables, label: str) -> Any:
        """The value of an expression. label: the variable it is bound to, if any."""
        self.level += 1
        if self.level > _LEVELS:
            raise PlaceError(expr.at, "expressions and functions are nested too deep here")
        try:
            return self._value(expr, scope, label)
        finally:
            self.level -= 1

    def _value(self, expr: Expr, scope: Variables, label: str) -> Any:
        if isinstance(expr, Call):
            return self._call(expr, scope, label)
        if isinstance(expr, Local):
            return self._local(expr, scope)
        if isinstance(expr, Constant):
            return const(expr.array)
        if isinstance(expr, Meta):
            return const(meta_array(self.module, expr))
        if isinstance(expr, Tuple):
            return checked_tuple(tuple(self._expr(f, scope, "") for f in expr.fields), expr.at)
        if isinstance(expr, Project):
            return self._project(expr, scope)
        if isinstance(expr, Function):
            return self._closure(expr, scope, label[1:])
        if isinstance(expr, Global):
            if expr.name not in self.globals:
                raise PlaceError(
                    expr.at,
                    f"@{expr.name} is no Relay function of this module; "
                    f"{choices(expr.name, self.globals)}",
                )
            return self.globals[expr.name]
        if isinstance(expr, LetBlock):
            return self._block(expr, ChainMap({}, scope), label)
        if isinstance(expr, If):
            return self._if(expr, scope, label)
        if isinstance(expr, OperatorName):
            return expr
        assert isinstance(expr, Absent)
        raise PlaceError(expr.at, expr.reason)

    def _local(self, expr: Local, scope: Variables) -> Any:
        if expr.name in scope:
            name, dot, index = expr.name.rpartition(".")
            if dot and index.isdecimal() and isinstance(scope.get(name), tuple):
                raise PlaceError(
                    expr.at,
                    f"{expr.name} can be meant in two ways: the variable of that name, or field "
                    f"{index} of {name}; rename one of them",
                )
            return scope[expr.name]
        function = self.active[-1]
        if id(function) not in self.graph_bindings:
            self.graph_bindings[id(function)] = graph_bindings(function)
        shared = self.graph_bindings[id(function)].get(expr.name)
        if shared is None or shared.at >= expr.at or id(shared) in self.evaluated:
            raise PlaceError(
                expr.at, f"{expr.name} is read, and nothing before binds it in this scope"
            )
        scope[expr.name] = value = self._bound_value(shared, scope)
        return value

    def _bound_value(self, binding: LetBinding, scope: Variables) -> Any:
        self.evaluated.append(id(binding))
        try:
            return self._expr(binding.value, scope, binding.label)
        finally:
            self.evaluated.pop()

    def _project(self, expr: Project, scope: Variables) -> Any:
        value = self._expr(expr.value, scope, "")
        if not isinstance(value, tuple):
            raise PlaceError(expr.at, "a field of what is no tuple")
        if expr.index >= len(value):
            raise PlaceError(expr.at, f"field {expr.index} of a tuple of {len(value)}")
        return value[expr.index]

    def _call(self, expr: Call, scope: Variables, label: str) -> Any:
        callee = self._expr(expr.callee, scope, "")
        if expr.args and isinstance(callee, OperatorName):
            expr = with_attributes(self.module, expr)
        args = [self._expr(a, scope, "") for a in expr.args]
        if isinstance(callee, _Closure):
            # Attributes of a function's call are notes of TVM's passes: no result depends on them.
            return self._call_closure(callee, args, expr.at, label)
        if not isinstance(callee, OperatorName):
            raise PlaceError(expr.at, "a call of what is no function")
        return self._operator(callee.name, args, expr, label)

    def _operator(self, name: str, args: list[Any], expr: Call, label: str) -> Any:
        if self.path:
            self.inlined += 1
            if self.inlined > _INLINED:
                raise PlaceError(
                    expr.at, f"inlining functions adds more than {_INLINED} operators here"
                )
        if name in _WITHOUT_PLACE:
            raise PlaceError(expr.at, f"{name}: references have no place in Relax")
        if name not in OPERATORS:
            raise PlaceError(
                expr.at, f"{name}: byoc does not read this operator; {choices(name, OPERATORS)}"
            )
        self.counts[name] += 1
        source = self.source_name(label, name, expr)
        for value in args:
            for part in flat(value):
                if isinstance(part, (_Closure, OperatorName)):
                    raise PlaceError(expr.at, f"{name}: an argument is a function, no tensor")
        args = [self.settled(a, source, expr.at) if isinstance(a, tuple) else a for a in args]
        attrs = {
            key: attribute(self.module, value)
            for key, value in expr.attrs.items()
            if not key.endswith("virtual_device")  # notes of TVM's planning of devices
        }
        c = self.context(name, expr.at)
        try:
            found = convert(c, name, args, attrs)
            return self.kept(found, source, expr.at)
        except (PlaceError, RecursionError, MemoryError):
            raise
        except Exception as error:
            raise c.failure(error) from error

    # -- branches

    def _if(self, expr: If, scope: Variables, label: str) -> Any:
        condition = self.settled(self._expr(expr.condition, scope, ""), "condition", expr.at)
        if not isinstance(condition, relax.Expr):
            raise PlaceError(expr.at, "the condition is no tensor")
        if is_const(condition):
            taken = expr.then if bool(np.asarray(condition.value.numpy()).all()) else expr.other
            return self._expr(taken, scope, label)
        if condition.ty.ndim != 0:
            raise PlaceError(expr.at, f"the condition has {condition.ty.ndim} dimensions, not 0")
        name = self.source_name(label, "if", expr)
        if str(condition.ty.dtype) != "bool":
            condition = self.bound(relax.op.not_equal(condition, scalar_like(0, condition)), name)
        shapes, branches = [], []
        self.open_ifs.append(len(self.active))
        try:
            for part in (expr.then, expr.other):
                self.bindings.builder._begin_binding_block()
                try:
                    value = self.settled(self._expr(part, scope, ""), name, part.at)
                    shapes.append(structure(value, part.at))
                    whole = self.bindings.builder.normalize(packed(value))
                    result = self.bindings.builder.emit(whole, name)
                finally:
                    block = self.bindings.builder._end_block()
                branches.append(relax.SeqExpr([block], result))
        finally:
            self.open_ifs.pop()
        if shapes[0] != shapes[1]:
            raise PlaceError(expr.at, "the two branches return tuples of different form")
        try:
            whole = self.bound(relax.If(condition, *branches), name)
        except Exception as error:
            raise PlaceError(expr.at, f"if: {sentence(error)}") from error
        return self.unpacked(whole, shapes[0], name, expr.at)
