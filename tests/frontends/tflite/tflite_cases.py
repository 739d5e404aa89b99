"""One operator at a time: (builder, input) → tensors of its results. `x` is [2, 6, 8, 4] in ±2."""

from __future__ import annotations

import numpy as np
from tflite_build import Builder

SHAPE = (2, 6, 8, 4)


def weights(*shape):
    """The same for the same shape: a case is the same model alone and among others."""
    rng = np.random.default_rng(shape)
    return rng.normal(0, 0.5, shape).astype(np.float32)


def unary(code, options="", **values):
    return lambda b, x: b.op(code, [x], [b.tensor(SHAPE)], options, **values)


def positive(code):
    def case(b, x):
        y = b.tensor(SHAPE)
        b.op("EXP", [x], [y])
        return b.op(code, [y], [b.tensor(SHAPE)])

    return case


def binary(code, other, options="", out=SHAPE, dtype="float32", **values):
    return lambda b, x: b.op(code, [x, b.const(other)], [b.tensor(out, dtype)], options, **values)


def conv(kernel, stride=1, dilation=1, padding=0, act=0, count=6, fed=4):
    def case(b, x):
        size = [out_size(s, kernel, stride, dilation, padding) for s in SHAPE[1:3]]
        w = b.const(weights(count, kernel, kernel, fed))
        bias = b.const(weights(count))
        return b.op(
            "CONV_2D", [x, w, bias], [b.tensor((2, *size, count))], "Conv2DOptions",
            padding=padding, strideH=stride, strideW=stride, dilationHFactor=dilation,
            dilationWFactor=dilation, fusedActivationFunction=act,
        )  # fmt: skip

    return case


def out_size(size, kernel, stride, dilation, padding):
    extent = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == 0 else (size - extent) // stride + 1


def depthwise(kernel, multiplier, stride=1, act=0):
    def case(b, x):
        size = [out_size(s, kernel, stride, 1, 0) for s in SHAPE[1:3]]
        count = 4 * multiplier
        w, bias = b.const(weights(1, kernel, kernel, count)), b.const(weights(count))
        return b.op(
            "DEPTHWISE_CONV_2D", [x, w, bias], [b.tensor((2, *size, count))],
            "DepthwiseConv2DOptions", strideH=stride, strideW=stride,
            depthMultiplier=multiplier, fusedActivationFunction=act,
            dilationHFactor=1, dilationWFactor=1,
        )  # fmt: skip

    return case


def transposed(stride, padding, out, kernel=3):
    def case(b, x):
        shape = (2, *out, 5)
        w = b.const(weights(5, kernel, kernel, 4))
        return b.op(
            "TRANSPOSE_CONV", [b.const(np.array(shape, np.int32)), w, x], [b.tensor(shape)],
            "TransposeConvOptions", padding=padding, strideH=stride, strideW=stride,
        )  # fmt: skip

    return case


def dense(keep, bias=True, act=0):
    def case(b, x):
        w, c = b.const(weights(7, 4)), b.const(weights(7))
        shape = (2, 6, 8, 7) if keep else (96, 7)
        return b.op(
            "FULLY_CONNECTED", [x, w, c if bias else -1], [b.tensor(shape)],
            "FullyConnectedOptions", keepNumDims=keep, fusedActivationFunction=act,
        )  # fmt: skip

    return case


def batch_matmul(adj_x, adj_y):
    def case(b, x):
        w = b.const(weights(6, 4, 5) if not adj_y else weights(6, 5, 4))
        if adj_x:
            w = b.const(weights(6, 8, 5) if not adj_y else weights(6, 5, 8))
        out = b.tensor((2, 6, 4 if adj_x else 8, 5))
        return b.op("BATCH_MATMUL", [x, w], [out], "BatchMatMulOptions", adjX=adj_x, adjY=adj_y)

    return case


def pool(code, kernel, stride, padding, act=0):
    def case(b, x):
        size = [out_size(s, kernel, stride, 1, padding) for s in SHAPE[1:3]]
        return b.op(
            code, [x], [b.tensor((2, *size, 4))], "Pool2DOptions", padding=padding, strideH=stride,
            strideW=stride, filterHeight=kernel, filterWidth=kernel, fusedActivationFunction=act,
        )  # fmt: skip

    return case


def resize(code, size, **values):
    options = "ResizeBilinearOptions" if "BILINEAR" in code else "ResizeNearestNeighborOptions"
    return lambda b, x: b.op(
        code, [x, b.const(np.array(size, np.int32))], [b.tensor((2, *size, 4))], options, **values
    )


