"""Runs a program of program.md in numpy: slow, obvious, and independent of oneDNN.

`interpret(artifact, inputs)` gives the outputs. Every kind of op is one short function
``(op, attrs, operands, result types) -> arrays``; nothing here knows about fusion or layouts.
"""

import json
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from byoc.dims import evaluate, is_name

_FLOAT = np.float32


def interpret(artifact, inputs, *, wide=False, noise=0.0, rounds=True):
    """Outputs of an artifact for a list of arrays.

    wide: everything in float64. noise: every result is moved at random by that much of its range.
    rounds: bfloat16 is rounded to; else it is computed as what the program calls float32.
    """
    global _FLOAT
    _FLOAT = np.float64 if wide else np.float32
    try:
        return _interpret(artifact, inputs, noise, bfloat16 if rounds else np.asarray)
    finally:
        _FLOAT = np.float32


def _widened(array):
    return array.astype(_FLOAT) if array.dtype == np.float32 else array


def _interpret(artifact, inputs, noise, narrow):
    rng = np.random.default_rng(0)
    program = json.loads(artifact.blob)
    assert program["version"] == 1
    values = program["values"]
    env = {}
    memory = {}
    for value, array in zip(program["inputs"], inputs, strict=True):
        for dim, size in zip(values[value]["shape"], array.shape, strict=True):
            if is_name(dim):
                assert env.setdefault(dim, size) == size
    shapes = [tuple(evaluate(d, env) for d in v["shape"]) for v in values]
    for value, array in zip(program["inputs"], inputs, strict=True):
        assert shapes[value] == array.shape, (shapes[value], array.shape)
        assert values[value]["dtype"] == array.dtype.name
        memory[value] = _widened(array)
    for value, index in program["constants"].items():
        array = np.asarray(artifact.constants[index])
        assert array.flags.c_contiguous and array.dtype.name == values[int(value)]["dtype"]
        memory[int(value)] = _widened(array.reshape(shapes[int(value)]))
    for op in program["ops"]:
        attrs = {
            k: [evaluate(d, env) for d in v] if isinstance(v, list) else v
            for k, v in op["attrs"].items()
        }
        args = [memory[v] for v in op["inputs"]]
        if attrs.pop("bf16", False):
            count = 3 if op["kind"] == "attention" else 2
            args[:count] = [narrow(a) for a in args[:count]]
        out_shapes = [shapes[v] for v in op["outputs"]]
        results = KINDS[op["kind"]](attrs, args, out_shapes)
        if not isinstance(results, list):
            results = [results]
        for post in op["post"]:
            assert len(results) == 1
            results = [_post(post, results[0], memory)]
        for value, result in zip(op["outputs"], results, strict=True):
            assert value not in memory, "a value is written twice"
            assert result.shape == shapes[value], (op, result.shape, shapes[value])
            dtype = values[value]["dtype"]
            stored = dtype
            if dtype in ("float32", "bfloat16"):
                dtype = _FLOAT
            if op["kind"] == "cast":
                result = result.astype(dtype)
            assert result.dtype == dtype, (op, result.dtype, dtype)
            if noise and result.dtype == _FLOAT:
                step = noise * np.abs(result).max(initial=0)
                result = result + (step * rng.standard_normal(result.shape)).astype(_FLOAT)
            memory[value] = narrow(result) if stored == "bfloat16" else result
    assert len(set(program["outputs"])) == len(program["outputs"])
    made = {v for op in program["ops"] for v in op["outputs"]}
    assert made.issuperset(program["outputs"])
    return [memory[v] for v in program["outputs"]]


def bfloat16(array):
    """The nearest bfloat16 of every element, ties to even, as the dtype that came in."""
    bits = array.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32)
    return np.where(np.isfinite(array), rounded.view(np.float32), array).astype(array.dtype)


def _post(post, x, memory):
    if post["post"] == "eltwise":
        return _eltwise(post, x)
    other = memory[post["value"]]
    assert other.ndim == x.ndim
    result = _binary_alg(post["alg"], x, other)
    assert result.shape == x.shape
    return result


# Element-wise

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.clip(x, -80, 80)))


