"""Layers of transformers in the spelling of torch.onnx.

In: a builder and the name of a value. Out: the name of the layer's result.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt

import numpy as np

from byoc.testing.zoo.builder import Builder

__all__ = ["gelu_erf", "gelu_tanh", "heads_shape", "layer_norm", "linear"]


def linear(b: Builder, x: str, n_in: int, n_out: int, gain: float = 1.0) -> str:
    """Append `nn.Linear` on three dimensions: MatMul with a folded transpose, the bias *first*.

    Args:
        b: The graph.
        x: [batch, sequence, n_in].
        n_in: Features read.
        n_out: Features made.
        gain: Scales the weights.

    """
    bias = b.parameter("bias", b.normal((n_out,), 0.1))
    weight = b.folded("MatMul", b.normal((n_in, n_out), gain / sqrt(n_in)))
    return b.op("Add", bias, b.op("MatMul", x, weight))


def layer_norm(b: Builder, x: str, size: int, eps: float, spelled: bool) -> str:
    """Append a LayerNorm over the last axis.

    Args:
        b: The graph.
        x: [..., size].
        size: Of the last axis.
        eps: Keeps the root away from 0.
        spelled: As ReduceMean, Sub, Pow, … instead of one op (opset 17).

    """
    weight = b.parameter("weight", b.normal((size,), 0.1, mean=1.0))
    bias = b.parameter("bias", b.normal((size,), 0.1))
    if not spelled:
        return b.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=eps)
    centred = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1]))
    variance = b.op("ReduceMean", b.op("Pow", centred, b.constant(2.0)), axes=[-1])
    deviation = b.op("Sqrt", b.op("Add", variance, b.constant(eps)))
    return b.op("Add", b.op("Mul", b.op("Div", centred, deviation), weight), bias)


def gelu_erf(b: Builder, x: str) -> str:
    """Append the exact GELU: ``x * 0.5 * (1 + erf(x / sqrt(2)))``.

    Args:
        b: The model in the making.
        x: The name of the input.

    Returns:
        The name of the result.
    """
    erf = b.op("Erf", b.op("Div", x, b.constant(sqrt(2.0))))
    return b.op("Mul", b.op("Mul", x, b.op("Add", erf, b.constant(1.0))), b.constant(0.5))


def gelu_tanh(b: Builder, x: str) -> str:
    """Append the approximate GELU: ``0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.

    Args:
        b: The model in the making.
        x: The name of the input.

    Returns:
        The name of the result.
    """
    half = b.op("Mul", x, b.constant(0.5))
    cube = b.op("Mul", b.op("Pow", x, b.constant(3.0)), b.constant(0.044715))
    inner = b.op("Mul", b.op("Add", x, cube), b.constant(sqrt(2 / pi)))
    return b.op("Mul", half, b.op("Add", b.op("Tanh", inner), b.constant(1.0)))


def heads_shape(b: Builder, dims: Sequence[str | int]) -> str:
    """Append the shape that a Reshape or Expand takes.

    Args:
        b: The model in the making.
        dims: Per dimension a size, or the name of an int64 scalar that holds it.

    Returns:
        The name of an int64 vector: a constant when all sizes are ints, else a Concat.
    """
    if all(isinstance(d, int) for d in dims):
        return b.constant(np.array(dims, np.int64))
    return b.op("Concat", *(b.vector(d) for d in dims), axis=0)
