"""`import_tflite`: from a TFLite model to a `Model`, operator by operator.

Operators are walked in the file's order, which is sorted. Each result is checked against the type
that the file declares for it, so that a converter that means something else is found out here, not
by wrong numbers.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.errors import ByocError, ModelError
from byoc.frontends.bindings import Bindings, distinct, packed
from byoc.frontends.helpers import const
from byoc.frontends.model import Model, finish
from byoc.frontends.normalise.fold import fold_expression
from byoc.frontends.normalise.graph import Graph
from byoc.frontends.tflite.context import TfliteContext, is_quantised, quantize
from byoc.frontends.tflite.file import open_model
from byoc.frontends.tflite.layout import to_channels_first
from byoc.frontends.tflite.ops.table import OPERATORS, REFUSED
from byoc.frontends.tflite.schema import File, Subgraph, TfliteOperator, TfliteTensor
from byoc.ir.arrays import to_numpy

__all__ = ["import_tflite"]

_DTYPES = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


def import_tflite(source: Any) -> Model:
    """Read a TFLite model; its convolutions are in NCHW, its inputs and outputs as in the file.

    Args:
        source: A path, the file's bytes, or a `tflite.Model`.

    Raises:
        ModelError: It cannot be read, is damaged, or holds an operator that byoc does not import.
    """
    file = open_model(source)
    main = file.subgraphs[0]
    _check_operators(file, main)
    graph = _Walk(file, main).run()
    to_channels_first(graph)
    counts = Counter(operator.name for operator in main.operators)
    return finish(
        graph,
        file.name,
        _names(main, main.inputs),
        _names(main, main.outputs),
        "tflite",
        versions={"schema": str(file.table.Version())},
        operators=dict(counts.most_common()),
    )


def _names(subgraph: Subgraph, indices: Sequence[int]) -> tuple[str, ...]:
    return distinct(subgraph.tensors[index].name for index in indices)


def _check_operators(file: File, subgraph: Subgraph) -> None:
    """Raise ModelError that lists every operator nobody knows, with tensors and counts."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for operator in subgraph.operators:
        if operator.custom or operator.name not in OPERATORS:
            title = _title(operator)
            counts[title] += 1
            outputs = operator.outputs
            first.setdefault(title, subgraph.tensors[outputs[0]].name if outputs else "")
    if counts:
        listed = ", ".join(f"{op} ({n}, first at {first[op]!r})" for op, n in counts.most_common())
        raise ModelError(
            f"{file.where}: subgraph {subgraph.index} has {sum(counts.values())} of "
            f"{len(subgraph.operators)} operators that byoc cannot import: {listed}"
        )


def _title(operator: TfliteOperator) -> str:
    """The operator, and why it is not known."""
    if operator.custom and operator.name.startswith("Flex"):
        return (
            f"{operator.name} [an operator of TensorFlow: convert the model without SELECT_TF_OPS]"
        )
    if operator.custom:
        return f"custom operator {operator.name!r}"
    why = REFUSED.get(operator.name)
    return f"{operator.name} [{why}]" if why else operator.name


@dataclass
class _Walk:
    file: File
    subgraph: Subgraph
    values: dict[int, Any] = field(default_factory=dict)
    bindings: Bindings = field(default_factory=Bindings)

    @property
    def where(self) -> str:
        return f"{self.file.where}: subgraph {self.subgraph.index}"

    def run(self) -> Graph:
        graph = self.subgraph
        params = []
        for index, name in zip(graph.inputs, _names(graph, graph.inputs), strict=True):
            params.append(relax.Var(name, self._type(graph.tensors[index], "input")))
            self.values[index] = params[-1]

        def body() -> Any:
            for operator in graph.operators:
                self._operator(operator)
            results = [self._result(i) for i in graph.outputs]
            if not results:
                raise ModelError(f"{self.where} has no outputs")
            return packed(results)

        return self.bindings.main(params, body)

    def _type(self, tensor: TfliteTensor, role: str) -> Any:
        if tensor.dtype not in _DTYPES:
            raise ModelError(
                f"{self.where}: {role} {tensor.name!r} is of {tensor.dtype}; byoc takes tensors of "
                "numbers and bools"
            )
        return relax.TensorType(tensor.shape, tensor.dtype)

    def _result(self, index: int) -> Any:
        value = self._value(index)
        if isinstance(value, np.ndarray):
            return const(value)
        return value

    def _value(self, index: int) -> Any:
        """A tensor's Relax value, or the array of a constant."""
        found = self.values.get(index)
        if found is not None:
            return found
        tensor = self.subgraph.tensors[index]
        if tensor.data is None:
            state = (
                "keeps a state between runs" if tensor.variable else "nothing before it makes it"
            )
            raise ModelError(f"{self.where}: tensor {tensor.name!r} is read, but {state}")
        try:
            array = tensor.array()
        except ValueError as error:
            raise ModelError(f"{self.where}: {error}") from None
        self.values[index] = array
        return array

    # -- operators

    def _operator(self, operator: TfliteOperator) -> None:
        tensors = self.subgraph.tensors
        name = tensors[operator.outputs[0]].name if operator.outputs else operator.name
        what = f"{self.where}: operator {operator.index} ({operator.name}) at {name!r}"
        c = TfliteContext(self.bindings, what, self.file, self.subgraph, operator, self._value)
        try:
            found = OPERATORS[operator.name](c)
            results = list(found) if isinstance(found, (list, tuple)) else [found]
            if len(results) != len(operator.outputs):
                raise ModelError(
                    f"{what} has {len(operator.outputs)} outputs, expected {len(results)}"
                )
            for index, result in zip(operator.outputs, results, strict=True):
                self.values[index] = self._keep(result, tensors[index], what, name)
        except ByocError:
            raise
        except Exception as error:
            raise c.failure(error) from error

    def _keep(self, result: Any, tensor: TfliteTensor, what: str, name: str) -> Any:
        """The result as later operators read it: quantised, checked, bound to a name."""
        if isinstance(result, np.ndarray):
            result = const(result)
        if not isinstance(result, (relax.Var, GenericConst)):
            result = self.bindings.builder.normalize(result)
        if is_quantised(tensor) and str(result.ty.dtype) != tensor.dtype:
            assert tensor.quantisation is not None
            result = self.bindings.builder.normalize(
                quantize(result, tensor.quantisation, tensor.dtype)
            )
        self._check(result, tensor, what)
        folded = fold_expression(
            result, self.bindings.builder.lookup_binding, self.bindings.builder.unknown
        )
        if folded is not None:
            return folded.astype(tensor.dtype, copy=False)
        if isinstance(result, GenericConst):
            return to_numpy(result.value)
        if not isinstance(result, relax.Var):
            result = self.bindings.builder.emit(result, name)
        with contextlib.suppress(KeyError):
            self.bindings.names.setdefault(result, name)
        return result

    def _check(self, result: Any, tensor: TfliteTensor, what: str) -> None:
        """The file's own word on the type."""
        if str(result.ty.dtype) != tensor.dtype:
            raise ModelError(
                f"{what} gives {result.ty.dtype}, the file declares {tensor.name!r} {tensor.dtype}"
            )
        shape = tuple(int(d) for d in result.ty.shape.values)
        same = len(shape) == len(tensor.shape) and all(
            a == b or i in tensor.open
            for i, (a, b) in enumerate(zip(shape, tensor.shape, strict=True))
        )
        if tensor.ranked and not same:
            raise ModelError(
                f"{what} gives shape {shape}, the file declares {tensor.name!r} {tensor.shape}"
            )
