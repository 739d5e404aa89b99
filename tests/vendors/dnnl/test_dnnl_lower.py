"""Lowering is right: the program, run by a plain interpreter, gives what TVM gives."""

import json
from functools import cache

import cases
import numpy as np
import pytest
from interpret import interpret
from relaxed import Reference, as_segment, find_native, random_inputs, relax_module, run_native

from byoc.vendor_templates.dnnl import DnnlOptions
from byoc.vendor_templates.dnnl.compile import compile_segment

IDIOMS = {name: (build, [cases.X4]) for name, (build, _) in cases.IDIOMS.items()}


@pytest.fixture(scope="module")
def everything():
    """All cases, compiled once: (name → segment, made once each) and the reference."""
    mod = relax_module({**{f"op_{n}": c for n, c in cases.CASES.items()}, **IDIOMS})
    return cache(lambda name: as_segment(mod[name])), Reference(mod)


@pytest.fixture(scope="module")
def native():
    init = find_native()
    if init is None:
        pytest.skip("libbyoc_dnnl.so is not installed")
    return init


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
    segment_of, reference = everything
    segment = segment_of(f"op_{name}")
    artifacts = [compile_segment(segment, DnnlOptions(fuse=f)) for f in (True, False)]
    check_same(reference, f"op_{name}", segment, artifacts)


@pytest.mark.parametrize("name", cases.IDIOMS)
def test_idiom(name, everything):
    segment_of, reference = everything
    segment = segment_of(name)
    artifact = compile_segment(segment, DnnlOptions())
    (op,) = program(artifact)["ops"]
    assert cases.IDIOMS[name][1] in (op["kind"], op["attrs"].get("alg"))
    check_same(reference, name, segment, [artifact])


@pytest.mark.parametrize("name", [*(f"op_{name}" for name in cases.CASES), *IDIOMS])
def test_native_agrees(name, everything, native):
    segment_of, reference = everything
    segment = segment_of(name)
    inputs = random_inputs(segment, 3)
    expected = reference(name, inputs)
    for fuse in (True, False):
        artifact = compile_segment(segment, DnnlOptions(fuse=fuse))
        found = run_native(native, artifact, inputs, expected)
        for f, e in zip(found, expected, strict=True):
            np.testing.assert_allclose(f, e, rtol=1e-4, atol=1e-4)
