"""Networks written twice: Relay's numbers and placement are those of the ONNX form."""

from __future__ import annotations

import numpy as np
import pytest

import byoc
from byoc.errors import ModelError, OptionError
from byoc.frontends import import_model, read_relay
from byoc.testing.zoo.relay_nets import NETWORKS

SMALL = {"image": 16, "width": 4, "classes": 5}
FORMS = {
    "text": lambda net: (net.text(), None),
    "text and params": lambda net: (net.text("params"), net.params()),
    "json 0.8": lambda net: (net.json("0.8.0"), None),
    "json 0.12 and params": lambda net: (net.json("0.12.0", "params"), net.params()),
    "json 0.18": lambda net: (net.json("0.18.0"), None),
}


@pytest.fixture(scope="module", params=NETWORKS)
def net(request):
    return NETWORKS[request.param](**SMALL)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_graph_of_the_onnx_form(net, form, tools, tmp_path):
    text, params = FORMS[form](net)
    path = None
    if params is not None:
        path = tmp_path / "net.params"
        path.write_bytes(params)
    imported = import_model(text, path)
    assert imported.inputs == ("data",)
    found, expected = tools.ops(imported.mod), tools.ops(import_model(net.onnx()).mod)
    if net.name == "quantised_cnn":
        # Where the zero point is the least number, saturation is ReLU: QNN does not say it twice.
        expected["nn.relu"] -= 1
    assert found == expected


@pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
def test_results_and_coverage_are_those_of_the_onnx_form(net, vendors, request):
    if net.name == "resnet18" and not vendors and not request.config.getoption("--slow"):
        pytest.skip("slow: 40 kernels twice, run with --slow")
    relay, onnx = byoc.compile(net.text(), vendors), byoc.compile(net.onnx(), vendors)
    for seed in range(3):
        x = np.random.default_rng(seed).normal(0, 1, net.shape["data"]).astype(np.float32)
        a, b = relay(x), onnx(x)
        if net.name == "quantised_cnn":
            step = 0.05  # the scale of the last layer: at most one unit apart
            assert np.abs(a - b).max() <= step * 1.001
        else:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert relay.report.coverage == onnx.report.coverage
    assert len(relay.report.segments) == len(onnx.report.segments)
    if vendors:
        assert relay.report.coverage.flops == 1.0


def test_a_float_network_agrees_with_onnx_runtime(net, tools):
    if net.name != "mobilenet":
        pytest.skip("as their ONNX forms do: one float network is enough")
    x = np.random.default_rng(5).normal(0, 1, net.shape["data"]).astype(np.float32)
    (expected,) = tools.reference(net.onnx(), {"data": x})
    np.testing.assert_allclose(byoc.compile(net.json())(x), expected, rtol=1e-3, atol=1e-4)


MAIN = """#[version = "0.0.5"]
def @main(%x: Tensor[(1, 3, 8, 8), float32]) {
  %0 = nn.conv2d(%x, ones(shape=[4, 3, 3, 3], dtype="float32"), kernel_size=[3, 3]);
  %1 = @part(%0);
  nn.softmax(%1, axis=1)
}
"""
PARTS = {
    "Compiler": 'def @part(%a: Tensor[(1, 4, 6, 6), float32], Compiler="dnnl", Primitive=1, '
    'global_symbol="part") { nn.relu(%a) }\n',
    "Composite": 'def @part(%a) {\n  %0 = fn (%b, Composite="dnnl.relu") { nn.relu(%b) };\n'
    "  %0(%a)\n}\n",
}


@pytest.mark.parametrize("kind", PARTS)
def test_functions_made_for_a_vendor_stay_on_it(kind):
    text = MAIN + PARTS[kind]
    forced = byoc.partition_model(text, ["dnnl"], policy=byoc.Policy(min_segment_ops=1))
    places = {op.op: op.place for op in forced.report.ops}
    assert places["nn.relu"] == "dnnl"
    rules = import_model(text).rules
    assert [(r.action, r.place) for r in rules] == [("force", "dnnl")]
    exclude = byoc.Policy(rules=(byoc.Rule("exclude", "dnnl", op="nn.softmax"),))
    mixed = byoc.partition_model(text, ["dnnl"], policy=exclude)
    assert {op.op: op.place for op in mixed.report.ops}["nn.softmax"] == "host"
    assert {op.op: op.place for op in mixed.report.ops}["nn.relu"] == "dnnl"


def test_a_vendor_that_is_not_asked_for_is_an_error_with_its_name():
    text = (MAIN + PARTS["Compiler"]).replace('Compiler="dnnl"', 'Compiler="arm_compute_lib"')
    with pytest.raises(OptionError, match=r"<text>:7:5: the model places operators on "
                       r"'arm_compute_lib'.*vendors of this run \(dnnl\)"):  # fmt: skip
        byoc.compile(text, ["dnnl"])
    ignoring = byoc.partition_model(read_relay(text, placement=False), ["dnnl"])
    assert ignoring.report.coverage.ops > 0


def test_the_users_rules_come_after_those_of_the_file():
    policy = byoc.Policy(rules=(byoc.Rule("force", "host", op="nn.relu"),))
    parts = byoc.partition_model(MAIN + PARTS["Compiler"], ["dnnl"], policy=policy)
    assert {op.op: op.place for op in parts.report.ops}["nn.relu"] == "host"


def test_params_of_another_model_are_refused():
    net = NETWORKS["mobilenet"](**SMALL)
    with pytest.raises(ModelError, match=r"<text>:2:5: params= has none of @main's parameters"):
        import_model(net.text("params"), {"p0": np.zeros(3, np.float32)})
    with pytest.raises(ModelError, match=r"%w0 is declared as float32\[4, 3, 3, 3\], params= has"):
        import_model(net.text("params"), {"w0": np.zeros(3, np.float32)})


def test_the_graph_of_a_compiled_module_is_told_apart(tmp_path):
    path = tmp_path / "graph.json"
    path.write_text('{"nodes": [{"op": "null", "name": "x"}], "arg_nodes": [0], "heads": [[0, 0]]}')
    with pytest.raises(ModelError, match="the graph of a compiled module"):
        import_model(path)
