"""Segments written down: readable, and run again alone."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

import byoc
from byoc.errors import ModelError
from byoc.ir.arrays import from_numpy
from byoc.testing.fake_vendors import synthetic
from byoc.testing.replay import describe_segment, dump_segments, replay_segment


def _model():
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            weight = relax.const(from_numpy(np.full((2, 3), 2, "float32")))
            y = builder.emit(relax.op.nn.relu(relax.op.add(x, weight)), "y")
            output = builder.emit_output(relax.op.cos(y))
        builder.emit_func_output(output)
    return builder.get()


def _vendor():
    return synthetic("acme", {"add": 1e-6, "nn.relu": 1e-6})


def test_a_segment_is_readable_and_runs_alone(tmp_path):
    (folder,) = dump_segments(_model(), _vendor(), tmp_path)
    text = (folder / "segment.txt").read_text(encoding="utf-8")
    assert text.startswith("segment acme_0 of vendor acme: 2 ops in 2 composites\n")
    assert "float32[2, 3] = add(" in text
    assert "2 to 2" in text
    found = replay_segment(folder, _vendor())
    assert found.segments == ("acme_0",)
    assert not found.wrong
    assert found.largest < 1e-6


def test_what_compile_is_given_can_be_printed():
    (segment,) = byoc.partition_model(_model(), [_vendor()]).segments
    assert "composite 1: nn_relu" in describe_segment(segment)


def test_a_folder_of_something_else_is_named(tmp_path):
    with pytest.raises(ModelError, match="holds no segment"):
        replay_segment(tmp_path)
