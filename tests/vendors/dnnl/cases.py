"""One small Relax function per op and form that the vendor takes: name → (build, inputs)."""

import numpy as np
from tvm import relax
from tvm.relax import op as R

_rng = np.random.default_rng(7)


def const(*shape, positive=False, scale=0.5):
    array = _rng.standard_normal(shape) * scale
    return relax.const((np.abs(array) + 0.5 if positive else array).astype("float32"))


def scalar(value):
    return relax.const(np.float32(value))


def index(*values, dtype="int64", shape=None):
    return relax.const(np.array(values, dtype).reshape(shape if shape is not None else -1))


def emit(expr):
    return relax.BlockBuilder.current().emit(expr)


X4 = (2, 8, 7, 9)
X3 = (2, 6, 8)
M = (5, 12)
POSITIVE = lambda x: R.add(R.abs(x), scalar(0.1))  # noqa: E731

CASES = {
    # convolutions
    "conv2d": (lambda x: R.nn.conv2d(x, const(6, 8, 3, 3), padding=(1, 0, 2, 1)), [X4]),
    "conv2d_strides_dilation": (
        lambda x: R.nn.conv2d(x, const(6, 8, 3, 2), strides=(2, 1), dilation=(2, 3), padding=2),
        [X4],
    ),
    "conv2d_groups": (lambda x: R.nn.conv2d(x, const(4, 4, 3, 3), groups=2), [X4]),
    "conv2d_depthwise": (lambda x: R.nn.conv2d(x, const(16, 1, 3, 3), groups=8), [X4]),
    "conv2d_dynamic_weight": (lambda x, w: R.nn.conv2d(x, w, padding=1), [X4, (4, 8, 3, 3)]),
    "conv2d_nhwc_hwio": (
        lambda x: R.nn.conv2d(
            x, const(3, 3, 8, 6), padding=1, data_layout="NHWC", kernel_layout="HWIO"
        ),
        [(1, 7, 9, 8)],
    ),
    "conv1d": (lambda x: R.nn.conv1d(x, const(5, 6, 3), padding=1, strides=2), [X3]),
    "conv3d": (lambda x: R.nn.conv3d(x, const(4, 3, 2, 3, 2), padding=1), [(1, 3, 4, 5, 6)]),
    "conv2d_transpose": (
        lambda x: R.nn.conv2d_transpose(
            x, const(8, 3, 3, 3), strides=(2, 3), padding=(1, 0, 1, 1), output_padding=(1, 2)
        ),
        [(1, 8, 4, 5)],
    ),
    "conv2d_transpose_groups": (
        lambda x: R.nn.conv2d_transpose(x, const(8, 3, 2, 2), strides=(2, 2), groups=2),
        [(1, 8, 4, 5)],
    ),
    "conv1d_transpose": (
        lambda x: R.nn.conv1d_transpose(x, const(6, 4, 3), strides=2, padding=1),
        [X3],
    ),
    "conv_bias_relu": (
        lambda x: R.nn.relu(R.add(R.nn.conv2d(x, const(6, 8, 3, 3)), const(1, 6, 1, 1))),
        [X4],
    ),
    "conv_scale_shift": (
        lambda x: R.add(
            R.divide(R.multiply(R.nn.conv2d(x, const(6, 8, 1, 1)), const(6, 1, 1)), scalar(3)),
            const(1, 6, 1, 1),
        ),
        [X4],
    ),
    "deconv_scale": (
        lambda x: R.multiply(
            R.nn.conv2d_transpose(x, const(8, 3, 2, 2), groups=2), const(1, 6, 1, 1)
        ),
        [X4],
    ),
    "conv_batch_norm": (
        lambda x: emit(
            R.nn.batch_norm(
                emit(R.add(R.nn.conv2d(x, const(6, 8, 1, 1)), const(1, 6, 1, 1))),
                const(6),
                const(6),
                const(6),
                const(6, positive=True),
                axis=1,
                training=False,
            )
        )[0],
        [X4],
    ),
    "pad_conv": (
        lambda x: R.nn.conv2d(
            R.nn.pad(x, (0, 0, 0, 0, 1, 2, 0, 1)), const(6, 8, 3, 3), padding=(0, 1, 0, 1)
        ),
        [X4],
    ),
    "residual": (
        lambda x: R.nn.relu(
            R.add(R.nn.conv2d(x, const(8, 8, 1, 1)), R.nn.conv2d(x, const(8, 8, 3, 3), padding=1))
        ),
        [X4],
    ),
    "conv_pool_flatten": (  # a classifier's head: blocked layout → rows
        lambda x: R.matmul(
            R.reshape(
                emit(
                    R.nn.max_pool2d(
                        emit(R.nn.relu(R.nn.conv2d(x, const(32, 16, 3, 3), padding=1))),
                        (2, 2),
                        strides=(2, 2),
                    )
                ),
                (2, 512),
            ),
            const(512, 4, scale=0.05),
        ),
        [(2, 16, 8, 8)],
    ),
    "channel_shuffle": (  # ShuffleNet: groups are interleaved between grouped convolutions
        lambda x: R.nn.conv2d(
            emit(
                R.reshape(
                    emit(
                        R.permute_dims(
                            emit(
                                R.reshape(
                                    emit(R.nn.conv2d(x, const(32, 8, 1, 1), groups=2)),
                                    (2, 2, 16, 7, 7),
                                )
                            ),
                            [0, 2, 1, 3, 4],
                        )
                    ),
                    (2, 32, 7, 7),
                )
            ),
            const(32, 1, 3, 3),
            groups=32,
        ),
        [(2, 16, 7, 7)],
    ),
    "nhwc_block": (
        lambda x: R.mean(
            R.concat(
                [
                    emit(
                        R.clip(
                            R.add(
                                R.nn.conv2d(
                                    x,
                                    const(1, 1, 8, 6),
                                    data_layout="NHWC",
                                    kernel_layout="HWIO",
                                ),
                                const(6),
                            ),
                            0,
                            6,
                        )
                    ),
                    R.nn.max_pool2d(x, (3, 3), padding=1, layout="NHWC"),
                ],
                axis=3,
            ),
            axis=[1, 2],
        ),
        [(2, 7, 9, 8)],
    ),
    # matrix products
    "matmul": (lambda x: R.matmul(x, const(12, 7)), [M]),
    "matmul_dynamic": (lambda x, y: R.matmul(x, y), [(2, 3, 4, 5), (3, 5, 6)]),
    "matmul_transposed_weight": (
        lambda x: R.add(R.matmul(x, R.permute_dims(const(7, 12))), const(7)),
        [(2, 5, 12)],
    ),
    "matmul_transposed_both": (
        lambda x, y: R.matmul(R.permute_dims(x), R.permute_dims(y, [1, 0])),
        [(5, 4), (6, 5)],
    ),
    "matmul_vectors": (lambda x, y: R.matmul(x, y), [(5,), (5,)]),
    "matmul_vector_left": (lambda x, y: R.matmul(x, y), [(5,), (2, 5, 3)]),
    "matmul_vector_right": (lambda x, y: R.matmul(x, y), [(2, 3, 5), (5,)]),
    "matmul_bias_gelu_residual": (
        lambda x: R.add(x, R.nn.gelu(R.add(R.matmul(x, const(12, 12)), const(12)))),
        [(3, 5, 12)],
    ),
    "matmul_scaled": (lambda x: R.multiply(R.matmul(x, const(12, 7)), const(7)), [M]),
    "sub_from": (lambda x, y: R.subtract(y, R.matmul(x, const(12, 7))), [M, (5, 7)]),
    # attention
    "attention": (
        lambda q, k, v: R.nn.attention(q, k, v),
        [(2, 5, 3, 4), (2, 7, 3, 4), (2, 7, 3, 6)],
    ),
    "attention_bias": (
        lambda q, k, v, b: R.nn.attention(q, k, v, b, scale=0.3),
        [(2, 5, 3, 4), (2, 7, 3, 4), (2, 7, 3, 6), (2, 1, 5, 7)],
    ),
    "attention_causal": (
        lambda q, k: R.nn.attention(q, k, k, causal_mask="BottomRight"),
        [(2, 5, 3, 4), (2, 7, 3, 4)],
    ),
    "attention_causal_square": (
        lambda q: R.nn.attention(q, q, q, causal_mask="TopLeft"),
        [(2, 5, 3, 4)],
    ),
    # pooling
    "max_pool": (
        lambda x: R.nn.max_pool2d(x, (3, 2), strides=(2, 2), padding=(1, 0, 1, 1)),
        [X4],
    ),
    "max_pool_ceil": (
        lambda x: R.nn.max_pool2d(x, (3, 3), strides=(2, 2), ceil_mode=True),
        [(1, 3, 8, 10)],
    ),
    "max_pool_dilated": (lambda x: R.nn.max_pool2d(x, (2, 2), dilation=(2, 3)), [X4]),
    "avg_pool_include": (
        lambda x: R.nn.avg_pool2d(x, (3, 3), padding=1, count_include_pad=True),
        [X4],
    ),
    "avg_pool_exclude": (
        lambda x: R.nn.avg_pool2d(x, (3, 3), strides=(2, 2), padding=1, count_include_pad=False),
        [X4],
    ),
    "avg_pool_exclude_ceil": (
        lambda x: R.nn.avg_pool2d(x, (3, 3), strides=(2, 2), ceil_mode=True),
        [(1, 3, 8, 10)],
    ),
    "avg_pool_include_ceil": (
        lambda x: R.nn.avg_pool2d(
            x, (3, 3), strides=(2, 2), padding=1, ceil_mode=True, count_include_pad=True
        ),
        [(1, 3, 8, 10)],
    ),
    "avg_pool_include_ceil_unpadded": (
        lambda x: R.nn.avg_pool2d(
            x, (3, 3), strides=(2, 2), ceil_mode=True, count_include_pad=True
        ),
        [(1, 3, 8, 10)],
    ),
    "max_pool1d": (lambda x: R.nn.max_pool1d(x, (3,), strides=(2,)), [X3]),
    "avg_pool3d": (lambda x: R.nn.avg_pool3d(x, (2, 2, 2)), [(1, 3, 4, 5, 6)]),
    "max_pool_nhwc": (lambda x: R.nn.max_pool2d(x, (2, 2), layout="NHWC"), [(1, 7, 9, 4)]),
    "adaptive_one": (lambda x: R.nn.adaptive_avg_pool2d(x, (1, 1)), [X4]),
    "adaptive_divides": (lambda x: R.nn.adaptive_avg_pool2d(x, (2, 3)), [(1, 4, 8, 9)]),
    # element-wise
    **{
        name: (lambda x, f=function: f(x), [M])
        for name, function in {
            "abs": R.abs,
            "ceil": R.ceil,
            "cos": R.cos,
            "erf": R.erf,
            "exp": R.exp,
            "floor": R.floor,
            "negative": R.negative,
            "round": R.round,
            "sigmoid": R.sigmoid,
            "sin": R.sin,
            "square": R.square,
            "tanh": R.tanh,
            "relu": R.nn.relu,
            "gelu": R.nn.gelu,
            "gelu_tanh": R.nn.gelu_tanh,
            "silu": R.nn.silu,
            "selu": R.nn.selu,
            "leakyrelu": R.nn.leakyrelu,
            "relu6": R.nn.relu6,
        }.items()
    },
    "sqrt": (lambda x: R.sqrt(POSITIVE(x)), [M]),
    "rsqrt": (lambda x: R.rsqrt(POSITIVE(x)), [M]),
    "clip": (lambda x: R.clip(x, -0.5, 0.75), [M]),
    "clip_low": (lambda x: R.clip(x, 0, 3.4028234663852886e38), [M]),
    "clip_low_odd": (lambda x: R.clip(x, 0.25, float("inf")), [M]),
    "clip_high": (lambda x: R.clip(x, float("-inf"), 0.25), [M]),
    "prelu": (lambda x: R.nn.prelu(x, const(8)), [X4]),
    "prelu_one": (lambda x: R.nn.prelu(x, relax.const(np.array([0.3], "float32")), 3), [X4]),
    "add": (lambda x, y: R.add(x, y), [X4, (8, 1, 1)]),
    "subtract": (lambda x, y: R.subtract(x, y), [(8, 1, 1), X4]),
    "multiply": (lambda x, y: R.multiply(x, y), [M, M]),
    "divide": (lambda x, y: R.divide(x, POSITIVE(y)), [M, (1, 12)]),
    "maximum": (lambda x, y: R.maximum(x, y), [M, (5, 1)]),
    "minimum": (lambda x, y: R.minimum(x, y), [M, (12,)]),
    "power": (lambda x, y: R.power(POSITIVE(x), y), [M, M]),
    "numbers": (
        lambda x: R.subtract(
            scalar(2),
            R.divide(R.multiply(R.subtract(R.add(x, scalar(3)), scalar(1)), scalar(5)), scalar(7)),
        ),
        [M],
    ),
    "number_divided": (lambda x: R.divide(scalar(2), POSITIVE(x)), [M]),
    "rsqrt_spelled": (lambda x: R.divide(scalar(1), R.sqrt(POSITIVE(x))), [M]),
    "power_numbers": (
        lambda x: R.add(R.power(x, scalar(2)), R.power(POSITIVE(x), scalar(0.5))),
        [M],
    ),
    "power_three": (lambda x: R.power(x, scalar(3)), [M]),
    "scalar_widens": (lambda x: R.add(x, relax.const(np.ones((1, 1, 1, 1), "float32"))), [M]),
    "min_max": (lambda x: R.minimum(R.maximum(x, scalar(-0.3)), scalar(0.4)), [M]),
    "max_min": (lambda x: R.maximum(R.minimum(x, scalar(0.4)), scalar(0)), [M]),
    "relu_min": (lambda x: R.minimum(R.nn.relu(x), scalar(0.6)), [M]),
    **{
        name: (lambda x, y, f=function: f(R.round(x), R.round(y)), [M, (12,)])
        for name, function in {
            "equal": R.equal,
            "not_equal": R.not_equal,
            "greater": R.greater,
            "greater_equal": R.greater_equal,
            "less": R.less,
            "less_equal": R.less_equal,
        }.items()
    },
    "where": (lambda c, x, y: R.where(c, x, y), [((5, 1), "bool"), M, (12,)]),
    "cast_int": (lambda x: R.astype(x, "float32"), [(M, "int64")]),
    "cast_bool": (lambda x: R.astype(x, "float32"), [(M, "bool")]),
    "cast_down": (lambda x: R.astype(R.multiply(x, scalar(3)), "int32"), [M]),
    "dropout": (lambda x: R.nn.relu(emit(R.nn.dropout(x))[0]), [M]),
    "dropout_all": (lambda x: (emit(R.nn.dropout(x))[0], x), [M]),
    # norms
    "softmax": (lambda x: R.nn.softmax(x), [X3]),
    "softmax_axis": (lambda x: R.nn.softmax(x, axis=-2), [X3]),
    "log_softmax": (lambda x: R.nn.log_softmax(x, axis=1), [X3]),
    "layer_norm": (lambda x: R.nn.layer_norm(x, const(8), const(8), axes=[-1]), [X3]),
    "layer_norm_two": (
        lambda x: R.nn.layer_norm(x, const(6, 8), const(6, 8), axes=[1, 2], epsilon=1e-3),
        [X3],
    ),
    "layer_norm_plain": (
        lambda x: R.nn.layer_norm(x, const(8), const(8), axes=[2], center=False, scale=False),
        [X3],
    ),
    "rms_norm": (lambda x: R.nn.rms_norm(x, const(8), axes=[-1]), [X3]),
    "group_norm": (lambda x: R.nn.group_norm(x, const(8), const(8), 2, 1, [2, 3]), [X4]),
    "instance_norm": (lambda x: R.nn.instance_norm(x, const(8), const(8), 1, [2, 3]), [X4]),
    "batch_norm": (
        lambda x: emit(
            R.nn.batch_norm(
                x, const(8), const(8), const(8), const(8, positive=True), 1, training=False
            )
        )[0],
        [X4],
    ),
    "batch_norm_last": (
        lambda x: emit(
            R.nn.batch_norm(
                x, const(9), const(9), const(9), const(9, positive=True), -1, training=False
            )
        )[0],
        [X4],
    ),
    # reductions
    "mean": (lambda x: R.mean(x, axis=[2, 3], keepdims=True), [X4]),
    "mean_dropped": (lambda x: R.mean(x, axis=[-1, -2]), [X4]),
    "mean_last": (lambda x: R.mean(x, axis=-1, keepdims=True), [X3]),
    "sum_all": (lambda x: R.sum(x), [X3]),
    "max": (lambda x: R.max(x, axis=[2, 3]), [X4]),
    "min": (lambda x: R.min(x, axis=0), [X3]),
    "prod": (lambda x: R.prod(x, axis=1, keepdims=True), [X3]),
    "variance": (lambda x: R.variance(x, axis=[1]), [X3]),
    "std": (lambda x: R.std(x, axis=[1, 2], keepdims=True), [X3]),
    # resize
    **{
        f"resize_{method}_{mode}_{rounding or 'default'}": (
            lambda x, m=method, c=mode, r=rounding: R.image.resize2d(
                x,
                (11, 5),
                layout="NCHW",
                method=m,
                coordinate_transformation_mode=c,
                rounding_method=r,
            ),
            [X4],
        )
        for method, mode, rounding in [
            ("nearest_neighbor", "half_pixel", "round"),
            ("nearest_neighbor", "half_pixel", "round_prefer_floor"),
            ("nearest_neighbor", "asymmetric", "floor"),
            ("nearest_neighbor", "asymmetric", "ceil"),
            ("nearest_neighbor", "align_corners", "round_prefer_ceil"),
            ("linear", "half_pixel", "round"),
            ("linear", "asymmetric", ""),
            ("linear", "align_corners", "round"),
            ("linear", "pytorch_half_pixel", "round"),
        ]
    },
    # moves
    "reshape": (lambda x: R.reshape(x, (2, -1)), [X4]),
    "reshape_twice": (lambda x: R.nn.relu(R.reshape(emit(R.reshape(x, (16, 63))), (4, 252))), [X4]),
    "flatten": (lambda x: R.flatten(x), [X3]),
    "batch_flatten": (lambda x: R.nn.batch_flatten(x), [X4]),
    "squeeze": (lambda x: R.squeeze(x, [1]), [(2, 1, 3)]),
    "expand_dims": (lambda x: R.expand_dims(x, [0, 2]), [M]),
    "permute": (lambda x: R.permute_dims(x, [2, 0, 1]), [X3]),
    "permute_default": (lambda x: R.permute_dims(x), [X3]),
    "permute_back": (
        lambda x: R.permute_dims(R.nn.relu(R.permute_dims(x, [2, 0, 1])), [1, 2, 0]),
        [X3],
    ),
    "permute_ones": (lambda x: R.permute_dims(x, [1, 0, 2]), [(1, 5, 6)]),
    "permute_binary": (
        lambda x: R.permute_dims(R.add(R.permute_dims(x, [0, 2, 1]), const(6)), [0, 2, 1]),
        [X3],
    ),
    "permute_softmax": (lambda x: R.nn.softmax(R.permute_dims(x, [0, 2, 1]), axis=-1), [X3]),
    "permute_sum": (lambda x: R.sum(R.permute_dims(x, [3, 1, 0, 2]), axis=[1]), [X4]),
    "permute_slice": (
        lambda x: R.strided_slice(R.permute_dims(x, [2, 0, 1]), [0, 2], [1, 2], [7, 6], [2, 1]),
        [X3],
    ),
    "broadcast": (lambda x: R.broadcast_to(x, (4, 5, 12)), [M]),
    "broadcast_add": (lambda x, y: R.add(R.broadcast_to(x, (5, 12)), y), [(1, 12), M]),
    "concat": (lambda x, y: R.concat([x, y, x], axis=-1), [(2, 3), (2, 4)]),
    "stack": (lambda x, y: R.stack([x, y], axis=1), [M, M]),
    "split": (lambda x: (lambda s: [s[0], s[1], s[2]])(emit(R.split(x, 3, axis=1))), [(2, 6)]),
    "split_at": (
        lambda x: (lambda s: R.add(s[0], s[1]))(emit(R.split(x, [3], axis=-1))),
        [(2, 6)],
    ),
    "tile": (lambda x: R.tile(x, (2, 1, 3)), [M]),
    "repeat": (lambda x: R.repeat(x, 3, axis=1), [M]),
    "slice": (lambda x: R.strided_slice(x, [1, -1], [2, -6], [100, -1], [2, 3]), [X4]),
    "slice_all": (lambda x: R.nn.relu(R.strided_slice(x, [0], [0], [100])), [M]),
    "pad": (lambda x: R.nn.pad(x, (0, 0, 1, 2, 0, 1), pad_value=0.5), [X3]),
    "pad_reflect": (lambda x: R.nn.pad(x, (0, 0, 0, 0, 2, 1, 1, 2), pad_mode="reflect"), [X4]),
    "pad_replicate": (lambda x: R.nn.pad(x, (0, 0, 0, 0, 2, 1, 1, 2), pad_mode="replicate"), [X4]),
    "take_rows": (lambda i: R.take(const(9, 4), i, axis=0), [((2, 3), "int64")]),
    "take_const": (lambda x: R.take(x, index(3, 1, 1), axis=1), [X3]),
    "take_one": (lambda x: R.take(x, index(4, shape=()), axis=1), [X3]),
    "take_last": (lambda x: R.take(x, index(5, shape=()), axis=1), [X3]),
    "take_one_kept": (lambda x: R.take(x, index(2), axis=2), [X3]),
    # exits
    "output_is_input": (lambda x: (x, R.nn.relu(x)), [M]),
    "output_twice": (lambda x: (lambda y: (y, y))(emit(R.nn.relu(x))), [M]),
    "output_inner": (lambda x: (lambda y: (R.tanh(y), y))(emit(R.nn.relu(x))), [M]),
}


