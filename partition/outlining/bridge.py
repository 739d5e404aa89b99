"""Stock pass pipelines: from the functions they make to the `Segment` a vendor receives.

`relax.ext.<vendor>` gets functions of three shapes, all read here:
  - `FuseOpsByPattern` + `MergeCompositeFunctions`: composite functions, bound and called inside;
  - `FuseOpsByPattern(annotate_codegen=True)`: one composite inside;
  - `partition_module`: flat, matched again with the vendor's patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byoc.contract_checks import check_vendor
from byoc.errors import VendorError
from byoc.ir.decode import Decoder
from byoc.partition.matching.explain import Explainer
from byoc.partition.matching.match import MatchedComposite, VendorPatterns, match_graph
from byoc.partition.matching.matcher import MatchState
from byoc.partition.outlining.segments import build_segment
from byoc.partition.snapshot.bindings import flatten
from byoc.partition.snapshot.graph import OpGraph
from byoc.partition.snapshot.walk import take_snapshot
from byoc.segment import Segment
from byoc.vendor import Vendor

__all__ = ["segment_from_function"]


def segment_from_function(func: Any, vendor: Vendor, name: str) -> Segment:
    """Read the segment that a function handed to ``relax.ext.<vendor.name>`` stands for.

    With ``bind_constants=False`` weights are parameters: a pattern's `is_const()` then fits them
    too, and they are inputs of the segment.

    Args:
        func: a relax.Function in one of the three shapes above. Its parameters become the
            segment's inputs, in order, used or not; its result the outputs, in order.
        vendor: whose patterns its ops must fit.
        name: the segment's name, usually the function's ``global_symbol``.

    Raises:
        VendorError: an op of the function fits no pattern of the vendor, or the function holds
            something other than ops (a branch, a call of another function).
    """
    check_vendor(vendor)
    graph = take_snapshot(func, name, Decoder(), inline_composites=True)
    entry = VendorPatterns(vendor)
    for node in range(len(graph)):
        if graph.ops.opaque[node]:
            raise VendorError(
                f"function {name!r} for {vendor.name!r} holds {graph.ops.kind[node]!r} "
                f"({graph.ops.names[node]}); expected Relax operators and composites only"
            )
    if "Composite" in (func.attrs or ()) and not graph.inlined:
        graph.inlined.append((str(func.attrs["Composite"]), tuple(range(len(graph)))))
    composites = _known(graph, entry) if graph.inlined else _matched(graph, entry, name)
    inputs = [leaf for param in func.params for leaf in graph.values.leaves(graph.value_of(param))]
    outputs = [leaf for v in flatten(graph.result) for leaf in graph.values.leaves(v)]
    nodes = range(len(graph))
    for value in (*inputs, *outputs, *(v for n in nodes for v in graph.ops.ins[n])):
        if graph.values.types[value] is None:
            raise VendorError(
                f"function {name!r} for {vendor.name!r} has a value that is no tensor of known "
                f"rank; expected tensors only"
            )
    return build_segment(
        graph,
        nodes,
        name=name,
        vendor=vendor.name,
        composites=composites,
        inputs=inputs,
        outputs=outputs,
    )


def _matched(graph: OpGraph, entry: VendorPatterns, name: str) -> Sequence[MatchedComposite]:
    """Composites of a flat function."""
    matches = match_graph(graph, [entry])
    for node in range(len(graph)):
        if matches.owner[node] < 0:
            reasons = Explainer(graph, [entry], matches)(node)
            raise VendorError(
                f"function {name!r}: {entry.vendor.name!r} does not take {graph.ops.kind[node]} "
                f"({graph.ops.names[node]}): {reasons[0].reason}; expected a function whose every "
                f"op fits a pattern of the vendor"
            )
    return sorted(matches.composites, key=lambda composite: composite.nodes)


def _known(graph: OpGraph, entry: VendorPatterns) -> list[MatchedComposite]:
    """Composites the stock passes found: their nodes are given, their parts are found again."""
    state = MatchState(graph, [-1] * len(graph), lenient=True)
    vendor = entry.vendor.name
    found = []
    for label, nodes in graph.inlined:
        wanted = label.removeprefix(f"{vendor}.")
        # The pattern of that name first; another one when the name tells nothing.
        order = sorted(entry.patterns, key=lambda p: p[0].name != wanted)
        for pattern, compiled in order:
            fits = compiled.roots is None or graph.ops.kind[nodes[-1]] in compiled.roots
            if fits and compiled.match(state, nodes[-1]) and compiled.nodes(state) == list(nodes):
                parts = compiled.parts(state)
                found.append(MatchedComposite(vendor, pattern.name, nodes, parts))
                break
        else:
            raise VendorError(
                f"composite {label!r} of {graph.name!r} fits no pattern of {vendor!r} (ops "
                f"{', '.join(graph.ops.kind[n] for n in nodes)}); expected the patterns the vendor "
                f"offers: {', '.join(p.name for p, _ in entry.patterns)}"
            )
    return found