def reduce(code, axes, out, keep=False):
    return lambda b, x: b.op(
        code, [x, b.const(np.array(axes, np.int32))], [b.tensor(out)], "ReducerOptions",
        keepDims=keep,
    )  # fmt: skip


def with_ints(code, out, *ints, options="", dtype="float32", **values):
    """An operator with constant integer inputs behind x."""
    return lambda b, x: b.op(
        code, [x, *(b.const(np.array(i, np.int32)) for i in ints)], [b.tensor(out, dtype)],
        options, **values,
    )  # fmt: skip


def strided(begin, end, step, out, **masks):
    return with_ints("STRIDED_SLICE", out, begin, end, step, options="StridedSliceOptions", **masks)


def split(axis, count):
    def case(b, x):
        shape = list(SHAPE)
        shape[axis] //= count
        outs = [b.tensor(tuple(shape)) for _ in range(count)]
        a = b.const(np.array(axis, np.int32))
        return b.op("SPLIT", [a, x], outs, "SplitOptions", numSplits=count)

    return case


def split_v(b, x):
    outs = [b.tensor((2, 6, 8, n)) for n in (1, 3)]
    sizes, axis = b.const(np.array([1, -1], np.int32)), b.const(np.array(3, np.int32))
    return b.op("SPLIT_V", [x, sizes, axis], outs, "SplitVOptions", numSplits=2)


def unpack(b, x):
    outs = [b.tensor((2, 8, 4)) for _ in range(6)]
    return b.op("UNPACK", [x], outs, "UnpackOptions", num=6, axis=1)


def pack(b, x):
    other = b.const(weights(*SHAPE))
    return b.op(
        "PACK", [x, other], [b.tensor((2, 6, 2, 8, 4))], "PackOptions", valuesCount=2, axis=2
    )


def concat(b, x):
    other = b.const(weights(2, 6, 8, 3))
    return b.op(
        "CONCATENATION", [x, other, x], [b.tensor((2, 6, 8, 11))], "ConcatenationOptions", axis=3
    )


def pad_value(b, x):
    widths = b.const(np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32))
    value = b.const(np.array(1.5, np.float32))
    return b.op("PADV2", [x, widths, value], [b.tensor((2, 9, 11, 4))])


def select(b, x):
    mask = b.tensor(SHAPE, "bool")
    b.op("GREATER", [x, b.const(np.array(0.3, np.float32))], [mask])
    return b.op("SELECT_V2", [mask, x, b.const(weights(4))], [b.tensor(SHAPE)])


def rows(b, x):
    """SELECT by a vector of conditions."""
    mask = b.const(np.array([True, False]))
    return b.op("SELECT", [mask, x, b.const(weights(*SHAPE))], [b.tensor(SHAPE)])


def logic(b, x):
    low, high, both, none, one = (b.tensor(SHAPE, "bool") for _ in range(5))
    b.op("GREATER", [x, b.const(np.array(-0.5, np.float32))], [low])
    b.op("LESS_EQUAL", [x, b.const(np.array(0.5, np.float32))], [high])
    b.op("LOGICAL_AND", [low, high], [both])
    b.op("LOGICAL_OR", [low, high], [one])
    b.op("LOGICAL_NOT", [both], [none])
    some, every = b.tensor((2, 6), "bool"), b.tensor((2, 6, 1, 1), "bool")
    axes = b.const(np.array([2, 3], np.int32))
    b.op("REDUCE_ANY", [both, axes], [some], "ReducerOptions")
    b.op("REDUCE_ALL", [none, axes], [every], "ReducerOptions", keepDims=True)
    return [both, one, none, some, every]


def integers(b, x):
    whole = b.tensor(SHAPE, "int32")
    big = b.tensor(SHAPE)
    b.op("MUL", [x, b.const(np.array(9, np.float32))], [big], "MulOptions")
    b.op("CAST", [big], [whole], "CastOptions", inDataType=0, outDataType=2)
    three, found = b.const(np.array(3, np.int32)), [whole]
    for code in ("FLOOR_DIV", "FLOOR_MOD", "MAXIMUM"):
        found += b.op(code, [whole, three], [b.tensor(SHAPE, "int32")])
    found += b.op("ADD", [whole, three], [b.tensor(SHAPE, "int32")], "AddOptions")
    for code in ("BITWISE_XOR", "RIGHT_SHIFT"):
        found += b.op(code, [whole, b.const(np.array([1], np.int32))], [b.tensor(SHAPE, "int32")])
    found += b.op("DIV", [whole, three], [b.tensor(SHAPE, "int32")], "DivOptions")
    return found


