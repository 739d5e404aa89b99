"""`find`: which ops of a model a vendor does not do right.

    model ──partition──▶ segments ──host──▶ values ──vendor, in a child──▶ gaps ──▶ culprits
              prepare()                            │         examine()
                                                   └──ONNX Runtime──▶ a second opinion

First the segments are judged, each fed with the host's values; then what is inside of them
(`byoc.debug.search`), and last the seconds (`byoc.debug.slowness`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byoc.build.compiler_lock import one_at_a_time
from byoc.build.foreign_ops import with_torch
from byoc.debug.diagnosis import KINDS, Diagnosis
from byoc.debug.examination import Examination
from byoc.debug.gap import gap_of
from byoc.debug.opinion import engine_of_model
from byoc.debug.reference import Reference, run_on_host
from byoc.errors import InputError, OptionError
from byoc.frontends import import_model
from byoc.frontends.foreign_calls import told_of_torch
from byoc.ir.ports import port_types
from byoc.measure.inputs import sample_inputs
from byoc.placement.constraints import resolve_constraints
from byoc.plugins.discovery import Requested, VendorSpec, resolve
from byoc.segment import PortType
from byoc.support.internal_errors import expect_no_foreign

if TYPE_CHECKING:
    import os

    from byoc.frontends.relay.file import Params
    from byoc.partition import PartitionResult
    from byoc.partition.placing import Strategy
    from byoc.partition.placing.policy import Policy

__all__ = ["Subject", "examine", "find", "prepare"]


@dataclass(frozen=True)
class Subject:
    """A model that is partitioned, with what the host makes of it.

    Attributes:
        name: the model's.
        requests: the vendors that were asked for.
        parts: what partitioning made of it.
        reference: what the host computed.
        against: output → relative distance of the host to ONNX Runtime, where that was asked.
        reference_name: whom results are compared with.
    """

    name: str
    requests: tuple[Requested, ...]
    parts: PartitionResult
    reference: Reference
    against: Mapping[str, float]
    reference_name: str


GivenInputs = Mapping[str, Any] | Callable[[Sequence[PortType]], Mapping[str, Any]]
"""Array of every input, by name, or what makes these of the ports."""


@one_at_a_time
def prepare(
    model: Any,
    vendors: VendorSpec,
    *,
    inputs: GivenInputs | None = None,
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
    placement: str | Strategy = "order",
    policy: Policy | str | os.PathLike[str] | None = None,
    min_segment_ops: int | None = None,
    second_opinion: bool = True,
    params: Params | None = None,
) -> Subject:
    """Partition a model and run it on the host; arguments are those of `find`.

    Returns:
        What `examine` takes, as often as it is wanted.
    """
    requests = resolve(vendors)
    source = import_model(model, params)
    if told_of_torch(source.mod):
        requests = with_torch(requests)
    chosen = [request.vendor for request in requests]
    with expect_no_foreign(source.name, "debugging"):
        constraints = resolve_constraints(policy, None, min_segment_ops, None)
        constraints = constraints.after(source.rules, chosen)
        parts = constraints.partition(source.mod, chosen, placement)
        ports, _ = port_types(source.mod["main"], source.inputs, source.outputs, source.values)
        if inputs is None:
            sample = sample_inputs(source, ports, dims, seed)
            if sample.missing:
                raise InputError(
                    f"model {source.name!r}: give a size for dimension {sample.missing[0]!r}: "
                    f"dims={{{sample.missing[0]!r}: …}} (on the command line: "
                    f"--dim {sample.missing[0]}=N), or inputs"
                )
            inputs = sample.arrays
        elif callable(inputs):
            inputs = inputs(ports)
        reference = run_on_host(source, parts, requests, inputs)
        engine = engine_of_model(model) if second_opinion else None
        against: dict[str, float] = {}
        if engine is not None:
            arrays = [a for a in inputs.values() if hasattr(a, "dtype")]
            for name, array in engine.run(inputs).items():
                gap = gap_of([reference.outputs[name]], [array], arrays, rounded=True)
                against[name] = gap.relative
    told = "the host" if engine is None else f"the host and {engine.name} {engine.version}"
    return Subject(source.name, requests, parts, reference, against, told)


@one_at_a_time
def examine(
    prepared: Subject,
    requests: Sequence[Requested] | None = None,
    *,
    ops: bool = True,
    limit: float = 30.0,
    tolerance: float | None = None,
    slow: float = 4.0,
    second_opinion: bool = True,
) -> Diagnosis:
    """Try a prepared model's segments, and what is in them.

    Args:
        prepared: what `prepare` made.
        requests: vendors to try instead of those that it was prepared with, under the same names.
        ops: as for `find`, and so are `limit`, `tolerance`, `slow` and `second_opinion`.
        limit: seconds a call may take.
        tolerance: relative gap that is no fault.
        slow: how many times as long as expected is slow.
        second_opinion: ask ONNX Runtime, too.

    Returns:
        What is at fault.
    """
    for name, value, least in (("limit", limit, 0.0), ("slow", slow, 1.0)):
        if not least < value < 1e6:
            raise OptionError(f"{name} must be above {least:g}, found {value!r}")
    requests = prepared.requests if requests is None else requests
    segments, inside, culprits, remarks = [], [], [], list[str]()
    with expect_no_foreign(prepared.name, "debugging"):
        for request in requests:
            examined = Examination(
                prepared.parts,
                prepared.reference,
                request,
                ops=ops,
                limit=limit,
                tolerance=tolerance,
                slow=slow,
                second_opinion=second_opinion,
            )
            segments += examined.segments
            inside += examined.ops
            culprits += examined.culprits
            remarks += examined.remarks
    order = list(KINDS)
    return Diagnosis(
        model=prepared.name,
        culprits=tuple(sorted(culprits, key=lambda c: order.index(c.kind))),
        segments=tuple(segments),
        ops=tuple(inside),
        outputs=prepared.against,
        reference=prepared.reference_name,
        options={r.vendor.name: r.options.model_dump(mode="json") for r in requests},
        vendor_versions={r.vendor.name: r.vendor.version for r in requests},
        remarks=tuple(remarks),
    )


def find(
    model: Any,
    vendors: VendorSpec,
    *,
    inputs: GivenInputs | None = None,
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
    placement: str | Strategy = "order",
    policy: Policy | str | os.PathLike[str] | None = None,
    min_segment_ops: int | None = None,
    ops: bool = True,
    limit: float = 30.0,
    tolerance: float | None = None,
    slow: float = 4.0,
    second_opinion: bool = True,
    params: Params | None = None,
) -> Diagnosis:
    """Find the ops of a model that its vendors do not do right.

    Vendors run in processes of their own: one that crashes or hangs takes nothing else down.

    Args:
        model: what `byoc.compile` takes.
        vendors: who may take ops, as for `byoc.compile`; so are `placement`, `policy`,
            `min_segment_ops` and `params`.
        inputs: array of every input, by name, or what makes these of the model's input ports;
            None: random ones, drawn from `seed`.
        dims: symbolic dimension → its size, for random inputs.
        seed: of the random inputs.
        placement: who gets an op that several could take.
        policy: constraints to obey.
        min_segment_ops: segments with fewer ops stay on the host.
        ops: look into segments that are fine as a whole, too.
        limit: seconds a call may take; ten times as many to compile and to load.
        tolerance: relative gap that is no fault; None: what rounding explains, by dtype.
        slow: how many times as long as its other ops let expect makes a vendor's op slow.
        second_opinion: ask ONNX Runtime, too, where it is installed.
        params: parameters of a Relay model.

    Returns:
        The culprits, if any, and the gap of every segment and of what is in it.

    Raises:
        ModelError: the model cannot be read.
        VendorError: a vendor cannot be used.
        InputError: an input is missing or does not fit.
        OptionError: an option is not legal.
        ByocError: the host cannot run the model.

    Example:
        >>> found = byoc.debug.find(model, ["dnnl"])
        >>> bool(found), len(found.segments)
        (False, 1)
    """
    prepared = prepare(
        model,
        vendors,
        inputs=inputs,
        dims=dims,
        seed=seed,
        placement=placement,
        policy=policy,
        min_segment_ops=min_segment_ops,
        second_opinion=second_opinion,
        params=params,
    )
    return examine(
        prepared,
        ops=ops,
        limit=limit,
        tolerance=tolerance,
        slow=slow,
        second_opinion=second_opinion,
    )
