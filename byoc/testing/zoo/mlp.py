"""A multi-layer perceptron: Gemm and ReLU, nothing else."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import onnx

from byoc.dims import Dim
from byoc.testing.zoo.builder import Builder

__all__ = ["build_mlp"]


def build_mlp(
    *, seed: int = 0, batch: Dim = 32, features: int = 784, hidden: int = 1024, classes: int = 100
) -> onnx.ModelProto:
    """Build a perceptron with three hidden layers.

    Args:
        seed: Of the weights.
        batch: Size, or name of a symbolic dimension.
        features: Of the input.
        hidden: Of each hidden layer.
        classes: Of the output.

    Returns:
        A model from ``input`` [batch, features] to ``output`` [batch, classes].

    """
    b = Builder("mlp", seed)
    x = b.input("input", (batch, features))
    sizes = (features, hidden, hidden, hidden, classes)
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        with b.scope(f"layers.{2 * index}"):
            weight = b.parameter("weight", b.normal((fan_out, fan_in), sqrt(2 / fan_in)))
            bias = b.parameter("bias", b.normal((fan_out,), 0.1))
            x = b.op("Gemm", x, weight, bias, alpha=1.0, beta=1.0, transB=1)
        if fan_out != classes:
            with b.scope(f"layers.{2 * index + 1}"):
                x = b.op("Relu", x)
    b.output(x, "output", (batch, classes))
    return b.model()