def shape_chain(b, x):
    """SHAPE → STRIDED_SLICE → PACK → RESHAPE, as Keras writes a flatten."""
    dims, first = b.tensor((4,), "int32"), b.tensor((), "int32")
    b.op("SHAPE", [x], [dims], "ShapeOptions", outType=2)
    ends = [b.const(np.array([v], np.int32)) for v in (0, 1, 1)]
    b.op("STRIDED_SLICE", [dims, *ends], [first], "StridedSliceOptions", shrinkAxisMask=1)
    wanted = b.tensor((2,), "int32")
    rest = b.const(np.array(-1, np.int32))
    b.op("PACK", [first, rest], [wanted], "PackOptions", valuesCount=2)
    return b.op("RESHAPE", [x, wanted], [b.tensor((2, 192))])


def lookup(b, x):
    table, rows_ = b.const(weights(9, 5)), b.const(np.array([3, 0, 8], np.int32))
    return b.op("EMBEDDING_LOOKUP", [rows_, table], [b.tensor((3, 5))]) + b.op(
        "GATHER", [x, b.const(np.array([[2, 0], [1, 3]], np.int32))], [b.tensor((2, 6, 8, 2, 2))],
        "GatherOptions", axis=3,
    )  # fmt: skip


def one_hot(b, x):
    index = b.const(np.array([0, 2, 5], np.int32))
    depth, on, off = (b.const(np.array(v, t)) for v, t in ((4, "int32"), (2, "f4"), (-1, "f4")))
    return b.op("ONE_HOT", [index, depth, on, off], [b.tensor((3, 4))], "OneHotOptions", axis=-1)


def topk(b, x):
    outs = [b.tensor((2, 6, 8, 2)), b.tensor((2, 6, 8, 2), "int32")]
    return b.op("TOPK_V2", [x, b.const(np.array(2, np.int32))], outs)


def half(b, x):
    """float16 weights, as the converter stores them."""
    w16 = b.const(weights(6, 3, 3, 4).astype(np.float16))
    w = b.tensor((6, 3, 3, 4))
    b.op("DEQUANTIZE", [w16], [w])
    bias = b.const(weights(6))
    return b.op(
        "CONV_2D", [x, w, bias], [b.tensor((2, 6, 8, 6))], "Conv2DOptions", strideH=1, strideW=1
    )


def blocks(b, x):
    small = b.tensor((12, 3, 4, 4))
    size, pads = b.const(np.array([2, 3], np.int32)), b.const(np.array([[0, 0], [1, 3]], np.int32))
    b.op("SPACE_TO_BATCH_ND", [x, size, pads], [small])
    crops = b.const(np.array([[0, 1], [1, 3]], np.int32))
    return [small, *b.op("BATCH_TO_SPACE_ND", [small, size, crops], [b.tensor((2, 5, 8, 4))])]


def made(b, x):
    fill = b.op(
        "FILL", [b.const(np.array([2, 3], np.int32)), b.const(np.array(1.5, np.float32))],
        [b.tensor((2, 3))],
    )  # fmt: skip
    rank = b.op("RANK", [x], [b.tensor((), "int32")])
    zeros = b.op("ZEROS_LIKE", [x], [b.tensor(SHAPE)])
    ends = [b.const(np.array(v, np.int32)) for v in (9, 1, -3)]
    steps = b.op("RANGE", ends, [b.tensor((3,), "int32")], "RangeOptions")
    return fill + rank + zeros + steps


def gather_nd(b, x):
    index = b.const(np.array([[0, 5], [1, 2], [1, 0]], np.int32))
    return b.op("GATHER_ND", [x, index], [b.tensor((3, 8, 4))])