def _gelu_erf(x):
    gate = R.add(R.erf(R.divide(x, scalar(np.sqrt(2)))), scalar(1))
    return R.multiply(R.multiply(x, gate), scalar(0.5))


def _gelu_erf_front(x):
    half = R.multiply(scalar(0.5), x)
    return R.multiply(half, R.add(scalar(1), R.erf(R.multiply(x, scalar(np.sqrt(0.5))))))


def _gelu_tanh(x):
    cubic = R.add(x, R.multiply(R.power(x, scalar(3)), scalar(0.044715)))
    gate = R.add(R.tanh(R.multiply(cubic, scalar(np.sqrt(2 / np.pi)))), scalar(1))
    return R.multiply(R.multiply(x, scalar(0.5)), gate)


def _gelu_fast(x):
    c = np.sqrt(2 / np.pi)
    cube = R.multiply(R.multiply(x, x), x)
    inner = R.add(R.multiply(scalar(c), x), R.multiply(scalar(0.044715 * c), cube))
    return R.multiply(R.multiply(scalar(0.5), x), R.add(scalar(1), R.tanh(inner)))


def _gelu_factored(x):
    inner = R.multiply(x, R.add(R.multiply(scalar(0.044715), R.square(x)), scalar(1)))
    gate = R.add(R.tanh(R.multiply(inner, scalar(np.sqrt(2 / np.pi)))), scalar(1))
    return R.multiply(scalar(0.5), R.multiply(gate, x))


