"""Every operator against LiteRT, alone in floats and among others in integers."""

import numpy as np
import pytest
import tflite_cases as cases
from litert import run

import byoc
from byoc.frontends.tflite.ops.table import OPERATORS

NAMES = sorted(cases.CASES)
THIRDS = [NAMES[0::3], NAMES[1::3], NAMES[2::3]]


@pytest.mark.parametrize("names", THIRDS, ids=["first", "second", "third"])
def test_operators_equal_litert(names):
    data, where = cases.build(names)
    exe = byoc.compile(data)
    x = np.random.default_rng(0).uniform(-2, 2, cases.SHAPE).astype(np.float32)
    found = exe(x)
    for name in names:
        alone, _ = cases.build([name])
        for index, wanted in zip(where[name], run(alone, x), strict=True):
            assert found[index].dtype == wanted.dtype, name
            assert found[index].shape == wanted.shape, name
            np.testing.assert_allclose(found[index], wanted, 1e-5, 1e-5, err_msg=name)


def test_every_converter_has_a_case():
    tested = {code for name in NAMES for code in cases.codes(name)}
    tested |= {"QUANTIZE"}  # of quantised models, test_tflite_quantised.py
    assert set(OPERATORS) - tested == set()
