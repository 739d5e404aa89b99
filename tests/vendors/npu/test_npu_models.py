"""Whole quantised models against ONNX Runtime, one requantisation at a time and as a whole."""

import numpy as np
import onnx
import pytest
from npu_models import residual_net, samples
from onnx import shape_inference

import byoc
from byoc.quantize import quantize_model
from byoc.vendor_templates.npu import VENDOR


def cut_open(model):
    """(model with every quantised tensor as an output, model whose units all start from them).

    The second has each quantised tensor as an input and each unit's new result as "<name>_new".
    """
    typed = shape_inference.infer_shapes(model)
    kinds = {v.name: v for v in (*typed.graph.value_info, *typed.graph.output)}
    names = [n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    seen = onnx.ModelProto()
    seen.CopyFrom(typed)
    del seen.graph.output[:]
    seen.graph.output.extend(kinds[n] for n in names)
    units = onnx.ModelProto()
    units.CopyFrom(typed)
    del units.graph.output[:], units.graph.value_info[:]
    units.graph.input.extend(kinds[n] for n in names)
    for node in units.graph.node:
        if node.op_type == "QuantizeLinear":
            new = onnx.ValueInfoProto()
            new.CopyFrom(kinds[node.output[0]])
            new.name = node.output[0] = f"{node.output[0]}_new"
            units.graph.output.append(new)
    readable = set(names) | {i.name for i in typed.graph.input}
    readable |= {t.name for t in typed.graph.initializer}
    kept = []
    for node in units.graph.node:  # what leads to no quantize (a float tail) is left out
        if all(name in readable for name in node.input if name):
            readable.update(node.output)
            kept.append(node)
    needed = {o.name for o in units.graph.output}
    nodes = []
    for node in reversed(kept):
        if any(o in needed for o in node.output):
            needed.update(node.input)
            nodes.append(node)
    del units.graph.node[:]
    units.graph.node.extend(reversed(nodes))
    return seen, units, names


def check_every_requantisation(model, reference, x, exact):
    """Every unit's result within one step; at least the share `exact` to the bit."""
    seen, units, names = cut_open(model)
    values = reference(seen, {"x": x} if "x" in {i.name for i in model.graph.input} else x)
    executable = byoc.compile(units, vendors=[VENDOR])
    assert executable.report.coverage.flops > 0.99
    inputs = {i.name: values[i.name] for i in units.graph.input if i.name in values}
    first = model.graph.input[0].name
    inputs[first] = x if isinstance(x, np.ndarray) else x[first]
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


@pytest.fixture(scope="module")
def quantised(zoo):
    """``quantised("resnet50")``: a model of the zoo in int8, calibrated on seeded noise."""
    built = {}

    def make(name):
        if name not in built:
            model = onnx.load(zoo(name))
            constants = {t.name for t in model.graph.initializer}
            (port,) = [i for i in model.graph.input if i.name not in constants]
            shape = [d.dim_value for d in port.type.tensor_type.shape.dim]
            rng = np.random.default_rng(0)
            data = rng.standard_normal((8 * shape[0], *shape[1:])).astype(np.float32)
            built[name] = (quantize_model(model, {port.name: data}).model, port.name, shape)
        return built[name]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_every_requantisation_of_a_real_net(quantised, reference, name):
    model, port, shape = quantised(name)
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    check_every_requantisation(model, reference, {port: x}, 0.999)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "utilisation"), [("resnet50", 70.0), ("mobilenet_v2", 30.0)])
def test_top_1_agrees(quantised, name, utilisation):
    import onnxruntime as ort

    model, port, shape = quantised(name)
    executable = byoc.compile(model, vendors=[VENDOR])
    report = executable.report
    assert report.coverage.flops >= 0.99
    (artifact,) = executable._program.artifacts
    (note,) = [n for n in artifact.notes if n.startswith("MAC utilisation")]
    assert float(note.split()[2]) >= utilisation
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(17)
    agree = 0
    for _ in range(200):
        x = rng.standard_normal(shape).astype(np.float32)
        agree += int(executable(x).argmax() == session.run(None, {port: x})[0].argmax())
    assert agree >= 198, f"{agree} of 200"
