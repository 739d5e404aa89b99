"""Vendors whose costs are given numbers: for tests, and to research placement without hardware.

In: seconds for each kind of op. Out: a `byoc.vendor.Vendor` like any other, but of no device::

    fast = synthetic("fast", {"nn.conv2d": 20e-6, "nn.relu": 2e-6}, launch=5e-6, border=1e-6)
    byoc.compile(model, vendors=[fast, "dnnl"], placement="model")

They take single ops (or the patterns they are given), predict exactly the given seconds, and
really compute: a segment is written as ONNX and run by the `onnx` package's reference evaluator,
slow and right. `paced` ones also take as long as they say, so that a measurement finds the given
numbers again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.errors import OptionError
from byoc.segment import Array, Artifact, Node, Segment
from byoc.vendor import Match, Pattern, PythonRuntime, Rates, Reject, Vendor

if TYPE_CHECKING:
    from byoc.partition.placing import Costs

__all__ = ["init_reference", "synthetic", "synthetic_costs"]

Seconds = Mapping[str, float] | Callable[[Sequence[Node]], float]
"""Kind of op → seconds, or a function of the nodes of one match."""


def synthetic(
    name: str,
    costs: Seconds,
    *,
    ops: Sequence[str] = (),
    patterns: Callable[[], Sequence[Pattern]] | None = None,
    processor: str = "cpu",
    launch: float = 0.0,
    border: float = 0.0,
    border_bytes: float = float("inf"),
    check: Callable[[Match], Reject | None] | None = None,
    paced: bool = False,
) -> Vendor:
    """Make a vendor of single ops with given costs.

    Args:
        name: The vendor's name.
        costs: Kind of op ("nn.relu") → seconds; of a match of several ops, the sum of its ops. Or a
            function of the match's nodes → seconds.
        ops: The kinds it takes, by default the keys of `costs`.
        patterns: () → further patterns, tried first.
        processor: The queue its segments run on.
        launch: Seconds per segment.
        border: Seconds per tensor that enters or leaves.
        border_bytes: Bytes per second of that.
        check: Refuses matches of single ops.
        paced: Segments take at least the seconds given.

    Raises:
        OptionError: There is neither `ops` nor a mapping of costs, or seconds are negative.

    """
    kinds = tuple(ops)
    if isinstance(costs, Mapping):
        kinds = kinds or tuple(costs)
        for kind, seconds in costs.items():
            if not seconds >= 0:
                raise OptionError(
                    f"synthetic vendor {name!r}: costs[{kind!r}] must be seconds, 0 or more, "
                    f"found {seconds!r}"
                )
    if not kinds and patterns is None:
        raise OptionError(f"synthetic vendor {name!r} needs `ops` or `patterns`: what it takes")
    seconds_of = _seconds_of(name, costs)
    rates = Rates(launch=launch, border=border, border_bytes=border_bytes)

    def offered() -> Sequence[Pattern]:
        from byoc.kit.patterns import any_call

        found = list(patterns()) if patterns is not None else []
        known = {pattern.name for pattern in found}
        for kind in kinds:
            label = kind.replace(".", "_")
            label = label if label not in known else f"{label}_"
            found.append(Pattern(label, any_call(kind), check=check or _accept))
        return found

    def compile_segment(segment: Segment, options: Any) -> Artifact:
        return _compile(segment, launch, seconds_of if paced else None)

    return Vendor(
        name=name,
        version="1",
        patterns=offered,
        compile=compile_segment,
        runtime=PythonRuntime(init_reference),
        processor=processor,
        rates=rates,
        estimate=lambda match: seconds_of(match.nodes),
    )


def _accept(match: Match) -> None:
    return None


def _seconds_of(name: str, costs: Seconds) -> Callable[[Sequence[Node]], float]:
    if not isinstance(costs, Mapping):
        return costs

    def add_up(nodes: Sequence[Node]) -> float:
        missing = [node.op for node in nodes if node.op not in costs]
        if missing:
            raise OptionError(
                f"synthetic vendor {name!r}: costs has no entry for {missing[0]!r}; it has "
                f"{', '.join(sorted(costs)) or 'none'}"
            )
        return sum([costs[node.op] for node in nodes])

    return add_up


def _compile(
    segment: Segment, launch: float, seconds_of: Callable[[Sequence[Node]], float] | None
) -> Artifact:
    """8 bytes, length of the header; the header as JSON; the segment as ONNX."""
    from byoc.kit.onnx_export import segment_to_onnx

    pace = 0.0
    if seconds_of is not None:
        parts = [[segment.nodes[n] for n in c.nodes] for c in segment.composites]
        pace = launch + sum([seconds_of(nodes) for nodes in parts])
    header = json.dumps({"pace": pace}).encode()
    model = segment_to_onnx(segment).SerializeToString()
    blob = len(header).to_bytes(8, "little") + header + model
    return Artifact(segment.name, segment.vendor, blob)


def init_reference(
    blob: bytes, constants: Sequence[Array], options: Mapping[str, Any]
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    """Load a segment for onnx's reference evaluator: the `init` of a `PythonRuntime`.

    Args:
        blob: What the vendor's compile wrote: length of the header, header, ONNX model.
        constants: None are needed; the model holds them.
        options: None are known.

    Returns:
        A function that takes the segment's inputs and writes its outputs.

    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    size = int.from_bytes(blob[:8], "little")
    pace: float = json.loads(blob[8 : 8 + size])["pace"]
    evaluator = ReferenceEvaluator(onnx.load_model_from_string(blob[8 + size :]))
    names = list(evaluator.input_names)

    def execute(inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        end = time.perf_counter() + pace
        found = evaluator.run(None, dict(zip(names, inputs, strict=True)))
        for target, value in zip(outputs, found, strict=True):
            np.copyto(target, value)
        while (left := end - time.perf_counter()) > 0:
            if left > 2e-3:  # sleeping is coarse, the rest is spent awake
                time.sleep(left - 1e-3)

    return execute


def synthetic_costs(host: Seconds) -> Costs:
    """Make costs in which the host's are given too: for `partition_module(costs=…)`.

    Args:
        host: Kind of op → seconds (ops that are not in it cost nothing), or a function of the
            nodes.

    """
    from byoc.partition.placing import Costs
    from byoc.vendor import Rates as _Rates

    return Costs(
        rates={"host": _Rates(launch=0.0, border=0.0, border_bytes=float("inf"))},
        measured=_Given(host),
    )


class _Given:
    """The host's costs as a `Measured`."""

    def __init__(self, host: Seconds) -> None:
        self._host = host

    def piece(self, place: str, match: Match) -> float | None:
        """Seconds of a host op; vendors go by their own estimates."""
        if place != "host":
            return None
        if isinstance(self._host, Mapping):
            return sum([self._host.get(node.op, 0.0) for node in match.nodes])
        return self._host(match.nodes)

    def segment(self, place: str, match: Match) -> float | None:
        """Segments are the sum of their parts."""
        return None

    def border(self, source: str, target: str, nbytes: int) -> float | None:
        """Borders go by the vendors' rates."""
        return None
