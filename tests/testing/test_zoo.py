"""The models that everything else is tested on: real enough, and the same every time."""

import numpy as np
import onnx
import pytest

from byoc.testing.zoo import LIGHT, NAMES, build, check_nontrivial, model_path, random_inputs

QUICK = ["shufflenet", "mlp", "branch", "bert_tiny", "gpt2_tiny", "vit_tiny", "mobilenet_v2"]


@pytest.mark.parametrize("name", QUICK)
def test_a_seed_gives_the_same_model(name):
    first, second, other = build(name), build(name), build(name, seed=1)
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_outputs_say_something(name, reference, zoo):
    model = onnx.load(zoo(name))
    seen = []
    for seed in range(2):
        outputs = reference(zoo(name), random_inputs(model, seed))
        check_nontrivial(outputs)
        seen.append(next(iter(outputs.values())))
    assert not np.allclose(*seen, rtol=1e-2), "the input must matter"


def test_the_nine_hold_weights_not_fills():
    model = build("shufflenet")
    assert not [node for node in model.graph.node if node.op_type == "ConstantOfShape"]
    assert [i.name for i in model.graph.input] == ["gpu_0/data_0"]
    for init in model.graph.initializer:
        array = onnx.numpy_helper.to_array(init)
        assert array.size == 1 or array.dtype == np.int64 or array.std() > 0, init.name
    assert len(LIGHT) == 9


def test_nodes_are_named_by_module():
    names = {node.name for node in build("bert_tiny").graph.node}
    assert "/encoder/layer.0/attention/self/query/MatMul" in names
    assert "/encoder/layer.1/output/LayerNorm/LayerNormalization" in names
    assert "/features/features.2/conv/conv.0/conv.0.2/Clip" in {
        node.name for node in build("mobilenet_v2").graph.node
    }


def test_layer_norms_can_be_spelled_out():
    kinds = {node.op_type for node in build("bert_tiny", spell_norms=True).graph.node}
    assert "LayerNormalization" not in kinds
    assert {"ReduceMean", "Pow", "Sqrt"} <= kinds


def test_files_are_made_once(tmp_path):
    path = model_path("branch", folder=tmp_path, batch="n")
    assert path.name == "branch-batch=n.onnx"
    before = path.stat().st_mtime_ns
    assert model_path("branch", folder=tmp_path, batch="n").stat().st_mtime_ns == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_unknown_name_lists_the_legal_ones():
    with pytest.raises(KeyError, match="resnet50"):
        build("resnet5")
