"""An independent integer reference for the npu's operations, and random layers to try.

Plain numpy over whole tensors: no tiles, no instructions, Python integers where 64 bits could be
too few. Nothing of the vendor's arithmetic is imported.
"""

import numpy as np

from byoc.vendor_templates.npu.config import NpuConfig
from byoc.vendor_templates.npu.graph import (
    Border,
    Concat,
    Conv,
    Elementwise,
    Graph,
    Permute,
    Pool,
    Residual,
    Window,
)

HALF_EVEN, HALF_AWAY, HALF_UP, DOWN = range(4)


def divide(value, shift, mode):
    """value / 2**shift, rounded as the mode says; exact for any size."""
    value, shift = np.broadcast_arrays(np.asarray(value, object), np.asarray(shift, object))

    def one(v, s):
        unit = 1 << int(s)
        floor, rest = divmod(int(v), unit)
        if mode == DOWN or rest == 0:
            return floor
        if 2 * rest != unit:
            return floor + (2 * rest > unit)
        if mode == HALF_UP:
            return floor + 1
        if mode == HALF_AWAY:
            return floor + (v >= 0)
        return floor + (floor & 1)

    return np.vectorize(one, otypes=[object])(value, shift)


def scale(value, multiplier, shift, mode):
    """round(value * multiplier / 2**shift), in int64 where that is enough (it nearly always is)."""
    value = np.asarray(value, np.int64)
    multiplier, shift = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    product = value * multiplier
    unit = np.left_shift(np.int64(1), shift)
    floor, rest = np.floor_divide(product, unit), np.mod(product, unit)
    if mode == DOWN:
        return floor
    twice = rest - (unit - rest)  # sign of rest - unit / 2
    tie = {HALF_UP: floor + 1, HALF_AWAY: floor + (product >= 0), HALF_EVEN: floor + floor % 2}
    rounded = np.where(twice > 0, floor + 1, np.where(twice < 0, floor, tie[mode]))
    return np.where(rest == 0, floor, rounded)


def clamp(value, lo, hi):
    return np.clip(value, lo, hi).astype(np.int8)


def wrap32(value):
    return ((np.asarray(value, np.int64) + 2**31) % 2**32 - 2**31).astype(np.int64)


def _windows(x, shape_out, window, fill):
    """[taps, n, oh, ow, c]: what every tap of every window sees; `fill` outside."""
    n, h, w, c = x.shape
    (kh, kw), (sh, sw) = window.kernel, window.stride
    (dh, dw), (pt, pl) = window.dilation, window.pad
    _, oh, ow, _ = shape_out
    rows = (oh - 1) * sh + (kh - 1) * dh + 1
    cols = (ow - 1) * sw + (kw - 1) * dw + 1
    big = np.full((n, max(rows, h + pt), max(cols, w + pl), c), fill, np.int64)
    big[:, pt : pt + h, pl : pl + w] = x
    return np.stack(
        [
            big[
                :,
                ky * dh : ky * dh + (oh - 1) * sh + 1 : sh,
                kx * dw : kx * dw + (ow - 1) * sw + 1 : sw,
            ]
            for ky in range(kh)
            for kx in range(kw)
        ]
    )


def _conv(op, values, mode):
    x = values[op.x].reshape(op.shape_in)
    seen = _windows(x, op.shape_out, op.window, op.x_zero)
    n, oh, ow, oc = op.shape_out
    cg, og = op.shape_in[3] // op.groups, oc // op.groups
    total = np.zeros((n, oh, ow, oc), np.int64)
    flat = op.weights.reshape(oc, -1, cg).astype(np.int64)
    for g in range(op.groups):
        part = seen[..., g * cg : (g + 1) * cg]
        total[..., g * og : (g + 1) * og] = np.einsum(
            "tnhwc,otc->nhwo", part, flat[g * og : (g + 1) * og], optimize=True
        )
    total = wrap32(wrap32(total) + op.bias)
    y = clamp(scale(total, op.multiplier, op.shift, mode) + op.zero, op.lo, op.hi)
    if (r := op.residual) is not None:
        other = values[r.tensor].reshape(op.shape_out).astype(np.int64) - r.tensor_zero
        both = (y.astype(np.int64) - op.zero) * r.m1 + other * r.m2
        y = clamp(scale(both, 1, r.shift, mode) + r.zero, r.lo, r.hi)
    return y if op.table is None else op.table[y.astype(np.int64) + 128]