def residual(b, x):
    """Two convolutions and their sum, gated by channel: all transposes but two cancel."""
    w = [b.const(weights(4, 3, 3, 4)) for _ in range(2)]
    values = []
    for each in w:
        values += b.op(
            "CONV_2D", [x, each, b.const(weights(4))], [b.tensor(SHAPE)], "Conv2DOptions",
            strideH=1, strideW=1, fusedActivationFunction=1,
        )  # fmt: skip
    (total,) = b.op("ADD", values, [b.tensor(SHAPE)], "AddOptions")
    (mean,) = b.op(
        "MEAN", [total, b.const(np.array([1, 2], np.int32))], [b.tensor((2, 1, 1, 4))],
        "ReducerOptions", keepDims=True,
    )  # fmt: skip
    (gate,) = b.op("LOGISTIC", [mean], [b.tensor((2, 1, 1, 4))])
    return b.op("MUL", [total, gate], [b.tensor(SHAPE)], "MulOptions")


def mixed(b, x):
    """Sums of transposed values with values that are not: transposes must not chase each other."""
    w = b.const(weights(4, 3, 3, 4))
    (y,) = b.op(
        "CONV_2D", [x, w, b.const(weights(4))], [b.tensor(SHAPE)], "Conv2DOptions",
        strideH=1, strideW=1,
    )  # fmt: skip
    (y,) = b.op("SUB", [x, y], [b.tensor(SHAPE)], "SubOptions")
    rows = {"a": [12, 8, 4], "b": [12, 4, 8]}
    (r,) = b.op("RESHAPE", [y, b.const(np.array(rows["a"], np.int32))], [b.tensor((12, 8, 4))])
    axes = b.const(np.array([0, 2, 1], np.int32))
    (r,) = b.op("TRANSPOSE", [r, axes], [b.tensor((12, 4, 8))])
    (z,) = b.op("RESHAPE", [x, b.const(np.array(rows["b"], np.int32))], [b.tensor((12, 4, 8))])
    return [y, *b.op("MAXIMUM", [r, z], [b.tensor((12, 4, 8))])]


def scatter(b, x):
    index, update = np.array([[0], [2], [0]], np.int32), weights(3, 4)
    shape = b.const(np.array([4, 4], np.int32))
    return b.op("SCATTER_ND", [b.const(index), b.const(update), shape], [b.tensor((4, 4))])


def segments(b, x):
    ids = b.const(np.array([0, 1], np.int32))
    return b.op("SEGMENT_SUM", [x, ids], [b.tensor(SHAPE)])


def reverse_sequence(b, x):
    lengths = b.const(np.array([3, 6], np.int32))
    return b.op(
        "REVERSE_SEQUENCE", [x, lengths], [b.tensor(SHAPE)], "ReverseSequenceOptions",
        seqDim=1, batchDim=0,
    )  # fmt: skip


def diagonal(b, x):
    (wide,) = b.op("MATRIX_DIAG", [x], [b.tensor((*SHAPE, 4))])
    return [wide, *b.op("MATRIX_SET_DIAG", [wide, x], [b.tensor((*SHAPE, 4))])]


def conv3d(b, x):
    wanted = b.const(np.array([2, 2, 3, 8, 4], np.int32))
    (y,) = b.op("RESHAPE", [x, wanted], [b.tensor((2, 2, 3, 8, 4))])
    w, bias = b.const(weights(2, 2, 2, 4, 3)), b.const(weights(3))
    return b.op(
        "CONV_3D", [y, w, bias], [b.tensor((2, 2, 3, 8, 3))], "Conv3DOptions", strideD=1,
        strideH=1, strideW=1, dilationDFactor=1, dilationHFactor=1, dilationWFactor=1,
    )  # fmt: skip


def position(code):
    return lambda b, x: b.op(
        code, [x, b.const(np.array(3, np.int32))], [b.tensor((2, 6, 8), "int32")],
        code.title().replace("_", "") + "Options", outputType=2,
    )  # fmt: skip


