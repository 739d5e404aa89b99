"""The bytes of a file, where a path could be given."""

from __future__ import annotations

import numpy as np
import pytest

import byoc
from byoc.errors import ModelError
from byoc.testing.zoo import build


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_read_as_the_file_is(kind):
    model = build("mlp", batch=2, hidden=32, features=8)  # weights large enough to be mapped
    x = np.random.default_rng(0).standard_normal((2, 8)).astype("float32")
    found = byoc.compile(kind(model.SerializeToString()))(x)
    np.testing.assert_array_equal(found, byoc.compile(model)(x))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the model given as bytes is empty"),
        (b"PK\x03\x04abc", "the model given as bytes is not an ONNX model: it looks like a zip"),
        (b"\x08\x07\x12", "the model given as bytes is a damaged or truncated ONNX model"),
    ],
)
def test_other_bytes_are_named(data, message):
    with pytest.raises(ModelError, match=message):
        byoc.compile(data)
