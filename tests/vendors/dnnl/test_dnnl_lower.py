"""Lowering is right: the program, run by a plain interpreter, gives what TVM gives."""

import json

import cases
import numpy as np
import pytest
from interpret import interpret
from relaxed import Reference, as_segment, random_inputs, relax_module

from byoc.vendor_templates.dnnl import DnnlOptions
from byoc.vendor_templates.dnnl.lower import compile_segment

IDIOMS = {name: (build, [cases.X4]) for name, (build, _) in cases.IDIOMS.items()}


@pytest.fixture(scope="module")
def everything():
    """All cases: the module and its reference, compiled once."""
    mod = relax_module({**{f"op_{n}": c for n, c in cases.CASES.items()}, **IDIOMS})
    return mod, Reference(mod)


def program(artifact):
    return json.loads(artifact.blob)


def check_same(reference, name, segment, artifacts, seeds=(0, 1, 2)):
    for seed in seeds:
        inputs = random_inputs(segment, seed)
        expected = reference(name, inputs)
        for artifact in artifacts:
            found = interpret(artifact, inputs)
            assert len(found) == len(expected)
            for f, e in zip(found, expected, strict=True):
                assert f.dtype == e.dtype
                np.testing.assert_allclose(f, e, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", cases.CASES)
def test_op(name, everything):
    mod, reference = everything
    segment = as_segment(mod[f"op_{name}"])
    artifacts = [compile_segment(segment, DnnlOptions(fuse=f)) for f in (True, False)]
    check_same(reference, f"op_{name}", segment, artifacts)


@pytest.mark.parametrize("name", cases.IDIOMS)
def test_idiom(name, everything):
    mod, reference = everything
    segment = as_segment(mod[name])
    artifact = compile_segment(segment, DnnlOptions())
    (op,) = program(artifact)["ops"]
    assert cases.IDIOMS[name][1] in (op["kind"], op["attrs"].get("alg"))
    check_same(reference, name, segment, [artifact])