def _elementwise(op, values, mode):
    x = values[op.x].astype(np.int64)
    if op.kind == "lookup":
        return op.table[x + 128]
    shape = (op.images, op.pixels, op.channels)
    b = values[op.b].astype(np.int64) - op.b_zero
    b = b.reshape((op.images, 1, op.channels) if op.broadcast else shape)
    a = x.reshape(shape) - op.a_zero
    value = a * op.m1 + b * op.m2 if op.kind == "add" else a * b * op.m1
    return clamp(scale(value, 1, op.shift, mode) + op.zero, op.lo, op.hi)


def _pool(op, values, mode, fixed_point):
    x = values[op.x].reshape(op.shape_in).astype(np.int64)
    if op.kind == "max":
        y = _windows(x, op.shape_out, op.window, -128).max(0).astype(np.int8)
    else:
        total = _windows(x - op.x_zero, op.shape_out, op.window, 0).sum(0)
        inside = _windows(np.ones_like(x), op.shape_out, op.window, 0).sum(0)
        taps = op.window.kernel[0] * op.window.kernel[1]
        counts = np.maximum(inside, 1) if op.exclude_pad else np.full_like(inside, taps)
        y = np.zeros(op.shape_out, np.int8)
        for count in np.unique(counts):
            multiplier, shift = fixed_point(op.scale / int(count))
            part = clamp(scale(total, multiplier, shift, mode) + op.zero, -128, 127)
            y = np.where(counts == count, part, y)
    return y if op.table is None else op.table[y.astype(np.int64) + 128]


def evaluate(graph, inputs, mode=HALF_EVEN):
    """Tensor id -> values, for every tensor of the graph; inputs: tensor id -> int8 array."""
    from byoc.vendor_templates.npu.numerics import fixed_point

    values = {t: np.ravel(v) for t, v in inputs.items()}
    for t, tensor in enumerate(graph.tensors):
        if tensor.data is not None:
            values[t] = tensor.data
    for op in graph.operations:
        for t in range(len(graph.tensors)):
            if graph.tensors[t].base is not None and graph.base(t) in values:
                values[t] = values[graph.base(t)]
        if isinstance(op, Conv):
            y = _conv(op, values, mode)
        elif isinstance(op, Elementwise):
            y = _elementwise(op, values, mode)
        elif isinstance(op, Pool):
            y = _pool(op, values, mode, fixed_point)
        elif isinstance(op, Concat):
            y = np.concatenate(
                [
                    (values[t] if table is None else table[values[t].astype(int) + 128]).reshape(
                        op.rows, run
                    )
                    for t, run, table in op.parts
                ],
                axis=1,
            )
        else:
            assert isinstance(op, Permute)
            y = values[op.x].reshape(op.outer, op.a, op.b).swapaxes(1, 2)
        values[op.y] = np.ravel(y).astype(np.int8)
    return values


# -- random layers ------------------------------------------------------------------------------


def _scales(rng, count, k):
    """Multipliers and shifts that spread results of k products over the range, and beyond it."""
    spread = 73.0 * 73.0 * np.sqrt(k) / rng.choice([20, 60, 400])
    exact = rng.uniform(0.3, 3.0, count) / spread
    mantissa, exponent = np.frexp(exact)
    multiplier = np.minimum(np.rint(mantissa * 2**31), 2**31 - 1).astype(np.int32)
    if rng.random() < 0.3:  # powers of two: many exact ties
        multiplier[:] = 1 << 30
    return multiplier, (31 - exponent).astype(np.int32)