def _eltwise(attrs, x):
    a, b = attrs["alpha"], attrs["beta"]
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        result = {
            "relu": lambda v: np.where(v > 0, v, a * v) if a else np.maximum(v, 0),
            "clip": lambda v: np.clip(v, a, b),
            "gelu_erf": lambda v: 0.5 * v * (1 + _erf(v / math.sqrt(2))),
            "gelu_tanh": lambda v: (
                0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
            ),
            "swish": lambda v: v * _sigmoid(a * v),
            "hardswish": lambda v: v * np.clip(a * v + b, 0, 1),
            "hardsigmoid": lambda v: np.clip(a * v + b, 0, 1),
            "logistic": _sigmoid,
            "tanh": np.tanh,
            "exp": np.exp,
            "log": np.log,
            "sqrt": np.sqrt,
            "abs": np.abs,
            "square": np.square,
            "round": np.round,
            "elu": lambda v: np.where(v > 0, v, a * np.expm1(v)),
            "soft_relu": lambda v: np.logaddexp(0, a * v) / a,
            "mish": lambda v: v * np.tanh(np.logaddexp(0, v)),
            "linear": lambda v: a * v + b,
            "pow": lambda v: a * v**b,
            "rsqrt": lambda v: 1 / np.sqrt(v),
            "erf": _erf,
            "floor": np.floor,
            "ceil": np.ceil,
            "sin": np.sin,
            "cos": np.cos,
        }[attrs["alg"]](wide)
    return np.asarray(result, _FLOAT)


_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "lt": np.less,
    "eq": np.equal,
    "ne": np.not_equal,
}


def _binary_alg(alg, a, b):
    with np.errstate(all="ignore"):
        return np.asarray(_BINARY[alg](a, b))


# Convolutions and windows


def _windows(x, kernel, strides, dilations):
    """[N, C, *out, *kernel]"""
    dims = len(kernel)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = sliding_window_view(x, extents, axis=tuple(range(2, 2 + dims)))
    cut = [slice(None)] * 2 + [slice(None, None, s) for s in strides]
    cut += [slice(None, None, d) for d in dilations]
    return view[tuple(cut)]


def _padded(x, begin, end, value):
    pads = [(0, 0), (0, 0), *zip(begin, end, strict=True)]
    return np.pad(x, pads, constant_values=value)


