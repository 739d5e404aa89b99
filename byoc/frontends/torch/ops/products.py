"""Convolutions and products of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext
from byoc.frontends.torch.ops.helpers import LAYOUTS, batched, each

__all__ = ["PRODUCTS"]

R = relax.op


_CONV = {1: R.nn.conv1d, 2: R.nn.conv2d, 3: R.nn.conv3d}
_TRANSPOSED = {1: R.nn.conv1d_transpose, 2: R.nn.conv2d_transpose, 3: R.nn.conv3d_transpose}


def convolution(
    c: TorchContext,
    /,
    input: Any,  # noqa: A002
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    transposed: bool | None = None,
    output_padding: Any = (0,),
) -> Any:
    if transposed is None:
        transposed = "transpose" in c.node.target.__name__
    rank = weight.ty.ndim - 2
    x, alone = batched(c, input, rank)
    pads = each(padding, rank) * 2
    options = {
        "strides": each(stride, rank), "padding": pads, "dilation": each(dilation, rank),
        "groups": groups, "data_layout": LAYOUTS[rank][0],
    }  # fmt: skip
    if transposed:
        options |= {"output_padding": each(output_padding, rank)}
        layout = LAYOUTS[rank][2]
        result = c.emit(_TRANSPOSED[rank](x, weight, kernel_layout=layout, **options))
    else:
        layout = LAYOUTS[rank][1]
        result = c.emit(_CONV[rank](x, weight, kernel_layout=layout, **options))
    if bias is not None:
        whole = c.emit(R.reshape(bias, [1, c.dims(bias)[0], *[1] * rank]))
        result = c.emit(R.add(result, whole))
    return R.squeeze(result, [0]) if alone else result


def matmul(c: TorchContext, /, self: Any, other: Any = None, mat2: Any = None) -> Any:
    return R.matmul(self, other if other is not None else mat2)


def product(c: TorchContext, /, self: Any, vec: Any = None, tensor: Any = None) -> Any:
    return R.matmul(self, vec if vec is not None else tensor)


def linear(c: TorchContext, /, input: Any, weight: Any, bias: Any) -> Any:  # noqa: A002
    result = R.matmul(input, c.emit(R.permute_dims(weight)))
    return result if bias is None else R.add(c.emit(result), bias)


def addbmm(
    c: TorchContext, /, self: Any, batch1: Any, batch2: Any, beta: float, alpha: float
) -> Any:
    whole = c.emit(R.sum(c.emit(R.matmul(batch1, batch2)), [0]))
    return _weighted(c, self, whole, beta, alpha)


def addmm(
    c: TorchContext,
    /,
    self: Any,
    mat1: Any = None,
    mat2: Any = None,
    beta: float = 1,
    alpha: float = 1,
    batch1: Any = None,
    batch2: Any = None,
) -> Any:
    a, b = (mat1, mat2) if mat1 is not None else (batch1, batch2)
    return _weighted(c, self, c.emit(R.matmul(a, b)), beta, alpha)


def _weighted(c: TorchContext, x: Any, product: Any, beta: float, alpha: float) -> Any:
    """beta · x + alpha · product; with beta 0 what x holds does not matter."""
    if alpha != 1:
        product = c.emit(R.multiply(product, c.const(alpha, c.dtype)))
    if beta == 0:
        return product
    if beta != 1:
        x = c.emit(R.multiply(x, c.const(beta, c.dtype)))
    return R.add(product, x)


def einsum(c: TorchContext, /, equation: str, tensors: Any, path: Any = None) -> Any:
    return R.einsum(list(tensors), equation.replace(" ", ""))


PRODUCTS: Mapping[str, Converter] = {
    "addbmm.default": addbmm,
    "addmm.default": addmm,
    "baddbmm.default": addmm,
    "bmm.default": matmul,
    "conv1d.default": convolution,
    "conv2d.default": convolution,
    "conv3d.default": convolution,
    "conv_transpose1d.default": convolution,
    "conv_transpose2d.input": convolution,
    "conv_transpose3d.input": convolution,
    "convolution.default": convolution,
    "dot.default": product,
    "einsum.default": einsum,
    "linear.default": linear,
    "matmul.default": matmul,
    "mm.default": matmul,
    "mv.default": product,
}
"""ATen operator, as "name.overload" → converter."""