def _int8(rng, *shape):
    if rng.random() < 0.1:  # extremes only
        return rng.choice(np.array([-128, 127], np.int8), shape)
    return rng.integers(-128, 128, shape).astype(np.int8)


def _size(rng, top):
    """Sizes as they come: ones, primes, powers of two, anything."""
    kind = rng.integers(4)
    if kind == 0:
        return 1
    pool = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37] if kind == 1 else [2, 4, 8, 16, 32, 64]
    if kind == 3:
        return int(rng.integers(1, top + 1))
    return int(min(top, rng.choice(pool)))


def _window(rng, h, w, kernel_top=5):
    while True:
        kernel = (int(rng.integers(1, kernel_top + 1)), int(rng.integers(1, kernel_top + 1)))
        stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        dilation = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        ext = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        pad = tuple(int(rng.integers(0, min(e, 4))) for e in ext)
        after = [int(rng.integers(0, min(e, 4))) for e in ext]
        out = [
            (s + p + a - e) // st + 1
            for s, p, a, e, st in zip((h, w), pad, after, ext, stride, strict=True)
        ]
        last = [(o - 1) * st - p for o, st, p in zip(out, stride, pad, strict=True)]
        if min(out) >= 1 and last[0] < h and last[1] < w:
            return Window(kernel, stride, dilation, pad), tuple(out)


