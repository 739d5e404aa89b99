"""A quantised model with residual sums, small: made by byoc.quantize from a float one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from byoc.quantize import quantize_model

__all__ = ["save_quantised"]

_SHAPE = (1, 3, 16, 16)


def save_quantised(folder: Path) -> None:
    """Write `m.onnx` and what it is quantised, `q.onnx`."""
    rng = np.random.default_rng(0)
    weights, nodes = [], []

    def weight(name: str, *shape: int) -> str:
        values = (rng.standard_normal(shape) / 6).astype("float32")
        weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(x: str, name: str, channels: int) -> str:
        operands = [x, weight(f"{name}.w", 8, channels, 3, 3), weight(f"{name}.b", 8)]
        nodes.append(helper.make_node("Conv", operands, [name], name=name, pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [name], [f"{name}r"], name=f"{name}_relu"))
        return f"{name}r"

    x = conv("x", "c0", 3)
    for k in range(1, 4):
        y = conv(x, f"c{k}", 8)
        nodes.append(helper.make_node("Add", [x, y], [f"s{k}"], name=f"s{k}"))
        x = f"s{k}"
    port = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "residual",
        [port("x", onnx.TensorProto.FLOAT, _SHAPE)],
        [port(x, onnx.TensorProto.FLOAT, (1, 8, 16, 16))],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), folder / "m.onnx")
    samples = {"x": rng.standard_normal((8, *_SHAPE[1:])).astype("float32")}
    quantize_model(folder / "m.onnx", samples).save(folder / "q.onnx")