def _hardswish(x):
    return R.multiply(x, R.divide(R.clip(R.add(x, scalar(3)), 0, 6), scalar(6)))


def _lrn(x, size=5):
    wide = R.expand_dims(R.multiply(x, x), axis=1)
    pad = size // 2
    pool = R.nn.avg_pool3d(
        wide,
        (size, 1, 1),
        strides=(1, 1, 1),
        padding=[pad, 0, 0, pad, 0, 0],
        layout="NCDHW",
        count_include_pad=True,
    )
    mean = R.add(R.multiply(R.squeeze(pool, axis=1), scalar(1e-2)), scalar(2.0))
    return R.divide(x, R.power(mean, scalar(0.75)))


def _elu(x, alpha=0.7):
    below = R.nn.relu(R.subtract(scalar(1), R.exp(x)))
    return R.add(R.multiply(scalar(-alpha), below), R.nn.relu(x))


IDIOMS = {
    "gelu_erf": (_gelu_erf, "gelu_erf"),
    "gelu_erf_front": (_gelu_erf_front, "gelu_erf"),
    "gelu_tanh": (_gelu_tanh, "gelu_tanh"),
    "gelu_fast": (_gelu_fast, "gelu_tanh"),
    "gelu_factored": (_gelu_factored, "gelu_tanh"),
    "silu": (lambda x: R.multiply(R.sigmoid(x), x), "swish"),
    "quick_gelu": (lambda x: R.multiply(x, R.sigmoid(R.multiply(scalar(1.702), x))), "swish"),
    "hardswish": (_hardswish, "hardswish"),
    "hardswish_late": (
        lambda x: R.divide(R.multiply(x, R.clip(R.add(x, scalar(3)), 0, 6)), scalar(6)),
        "hardswish",
    ),
    "hardsigmoid": (
        lambda x: R.clip(R.add(R.multiply(x, scalar(0.2)), scalar(0.5)), 0, 1),
        "hardsigmoid",
    ),
    "hardsigmoid_six": (
        lambda x: R.divide(R.clip(R.add(x, scalar(3)), 0, 6), scalar(6)),
        "hardsigmoid",
    ),
    "elu": (_elu, "elu"),
    "leaky": (lambda x: R.maximum(x, R.multiply(x, scalar(0.1))), "relu"),
    "lrn": (_lrn, "lrn"),
}
"""Name → (build from one [2, 8, 7, 9] input, the eltwise alg or kind that is left)."""