def _conv(x, w, strides, dilations, begin, end, groups):
    x = _padded(x.astype(np.float64), begin, end, 0)
    view = _windows(x, w.shape[2:], strides, dilations)
    dims = w.ndim - 2
    n, out = x.shape[0], view.shape[2 : 2 + dims]
    if groups == 1:  # the same sum, as a matrix product: fast
        taps = range(2 + dims, 2 + 2 * dims)
        y = np.tensordot(view, w.astype(np.float64), ([1, *taps], [1, *range(2, 2 + dims)]))
        return np.moveaxis(y, -1, 1)
    view = view.reshape(n, groups, -1, *view.shape[2:])
    w = w.astype(np.float64).reshape(groups, w.shape[0] // groups, *w.shape[1:])
    spatial = "abc"[:dims]
    kernel = "xyz"[:dims]
    y = np.einsum(f"ngi{spatial}{kernel},goi{kernel}->ngo{spatial}", view, w)
    return y.reshape(n, -1, *out)


def _with_bias(y, args):
    if len(args) > 2:
        y = y + args[2].reshape(1, -1, *([1] * (y.ndim - 2)))
    return y.astype(_FLOAT)


def convolution(a, args, shapes):
    y = _conv(*args[:2], a["strides"], a["dilations"], a["pads_begin"], a["pads_end"], a["groups"])
    return _with_bias(y, args)


def deconvolution(a, args, shapes):
    """Scatter: every input element adds a scaled kernel to the output."""
    x, w = (v.astype(np.float64) for v in args[:2])
    dims, groups = w.ndim - 2, a["groups"]
    n, c = x.shape[:2]
    o = w.shape[1] * groups
    full = [
        (s - 1) * st + (k - 1) * d + 1
        for s, st, k, d in zip(x.shape[2:], a["strides"], w.shape[2:], a["dilations"], strict=True)
    ]
    room = [max(f, b + s) for f, b, s in zip(full, a["pads_begin"], shapes[0][2:], strict=True)]
    y = np.zeros((n, o, *room))
    xg = x.reshape(n, groups, c // groups, *x.shape[2:])
    wg = w.reshape(groups, c // groups, *w.shape[1:])
    for place in np.ndindex(*w.shape[2:]):
        tap = wg[(slice(None), slice(None), slice(None), *place)]
        part = np.einsum("ngi...,gio->ngo...", xg, tap).reshape(n, o, *x.shape[2:])
        cut = tuple(
            slice(p * d, p * d + (s - 1) * st + 1, st)
            for p, d, s, st in zip(place, a["dilations"], x.shape[2:], a["strides"], strict=True)
        )
        y[(slice(None), slice(None), *cut)] += part
    keep = tuple(slice(b, b + s) for b, s in zip(a["pads_begin"], shapes[0][2:], strict=True))
    assert dims == len(keep)
    return _with_bias(y[(slice(None), slice(None), *keep)], args)


def pooling(a, args, shapes):
    (x,) = args
    axes = tuple(range(-len(a["kernel"]), 0))
    geometry = (a["kernel"], a["strides"], a["dilations"])
    if a["alg"] == "max":
        padded = _padded(x, a["pads_begin"], a["pads_end"], -np.inf)
        y = _windows(padded, *geometry).max(axes)
    else:
        padded = _padded(x.astype(np.float64), a["pads_begin"], a["pads_end"], 0)
        total = _windows(padded, *geometry).sum(axes)
        if a["alg"] == "avg_include_pad":
            y = total / math.prod(a["kernel"])
        else:
            inside = _padded(np.ones_like(x), a["pads_begin"], a["pads_end"], 0)
            y = total / _windows(inside, *geometry).sum(axes)
    cut = tuple(slice(0, s) for s in shapes[0])
    return y[cut].astype(_FLOAT)


def global_pooling(a, args, shapes):
    axes = tuple(range(2, args[0].ndim))
    return (np.max if a["alg"] == "max" else np.mean)(args[0], axes, keepdims=True)


# Matrix products


def matmul(a, args, shapes):
    left, right = args[:2]
    left = np.swapaxes(left, -1, -2) if a["transpose_a"] else left
    right = np.swapaxes(right, -1, -2) if a["transpose_b"] else right
    y = np.matmul(left.astype(np.float64), right.astype(np.float64))
    if len(args) > 2:
        assert args[2].ndim == y.ndim
        y = y + args[2]
    return y.astype(_FLOAT)


def _softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def attention(a, args, shapes):
    q, k, v = (t.astype(np.float64) for t in args[:3])
    if a["layout"] == "bshd":
        q, k, v = (np.swapaxes(t, 1, 2) for t in (q, k, v))
    scores = q @ np.swapaxes(k, -1, -2) * a["scale"]
    if len(args) > 3:
        hidden = a.get("hidden")
        scores = scores + args[3] if hidden is None else np.where(args[3] != 0, hidden, scores)
    if a["causal"]:
        s, t = scores.shape[-2:]
        scores = np.where(np.tri(s, t, t - s, dtype=bool), scores, -np.inf)
    y = _softmax(scores, -1) @ v
    if a["layout"] == "bshd":
        y = np.swapaxes(y, 1, 2)
    return y.astype(_FLOAT)


# Norms and reductions


def softmax(a, args, shapes):
    x = args[0].astype(np.float64)
    if a["log"]:
        top = x.max(a["axis"], keepdims=True)
        total = np.exp(x - top).sum(a["axis"], keepdims=True)
        return (x - top - np.log(total)).astype(_FLOAT)
    return _softmax(x, a["axis"]).astype(_FLOAT)


def _standard(x, axes, eps):
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def layer_norm(a, args, shapes):
    x, scale, shift = args
    return (_standard(x, tuple(a["axes"]), a["eps"]) * scale + shift).astype(_FLOAT)


def rms_norm(a, args, shapes):
    x, scale = args[0].astype(np.float64), args[1]
    mean = np.square(x).mean(tuple(a["axes"]), keepdims=True)
    return (x / np.sqrt(mean + a["eps"]) * scale).astype(_FLOAT)


def _channels(v, rank):
    return v.reshape(1, -1, *([1] * (rank - 2)))


def group_norm(a, args, shapes):
    x, scale, shift = args
    grouped = x.reshape(x.shape[0], a["groups"], -1)
    y = _standard(grouped, (2,), a["eps"]).reshape(x.shape)
    return (y * _channels(scale, x.ndim) + _channels(shift, x.ndim)).astype(_FLOAT)


def batch_norm(a, args, shapes):
    x, *rest = args
    scale, shift, mean, var = (_channels(v, x.ndim) for v in rest)
    return ((x - mean) / np.sqrt(var + a["eps"]) * scale + shift).astype(_FLOAT)


def lrn(a, args, shapes):
    (x,) = args
    half = a["size"] // 2
    square = np.square(x.astype(np.float64))
    pads = [(0, 0), (half, a["size"] - 1 - half), *([(0, 0)] * (x.ndim - 2))]
    total = sliding_window_view(np.pad(square, pads), a["size"], axis=1).sum(-1)
    return (x / (a["k"] + a["alpha"] / a["size"] * total) ** a["beta"]).astype(_FLOAT)


def reduction(a, args, shapes):
    x = args[0].astype(np.float64)
    run = {
        "sum": np.sum,
        "mean": np.mean,
        "max": np.max,
        "min": np.min,
        "prod": np.prod,
        "l2": lambda v, axis: np.sqrt(np.square(v).sum(axis)),
    }[a["alg"]]
    return np.asarray(run(x, axis=tuple(a["axes"])), _FLOAT).reshape(shapes[0])


def resize(a, args, shapes):
    (x,) = args
    for axis in range(2, x.ndim):
        x = _resize_axis(x.astype(np.float64), axis, shapes[0][axis], a)
    return x.astype(_FLOAT)


def _resize_axis(x, axis, size, a):
    old = x.shape[axis]
    place = np.arange(size, dtype=np.float32)
    scale = np.float32(old) / np.float32(size)
    if a["coordinate"] == "half_pixel":
        place = (place + 0.5) * scale - 0.5
    elif a["coordinate"] == "align_corners":
        place = place * (np.float32(old - 1) / (size - 1))
    else:
        place = place * scale
    if a["alg"] == "nearest":
        near = {
            "floor": lambda p: np.floor(p + 1e-5),
            "ceil": lambda p: np.ceil(p - 1e-5),
            "round": np.round,
            "round_prefer_floor": lambda p: np.ceil(p - 0.5),
            "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        }[a["rounding"]](place)
        return np.take(x, np.clip(near, 0, old - 1).astype(int), axis)
    low = np.floor(place)
    part = (place - low).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    left = np.take(x, np.clip(low, 0, old - 1).astype(int), axis)
    right = np.take(x, np.clip(low + 1, 0, old - 1).astype(int), axis)
    return left * (1 - part) + right * part


# Moves


def split(a, args, shapes):
    cuts = np.cumsum([s[a["axis"]] for s in shapes])[:-1]
    return np.split(args[0], cuts, a["axis"])


def slice_(a, args, shapes):
    cut = tuple(slice(*bes) for bes in zip(a["begin"], a["end"], a["strides"], strict=True))
    return args[0][cut]


def pad(a, args, shapes):
    widths = list(zip(a["pads_begin"], a["pads_end"], strict=True))
    if a["mode"] == "constant":
        return np.pad(args[0], widths, constant_values=a["value"])
    return np.pad(args[0], widths, mode=a["mode"])


def gather(a, args, shapes):
    x, indices = args
    size = x.shape[a["axis"]]
    least = -size if a.get("from_end") else 0
    assert (indices >= least).all() and (indices < size).all()
    return np.take(x, indices, a["axis"])


KINDS = {
    "convolution": convolution,
    "deconvolution": deconvolution,
    "pooling": pooling,
    "global_pooling": global_pooling,
    "matmul": matmul,
    "attention": attention,
    "eltwise": lambda a, args, shapes: _eltwise(a, args[0]),
    "binary": lambda a, args, shapes: _binary_alg(a["alg"], *args),
    "concat": lambda a, args, shapes: np.concatenate(args, a["axis"]),
    "split": split,
    "softmax": softmax,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "batch_norm": batch_norm,
    "lrn": lrn,
    "reduction": reduction,
    "resize": resize,
    "transpose": lambda a, args, shapes: np.transpose(args[0], a["axes"]),
    "reshape": lambda a, args, shapes: args[0].reshape(shapes[0]),
    "slice": slice_,
    "pad": pad,
    "broadcast": lambda a, args, shapes: np.broadcast_to(args[0], shapes[0]),
    "where": lambda a, args, shapes: np.where(*args),
    "cast": lambda a, args, shapes: args[0],
    "gather": gather,
}