CASES = {
    "abs": unary("ABS"),
    "add": binary("ADD", weights(4), "AddOptions"),
    "add_relu6": binary("ADD", weights(8, 1), "AddOptions", fusedActivationFunction=3),
    "add_n": lambda b, x: b.op("ADD_N", [x, x, x], [b.tensor(SHAPE)]),
    "arg_max": position("ARG_MAX"),
    "arg_min": position("ARG_MIN"),
    "atan2": binary("ATAN2", weights(*SHAPE)),
    "average_pool": pool("AVERAGE_POOL_2D", 3, 2, 0),
    "average_pool_valid": pool("AVERAGE_POOL_2D", 2, 1, 1, act=1),
    "batch_matmul": batch_matmul(False, False),
    "batch_matmul_adjoint": batch_matmul(True, True),
    "blocks": blocks,
    "broadcast_to": lambda b, x: b.op(
        "BROADCAST_TO", [x, b.const(np.array([3, 2, 6, 8, 4], np.int32))],
        [b.tensor((3, 2, 6, 8, 4))], version=2,
    ),
    "ceil": unary("CEIL"),
    "concatenation": concat,
    "conv": conv(3),
    "conv_pointwise": conv(1, act=1),
    "conv_strided": conv(3, stride=2, act=3),
    "conv_dilated": conv(3, dilation=2, padding=1),
    "conv_grouped": conv(3, count=6, fed=2),
    "conv_3d": conv3d,
    "cos": unary("COS"),
    "cumsum": with_ints("CUMSUM", SHAPE, 1, options="CumsumOptions"),
    "cumsum_back": with_ints(
        "CUMSUM", SHAPE, 2, options="CumsumOptions", exclusive=True, reverse=True
    ),
    "depth_to_space": lambda b, x: b.op(
        "DEPTH_TO_SPACE", [x], [b.tensor((2, 12, 16, 1))], "DepthToSpaceOptions", blockSize=2
    ),
    "depthwise": depthwise(3, 1, act=3),
    "depthwise_multiplied": depthwise(3, 3, stride=2),
    "diagonal": diagonal,
    "divide": binary("DIV", weights(4) + 4, "DivOptions"),
    "elu": unary("ELU"),
    "exp": unary("EXP"),
    "expand_dims": with_ints("EXPAND_DIMS", (2, 6, 1, 8, 4), 2),
    "floor": unary("FLOOR"),
    "fully_connected": dense(False, act=1),
    "fully_connected_kept": dense(True, bias=False),
    "gather_nd": gather_nd,
    "gelu": unary("GELU", "GeluOptions", approximate=False),
    "gelu_tanh": unary("GELU", "GeluOptions", approximate=True),
    "half": half,
    "hard_swish": unary("HARD_SWISH"),
    "integers": integers,
    "l2_normalization": unary("L2_NORMALIZATION", "L2NormOptions"),
    "l2_pool": pool("L2_POOL_2D", 2, 2, 0),
    "leaky_relu": unary("LEAKY_RELU", "LeakyReluOptions", alpha=0.2),
    "local_response": unary(
        "LOCAL_RESPONSE_NORMALIZATION", "LocalResponseNormalizationOptions", radius=1, bias=1.0,
        alpha=0.3, beta=0.5,
    ),
    "log": positive("LOG"),
    "log_softmax": unary("LOG_SOFTMAX"),
    "logic": logic,
    "logistic": unary("LOGISTIC"),
    "lookup": lookup,
    "made": made,
    "max_pool": pool("MAX_POOL_2D", 3, 2, 0, act=3),
    "maximum": binary("MAXIMUM", weights(4)),
    "mean": reduce("MEAN", [1, 2], (2, 4)),
    "mean_kept": reduce("MEAN", [-1], (2, 6, 8, 1), keep=True),
    "minimum": binary("MINIMUM", weights(1)),
    "mirror_pad": with_ints(
        "MIRROR_PAD", (2, 9, 8, 4), [[0, 0], [1, 2], [0, 0], [0, 0]], options="MirrorPadOptions"
    ),
    "mirror_pad_edge": with_ints(
        "MIRROR_PAD", (2, 6, 12, 4), [[0, 0], [0, 0], [2, 2], [0, 0]], options="MirrorPadOptions",
        mode=1,
    ),
    "mixed": mixed,
    "multiply": binary("MUL", weights(6, 1, 4), "MulOptions"),
    "negative": unary("NEG"),
    "one_hot": one_hot,
    "pack": pack,
    "pad": with_ints("PAD", (2, 7, 11, 4), [[0, 0], [0, 1], [1, 2], [0, 0]]),
    "pad_value": pad_value,
    "power": lambda b, x: b.op(
        "POW", [*b.op("EXP", [x], [b.tensor(SHAPE)]), b.const(weights(4))], [b.tensor(SHAPE)]
    ),
    "prelu": binary("PRELU", weights(1, 1, 4)),
    "reduce_max": reduce("REDUCE_MAX", [2], (2, 6, 4)),
    "reduce_min": reduce("REDUCE_MIN", [0, 3], (6, 8)),
    "reduce_prod": reduce("REDUCE_PROD", [3], SHAPE[:3]),
    "relu": unary("RELU"),
    "relu6": unary("RELU6"),
    "relu_0_to_1": unary("RELU_0_TO_1"),
    "relu_n1_to_1": unary("RELU_N1_TO_1"),
    "reshape": with_ints("RESHAPE", (8, 48), [8, -1]),
    "reshape_chain": shape_chain,
    "residual": residual,
    "resize": resize("RESIZE_BILINEAR", (11, 5)),
    "resize_corners": resize("RESIZE_BILINEAR", (12, 16), alignCorners=True),
    "resize_half": resize("RESIZE_BILINEAR", (3, 20), halfPixelCenters=True),
    "resize_nearest": resize("RESIZE_NEAREST_NEIGHBOR", (9, 5)),
    "resize_nearest_half": resize("RESIZE_NEAREST_NEIGHBOR", (9, 20), halfPixelCenters=True),
    "resize_nearest_corners": resize("RESIZE_NEAREST_NEIGHBOR", (11, 5), alignCorners=True),
    "reverse": with_ints("REVERSE_V2", SHAPE, [2]),
    "reverse_sequence": reverse_sequence,
    "round": unary("ROUND"),
    "rows": rows,
    "rsqrt": positive("RSQRT"),
    "scatter": scatter,
    "segments": segments,
    "select": select,
    "sign": unary("SIGN"),
    "sin": unary("SIN"),
    "slice": with_ints("SLICE", (1, 3, 8, 2), [1, 2, 0, 2], [1, 3, -1, 2]),
    "softmax": unary("SOFTMAX", "SoftmaxOptions", beta=1.0),
    "softmax_beta": unary("SOFTMAX", "SoftmaxOptions", beta=0.5),
    "space_to_depth": lambda b, x: b.op(
        "SPACE_TO_DEPTH", [x], [b.tensor((2, 3, 4, 16))], "SpaceToDepthOptions", blockSize=2
    ),
    "split": split(3, 2),
    "split_v": split_v,
    "sqrt": positive("SQRT"),
    "square": unary("SQUARE"),
    "squared_difference": binary("SQUARED_DIFFERENCE", weights(4)),
    "squeeze": lambda b, x: b.op(
        "SQUEEZE", b.op("EXPAND_DIMS", [x, b.const(np.array(1, np.int32))],
        [b.tensor((2, 1, 6, 8, 4))]), [b.tensor(SHAPE)], "SqueezeOptions", squeezeDims=[1],
    ),
    "strided_slice": strided([0, 4, 0, 1], [2, 0, 8, 4], [1, -2, 3, 1], (2, 2, 3, 3)),
    "strided_slice_back": strided(
        [0, -1, 0, 0], [0, 0, 0, 0], [1, -1, 2, 1], (2, 6, 4, 4), beginMask=13, endMask=15
    ),
    "strided_slice_shrunk": strided(
        [1, 0, -1], [2, 0, 0], [1, 1, 1], (1, 6, 8), ellipsisMask=2, shrinkAxisMask=4
    ),
    "strided_slice_new": strided(
        [0, 0, 1], [0, 0, 3], [1, 1, 1], (2, 1, 2, 8, 4), newAxisMask=2, beginMask=1, endMask=1
    ),
    "subtract": binary("SUB", weights(8, 4), "SubOptions"),
    "sum": reduce("SUM", [3, 1], (2, 8)),
    "tanh": unary("TANH"),
    "tile": with_ints("TILE", (2, 12, 8, 12), [1, 2, 1, 3]),
    "topk": topk,
    "transpose": with_ints("TRANSPOSE", (4, 2, 8, 6), [3, 0, 2, 1]),
    "transpose_conv": transposed(2, 0, (12, 16)),
    "transpose_conv_valid": transposed(2, 1, (13, 17)),
    "transpose_conv_gap": transposed(3, 0, (18, 24), kernel=2),
    "unpack": unpack,
}  # fmt: skip
COMPARISONS = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL")
CASES |= {
    code.lower(): binary(code, weights(*SHAPE), dtype="bool", out=SHAPE) for code in COMPARISONS
}


def build(names):
    """A model of several cases: (bytes, name → numbers of its outputs)."""
    b = Builder()
    x = b.input(SHAPE, name="x")
    where = {}
    for name in names:
        outs = list(CASES[name](b, x))
        where[name] = range(len(b.outputs), len(b.outputs) + len(outs))
        b.outputs += outs
    return b.build(), where


def codes(name):
    """The operators in a case."""
    b = Builder()
    CASES[name](b, b.input(SHAPE))
    return {b.names[o.opcodeIndex] for o in b.operators}
