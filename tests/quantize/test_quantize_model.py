"""Post-training quantisation of whole models."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from npu_models import Net, residual_net, samples
from onnx import TensorProto, helper, numpy_helper

from byoc.errors import InputError, ModelError, OptionError
from byoc.quantize import model as model_module
from byoc.quantize import quantize_model
from byoc.quantize.graph import OnnxGraph


@pytest.fixture(scope="module")
def net():
    return residual_net()


def test_every_reader_has_its_own_dequantize(net):
    quantised = quantize_model(net, samples(net, 4)).model
    onnx.checker.check_model(quantised)
    readers = Counter(name for node in quantised.graph.node for name in node.input)
    outputs = {o.name for o in quantised.graph.output}
    dequantized = [n for n in quantised.graph.node if n.op_type == "DequantizeLinear"]
    assert len(dequantized) > 20
    for node in dequantized:
        assert readers[node.output[0]] + (node.output[0] in outputs) == 1, node.name
    quantized = [n for n in quantised.graph.node if n.op_type == "QuantizeLinear"]
    assert len({n.input[0] for n in quantized}) == len(quantized)


def test_names_of_inputs_and_outputs_stay(net):
    quantised = quantize_model(net, samples(net, 2)).model
    for side in ("input", "output"):
        names = [[v.name for v in getattr(m.graph, side)] for m in (net, quantised)]
        assert names[0] == names[1]


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_results_stay_close(net, reference, method):
    result = quantize_model(net, samples(net, 8), method=method)
    assert result.snr_db > 20
    x = samples(net, 1, 77)
    real = next(iter(reference(net, {"x": x}).values()))
    found = next(iter(reference(result.model, {"x": x}).values()))
    assert np.linalg.norm(found - real) < 0.15 * np.linalg.norm(real)


def test_weights_are_symmetric_per_channel_and_biases_match(net):
    quantised = quantize_model(net, samples(net, 2), bias_correction=False).model
    constants = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    weights = [n for n in constants if n.endswith("_weight_quantized")]
    assert len(weights) == 7
    for name in weights:
        stem = name.removesuffix("_quantized")
        values, scale = constants[name], constants[f"{stem}_scale"]
        assert values.dtype == np.int8 and values.min() >= -127
        assert not constants[f"{stem}_zero_point"].any()
        assert scale.shape == (values.shape[0],)
        assert (np.abs(values.reshape(len(values), -1)).max(1) == 127).all()
    for name in constants:
        if name.endswith("_bias_quantized"):
            assert constants[name].dtype == np.int32


def test_batchnorm_is_folded_and_dropout_gone(reference):
    rng = np.random.default_rng(3)
    net = Net([1, 4, 6, 6])
    net.conv(4, 8, 3)
    stats = [rng.uniform(0.5, 1.5, 8), rng.standard_normal(8), rng.standard_normal(8)]
    net.op(
        "BatchNormalization", None, *(s.astype(np.float32) for s in stats),
        rng.uniform(0.5, 2, 8).astype(np.float32), epsilon=1e-3,
    )  # fmt: skip
    net.op("Dropout")
    net.op("Relu")
    model = net.model()
    prepared = OnnxGraph(model)
    assert [n.op_type for n in prepared.nodes] == ["Conv", "Relu"]
    x = samples(model, 1)
    real = next(iter(reference(model, {"x": x}).values()))
    folded = next(iter(reference(prepared.write(), {"x": x}).values()))
    assert np.abs(folded - real).max() < 1e-5


def test_bias_correction_moves_means_back(reference):
    rng = np.random.default_rng(0)
    net = Net([1, 64, 8, 8])
    net.op("Relu")
    # Weights so coarse that rounding them shifts the mean of the output.
    weights = (np.sign(rng.standard_normal((8, 64, 1, 1))) * 1.49 / 127).astype(np.float32)
    weights[:, 0] = 1.0
    net.op("Conv", None, weights)
    model = net.model()
    x = samples(model, 8)
    real = np.concatenate([next(iter(reference(model, {"x": v[None]}).values())) for v in x])
    shift = {}
    for corrected in (True, False):
        quantised = quantize_model(model, x, bias_correction=corrected).model
        found = np.concatenate(
            [next(iter(reference(quantised, {"x": v[None]}).values())) for v in x]
        )
        shift[corrected] = np.abs((found - real).mean((0, 2, 3))).max()
    assert shift[True] < shift[False] / 3


def test_max_drop_keeps_the_sensitive_layers_in_float(net):
    plain = quantize_model(net, samples(net, 8))
    target = plain.snr_db + 4
    result = quantize_model(net, samples(net, 8), max_drop=10 ** (-target / 20))
    assert result.snr_db >= target
    kept = [layer for layer in result.layers if not layer.quantised]
    assert 0 < len(kept) < len(result.layers)
    worst = min(result.layers, key=lambda layer: layer.snr_db)
    assert not worst.quantised
    assert "dB alone; needed for max_drop" in worst.reason


def test_excluded_nodes_stay_in_float(net):
    name = next(n.name for n in net.graph.node if n.op_type == "Gemm")
    result = quantize_model(net, samples(net, 2), exclude=[name])
    (layer,) = [layer for layer in result.layers if not layer.quantised]
    assert (layer.op, layer.reason) == ("Gemm", "excluded")


def test_without_onnxruntime_the_host_runs_the_samples(monkeypatch):
    import byoc.quantize.runner as runner

    net = Net([1, 4, 6, 6])
    net.conv(4, 4, 3)
    net.op("Relu")
    model = net.model()
    expected = quantize_model(model, samples(model, 3))
    for module in (runner, model_module):
        monkeypatch.setattr(module, "engine_name", lambda: "byoc")
    found = quantize_model(model, samples(model, 3))
    assert found.engine == "byoc"
    for name, params in expected.params.items():
        assert found.params[name].scale == pytest.approx(params.scale, rel=1e-4)


def control_flow():
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "then", [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)], "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_models_that_are_not_taken(net, tmp_path):
    with pytest.raises(ModelError, match="control flow"):
        quantize_model(control_flow(), {})
    with pytest.raises(ModelError, match="quantised already"):
        quantize_model(quantize_model(net, samples(net, 1)).model, samples(net, 1))
    plain = Net([1, 4])
    plain.op("Softmax")
    with pytest.raises(ModelError, match="nothing to quantise"):
        quantize_model(plain.model(), samples(plain.model(), 1))
    with pytest.raises(ModelError, match=r"nothing\.onnx: cannot be read"):
        quantize_model(tmp_path / "nothing.onnx", {})
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match="this is no ONNX model"):
        quantize_model(tmp_path / "text.onnx", {})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "minmx"}, OptionError, "did you mean 'minmax'?"),
        ({"activations": "int4"}, OptionError, "legal: int8, uint8"),
        ({"percentile": 20}, OptionError, "legal: over 50 up to 100"),
        ({"max_drop": 2}, OptionError, "max_drop is 2"),
        ({"exclude": ["nobody"]}, OptionError, "no quantisable node 'nobody'"),
        ({"calibration": {"y": np.zeros((1, 3, 19, 17))}}, InputError, "the model takes x"),
        ({"calibration": np.zeros((4, 3, 9, 9))}, InputError, "expected (1, 3, 19, 17)"),
        ({"calibration": []}, InputError, "no samples"),
    ],
)
def test_wrong_arguments(net, change, error, message):
    arguments = {"calibration": samples(net, 1), **change}
    with pytest.raises(error) as found:
        quantize_model(net, **arguments)
    assert message in str(found.value)


def test_a_failed_save_leaves_nothing(net, tmp_path):
    from byoc.errors import ArtifactError

    result = quantize_model(net, samples(net, 1))
    with pytest.raises(ArtifactError, match="cannot be written"):
        result.save(tmp_path / "nowhere" / "q.onnx")
    result.save(tmp_path / "q.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["q.onnx"]


def test_threads_that_save_to_one_path(net, tmp_path):
    result = quantize_model(net, samples(net, 1))
    path = tmp_path / "q.onnx"
    with ThreadPoolExecutor(2) as pool:
        saved = [pool.submit(result.save, path) for _ in range(300)]
        assert [one.exception() for one in saved] == [None] * 300
    assert onnx.load(path) == result.model
    assert [p.name for p in tmp_path.iterdir()] == ["q.onnx"]
