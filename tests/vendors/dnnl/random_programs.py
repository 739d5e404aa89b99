"""Random programs: every op meets every layout, values die or live on, windows nest."""

import numpy as np
from native_programs import Writer, binary, relu


def _maps(w, rng, x):
    """One random op on a feature map, or on two of them."""
    n, c, h, wd = w.shape(x)
    channels = int(rng.choice([3, 8, 16, 20, 32, 48]))
    choice = rng.integers(16)
    if choice <= 3:
        return w.conv(x, channels, kernel=int(rng.choice([1, 3])), post=[relu()][: rng.integers(2)])
    if choice == 4:
        return w.conv(x, c, groups=c)
    if choice == 5 and c % 4 == 0:
        return w.conv(x, c, kernel=1, groups=4)
    if choice == 6 and min(h, wd) > 2:
        alg = str(rng.choice(["max", "avg_include_pad", "avg_exclude_pad"]))
        return w.op(
            "pooling", [x], [n, c, (h - 1) // 2 + 1, (wd - 1) // 2 + 1], alg=alg, kernel=[3, 3],
            strides=[2, 2], dilations=[1, 1], pads_begin=[1, 1], pads_end=[1, 1],
        )  # fmt: skip
    if choice == 7:
        return w.eltwise(x, str(rng.choice(["tanh", "erf", "cos", "logistic", "abs"])))
    if choice == 8:
        alg = str(rng.choice(["add", "mul", "sub"]))
        per_channel = w.weight(1, c, 1, 1)
        return w.op("binary", [x, per_channel], w.shape(x), [binary("add", per_channel), relu()],
                    alg=alg)  # fmt: skip
    if choice == 9:
        stats = [w.positive(c), w.weight(c), w.weight(c), w.positive(c)]
        return w.op("batch_norm", [x, *stats], w.shape(x), [relu()], eps=1e-5)
    if choice == 10:
        groups = int(rng.choice([g for g in (1, 2, 4, c) if c % g == 0]))
        scale, shift = w.positive(c), w.weight(c)
        # A channel that relu left almost constant is magnified by 1 / sqrt(eps), and with it the
        # rounding of its mean, which no judge can tell from an error: at most tenfold here. A usual
        # eps is tried on usual data among the cases.
        return w.op("group_norm", [x, scale, shift], w.shape(x), groups=groups, eps=1e-2)
    if choice == 11 and h * wd < 200:
        alg, coordinate = rng.choice([["nearest", "asymmetric"], ["linear", "half_pixel"]])
        return w.op("resize", [x], [n, c, h * 2, wd * 2], alg=str(alg), rounding="floor",
                    coordinate=str(coordinate))  # fmt: skip
    if choice == 12 and h * wd < 200:
        return w.op("pad", [x], [n, c, h + 2, wd + 1], pads_begin=[0, 0, 1, 0], value=0.0,
                    pads_end=[0, 0, 1, 1], mode="constant")  # fmt: skip
    if choice == 13:
        return w.op("lrn", [x], w.shape(x), size=5, alpha=1e-2, beta=0.75, k=1.0)
    if choice == 14 and c % 2 == 0:  # a channel shuffle
        five = w.op("reshape", [x], [n, 2, c // 2, h, wd])
        swapped = w.op("transpose", [five], [n, c // 2, 2, h, wd], axes=[0, 2, 1, 3, 4])
        return w.op("reshape", [swapped], [n, c, h, wd])
    if choice == 15 and c > 1:
        low = int(rng.integers(1, c))
        return w.split(x, [low, c - low], 1)[int(rng.integers(2))]
    return w.eltwise(x, "relu")


def _join(w, rng, a, b):
    """Two maps of one size into one: concat, residual add, or a gate."""
    (n, c, h, wd), (_, d, _, _) = w.shape(a), w.shape(b)
    if c != d or rng.random() < 0.5:
        return w.op("concat", [a, b], [n, c + d, h, wd], axis=1)
    kind = rng.integers(3)
    if kind == 0:
        return w.conv(a, c, post=[binary("add", b), relu()])
    if kind == 1:
        return w.op("binary", [a, b], w.shape(a), [relu()], alg=str(rng.choice(["add", "mul"])))
    pooled = w.op("global_pooling", [b], [n, c, 1, 1], alg="avg")
    gate = w.conv(pooled, c, kernel=1, post=[{"post": "eltwise", "alg": "logistic", "alpha": 0.0,
                                              "beta": 0.0}])  # fmt: skip
    return w.op("binary", [a, gate], w.shape(a), alg="mul")


def convolutions(seed):
    """A graph of ops on feature maps."""
    rng = np.random.default_rng(seed)
    w = Writer(seed)
    maps = [w.input(int(rng.integers(1, 3)), int(rng.choice([3, 16])), 9, 8)]
    for _ in range(10):
        x = maps[int(rng.integers(max(0, len(maps) - 3), len(maps)))]
        maps.append(_maps(w, rng, x))
        alike = [m for m in maps if w.shape(m)[2:] == w.shape(maps[-1])[2:]]
        if len(alike) > 1 and rng.random() < 0.5:
            maps.append(_join(w, rng, alike[-1], alike[int(rng.integers(len(alike)))]))
    shape = w.shape(maps[-1])
    pooled = w.op("global_pooling", [maps[-1]], [*shape[:2], 1, 1], alg="avg")
    flat = w.op("reshape", [pooled], shape[:2])
    outputs = dict.fromkeys([flat, maps[-1], maps[int(rng.integers(1, len(maps)))]])
    return w.finish(*outputs)


def _rows(w, rng, x):
    """One random op on [..., rows, columns]."""
    shape = w.shape(x)
    columns = shape[-1]
    choice = rng.integers(10)
    if choice <= 2:
        width = int(rng.choice([4, 16, 24]))
        weight = w.weight(width, columns) if choice else w.weight(columns, width)
        post = [{"post": "eltwise", "alg": "gelu_erf", "alpha": 0.0, "beta": 0.0}]
        return w.op("matmul", [x, weight, w.weight(*[1] * (len(shape) - 1), width)],
                    [*shape[:-1], width], post[: rng.integers(2)], transpose_a=False,
                    transpose_b=bool(choice))  # fmt: skip
    if choice == 3:
        axes = [int(a) for a in rng.permutation(len(shape))]
        return w.op("transpose", [x], [shape[a] for a in axes], axes=axes)
    if choice == 4:
        if columns % 4 == 0 and len(shape) < 5:
            return w.op("reshape", [x], [*shape[:-1], 4, columns // 4])
        if len(shape) == 2:
            return w.op("reshape", [x], [1, *shape])
        return w.op("reshape", [x], [shape[0] * shape[1], *shape[2:]])
    if choice == 5:
        axis = int(rng.integers(len(shape)))
        begin, step = int(rng.integers(shape[axis])), int(rng.integers(1, 3))
        size = (shape[axis] - begin + step - 1) // step
        end = [*shape[:axis], begin + (size - 1) * step + 1, *shape[axis + 1 :]]
        starts = [begin if d == axis else 0 for d in range(len(shape))]
        strides = [step if d == axis else 1 for d in range(len(shape))]
        return w.op("slice", [x], [*shape[:axis], size, *shape[axis + 1 :]], begin=starts, end=end,
                    strides=strides)  # fmt: skip
    if choice == 6:
        return w.op("softmax", [x], shape, axis=int(rng.integers(len(shape))), log=False)
    if choice == 7:
        return w.op("layer_norm", [x, w.positive(columns), w.weight(columns)], shape,
                    axes=[len(shape) - 1], eps=1e-5)  # fmt: skip
    if choice == 8:
        axis = int(rng.integers(len(shape)))
        alg = str(rng.choice(["sum", "mean", "max", "l2"]))
        kept = [1 if d == axis else n for d, n in enumerate(shape)]
        reduced = w.op("reduction", [x], kept, alg=alg, axes=[axis])
        return w.op("binary", [x, reduced], shape, alg="sub")
    return w.eltwise(w.op("binary", [x, x], shape, alg="mul"), "tanh")


def products(seed):
    """A graph of matrix products, moves, norms and reductions."""
    rng = np.random.default_rng(100 + seed)
    w = Writer(seed)
    values = [w.input(2, 4, 6, 16) if seed % 2 else w.input(3, 8, 12)]
    for _ in range(10):
        values.append(
            _rows(w, rng, values[int(rng.integers(max(0, len(values) - 3), len(values)))])
        )
        x = values[-1]
        if len(w.shape(x)) > 2 and rng.random() < 0.3:
            shape = w.shape(x)
            last = len(shape) - 1
            swapped = w.op("transpose", [x], [*shape[:-2], shape[-1], shape[-2]],
                           axes=[*range(last - 1), last, last - 1])  # fmt: skip
            values.append(w.op("matmul", [x, swapped], [*shape[:-1], shape[-2]],
                               transpose_a=False, transpose_b=False))  # fmt: skip
            scale = w.constant(np.float32([1 / shape[-1]]).reshape([1] * len(shape)))
            y = w.op("binary", [values.pop(), scale], [*shape[:-1], shape[-2]], alg="mul")
            values.append(w.eltwise(y, "tanh"))
    return w.finish(*dict.fromkeys(values[-2:]))
