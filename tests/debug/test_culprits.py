"""Faults planted into one op of a real vendor are found, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from byoc.debug.diagnosis import Diagnosis
from byoc.debug.finding import Subject, examine
from byoc.debug.pieces import units_of
from byoc.testing.planted_faults import PLANTED, planted

LIMIT = 4.0  # of a call; a machine that is busy needs some
MODELS = ("mlp", "branch", "bert_tiny", "vit_tiny")
VENDORS = ("dnnl", "onnxruntime", "openvino")


def search(prepared: Subject, op: str, fault: str, seed: int) -> Diagnosis:
    (request,) = prepared.requests
    bad = replace(request, vendor=planted(request.vendor, op, fault, seed=seed))
    return examine(prepared, [bad], limit=LIMIT, second_opinion=False)


def draw(prepared: Subject, seed: int) -> tuple[str, set[str]]:
    """The name of an op, and those of all ops that the vendor takes as one with it."""
    found: dict[str, list[set[str]]] = {}
    for segment in prepared.parts.segments:
        if segment.name not in prepared.reference.segments:
            continue  # in a branch that is not taken: it is told of, and not tried
        for unit in units_of(segment):
            names = {name for n in unit for name in segment.nodes[n].source}
            for name in names:
                found.setdefault(name, []).append(names)
    alone = sorted(name for name, units in found.items() if len(units) == 1)
    op = str(np.random.default_rng(seed).choice(alone))
    return op, found[op][0]


def check(prepared: Subject, seed: int, fault: str) -> None:
    op, together = draw(prepared, seed)
    found = search(prepared, op, fault, seed)
    told = [(c.kind, [str(o) for o in c.ops], c.message) for c in found.culprits]
    assert len(found.culprits) == 1, (op, told)
    (culprit,) = found.culprits
    named = {o.name for o in culprit.ops}
    assert op in named and named <= together, (op, told)
    allowed = {fault, "wrong"} if fault == "nan" else {fault}  # integers have no NaN
    assert culprit.kind in allowed, (op, told)


@pytest.mark.parametrize("fault", PLANTED)
def test_the_planted_op_is_named(prepared, fault):
    check(prepared("mlp", "dnnl"), list(PLANTED).index(fault), fault)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100))
def test_a_hundred_planted_faults(prepared, number):
    fault = list(PLANTED)[number % 5]
    model, vendor = MODELS[number // 5 % 4], VENDORS[number // 20 % 3]
    check(prepared(model, vendor), number, fault)


def test_nothing_is_found_where_nothing_is_wrong(prepared):
    found = examine(prepared("mlp", "dnnl"), limit=LIMIT, second_opinion=False)
    assert not found and found.culprits == ()
    rows = [*found.segments, *found.ops]
    assert len(found.ops) == 4
    assert all(row.gap is not None and row.gap <= row.tolerance for row in rows)
    assert all(row.seconds and row.host_seconds for row in rows)
