"""One node of an ONNX operator, drawn at random: operands, attributes, dtypes (`onnx_versions.py`).

A recipe takes (random generator, schema of the version, opset) and gives a draw, or None. What the
version has no attribute for is dropped later, so a recipe speaks for all versions; attributes are
absent at times, legal odd values are drawn (negative axes, windows beyond the edge, bounds that
cross, empty lists). An operator without a recipe gets operands that broadcast and attributes of
every kind; whether that is legal the reference says.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.onnx_recipes.drawing import Draw, Recipe, generic, on_axis
from benchmarks.onnx_recipes.elementwise import (
    arg_reduction,
    clip,
    cum_sum,
    division,
    dropout,
    inert,
    logical,
    mean_variance,
    positive,
    powers,
    prelu,
    reduction,
    shifts,
    shrink,
    where,
    within,
)
from benchmarks.onnx_recipes.images import (
    affine_grid,
    crop_pad,
    grid_sample,
    max_roi_pool,
    resize,
    roi_align,
    suppression,
)
from benchmarks.onnx_recipes.indexing import (
    compress,
    gather,
    gather_nd,
    one_hot,
    scatter,
    scatter_nd,
    slices,
    top_k,
    unique,
)
from benchmarks.onnx_recipes.neural import (
    col2im,
    conv,
    einsum,
    gemm,
    global_pool,
    layer_norm,
    lrn,
    matmul,
    norm,
    pool,
    recurrent,
    unpool,
)
from benchmarks.onnx_recipes.quantised import (
    conv_integer,
    dynamic_quantize,
    qlinear_conv,
    qlinear_matmul,
    quantize,
)
from benchmarks.onnx_recipes.shapes import (
    cast,
    concat,
    constant,
    constant_of_shape,
    depth,
    dft,
    expand,
    eye_like,
    nothing,
    pad,
    ranges,
    reshape,
    shape_of,
    split,
    squeeze,
    tile,
    transpose,
    trilu,
)

__all__ = ["RECIPES", "Draw", "generic"]

RECIPES: Mapping[str, Recipe] = {
    "Acos": within(-1, 1), "Acosh": within(1, 4), "AffineGrid": affine_grid, "And": logical,
    "ArgMax": arg_reduction, "ArgMin": arg_reduction, "Asin": within(-1, 1),
    "Atanh": within(-0.9, 0.9), "AveragePool": pool, "BatchNormalization": norm,
    "BitShift": shifts, "BlackmanWindow": nothing, "Cast": cast, "CastLike": cast,
    "CenterCropPad": crop_pad, "Clip": clip, "Col2Im": col2im, "Compress": compress,
    "Concat": concat, "Constant": constant, "ConstantOfShape": constant_of_shape, "Conv": conv,
    "ConvInteger": conv_integer, "ConvTranspose": conv, "CumProd": cum_sum, "CumSum": cum_sum,
    "DFT": dft, "DepthToSpace": depth, "DequantizeLinear": quantize, "Div": division,
    "Dropout": dropout, "DynamicQuantizeLinear": dynamic_quantize, "Einsum": einsum,
    "Equal": logical, "Expand": expand, "EyeLike": eye_like, "Flatten": on_axis,
    "GRU": recurrent, "Gather": gather, "GatherElements": gather, "GatherND": gather_nd,
    "Gemm": gemm, "GlobalAveragePool": global_pool, "GlobalLpPool": global_pool,
    "GlobalMaxPool": global_pool, "GridSample": grid_sample, "GroupNormalization": norm,
    "HammingWindow": nothing, "HannWindow": nothing, "Hardmax": inert,
    "InstanceNormalization": norm, "LRN": lrn, "LSTM": recurrent,
    "LayerNormalization": layer_norm, "Log": positive, "LogSoftmax": on_axis,
    "LpNormalization": on_axis, "LpPool": pool, "MatMul": matmul, "MatMulInteger": matmul,
    "MaxPool": pool, "MaxRoiPool": max_roi_pool, "MaxUnpool": unpool,
    "MeanVarianceNormalization": mean_variance, "Mod": division,
    "NonMaxSuppression": suppression, "OneHot": one_hot, "Or": logical, "PRelu": prelu,
    "Pad": pad, "Pow": powers, "QLinearConv": qlinear_conv, "QLinearMatMul": qlinear_matmul,
    "QuantizeLinear": quantize, "RMSNormalization": layer_norm, "RNN": recurrent,
    "Range": ranges, "Reciprocal": positive, "ReduceL1": reduction, "ReduceL2": reduction,
    "ReduceLogSum": reduction, "ReduceLogSumExp": reduction, "ReduceMax": reduction,
    "ReduceMean": reduction, "ReduceMin": reduction, "ReduceProd": reduction,
    "ReduceSum": reduction, "ReduceSumSquare": reduction, "Reshape": reshape, "Resize": resize,
    "RoiAlign": roi_align, "Scatter": scatter, "ScatterElements": scatter,
    "ScatterND": scatter_nd, "Shape": shape_of, "Shrink": shrink, "Slice": slices,
    "Softmax": on_axis,
    "SpaceToDepth": depth, "Split": split, "Sqrt": positive, "Squeeze": squeeze, "Tile": tile,
    "TopK": top_k, "Transpose": transpose, "Trilu": trilu, "Unique": unique,
    "Unsqueeze": squeeze,
    "Upsample": resize, "Where": where, "Xor": logical,
}  # fmt: skip
"""Operator → its recipe; the others have the generic one."""
