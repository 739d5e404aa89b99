"""What the host computes: every value of every segment, for one set of inputs.

The model runs once, with stand-ins for its vendors. A stand-in computes its segment on the host, in
a function that returns the result of every op, and remembers what it was given and what it found::

    main ──▶ dnnl_0(x) ──▶ conv, relu, conv, add on the host ──▶ values 0 … 7 of dnnl_0, seconds
         ◀── outputs ◀──┘

So whatever calls segments is followed, branches and symbolic shapes too: a segment's function is
built for the shapes of its first call. HostValues are those of the first call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byoc.build.fallback import segment_functions
from byoc.build.program import build_program, compile_program
from byoc.build.stand_in import stand_in
from byoc.errors import ByocError, CompileError, ExecutionError
from byoc.frontends import Model
from byoc.partition import PartitionResult, partition_module
from byoc.runtime import Session
from byoc.runtime.plan import Plan
from byoc.segment import Array, Segment

if TYPE_CHECKING:
    from byoc.plugins.discovery import Requested

__all__ = ["HostValues", "Reference", "run_on_host"]

_TIMED = 3  # calls; the fastest counts
_RESULT = "value"  # results of a segment's function, as its kernels are named after them


@dataclass(frozen=True)
class HostValues:
    """A segment as the host computed it.

    Attributes:
        values: the segment's value → its array; constants included.
        seconds: the segment's node → seconds of the host's kernel; empty where they are not known.
    """

    values: Mapping[int, Array]
    seconds: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """A model as the host computed it.

    Attributes:
        outputs: the model's outputs by name.
        segments: segment → its values; one that was not called is missing.
        functions: segment → its Relax function.
    """

    outputs: Mapping[str, Array]
    segments: Mapping[str, HostValues]
    functions: Mapping[str, Any]


def run_on_host(
    model: Model,
    parts: PartitionResult,
    requests: Sequence[Requested],
    inputs: Mapping[str, Any],
) -> Reference:
    """Run a partitioned model on the host alone, and keep what its segments would see.

    Args:
        model: the model as it was imported.
        parts: what partitioning made of it.
        requests: the vendors that were asked for; none of them is called.
        inputs: array of every input, by name.

    Returns:
        Outputs of the model, and values inside of its segments.

    Raises:
        InputError: an input does not fit.
        CompileError: the host cannot run a part of the model.
    """
    functions = segment_functions(parts.mod)
    seen: dict[str, _Seen] = {}
    refused: list[str] = []
    sessions: dict[Any, Session] = {}

    def answer(segment: Segment, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        key = (segment.name, *(array.shape for array in inputs))
        if key not in sessions:
            try:
                sessions[key] = _tapped(segment, functions[segment.name], inputs)
            except ByocError as error:
                refused.append(f"{segment.name!r} of {segment.vendor!r}: {error}")
                raise
        kept = [np.array(array) for array in inputs]
        found = dict(zip(_tapped_values(segment), sessions[key].run_positional(kept), strict=True))
        values = {**segment.constants, **dict(zip(segment.inputs, kept, strict=True)), **found}
        for target, value in zip(outputs, segment.outputs, strict=True):
            np.copyto(target, values[value])
        if segment.name not in seen:
            seen[segment.name] = _Seen(values, sessions[key], kept)

    stand_ins = [stand_in(request, parts.segments, answer) for request in requests]
    program, _ = compile_program(model, parts, stand_ins, heal=False)
    try:
        outputs = Session(program).run(inputs)
    except ExecutionError as error:
        if not refused:
            raise
        raise CompileError(
            f"model {model.name!r}: the host cannot run segment {refused[0]}; there is nothing to "
            f"compare that with. Leave its ops out of the vendor's, by a policy"
        ) from error
    by_name = {segment.name: segment for segment in parts.segments}
    segments = {name: _timed(by_name[name], found) for name, found in seen.items()}
    return Reference(outputs, segments, functions)


class _Seen(NamedTuple):
    """The first call of a segment: its values, and the session that computed them."""

    values: Mapping[int, Array]
    session: Session
    inputs: Sequence[Array]


def _tapped_values(segment: Segment) -> list[int]:
    """Every value that a node makes."""
    return [value for node in segment.nodes for value in node.outputs]


def _tapped(segment: Segment, function: Any, inputs: Sequence[Array]) -> Session:
    """The segment on the host, for inputs of these shapes; it returns what every node makes."""
    import tvm

    main = _sized(_returning_all(function), inputs)
    mod = tvm.IRModule({"main": main})
    model = Model(
        mod,
        segment.name,
        tuple(f"in{k}" for k in range(len(segment.inputs))),
        tuple(f"out{k}" for k in range(len(_tapped_values(segment)))),
        "relax",
    )
    return Session(build_program(model, partition_module(mod, []), [], ()))


def _returning_all(function: Any) -> Any:
    """A segment's function, returning the results of all ops, tuples taken apart."""
    import tvm
    from tvm import relax

    bindings: list[Any] = []
    results: list[Any] = []
    for block in function.body.blocks:
        for bound in block.bindings:
            bindings.append(bound)
            if not isinstance(bound.value, tvm.ir.Call):
                continue
            fields = getattr(bound.var.ty, "fields", None)
            made = [(bound.var, bound.var.ty)]
            if fields is not None:
                made = [(tvm.ir.TupleGetItem(bound.var, k), ty) for k, ty in enumerate(fields)]
            for value, ty in made:
                results.append(relax.Var(f"{_RESULT}{len(results)}", ty))
                bindings.append(relax.VarBinding(results[-1], value))
    body = relax.SeqExpr([relax.DataflowBlock(bindings)], tvm.ir.Tuple(results))
    return relax.Function(
        function.params, body, tvm.ir.TupleType([r.ty for r in results]), is_pure=True
    ).with_attr("global_symbol", "main")


def _sized(function: Any, inputs: Sequence[Array]) -> Any:
    """The function with the sizes that its inputs have; what they do not tell stays symbolic."""
    from tvm import tirx

    sizes: dict[Any, int] = {}
    for param, array in zip(function.params, inputs, strict=True):
        shape = getattr(param.ty, "shape", None)
        for dim, size in zip(shape or (), array.shape, strict=False):
            if isinstance(dim, tirx.Var):
                sizes[dim] = int(size)
    return function.bind_symbolic_vars(sizes) if sizes else function


def _timed(segment: Segment, seen: _Seen) -> HostValues:
    """What was seen, with seconds of each node's kernel where the host ran kernels one by one.

    Not within the run: a stand-in is called by the processor that a profile waits for.
    """
    if not isinstance(seen.session.program.body, Plan):
        return HostValues(seen.values)
    owners: dict[str, list[int]] = {}  # what kernels are named after: results, some ops' names
    results = [n for n, node in enumerate(segment.nodes) for _ in node.outputs]
    for number, n in enumerate(results):
        owners[f"{_RESULT}{number}"] = [n]
    for n, node in enumerate(segment.nodes):
        for name in node.source:
            owners.setdefault(name, []).append(n)
    best: dict[int, float] = {}
    for _ in range(_TIMED):
        seconds = dict.fromkeys(range(len(segment.nodes)), 0.0)
        for task in seen.session.profile(*seen.inputs).tasks:
            of = [n for name in task.source for n in owners.get(name, ())]
            for n in of:
                seconds[n] += task.duration / len(of) / 1e9
        best = {n: min(found, best.get(n, found)) for n, found in seconds.items()}
    return HostValues(seen.values, best)
