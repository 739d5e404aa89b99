"""Whole quantised models against ONNX Runtime, one requantisation at a time and as a whole."""

import numpy as np
import pytest
from npu_models import residual_net, samples

import byoc
from benchmarks.npu_agreement import cut_open, measure_agreement, measure_layers, quantised
from byoc.quantize import quantize_model
from byoc.vendor_templates.npu import VENDOR


def check_every_requantisation(model, reference, x, exact):
    """Every unit's result within one step; at least the share `exact` to the bit."""
    seen, units, names = cut_open(model)
    values = reference(seen, {"x": x})
    executable = byoc.compile(units, vendors=[VENDOR])
    assert executable.report.coverage.flops > 0.99
    inputs = {i.name: values.get(i.name, x) for i in units.graph.input}
    found = executable.run(inputs)
    equal = total = 0
    for name in names:
        error = np.abs(found[f"{name}_new"].astype(int) - values[name].astype(int))
        assert error.max() <= 1, f"{name}: {error.max()} steps, {(error > 1).sum()} values"
        equal += int((error == 0).sum())
        total += error.size
    assert equal / total > exact, f"{equal} of {total} values equal"


@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_every_requantisation_of_a_small_net(reference, activations):
    model = residual_net()
    quantised = quantize_model(model, samples(model, 8), activations=activations).model
    for seed in range(3):
        check_every_requantisation(quantised, reference, samples(model, 1, seed), 0.999)


NETWORKS = pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])


@pytest.mark.slow
@NETWORKS
def test_every_requantisation_of_a_real_net(name):
    total, differ, worst = measure_layers(name)
    assert total > 5_000_000
    assert (differ, worst) == (0, 0)


@pytest.mark.slow
@NETWORKS
def test_top_1_agrees(name):
    found = measure_agreement(name, 200)
    assert found.same_class >= 198, found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "utilisation"), [("resnet50", 70.0), ("mobilenet_v2", 30.0)])
def test_a_real_net_is_on_the_npu(name, utilisation):
    executable = byoc.compile(quantised(name)[0], vendors=[VENDOR])
    assert executable.report.coverage.flops >= 0.99
    (artifact,) = executable._program.artifacts
    (note,) = [n for n in artifact.notes if n.startswith("MAC utilisation")]
    assert float(note.split()[2]) >= utilisation
