"""Values of the evaluation as Relax: inputs, named bindings, results.

Everything that becomes an op of the graph is bound here, under a source name that no other op has,
and noted where the file placed it on a vendor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tvm import relax, tirx

from byoc.frontends.bindings import Bindings
from byoc.frontends.helpers import is_const
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.qnn import QnnAccumulator, Rounded
from byoc.frontends.relay.ops.table import settle
from byoc.frontends.relay.syntax import At, Call, If, PlaceError, RelayTensorType, TupleType, Type
from byoc.frontends.relay.values import check_shape

__all__ = ["RelaxWriter"]


@dataclass
class RelaxWriter:
    """What is written so far.

    Attributes:
        bindings: The function that is written.
        taken: Source name → how often it was given.
        path: Functions that are being inlined.
        placed: (vendor, where, names of its ops).
        vendor: Which of them is open.
        version: Of the TVM that wrote the file, "" where it does not tell.
    """

    bindings: Bindings = field(default_factory=Bindings)
    taken: dict[str, int] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    placed: list[tuple[str, At, list[str]]] = field(default_factory=list)
    vendor: list[int] = field(default_factory=list)
    version: str = ""

    def context(self, what: str, at: At) -> RelayContext:
        """Return what a converter is given for a call.

        Args:
            what: The name of the operator that is called.
            at: Where the call stands in the file.
        """
        return RelayContext(self.bindings, what, at, self.version)

    def input(self, name: str, kind: Type, at: At, inputs: list[tuple[str, Any]]) -> Any:
        """Return a parameter of @main as a variable, a tuple as several.

        Args:
            name: The name of the parameter.
            kind: Its type; a tuple's fields become inputs ``name_0``, ``name_1``, ….
            at: Where it stands in the file.
            inputs: Names and variables of the inputs so far; new ones are appended.

        Raises:
            PlaceError: It has no type, is no tensor, or has the name of another input.
        """
        if isinstance(kind, TupleType):
            return tuple(
                self.input(f"{name}_{i}", part, at, inputs) for i, part in enumerate(kind.fields)
            )
        if not isinstance(kind, RelayTensorType):
            what = "has no type" if kind is None else f"is a {kind.text}, no tensor"
            raise PlaceError(
                at,
                f"the parameter %{name} of @main {what}; write one, or give its value by params=",
            )
        if name in (other for other, _ in inputs):
            raise PlaceError(at, f"two inputs are called {name!r}")
        check_shape(kind.shape, at)
        shape = [
            tirx.Var(f"{name}_d{i}", "int64") if d is None else d for i, d in enumerate(kind.shape)
        ]
        variable = relax.Var(name, relax.TensorType(shape, kind.dtype))
        inputs.append((name, variable))
        return variable

    def output(self, value: Any, at: At) -> Any:
        """Return a result of @main as an expression.

        Args:
            value: The value that @main returns.
            at: Where it stands in the file.

        Raises:
            PlaceError: It is a function.
        """
        value = self.settled(value, "output", at)
        if not isinstance(value, relax.Expr):
            raise PlaceError(at, "a result of @main is a function, no tensor")
        return value

    def kept(self, value: Any, name: str, at: At) -> Any:
        """Return a value as later expressions read it: calls become variables.

        Args:
            value: An expression, a tuple of them, or integers not yet computed.
            name: The name of the variables.
            at: Where it stands in the file.

        Raises:
            PlaceError: The result is no tensor, or its number of dimensions is not known.
        """
        if isinstance(value, (QnnAccumulator, Rounded)):
            return value
        if isinstance(value, tuple):
            return tuple(self.kept(v, name, at) for v in value)
        value = self.context(name, at).typed(value)
        if is_const(value) or isinstance(value, relax.Var):
            return value
        if isinstance(value.ty, relax.TupleType):
            whole = self.bound(value, name)
            fields = len(value.ty.fields)
            parts = (relax.TupleGetItem(whole, i) for i in range(fields))
            return tuple(self.kept(part, name, at) for part in parts)
        if not isinstance(value.ty, relax.TensorType):
            raise PlaceError(at, f"the result is of type {value.ty}, no tensor")
        shape = value.ty.shape
        if not isinstance(shape, relax.ShapeExpr):
            if value.ty.ndim < 0:
                raise PlaceError(at, "the number of dimensions of the result is not known")
            dims = [
                tirx.Var(f"d{len(self.bindings.names)}_{i}", "int64") for i in range(value.ty.ndim)
            ]
            kind = relax.TensorType(dims, str(value.ty.dtype))
            cast = self.bindings.builder.match_cast(self.bound(value, name), kind, name)
            self.bindings.names[cast] = name
            return cast
        sizes = [int(d) if isinstance(d, tirx.IntImm) else None for d in shape.values]
        check_shape(tuple(sizes), at)
        return self.bound(value, name)

    def bound(self, value: Any, name: str) -> Any:
        """Bind an expression to a variable, and note it when a vendor's function is open.

        Args:
            value: The expression.
            name: The name of the variable.
        """
        variable = self.bindings.bind(value, name)
        if self.vendor:
            names = self.placed[self.vendor[-1]][2]
            if not names or names[-1] != name:
                names.append(name)
        return variable

    def settled(self, value: Any, name: str, at: At) -> Any:
        """Return a value with integers that were not yet computed computed.

        Args:
            value: A value, or a tuple of them.
            name: The name of the variables that are bound.
            at: Where it stands in the file.

        Raises:
            PlaceError: The integers cannot be computed.
        """
        if isinstance(value, tuple):
            return tuple(self.settled(v, name, at) for v in value)
        if isinstance(value, (QnnAccumulator, Rounded)):
            c = self.context(f"integers of {name}", at)
            try:
                return self.kept(settle(c, value), name, at)
            except PlaceError:
                raise
            except Exception as error:
                raise c.failure(error) from error
        return value

    def unpacked(self, whole: Any, form: Any, name: str, at: At) -> Any:
        """Return the value of an `if` in the form of its branches.

        Args:
            whole: The Relax `if`, which returns nested tuples.
            form: The form of the branches, as `structure` gives it.
            name: The name of the variables that are bound.
            at: Where the `if` stands in the file.

        Raises:
            PlaceError: The branches return different types.
        """
        if form is None:
            if not isinstance(whole.ty, relax.TensorType):
                raise PlaceError(at, f"the branches return different types: {whole.ty}")
            return self.kept(whole, name, at)
        parts = [
            self.bindings.builder.normalize(relax.TupleGetItem(whole, i)) for i in range(len(form))
        ]
        return tuple(self.unpacked(p, f, name, at) for p, f in zip(parts, form, strict=True))

    def source_name(self, label: str, what: str, expr: Call | If) -> str:
        """Return a source name that no other operator has: the framework's, or path and variable.

        Args:
            label: The variable that the call is bound to, or "".
            what: The name of the operator, which stands in for an empty label.
            expr: The call or `if`, which may know the framework's name.
        """
        source = getattr(expr, "source", "")
        own = label or what.rpartition(".")[2]
        name = source or "/".join([*self.path, own])
        count = self.taken.get(name, 0)
        self.taken[name] = count + 1
        return name if not count else f"{name}#{count + 1}"
