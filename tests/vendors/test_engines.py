"""Every vendor with an engine hosted by Python: threads share it, files bring it back."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import byoc
from byoc.testing.zoo import build, random_inputs


@pytest.mark.parametrize("vendor", ["onnxruntime", "openvino"])
def test_threads_share_one_executable(vendor):
    model = build("mlp")
    exe = byoc.compile(model, [vendor])
    inputs = [random_inputs(model, seed) for seed in range(8)]
    expected = [exe.run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(exe.run, inputs * 4))
    for result, right in zip(found, expected * 4, strict=True):
        for key in right:
            np.testing.assert_array_equal(result[key], right[key])


@pytest.mark.parametrize(
    "vendors", [{"onnxruntime": {"threads": 1}}, ["openvino"]], ids=lambda v: next(iter(v))
)
def test_an_artifact_runs_again(tmp_path, vendors):
    model = build("mlp")
    exe = byoc.compile(model, vendors)
    exe.save(tmp_path / "m.byoc")
    inputs = random_inputs(model, 0)
    again = byoc.load(tmp_path / "m.byoc").run(inputs)
    for key, value in exe.run(inputs).items():
        np.testing.assert_array_equal(again[key], value)
