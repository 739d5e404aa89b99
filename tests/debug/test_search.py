"""What is named where ops fail only together, several fail, or only rounding adds up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from byoc.debug.finding import examine
from byoc.debug.pieces import cut, units_of
from byoc.segment import Artifact, Segment
from byoc.testing.planted_faults import planted

RELUS = ("/layers.1/Relu", "/layers.3/Relu", "/layers.5/Relu")


def search(prepared, vendor, **options):
    (request,) = prepared.requests
    return examine(
        prepared, [replace(request, vendor=vendor)], limit=4.0, second_opinion=False, **options
    )


def names(culprit):
    return [op.name for op in culprit.ops]


def test_ops_that_fail_only_together_are_the_shortest_run(prepared):
    """Wrong in the third unit, but only in segments that hold the second one, too."""
    model = prepared("mlp", "dnnl")
    good = model.requests[0].vendor
    bad = planted(good, RELUS[2], "wrong", seed=1)
    none = planted(good, "", "wrong")

    def compile_segment(segment: Segment, options: Any) -> Artifact:
        held = {name for node in segment.nodes for name in node.source}
        return (bad if held.issuperset(RELUS[1:]) else none).compile(segment, options)

    found = search(model, replace(bad, compile=compile_segment))
    (culprit,) = found.culprits
    assert culprit.kind == "wrong"
    assert list(dict.fromkeys(names(culprit))) == [
        "/layers.2/Gemm", "/layers.3/Relu", "/layers.4/Gemm", "/layers.5/Relu",
    ]  # fmt: skip
    assert "each of them alone is fine" in culprit.message


def test_two_faults_are_both_named_and_the_worse_comes_first(prepared):
    model = prepared("mlp", "dnnl")
    good = model.requests[0].vendor
    both = planted(planted(good, RELUS[0], "wrong", seed=3), RELUS[2], "nan", seed=4)
    found = search(model, both)
    assert [(c.kind, names(c)) for c in found.culprits] == [
        ("nan", [RELUS[2]]),
        ("wrong", [RELUS[0]]),
    ]


def test_rounding_that_adds_up_is_no_fault(prepared):
    """Each op is off by less than rounding explains, all of them together by more."""

    def nudge(array: np.ndarray) -> None:
        array *= np.float32(1 + 6e-5)

    model = prepared("mlp", "dnnl")
    vendor = model.requests[0].vendor
    for op in RELUS:
        vendor = planted(vendor, op, nudge)
    found = search(model, vendor)
    assert found.culprits == ()
    (row,) = found.segments
    assert row.gap is not None and row.gap > row.tolerance
    assert any("rounding" in remark for remark in found.remarks)


def test_a_fault_that_the_segments_outputs_hide_is_found_inside(prepared):
    """An op is off by far more than rounding, and what follows takes it back."""
    model = prepared("mlp", "dnnl")
    good = model.requests[0].vendor

    def twice(array: np.ndarray) -> None:
        array *= 2

    def half(array: np.ndarray) -> None:
        array /= 2

    # Without biases, the layers are linear in a factor above 0; with them it shows a little.
    found = search(model, planted(planted(good, RELUS[0], twice), RELUS[0], half))
    assert found.culprits == ()
    found = search(model, planted(good, RELUS[0], twice), ops=False, tolerance=10.0)
    assert found.culprits == () and found.ops == ()


def test_a_vendor_that_refuses_its_segment_is_told_with_its_words(prepared):
    model = prepared("mlp", "dnnl")
    good = model.requests[0].vendor

    def compile_segment(segment: Segment, options: Any) -> Artifact:
        if any(RELUS[1] in node.source for node in segment.nodes):
            raise RuntimeError("out of registers")
        return good.compile(segment, options)

    (culprit,) = search(model, replace(good, compile=compile_segment)).culprits
    assert (culprit.kind, culprit.step, names(culprit)) == ("error", "build", [RELUS[1]])
    assert "out of registers" in culprit.message


def test_pieces_are_convex_and_keep_the_segments_values(prepared):
    """Any run of units is a segment whose inputs come from outside of it."""
    (segment,) = prepared("bert_tiny", "dnnl").parts.segments
    units = units_of(segment)
    assert sorted(n for unit in units for n in unit) == list(range(len(segment.nodes)))
    rng = np.random.default_rng(5)
    for number in range(40):
        start, stop = sorted(rng.choice(len(units) + 1, 2, replace=False))
        nodes = [n for unit in units[start:stop] for n in unit]
        piece = cut(segment, nodes, f"part{number}")
        inside = {v for n in nodes for v in segment.nodes[n].outputs}
        assert not inside & set(piece.inputs) and set(piece.outputs) <= inside
        made = set(piece.segment.inputs) | set(piece.segment.constants)
        for node in piece.segment.nodes:
            assert set(node.inputs) <= made
            made |= set(node.outputs)
        assert set(piece.segment.outputs) <= made
        for own, whole in zip(piece.segment.outputs, piece.outputs, strict=True):
            assert piece.segment.type(own) == segment.type(whole)