def random_conv(rng, graph, x, shape, depthwise=None):
    """Append a convolution on tensor x; returns the output tensor and its shape."""
    n, h, w, c = shape
    depthwise = rng.random() < 0.2 if depthwise is None else depthwise
    window, (oh, ow) = _window(rng, h, w)
    if depthwise and c > 1:
        groups, oc = c, c
    else:
        groups = int(rng.choice([g for g in (1, 1, 1, 2, 3, 4) if c % g == 0]))
        oc = groups * _size(rng, 70 // groups)
    kh, kw = window.kernel
    weights = _int8(rng, oc, kh, kw, c // groups)
    multiplier, shift = _scales(rng, oc, kh * kw * c // groups)
    x_zero, zero = int(rng.integers(-128, 128)), int(rng.integers(-128, 128))
    bias = rng.integers(-20000, 20000, oc) - x_zero * weights.reshape(oc, -1).sum(1, dtype=np.int64)
    out = (n, oh, ow, oc)
    y = graph.new(n * oh * ow * oc, 1.0, zero)
    lo, hi = (zero, 127) if rng.random() < 0.4 else (-128, 127)
    op = Conv(
        x, y, shape, out, window, groups, weights, bias.astype(np.int32), multiplier, shift,
        x_zero, zero, lo, hi, source="conv",
    )  # fmt: skip
    if rng.random() < 0.25:
        other = graph.new(n * oh * ow * oc, 1.0, 3)
        graph.feeds.append(_border(graph, other, len(graph.feeds)))
        m1, m2 = (int(v) for v in rng.integers(1 << 26, 1 << 31, 2))
        op.residual = Residual(
            other, m1, m2, int(rng.integers(29, 33)), int(rng.integers(-128, 128)),
            int(rng.integers(-128, 128)), -128, 127,
        )  # fmt: skip
    if rng.random() < 0.2:
        op.table = _int8(rng, 256)
    graph.operations.append(op)
    return y, out


def _border(graph, tensor, argument):
    size = graph.tensors[tensor].nbytes
    return Border(tensor, argument, (size,), (0,), "int8", 1.0, 0)


def random_elementwise(rng, graph, x, shape):
    n, h, w, c = shape
    kind = str(rng.choice(["add", "mul", "lookup"]))
    y = graph.new(n * h * w * c, 1.0, 0)
    op = Elementwise(kind, x, y, n, h * w, c, zero=int(rng.integers(-128, 128)), source=kind)
    if kind == "lookup":
        op.table = _int8(rng, 256)
    else:
        op.broadcast = bool(rng.random() < 0.4)
        op.b = graph.new(n * c if op.broadcast else n * h * w * c, 1.0, 0)
        if rng.random() < 0.2:
            graph.tensors[op.b].data = _int8(rng, graph.tensors[op.b].nbytes)
        else:
            graph.feeds.append(_border(graph, op.b, len(graph.feeds)))
        op.m1, op.m2 = (int(v) for v in rng.integers(1 << 28, 1 << 31, 2))
        op.shift = int(rng.integers(29, 32)) if kind == "add" else int(rng.integers(34, 40))
        op.a_zero, op.b_zero = (int(v) for v in rng.integers(-128, 128, 2))
    graph.operations.append(op)
    return y, shape


def random_pool(rng, graph, x, shape):
    n, h, w, c = shape
    window, (oh, ow) = _window(rng, h, w)
    kind = str(rng.choice(["max", "avg"]))
    if rng.random() < 0.2 and max(h, w) < 256:  # global
        window, (oh, ow) = Window((h, w)), (1, 1)
    y = graph.new(n * oh * ow * c, 1.0, 0)
    op = Pool(
        kind, x, y, shape, (n, oh, ow, c), window, bool(rng.random() < 0.5),
        float(rng.uniform(0.2, 3.0)), int(rng.integers(-128, 128)), int(rng.integers(-128, 128)),
        _int8(rng, 256) if rng.random() < 0.2 else None, kind,
    )  # fmt: skip
    graph.operations.append(op)
    return y, op.shape_out


def random_concat(rng, graph, x, shape):
    n, h, w, c = shape
    rows = int(rng.choice([n * h * w, n]))
    parts = [(x, n * h * w * c // rows, _int8(rng, 256) if rng.random() < 0.5 else None)]
    for _ in range(int(rng.integers(1, 4))):
        run = _size(rng, 40)
        part = graph.new(rows * run, 1.0, 0)
        graph.feeds.append(_border(graph, part, len(graph.feeds)))
        parts.append((part, run, _int8(rng, 256) if rng.random() < 0.5 else None))
    rng.shuffle(parts)
    total = sum(p[1] for p in parts)
    y = graph.new(rows * total, 1.0, 0)
    graph.operations.append(Concat(tuple(parts), y, rows, "concat"))
    return y, (1, 1, rows, total)


def random_permute(rng, graph, x, shape):
    n, h, w, c = shape
    y = graph.new(n * h * w * c, 1.0, 0)
    graph.operations.append(Permute(x, y, n, h * w, c, "permute"))
    return y, (n, 1, c, h * w)


_KINDS = (random_conv, random_conv, random_elementwise, random_pool, random_concat, random_permute)


def random_graph(rng, length=1):
    """A chain of `length` random operations with its feeds and result."""
    graph = Graph("random")
    shape = (1 if rng.random() < 0.7 else 2, _size(rng, 24), _size(rng, 24), _size(rng, 48))
    x = graph.new(int(np.prod(shape)), 1.0, 0)
    graph.feeds.append(_border(graph, x, 0))
    for _ in range(length):
        kind = _KINDS[rng.integers(len(_KINDS))]
        x, shape = kind(rng, graph, x, shape)
    graph.results.append(_border(graph, x, 0))
    graph.inputs, graph.outputs = len(graph.feeds), 1
    return graph


def random_config(rng):
    """A machine, often too small for the layer as a whole."""
    return NpuConfig.model_validate(
        {
            "array": {
                "rows": int(rng.choice([4, 8, 16, 16, 32])),
                "columns": int(rng.choice([4, 8, 16, 16, 32])),
                "dataflow": str(rng.choice(["weight-stationary", "output-stationary"])),
            },
            "activation": {"size": int(rng.choice([16, 24, 48, 192])) << 10, "banks": 4},
            "weight": {"size": int(rng.choice([8, 16, 64])) << 10},
            "accumulator": {"size": int(rng.choice([2, 8, 64])) << 10},
            "vector": {"lanes": int(rng.choice([8, 16]))},
        }
    )
