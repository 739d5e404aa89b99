"""MobileNetV2 1.0 (Sandler et al. 2018), as torch.onnx writes torchvision's: BatchNorm is folded
into the convolutions, ReLU6 is Clip with constant bounds.
"""

from __future__ import annotations

from math import sqrt

import onnx

from byoc.dims import Dim
from byoc.testing.zoo.builder import Builder
from byoc.testing.zoo.calibrate import calibrate
from byoc.testing.zoo.inputs import calibration_inputs

__all__ = ["build_mobilenet_v2"]

# expansion, channels, repeats, stride of the first
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _conv(b: Builder, x: str, c_in: int, c_out: int, k: int, stride: int, groups: int) -> str:
    fan_in = c_in // groups * k * k
    weight = b.normal((c_out, c_in // groups, k, k), sqrt(2.0 / fan_in))
    pad = k // 2
    return b.op(
        "Conv",
        x,
        b.folded("Conv", weight),
        b.folded("Conv", b.normal((c_out,), 0.3)),
        dilations=[1, 1],
        group=groups,
        kernel_shape=[k, k],
        pads=[pad, pad, pad, pad],
        strides=[stride, stride],
    )


def _relu6(b: Builder, x: str) -> str:
    return b.op("Clip", x, b.constant(0.0), b.constant(6.0))


def build_mobilenet_v2(
    *, seed: int = 0, batch: Dim = 1, image: int = 224, classes: int = 1000
) -> onnx.ModelProto:
    """Build MobileNetV2.

    Args:
        seed: Of the weights.
        batch: Size, or name of a symbolic dimension.
        image: Height and width of the input.
        classes: Of the output.

    Returns:
        A model from ``input`` [batch, 3, image, image] to logits ``output`` [batch, classes].

    """
    b = Builder("mobilenet_v2", seed)
    x = b.input("input", (batch, 3, image, image))
    with b.scope("features/features.0"):
        with b.scope("features.0.0"):
            x = _conv(b, x, 3, 32, 3, 2, 1)
        with b.scope("features.0.2"):
            x = _relu6(b, x)
    channels, number = 32, 1
    for expansion, c_out, repeats, first_stride in _BLOCKS:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            with b.scope(f"features/features.{number}"):
                x = _block(b, x, channels, c_out, expansion, stride)
            channels, number = c_out, number + 1
    with b.scope(f"features/features.{number}"):
        with b.scope(f"features.{number}.0"):
            x = _conv(b, x, channels, 1280, 1, 1, 1)
        with b.scope(f"features.{number}.2"):
            x = _relu6(b, x)
    x = b.op("Flatten", b.op("GlobalAveragePool", x), axis=1)
    with b.scope("classifier/classifier.1"):
        weight = b.parameter("weight", b.normal((classes, 1280), sqrt(1 / 1280)))
        bias = b.parameter("bias", b.normal((classes,), 0.1))
        x = b.op("Gemm", x, weight, bias, transB=1)
    b.output(x, "output", (batch, classes))
    model = b.model()
    dims = {batch: 1} if isinstance(batch, str) else {}
    return calibrate(model, calibration_inputs(model, seed, dims), b.rng)


def _block(b: Builder, x: str, c_in: int, c_out: int, expansion: int, stride: int) -> str:
    """Inverted residual: expand, depthwise, project."""
    hidden, y, index = c_in * expansion, x, 0
    with b.scope("conv"):
        if expansion != 1:
            with b.scope("conv.0"):
                with b.scope("conv.0.0"):
                    y = _conv(b, y, c_in, hidden, 1, 1, 1)
                with b.scope("conv.0.2"):
                    y = _relu6(b, y)
            index = 1
        with b.scope(f"conv.{index}"):
            with b.scope(f"conv.{index}.0"):
                y = _conv(b, y, hidden, hidden, 3, stride, hidden)
            with b.scope(f"conv.{index}.2"):
                y = _relu6(b, y)
        with b.scope(f"conv.{index + 1}"):
            y = _conv(b, y, hidden, c_out, 1, 1, 1)
    return b.op("Add", x, y) if stride == 1 and c_in == c_out else y
