"""Segments whose vendors give kernels: calls of those, in place of the call of the segment.

    y = acme_0(x)          becomes        v7 = call_tir(acme_0__pack, (x,))
                                          y  = call_tir(acme_0__product, (v7, weights))

What is called is the host's from here on: it is planned, compiled and run with the model's own
kernels. Only the label stays, so that reports and profiles name the vendor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.ir import Call, SourceName, Span

from byoc.dims import Operation, parse
from byoc.errors import CompileError
from byoc.ir.arrays import from_numpy
from byoc.segment import Array, HostArtifact, Segment, TensorType

__all__ = ["Given", "GivenCalls", "Label", "labels_of_variables", "lone_module", "span_name"]

Given = Mapping[str, tuple[Segment, HostArtifact]]
"""Name of a segment → the segment, and its kernels."""

_OPAQUE = 8
"""`op_pattern` of kernels that are fused with nothing."""

_OPERATIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": tirx.floordiv,
    "%": tirx.floormod, "max": tirx.max, "min": tirx.min,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Label:
    """What a call of a given kernel stands for.

    Attributes:
        segment: The segment it belongs to.
        source: Source names of the ops that it computes.

    """

    segment: str
    source: tuple[str, ...]


@dataclass
class GivenCalls:
    """Writes the calls of given kernels into functions of one module.

    Attributes:
        given: The segments, with their kernels.
        labels: Name in the span of each call that was written → what it stands for.

    """

    given: Given
    labels: dict[str, Label] = field(default_factory=dict)
    _constants: dict[int, Any] = field(default_factory=dict)

    def write(self, builder: Any, name: str, args: Sequence[Any]) -> list[Any]:
        """Write the calls of a segment.

        Args:
            builder: The `relax.BlockBuilder` to write to. It takes the kernels up, equal ones once.
            name: The segment.
            args: Its inputs, as Relax expressions.

        Returns:
            Its outputs.

        Raises:
            CompileError: A size cannot be computed from those of the inputs.
        """
        segment, artifact = self.given[name]
        types = (*segment.values, *artifact.values)
        sizes = _Sizes(name, [types[v] for v in segment.inputs], args)
        exprs: dict[int, Any] = dict(zip(segment.inputs, args, strict=True))
        exprs.update((v, self._constant(array)) for v, array in artifact.constants.items())
        kernels = {
            var.name_hint: builder.add_func(_opaque(kernel), f"{name}__{var.name_hint}")
            for var, kernel in artifact.kernels.functions_items()
        }
        every = tuple(dict.fromkeys(part for node in segment for part in node.source))
        for number, call in enumerate(artifact.calls):
            written = [sizes.type(types[value]) for value in call.outputs]
            label = f"{name}:{number}"
            self.labels[label] = Label(name, call.source or every)
            made = relax.call_tir(
                kernels[call.kernel],
                relax.Tuple([exprs[value] for value in call.inputs]),
                out_ty=written if len(written) > 1 else written[0],
            )
            # Its variable may get the name of the segment's; the span stays.
            span = Span(SourceName(label), 1, 1, 1, 1)
            made = Call(made.op, made.args, made.attrs, made.ty_args, span=span)
            result = builder.emit(made, label)
            for k, value in enumerate(call.outputs):
                part = relax.TupleGetItem(result, k) if len(written) > 1 else result
                exprs[value] = builder.emit(part) if len(written) > 1 else part
        return [exprs[value] for value in segment.outputs]

    def _constant(self, array: Array) -> Any:
        """One constant for each array, however many segments use it."""
        if id(array) not in self._constants:
            self._constants[id(array)] = relax.const(from_numpy(array))
        return self._constants[id(array)]


def labels_of_variables(main: relax.Function, labels: Mapping[str, Label]) -> dict[str, Label]:
    """Find the calls of given kernels in a lowered function.

    Args:
        main: Its bindings.
        labels: By the names in spans, as `GivenCalls` has them.

    Returns:
        Name of the variable of each call → what it stands for.
    """
    found: dict[str, Label] = {}
    for block in main.body.blocks:
        for binding in block.bindings:
            label = labels.get(span_name(binding.value))
            if label is not None:
                found[binding.var.name] = label
    return found


def span_name(value: Any) -> str:
    """Return the name in the span of a call; empty where it has none.

    Args:
        value: Any expression.
    """
    span = getattr(value, "span", None)
    return "" if span is None else str(span.source_name.name)


def lone_module(segment: Segment, artifact: HostArtifact) -> tuple[tvm.IRModule, dict[str, Label]]:
    """Return a module whose `main` is a segment of fixed shapes, as calls of its kernels.

    Args:
        segment: The segment.
        artifact: Its kernels.

    Returns:
        A module for `byoc.host.lower`, and what its calls stand for, by their variables.
    """
    calls = GivenCalls({segment.name: (segment, artifact)})
    kinds = [segment.type(value) for value in segment.inputs]
    params = [
        relax.Var(f"x{k}", relax.TensorType(list(kind.shape), kind.dtype))
        for k, kind in enumerate(kinds)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            results = calls.write(builder, segment.name, params)
            whole = relax.Tuple(results) if len(results) > 1 else results[0]
            output = builder.emit_output(whole)
        builder.emit_func_output(output)
    return builder.get(), calls.labels


class _Sizes:
    """Dimensions of a segment as expressions over those of its arguments."""

    def __init__(self, name: str, types: Sequence[TensorType], args: Sequence[Any]) -> None:
        self.name = name
        self.known: dict[str, Any] = {}
        for kind, arg in zip(types, args, strict=True):
            if kind.is_static:
                continue
            for dim, size in zip(kind.shape, arg.ty.shape, strict=True):
                tree = parse(dim) if isinstance(dim, str) else dim
                if isinstance(tree, str):
                    self.known.setdefault(tree, size)

    def type(self, kind: TensorType) -> Any:
        dims = [d if isinstance(d, int) else self._size(parse(d)) for d in kind.shape]
        return relax.TensorType(dims, kind.dtype)

    def _size(self, tree: Any) -> Any:
        if isinstance(tree, int):
            return tirx.IntImm("int64", tree)
        if isinstance(tree, Operation):
            return _OPERATIONS[tree.sign](self._size(tree.left), self._size(tree.right))
        if tree not in self.known:
            raise CompileError(
                f"segment {self.name!r}: the size {tree!r} is no dimension of its inputs "
                f"({', '.join(self.known) or 'all of them are fixed'})"
            )
        return self.known[tree]


def _opaque(kernel: tirx.PrimFunc) -> tirx.PrimFunc:
    """The kernel, bare of its name, so that equal ones are one; fused with nothing."""
    if "global_symbol" in kernel.attrs:
        kernel = kernel.without_attr("global_symbol")
    return kernel.with_attr("op_pattern", _OPAQUE)
