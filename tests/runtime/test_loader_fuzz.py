"""A small part of `scripts/nightly loader`: the same files at every run."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from benchmarks.loader_fuzz import Spoiler, fuzz, python_child


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((8, 8)).astype("float32"), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Softmax", ["b"], ["y"], axis=-1),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 8]) for n in "xy")
    graph = helper.make_graph(nodes, "small", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = tmp_path_factory.mktemp("good")
    paths = [folder / "host.byoc", folder / "healed.byoc"]
    byoc.compile(model, vendors=[]).save(paths[0])
    byoc.compile(model, vendors=["dnnl"], heal=True, min_segment_ops=1).save(paths[1])
    return paths


def test_spoiled_files_end_in_an_answer_or_a_named_error(good, tmp_path, request):
    count = 2_000 if request.config.getoption("--slow") else 150
    said: list[str] = []
    bad = fuzz(good, count, python_child(), seed=14, keep=tmp_path, say=said.append)
    assert not bad, "\n".join(said)


def test_the_same_seed_spoils_in_the_same_way(good, tmp_path):
    def made(seed):
        spoiler, path = Spoiler(good, seed), tmp_path / "bad.byoc"
        return [(spoiler.make(path), path.read_bytes()) for _ in range(20)]

    assert made(3) == made(3) != made(4)
