"""What compiling a large model takes: its weights once, wherever they end up."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from byoc.runtime.io import mapped_memory as mapped

CODE = """
import gc
import sys
from pathlib import Path
import byoc

def of(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(l.split()[1]) << 10 for l in lines if l.startswith(what))

for vendors in ([], ["dnnl"]):
    byoc.compile(sys.argv[1], vendors)  # what is loaded once
    before = of("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    exe = byoc.compile(sys.argv[2], vendors)
    print(of("VmHWM") - before)
    del exe
    gc.collect()
"""


def chain(folder, layers, width):
    """Products by square weights, in a file beside the model. Returns its path and size."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    tensors, nodes = [], []
    with (folder / "weights.bin").open("wb") as file:
        for i in range(layers):
            tensor = TensorProto(
                name=f"w{i}", data_type=1, data_location=TensorProto.EXTERNAL, dims=[width] * 2
            )
            place = (("location", "weights.bin"), ("offset", str(file.tell())))
            file.write(rng.standard_normal((width, width), np.float32).tobytes())
            for key, value in (*place, ("length", str(4 * width * width))):
                tensor.external_data.add(key=key, value=value)
            tensors.append(tensor)
            nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"a{i}"]))
            nodes.append(helper.make_node("Relu", [f"a{i}"], [f"x{i + 1}"]))
        size = file.tell()
    port = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "chain", [port("x0", 1, [1, width])], [port(f"x{layers}", 1, [1, width])], tensors
    )
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "chain.onnx")
    return folder / "chain.onnx", size


@pytest.mark.slow
def test_weights_are_in_memory_once(tmp_path):
    """On the host and with dnnl: what was packed takes the place of the file's pages."""
    layers, width = 20, 3072
    small, _ = chain(tmp_path / "small", 2, 64)
    large, size = chain(tmp_path / "large", layers, width)
    command = [sys.executable, "-c", CODE, str(small), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    host, dnnl = map(int, done.stdout.split())
    assert size <= host <= 1.3 * size
    assert size <= dnnl <= 1.3 * size


def test_pages_that_were_dropped_are_read_again(tmp_path):
    numbers = np.arange(1 << 18, dtype=np.int32)
    numbers.tofile(tmp_path / "numbers.bin")
    array = np.frombuffer(mapped.map_file(tmp_path / "numbers.bin"), np.int32)
    own = numbers.copy()
    assert array.sum() == numbers.sum()
    for part in (array, array[5:100_000], own):
        mapped.drop_pages(part)
    np.testing.assert_array_equal(array, numbers)
    np.testing.assert_array_equal(own, numbers)  # nothing is lost where no file stands behind it
    (tmp_path / "empty.bin").touch()
    assert not mapped.map_file(tmp_path / "empty.bin")
