"""A net with an `If`: which of two convolutions runs depends on the input's mean."""

from __future__ import annotations

from math import sqrt

import onnx
from onnx import TensorProto, helper, numpy_helper

from byoc.dims import Dim
from byoc.testing.zoo.builder import Builder

__all__ = ["build_branch"]


def _arm(b: Builder, name: str, x: str, channels: int, activation: str) -> onnx.GraphProto:
    """Conv and an activation; captures `x` from the graph around, as ONNX allows."""
    weight = b.normal((channels, channels, 3, 3), sqrt(2 / (9 * channels)))
    nodes = [
        helper.make_node(
            "Conv",
            [x, f"{name}.weight", f"{name}.bias"],
            [f"{name}_conv"],
            name=f"/{name}/Conv",
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
        ),
        helper.make_node(
            activation, [f"{name}_conv"], [f"{name}_out"], name=f"/{name}/{activation}"
        ),
    ]
    out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
    return helper.make_graph(
        nodes,
        name,
        [],
        [out],
        [
            numpy_helper.from_array(weight, f"{name}.weight"),
            numpy_helper.from_array(b.normal((channels,), 0.3), f"{name}.bias"),
        ],
    )


def build_branch(*, seed: int = 0, batch: Dim = 1, channels: int = 16) -> onnx.ModelProto:
    """Build a net in which the mean of the input decides what runs.

    Above zero it is ``/hot`` (ReLU), else ``/cold`` (Sigmoid).

    Args:
        seed: Of the weights.
        batch: Size, or name of a symbolic dimension.
        channels: Of the convolutions.

    Returns:
        A model from ``input`` [batch, 3, 32, 32] to [batch, 10].

    """
    b = Builder("branch", seed)
    image = b.input("input", (batch, 3, 32, 32))
    with b.scope("stem"):
        weight = b.parameter("weight", b.normal((channels, 3, 3, 3), sqrt(2 / 27)))
        bias = b.parameter("bias", b.normal((channels,), 0.3))
        x = b.op("Conv", image, weight, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        x = b.op("Relu", x)
    mean = b.op("ReduceMean", image, keepdims=0)
    condition = b.op("Greater", mean, b.constant(0.0))
    x = b.op(
        "If",
        condition,
        then_branch=_arm(b, "hot", x, channels, "Relu"),
        else_branch=_arm(b, "cold", x, channels, "Sigmoid"),
    )
    x = b.op("Flatten", b.op("GlobalAveragePool", x), axis=1)
    with b.scope("head"):
        weight = b.parameter("weight", b.normal((10, channels), sqrt(4 / channels)))
        bias = b.parameter("bias", b.normal((10,), 0.5))
        x = b.op("Gemm", x, weight, bias, transB=1)
    b.output(x, "output", (batch, 10))
    return b.model()
