"""Files that mean harm: a named error, or a model, in bounded time and memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hostile_models import CASES
from onnx import TensorProto, helper

SECONDS = 20
"""Of CPU, for one file; the slowest takes one on a quiet machine."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of every case; one process opens them all, under a limit of memory."""
    command = [sys.executable, str(Path(__file__).with_name("hostile_models.py"))]
    command.append(str(tmp_path_factory.mktemp("hostile")))
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    begun = [line["begins"] for line in lines if "begins" in line]
    ended = {line["name"]: line for line in lines if "name" in line}
    assert begun, done.stderr[-2000:]
    assert done.returncode == 0, f"the process died in {begun[-1]}: {done.stderr[-500:]}"
    return ended


@pytest.mark.parametrize("name", list(CASES))
def test_harm_is_refused_by_name(outcomes, name):
    found, expected = outcomes[name], CASES[name][1]
    assert not found["error"].startswith("!"), found
    assert found["seconds"] < SECONDS, found
    if expected:
        assert found["error"], f"{name} was read"
        assert re.search(re.escape(expected), found["message"]), found["message"]


def test_a_graph_too_large_to_walk_is_refused_before_it_is_parsed(outcomes):
    assert outcomes["a_million_nodes"]["seconds"] < 5


@pytest.mark.slow
def test_weights_beyond_two_gigabytes(tmp_path):
    """A sparse external file of 2.5 GB: read in place, within 1.3 times its size in memory."""
    rows, columns = 40_000, 16_384
    size = rows * columns * 4
    assert size > 2**31
    with (tmp_path / "w.bin").open("wb") as file:
        file.seek((rows - 1) * columns * 4)
        file.write(np.arange(columns, dtype=np.float32).tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.dims.extend([rows, columns])
    tensor.external_data.add(key="location", value="w.bin")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["w", "i"], ["y"], axis=0)],
        "large",
        [helper.make_tensor_value_info("i", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, columns])],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "large.onnx")
    code = f"""
import resource, sys
import numpy as np, byoc
from byoc.frontends import import_model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = import_model({str(tmp_path / "large.onnx")!r})
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024)
y = byoc.compile(model)(np.array([0, {rows - 1}]))
assert not y[0].any() and (y[1] == np.arange({columns})).all()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) <= 1.3 * size
