"""Claims of the engines hosted by Python, at the edges of every dtype; and that the sweep sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from byoc.kit.onnx_export import EXPORTABLE
from byoc.testing.conformance import all_cases, sweep
from byoc.testing.fake_vendors import init_reference, synthetic
from byoc.vendor import PythonRuntime

CASES = list(all_cases())
LEGAL = [case for case in CASES if case.want is not None]
ILLEGAL = [case for case in CASES if case.want is None]
OPS = sorted({case.op for case in LEGAL})


def _of(vendor, cases):
    pytest.importorskip(vendor)
    return [f for f in sweep(vendor, cases) if f.verdict not in ("right", "refused")]


@pytest.mark.parametrize("vendor", ["openvino", "onnxruntime"])
def test_every_claim_is_right(vendor):
    assert not _of(vendor, LEGAL)


@pytest.mark.parametrize("vendor", ["openvino", "onnxruntime"])
def test_illegal_numbers_are_errors_with_a_name(vendor):
    rng = np.random.default_rng(0)
    some = [ILLEGAL[k] for k in rng.choice(len(ILLEGAL), 10, replace=False)]
    assert not _of(vendor, some)


def test_every_op_that_onnx_has_is_tried():
    untried = EXPORTABLE - {case.op for case in CASES}
    assert untried <= {"nn.batch_norm"}  # made of element-wise ops by the front ends


def test_names_are_unique():
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_wrong_claim_is_found():
    (case,) = [case for case in LEGAL if case.name == "nn.relu float32"]
    liar = synthetic("liar", {"nn.relu": 1e-6})
    honest = sweep(liar, [case])
    other = dataclasses.replace(case, want=lambda x: np.zeros_like(x))
    assert [f.verdict for f in (*honest, *sweep(liar, [other]))] == ["right", "wrong"]
    add = [case for case in LEGAL if case.name == "add float32 pairs"]
    assert [f.verdict for f in sweep(liar, add)] == ["refused"]


def test_runtimes_are_proved_while_claims_are_tried():
    """One that writes at its first call only: a case with one feed would not show it."""
    (case,) = [case for case in LEGAL if case.name == "nn.relu float32"]
    honest = synthetic("careless", {"nn.relu": 1e-6})

    def init(blob, constants, options):
        execute = init_reference(blob, constants, options)

        def careless(inputs, outputs):
            if not seen:
                execute(inputs, outputs)
            seen.append(1)

        seen = []
        return careless

    careless = dataclasses.replace(honest, runtime=PythonRuntime(init))
    (found,) = sweep(careless, [case])
    assert found.verdict == "failed"
    assert "vendor author: execute left" in found.detail
