"""Counts of n-grams, columns and thresholds, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import byoc
from byoc.errors import ModelError

_POOL = {
    "ngram_counts": [0, 4, 10],
    "ngram_indexes": [0, 2, 1, 3, 4, 6, 5, 8, 7],
    "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8, 6, 7, 5, 6, 7, 2, 3, 4],
}


def _vectorizer(tools, shape, **attrs):
    node = helper.make_node("TfIdfVectorizer", ["x"], ["y"], **attrs)
    width = [None] * len(shape)
    return tools.model([node], {"x": ("i4", shape)}, {"y": ("f4", width)}, opset=12)


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize(
    ("low", "high", "skip"), [(1, 1, 0), (2, 2, 5), (1, 3, 1), (3, 3, 0), (1, 2, 20)]
)
def test_counts_of_n_grams(tools, reference, rng, mode, low, high, skip):
    shape = [12] if mode == "TF" else ["N", 9]
    weights = [0.5, 2.0, 1.0, 3.0, 0.25, 4.0, 1.5, 5.0, 7.0]
    model = _vectorizer(
        tools, shape, mode=mode, min_gram_length=low, max_gram_length=high, max_skip_count=skip,
        weights=weights, **_POOL,
    )  # fmt: skip
    executable = byoc.compile(model, vendors=[])
    for _ in range(3):
        x = rng.integers(2, 9, [3 if d == "N" else d for d in shape]).astype(np.int32)
        feeds = {"x": x}
        np.testing.assert_allclose(executable.run(feeds)["y"], reference(model, feeds)["y"])


def test_a_pool_that_does_not_fit(tools):
    pool = _POOL | {"ngram_indexes": [0, 1]}
    model = _vectorizer(
        tools, [5], mode="TF", min_gram_length=1, max_gram_length=1, max_skip_count=0, **pool
    )
    with pytest.raises(ModelError, match="holds 9 n-grams for 2 ngram_indexes"):
        byoc.compile(model, vendors=[])


def test_columns_and_thresholds(tools, reference, rng):
    nodes = [
        helper.make_node("ArrayFeatureExtractor", ["x", "i"], ["a"], domain="ai.onnx.ml"),
        helper.make_node("Binarizer", ["x"], ["b"], domain="ai.onnx.ml", threshold=0.25),
    ]
    inputs = {"x": ("f4", ["N", 5]), "i": ("i8", [3])}
    outputs = {"a": ("f4", ["N", 3]), "b": ("f4", ["N", 5])}
    model = tools.model(nodes, inputs, outputs, domains={"ai.onnx.ml": 1})
    feeds = {"x": rng.standard_normal((4, 5)).astype("f4"), "i": np.array([4, 0, 2])}
    found, expected = byoc.compile(model, vendors=[]).run(feeds), reference(model, feeds)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
