"""From histograms to scales."""

import numpy as np
import pytest

from byoc.quantize.ranges import METHODS, Observer, choose_params


def observe(values):
    observer = Observer()
    for look in (observer.see_range, observer.see_values):
        look(np.asarray(values, np.float32))
    return observer


def restore(values, params):
    bottom = 0 if params.dtype == "uint8" else -128
    steps = np.clip(np.rint(values / params.scale) + params.zero, bottom, bottom + 255)
    return (steps - params.zero) * params.scale


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "low_high", [(-1.0, 3.0), (0.0, 6.0), (-2.0, 0.0), (2.0, 3.0), (-5.0, -4.0)]
)
def test_zero_is_exact_and_the_range_is_covered(dtype, method, low_high):
    values = np.random.default_rng(0).uniform(*low_high, 10_000).astype(np.float32)
    params = choose_params(observe(values), method, 99.99, dtype)
    assert restore(np.zeros(1), params)[0] == 0
    bottom = 0 if dtype == "uint8" else -128
    assert bottom <= params.zero <= bottom + 255
    assert np.abs(restore(values, params) - values).mean() < 2 * params.scale


def test_minmax_keeps_outliers_and_the_others_do_not():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal(200_000), [400.0]]).astype(np.float32)
    scales = {m: choose_params(observe(values), m, 99.9, "int8").scale for m in METHODS}
    assert scales["minmax"] == pytest.approx(404 / 255, rel=0.02)
    assert scales["percentile"] < scales["minmax"] / 10
    assert scales["entropy"] < scales["minmax"] / 4


def test_nothing_but_zeros():
    params = choose_params(observe(np.zeros(10)), "minmax", 99.9, "uint8")
    assert params.scale == 1.0
    assert restore(np.zeros(3), params).tolist() == [0, 0, 0]


def test_values_that_are_not_finite_are_left_out():
    params = choose_params(observe([1.0, np.inf, np.nan, -1.0]), "minmax", 99.9, "int8")
    assert params.scale == pytest.approx(2 / 255)
