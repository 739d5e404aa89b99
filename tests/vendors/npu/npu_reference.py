"""An independent integer reference for the npu's operations, and random layers to try.

Plain numpy over whole tensors: no tiles, no instructions, and no floating point: a float32 is an
integer of 24 bits times a power of two, and every rounding is a division of integers. Nothing of
the vendor's arithmetic is imported.
"""

import numpy as np

from byoc.vendor_templates.npu.lowering.int8_graph import (
    Border,
    Concat,
    Conv,
    Elementwise,
    Int8Graph,
    Permute,
    Pool,
    Residual,
    Window,
)
from byoc.vendor_templates.npu.machine.config import NpuConfig

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


def shifted(value, shift, mode):
    """`divide` for int64; shift below 62."""
    value = np.asarray(value, np.int64)
    unit = np.left_shift(np.int64(1), np.asarray(shift, np.int64))
    floor, rest = np.floor_divide(value, unit), np.mod(value, unit)
    if mode == DOWN:
        return floor
    twice = rest - (unit - rest)  # sign of rest - unit / 2
    tie = {HALF_UP: floor + 1, HALF_AWAY: floor + (value >= 0), HALF_EVEN: floor + floor % 2}
    rounded = np.where(twice > 0, floor + 1, np.where(twice < 0, floor, tie[mode]))
    return np.where(rest == 0, floor, rounded)


def single(value):
    """Integers rounded to 24 significant bits, half to even: what a float32 keeps of them."""
    value = np.asarray(value, np.int64)
    exact = value.astype(np.float64)
    assert (exact.astype(np.int64) == value).all(), "more than 53 significant bits"
    _, bits = np.frexp(exact)
    drop = np.maximum(bits - 24, 0)
    return shifted(value, drop, HALF_EVEN) << drop


def parts(number):
    """(m, s): float32 numbers as m / 2^s, m of 24 bits; a shift below 62 for each."""
    mantissa, exponent = np.frexp(np.asarray(number, np.float32).astype(np.float64))
    m = (mantissa * 2**24).astype(np.int64)
    s = np.where(m == 0, 0, 24 - exponent)
    assert (s >= 0).all() and (s < 62).all(), "the reference has no such scales"
    return m, s


def scaled(value, number, mode):
    """round(f32(value) * number), the product a float32."""
    m, s = parts(number)
    return shifted(single(single(value) * m), s, mode)


def summed(a, m1, b, m2, c, mode):
    """round(fma(a, m1, fma(b, m2, c))), each fma a float32."""
    numbers = [parts(v) for v in (m1, m2, c)]
    common = max(int(s) for _, s in numbers)
    k1, k2, kc = (int(m) << (common - int(s)) for m, s in numbers)
    assert 512 * (abs(k1) + abs(k2)) + abs(kc) < 2**53
    inner = single(np.asarray(b, np.int64) * k2 + kc)
    return shifted(single(np.asarray(a, np.int64) * k1 + inner), common, mode)


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
    y = clamp(scaled(total, op.scale, mode) + op.zero, op.lo, op.hi)
    if (r := op.residual) is not None:
        mine = (y.astype(np.int64) - r.q_zero, r.m1)
        other = (values[r.tensor].reshape(op.shape_out).astype(np.int64) - r.r_zero, r.m2)
        operands = (*other, *mine) if r.r_first else (*mine, *other)
        y = clamp(summed(*operands, r.c, mode) + r.zero, r.lo, r.hi)
    return y if op.table is None else op.table[y.astype(np.int64) + 128]


def _elementwise(op, values, mode):
    x = values[op.x].astype(np.int64)
    if op.kind == "lookup":
        return op.table[x + 128]
    shape = (op.images, op.pixels, op.channels)
    b = values[op.b].astype(np.int64) - op.b_zero
    b = b.reshape((op.images, 1, op.channels) if op.broadcast else shape)
    a = x.reshape(shape) - op.a_zero
    if op.kind == "add":
        value = summed(a, op.m1, b, op.m2, op.c, mode)
    else:
        value = scaled(a * b, op.m1, mode)
    return clamp(value + op.zero, op.lo, op.hi)


def _pool(op, values, mode):
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
            number = np.float32(op.x_scale) / (np.float32(op.y_scale) * np.float32(count))
            part = clamp(scaled(total, number, mode) + op.zero, -128, 127)
            y = np.where(counts == count, part, y)
    return y if op.table is None else op.table[y.astype(np.int64) + 128]


def evaluate(graph, inputs, mode=HALF_EVEN):
    """Tensor id -> values, for every tensor of the graph; inputs: tensor id -> int8 array."""
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
            y = _pool(op, values, mode)
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
    """Scales that spread results of k products over the range, and beyond it."""
    spread = 73.0 * 73.0 * np.sqrt(k) / rng.choice([20, 60, 400])
    exact = (rng.uniform(0.3, 3.0, count) / spread).astype(np.float32)
    if rng.random() < 0.3:  # powers of two: many exact ties
        exact = np.exp2(np.rint(np.log2(exact))).astype(np.float32)
    return exact


def _sum_scales(rng):
    """(m1, m2, c) of a sum, often with many ties."""
    if rng.random() < 0.4:
        m1, m2 = (float(v) for v in rng.choice([0.25, 0.5, 1.0, 1.5], 2))
        return m1, m2, float(rng.integers(-80, 80)) / 2
    m1, m2 = (float(np.float32(v)) for v in rng.uniform(0.02, 2.0, 2))
    return m1, m2, float(np.float32(rng.uniform(-100, 100)))


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
    scale = _scales(rng, oc, kh * kw * c // groups)
    x_zero, zero = int(rng.integers(-128, 128)), int(rng.integers(-128, 128))
    bias = rng.integers(-20000, 20000, oc) - x_zero * weights.reshape(oc, -1).sum(1, dtype=np.int64)
    out = (n, oh, ow, oc)
    y = graph.new(n * oh * ow * oc, 1.0, zero)
    lo, hi = (zero, 127) if rng.random() < 0.4 else (-128, 127)
    op = Conv(
        x, y, shape, out, window, groups, weights, bias.astype(np.int32), scale,
        x_zero, zero, lo, hi, source="conv",
    )  # fmt: skip
    if rng.random() < 0.25:
        other = graph.new(n * oh * ow * oc, 1.0, 3)
        graph.feeds.append(_border(graph, other, len(graph.feeds)))
        zeros = (int(v) for v in rng.integers(-128, 128, 3))
        op.residual = Residual(other, *_sum_scales(rng), *zeros, bool(rng.random() < 0.5))
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
        op.m1, op.m2, op.c = _sum_scales(rng)
        if kind == "mul":
            op.m1 = float(np.float32(op.m1 / rng.choice([32, 64, 100])))
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
        float(rng.uniform(0.2, 3.0)), float(rng.uniform(0.5, 2.0)), int(rng.integers(-128, 128)),
        int(rng.integers(-128, 128)),
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
    graph = Int8Graph("random")
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
