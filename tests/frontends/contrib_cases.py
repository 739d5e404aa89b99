"""Random nodes of ONNX Runtime's own operators, with inputs, for comparisons with it.

One `Piece` is a node with everything that it reads, under names of its own, so that pieces of many
operators make one model: one compilation for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["PIECES", "Piece", "joined"]

_MS = "com.microsoft"


@dataclass
class Piece:
    """One node.

    steps: by how many a result of integers may differ. filled: how many places of a cache each row
    of the batch fills; ONNX Runtime leaves the others as they happen to be.
    """

    op: str
    inputs: list[str] = field(default_factory=list)
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, object] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    domain: str = _MS
    steps: int = 1
    filled: np.ndarray | None = None

    def feed(self, name: str, array: np.ndarray) -> None:
        """One more input that is fed."""
        self.inputs.append(f"{self.op}.{name}")
        self.feeds[self.inputs[-1]] = array

    def store(self, name: str, array) -> None:
        """One more input that is stored."""
        self.inputs.append(f"{self.op}.{name}")
        self.weights[self.inputs[-1]] = np.asarray(array)

    def skip(self) -> None:
        """An input that is absent."""
        self.inputs.append("")

    def result(self, name: str, dtype: str) -> None:
        """One more output; without a dtype nobody reads it."""
        self.outputs.append(f"{self.op}.{name}" if dtype else "")
        if dtype:
            self.types[self.outputs[-1]] = dtype

    def with_attributes(self, **attributes: object) -> Piece:
        """The piece itself, with other attributes."""
        self.attributes.update(attributes)
        return self

    def rename(self, suffix: str) -> None:
        """Give every name a suffix, so that two nodes of one operator stand in one model."""
        self.inputs = [n and n + suffix for n in self.inputs]
        self.outputs = [n and n + suffix for n in self.outputs]
        for names in (self.feeds, self.weights, self.types):
            renamed = {n + suffix: value for n, value in names.items()}
            names.clear()
            names.update(renamed)

    def defined(self, array: np.ndarray) -> np.ndarray:
        """A result with 0 in the places of a cache that nobody fills."""
        if self.filled is None or array.ndim != 4:
            return array
        empty = np.arange(array.shape[2]) >= self.filled[:, None]
        return np.where(empty[:, None, :, None], 0, array)


def joined(pieces: Iterable[Piece], symbols: Mapping[int, str] | None = None) -> onnx.ModelProto:
    """One model of independent nodes.

    Args:
        pieces: The nodes.
        symbols: Size → name of the symbolic dimension that stands for it in inputs.
    """
    nodes, inputs, outputs, weights = [], [], [], []
    for piece in pieces:
        nodes.append(
            helper.make_node(
                piece.op, piece.inputs, piece.outputs, domain=piece.domain, **piece.attributes
            )
        )
        for name, array in piece.feeds.items():
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            dims = [(symbols or {}).get(d, d) for d in array.shape]
            inputs.append(helper.make_tensor_value_info(name, kind, dims))
        for name, dtype in piece.types.items():
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            outputs.append(helper.make_tensor_value_info(name, kind, None))
        weights += [numpy_helper.from_array(a, n) for n, a in piece.weights.items()]
    graph = helper.make_graph(nodes, "contrib", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_MS, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _normal(rng, *shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype("f4")


def _integers(rng, dtype, *shape):
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


def _dtype(rng):
    return rng.choice(["u1", "i1"])


def _scale(rng, *shape):
    return np.asarray(rng.uniform(0.005, 0.05, shape), "f4")


def _zero(rng, dtype, *shape):
    limits = np.iinfo(dtype)
    middle = (int(limits.min) + int(limits.max) + 1) // 2
    return np.asarray(middle + rng.integers(-40, 40, shape), dtype)


def _quantised(piece, rng, name, dtype, *shape):
    """A fed tensor with scale and zero point."""
    piece.feed(name, _integers(rng, dtype, *shape))
    _parameters(piece, rng, name, dtype)


def _parameters(piece, rng, name, dtype, scale=1.0):
    piece.store(f"{name}_scale", _scale(rng) * np.float32(scale))
    piece.store(f"{name}_zero", _zero(rng, dtype))


# -- operators on integers


def _binary(op):
    def make(rng):
        piece, dtype = Piece(op), _dtype(rng)
        shape = [2, 3, 4, 5]
        other = [s if rng.random() < 0.7 else 1 for s in shape[rng.integers(0, 3) :]]
        pair = [shape, other][:: rng.choice([1, -1])]
        for name, dims in zip("AB", pair, strict=True):
            _quantised(piece, rng, name, dtype, *dims)
        _parameters(piece, rng, "C", dtype, 3 if op == "QLinearAdd" else 10)
        piece.result("C", dtype)
        return piece

    return make


def _unary(op, shape=(2, 3, 6, 7), attributes=lambda rng: {}, scale=1.0):
    def make(rng):
        piece, dtype = Piece(op, attributes=attributes(rng)), _dtype(rng)
        _quantised(piece, rng, "X", dtype, *shape)
        _parameters(piece, rng, "Y", dtype, scale)
        piece.result("Y", dtype)
        return piece

    return make


def _softmax(rng):
    piece, dtype = Piece("QLinearSoftmax"), _dtype(rng)
    piece.attributes = {"axis": int(rng.integers(-3, 3)), "opset": int(rng.choice([12, 13]))}
    _quantised(piece, rng, "X", dtype, 2, 3, 5)
    piece.store("Y_scale", np.float32(1 / 256))
    piece.store("Y_zero", np.array(0 if dtype == "u1" else -128, dtype))
    piece.result("Y", dtype)
    return piece


def _pool_attributes(rng):
    kernel = [int(rng.integers(1, 4)), int(rng.integers(1, 4))]
    found = {"kernel_shape": kernel, "strides": [int(rng.integers(1, 3)) for _ in kernel]}
    if rng.random() < 0.6:
        found["pads"] = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
        found["count_include_pad"] = int(rng.integers(0, 2))
    elif rng.random() < 0.5:
        found["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    return {**found, "channels_last": int(rng.integers(0, 2))}


def _nhwc_max_pool(rng):
    attributes = _pool_attributes(rng)
    attributes.pop("channels_last")
    attributes.pop("count_include_pad", None)
    piece, dtype = Piece("NhwcMaxPool", attributes=attributes, steps=0), _dtype(rng)
    piece.feed("x", _integers(rng, dtype, 2, 6, 7, 3))
    piece.result("y", dtype)
    return piece


def _concat(rng):
    piece, dtype = Piece("QLinearConcat"), _dtype(rng)
    axis = int(rng.integers(-4, 4))
    piece.attributes = {"axis": axis}
    _parameters(piece, rng, "Y", dtype, 2)
    for part in range(int(rng.integers(1, 4))):
        shape = [2, 3, 4, 5]
        shape[axis] = int(rng.integers(1, 5))
        _quantised(piece, rng, f"p{part}", dtype, *shape)
    piece.result("Y", dtype)
    return piece


def _where(rng):
    piece, dtype = Piece("QLinearWhere"), _dtype(rng)
    piece.feed("condition", rng.random((2, 3, 4)) < 0.5)
    _quantised(piece, rng, "X", dtype, 2, 3, 4)
    _quantised(piece, rng, "Y", dtype, 2, 3, 4)
    _parameters(piece, rng, "Z", dtype)
    piece.result("Z", dtype)
    return piece


def _weight(piece, rng, name, *shape, channels=0, axis=0):
    """A stored weight of int8, one scale or one for each channel, without zero points."""
    many = (channels,) if rng.random() < 0.5 else ()
    piece.store(name, _integers(rng, "i1", *shape))
    piece.store(f"{name}_scale", _scale(rng, *many))
    piece.store(f"{name}_zero", np.zeros(many, "i1"))


def _conv(domain):
    def make(rng):
        piece, dtype = Piece("QLinearConv", domain=domain), _dtype(rng)
        last = domain and rng.random() < 0.5
        group = int(rng.choice([1, 2]))
        _quantised(piece, rng, "x", dtype, *((2, 7, 6, 4) if last else (2, 4, 7, 6)))
        _weight(piece, rng, "w", 6, 4 // group, 3, 3, channels=6)
        _parameters(piece, rng, "y", dtype, 30)
        if rng.random() < 0.6:
            piece.store("b", rng.integers(-3000, 3000, 6).astype("i4"))
        piece.attributes = {"group": group, "strides": [1, int(rng.integers(1, 3))]}
        if rng.random() < 0.6:
            piece.attributes["pads"] = [int(rng.integers(0, 3)) for _ in range(4)]
        if last:
            piece.attributes["channels_last"] = 1
        piece.result("y", dtype)
        return piece

    return make


def _qgemm(rng):
    piece, dtype = Piece("QGemm"), _dtype(rng)
    a, b = int(rng.integers(0, 2)), int(rng.integers(0, 2))
    piece.attributes = {"transA": a, "transB": b, "alpha": float(rng.choice([1.0, 0.5]))}
    _quantised(piece, rng, "A", dtype, *((16, 3) if a else (3, 16)))
    _weight(piece, rng, "B", *((8, 16) if b else (16, 8)), channels=8)
    if rng.random() < 0.7:
        piece.store("C", rng.integers(-3000, 3000, 8).astype("i4"))
    else:
        piece.skip()
    if rng.random() < 0.7:
        _parameters(piece, rng, "Y", dtype, 30)
        piece.result("Y", dtype)
    else:
        piece.result("Y", "f4")
    return piece


def _dynamic(rng):
    piece = Piece("DynamicQuantizeMatMul")
    piece.feed("A", _normal(rng, 3, 16) * np.float32(rng.choice([0.0, 1.0, 30.0])))
    many = (8,) if rng.random() < 0.5 else ()
    dtype = _dtype(rng)
    piece.store("B", _integers(rng, dtype, 16, 8))
    piece.store("scale", _scale(rng, *many))
    piece.store("zero", _zero(rng, dtype, *many)) if rng.random() < 0.6 else piece.skip()
    if rng.random() < 0.6:
        piece.store("bias", _normal(rng, 8))
    piece.result("Y", "f4")
    return piece


def _integer_to_float(rng):
    piece, dtype, other = Piece("MatMulIntegerToFloat"), "u1", _dtype(rng)
    many = (8,) if rng.random() < 0.5 else ()
    piece.feed("A", _integers(rng, dtype, 3, 16))
    piece.store("B", _integers(rng, other, 16, 8))
    fed = rng.random() < 0.5
    (piece.feed if fed else piece.store)("a_scale", _scale(rng))
    piece.store("b_scale", _scale(rng, *many))
    (piece.feed if fed else piece.store)("a_zero", _zero(rng, dtype))
    piece.store("b_zero", _zero(rng, other, *many)) if rng.random() < 0.6 else piece.skip()
    if rng.random() < 0.6:
        piece.store("bias", _normal(rng, 8))
    piece.result("Y", "f4")
    return piece


def _nbits(rng):
    depth, rows, size = int(rng.choice([32, 40, 64])), int(rng.integers(1, 10)), 16
    count, bits = -(-depth // size), int(rng.choice([4, 8]))
    piece = Piece("MatMulNBits")
    piece.attributes = {"K": depth, "N": rows, "block_size": size, "bits": bits}
    piece.feed("A", _normal(rng, 3, depth))
    piece.store("B", _integers(rng, "u1", rows, count, size * bits // 8))
    piece.store("scales", _scale(rng, rows * count))
    if rng.random() < 0.6:
        width = -(-count * bits // 8)
        piece.store("zeros", _integers(rng, "u1", rows * width))
    piece.result("Y", "f4")
    return piece


# -- fused float operators


def _skip_norm(op, simplified):
    def make(rng):
        piece = Piece(op, attributes={"epsilon": float(rng.choice([1e-5, 1e-12]))})
        piece.feed("input", _normal(rng, 2, 5, 16))
        piece.feed("skip", _normal(rng, *([2, 5, 16] if rng.random() < 0.6 else [1, 5, 16])))
        piece.store("gamma", _normal(rng, 16))
        if not simplified:
            piece.store("beta", _normal(rng, 16)) if rng.random() < 0.6 else piece.skip()
        if rng.random() < 0.6:
            piece.store("bias", _normal(rng, 16))
        piece.result("output", "f4")
        if rng.random() < 0.6:
            piece.result("", "")
            piece.result("", "")
            piece.result("sum", "f4")
        return piece

    return make


def _rms(rng):
    piece = Piece("SimplifiedLayerNormalization", domain="")
    axis = int(rng.choice([-1, 2, 1]))
    piece.attributes = {"axis": axis, "epsilon": 1e-6}
    piece.feed("X", _normal(rng, 2, 5, 16))
    piece.store("scale", _normal(rng, *([5, 16] if axis == 1 else [16])))
    piece.result("Y", "f4")
    return piece


def _embed(rng):
    piece = Piece("EmbedLayerNormalization", steps=0)
    piece.feed("ids", rng.integers(0, 30, (2, 5)).astype("i4"))
    segments, places = rng.random() < 0.5, rng.random() < 0.5
    if segments:
        piece.feed("segments", rng.integers(0, 2, (2, 5)).astype("i4"))
    else:
        piece.skip()
    piece.store("words", _normal(rng, 30, 16))
    piece.store("places", _normal(rng, 10, 16))
    piece.store("kinds", _normal(rng, 2, 16)) if segments else piece.skip()
    piece.store("gamma", _normal(rng, 16))
    piece.store("beta", _normal(rng, 16))
    masked = rng.random() < 0.5
    piece.feed("mask", rng.integers(0, 2, (2, 5)).astype("i4")) if masked else piece.skip()
    if places:
        piece.feed("at", rng.integers(0, 10, (2, 5)).astype("i4"))
    piece.result("output", "f4")
    piece.result("count", "i4")
    if rng.random() < 0.5:
        piece.result("sum", "f4")
    return piece


def _gelu(op, bias, attributes=lambda rng: {}):
    def make(rng):
        piece = Piece(op, attributes=attributes(rng))
        piece.feed("X", _normal(rng, 2, 5, 16, scale=3))
        if bias == "always" or (bias == "sometimes" and rng.random() < 0.5):
            piece.store("bias", _normal(rng, 16))
        piece.result("Y", "f4")
        return piece

    return make


def _fused_matmul(rng):
    names = ("transA", "transB", "transBatchA", "transBatchB")
    flags = {name: int(rng.integers(0, 2)) for name in names}
    piece = Piece("FusedMatMul", attributes={**flags, "alpha": float(rng.choice([1.0, 0.25]))})
    for side, dims in (("A", [2, 3, 4, 8]), ("B", [2, 3, 8, 6])):
        shape = list(dims)
        if flags[f"trans{side}"]:
            shape[-2:] = shape[:-3:-1]
        if flags[f"transBatch{side}"]:
            shape = [shape[2], *shape[:2], shape[3]]
        piece.feed(side, _normal(rng, *shape))
    piece.result("Y", "f4")
    return piece


def _activation(rng, names):
    name = str(rng.choice(names))
    return name, {"LeakyRelu": [0.2], "Clip": [-0.5, 1.0], "HardSigmoid": [0.3, 0.4]}.get(name, [])


def _fused_conv(rng):
    names = ["Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid"]
    name, params = _activation(rng, names)
    piece = Piece("FusedConv", attributes={"activation": name, "pads": [1, 1, 1, 1]})
    if params:
        piece.attributes["activation_params"] = params
    piece.feed("X", _normal(rng, 1, 3, 8, 8))
    piece.store("W", _normal(rng, 4, 3, 3, 3))
    added = rng.random() < 0.5
    piece.store("B", _normal(rng, 4)) if added or rng.random() < 0.5 else piece.skip()
    if added:
        piece.feed("Z", _normal(rng, 1, 4, 8, 8))
    piece.result("Y", "f4")
    return piece


def _fused_gemm(rng):
    name, params = _activation(rng, ["Relu", "Tanh", "Sigmoid", "LeakyRelu"])
    piece = Piece("FusedGemm", attributes={"activation": name, "transB": 1, "alpha": 0.5})
    if params:
        piece.attributes["activation_alpha"] = params[0]
    piece.feed("A", _normal(rng, 3, 16))
    piece.store("B", _normal(rng, 8, 16))
    piece.store("C", _normal(rng, 8))
    piece.result("Y", "f4")
    return piece


# -- attention


def _mask(piece, rng, name, batch, queries, keys, kinds):
    kind = str(rng.choice(kinds))
    if kind == "none":
        piece.skip()
    elif kind == "lengths":
        piece.feed(name, rng.integers(1, keys + 1, batch).astype("i4"))
    elif kind == "ends":
        begin = rng.integers(0, keys - 1, batch)
        piece.feed(name, np.concatenate([begin + 1, begin]).astype("i4"))
    else:
        shape = (batch, keys) if kind == "2d" else (batch, queries, keys)
        mask = rng.integers(0, 2, shape).astype("i4")
        mask[..., 0] = 1
        piece.feed(name, mask)


def _attention(rng):
    batch, length, heads, size, past = 2, 5, 4, 4, int(rng.choice([0, 3]))
    piece = Piece("Attention", attributes={"num_heads": heads})
    piece.attributes["unidirectional"] = int(rng.integers(0, 2))
    if rng.random() < 0.3:
        piece.attributes["scale"] = 0.3
    wide = heads * size
    value = wide
    if not past and rng.random() < 0.3:
        value = 2 * wide
        piece.attributes["qkv_hidden_sizes"] = [wide, wide, value]
    piece.feed("input", _normal(rng, batch, length, 16))
    piece.store("weights", _normal(rng, 16, 2 * wide + value, scale=0.3))
    piece.store("bias", _normal(rng, 2 * wide + value, scale=0.1))
    kinds = ["none", "2d", "3d", *([] if past else ["lengths", "ends"])]
    _mask(piece, rng, "mask", batch, length, past + length, kinds)
    if past:
        piece.feed("past", _normal(rng, 2, batch, heads, past, size))
    else:
        piece.skip()
    if not past and rng.random() < 0.4:
        piece.feed("bias4", _normal(rng, batch, heads, length, length))
    piece.result("output", "f4")
    if past:
        piece.result("present", "f4")
    return piece


def _multi_head(rng):
    batch, length, keys, heads, size = 2, 3, 5, 4, 4
    past = int(rng.choice([0, 2]))
    piece = Piece("MultiHeadAttention", attributes={"num_heads": heads})
    causal = rng.random() < 0.3
    if causal:
        piece.attributes["unidirectional"], keys = 1, length
    if past:
        keys = length
    if rng.random() < 0.3:
        piece.attributes["scale"] = 0.3
    wide = heads * size
    piece.feed("query", _normal(rng, batch, length, wide))
    piece.feed("key", _normal(rng, batch, keys, wide))
    piece.feed("value", _normal(rng, batch, keys, wide))
    piece.store("bias", _normal(rng, 3 * wide)) if rng.random() < 0.4 else piece.skip()
    kinds = ["none", "2d", *([] if past else ["lengths"])]
    _mask(piece, rng, "mask", batch, length, past + keys, kinds)
    if rng.random() < 0.4:
        piece.feed("bias4", _normal(rng, 1, heads, length, past + keys))
    else:
        piece.skip()
    if past:
        piece.feed("past_key", _normal(rng, batch, heads, past, size))
        piece.feed("past_value", _normal(rng, batch, heads, past, size))
    piece.result("output", "f4")
    if past:
        piece.result("present_key", "f4")
        piece.result("present_value", "f4")
    return piece


def _grouped(rng):
    heads, shared, size = (4, int(rng.choice([1, 2, 4])), 16)
    kind = str(rng.choice(["prompt", "next", "buffer", "chunk"]))
    batch = 1 if kind == "chunk" else int(rng.choice([1, 2]))
    length = {"prompt": 5, "next": 1, "buffer": 1, "chunk": 3}[kind]
    before = {"prompt": 0, "next": 6, "buffer": 9, "chunk": 6}[kind]
    total = {"prompt": 5, "next": 7, "buffer": 7, "chunk": 9}[kind]
    piece = Piece("GroupQueryAttention")
    piece.attributes = {"num_heads": heads, "kv_num_heads": shared}
    piece.attributes["do_rotary"] = int(rng.integers(0, 2))
    piece.attributes["rotary_interleaved"] = int(rng.integers(0, 2))
    piece.attributes["smooth_softmax"] = int(rng.choice([-1, 0]))
    if rng.random() < 0.3:
        piece.attributes["local_window_size"] = 3
    if rng.random() < 0.3:
        piece.attributes["softcap"] = 2.0
    if rng.random() < 0.3:
        piece.attributes["scale"] = 0.3
    if rng.random() < 0.5:
        piece.feed("query", _normal(rng, batch, length, heads * size))
        piece.feed("key", _normal(rng, batch, length, shared * size))
        piece.feed("value", _normal(rng, batch, length, shared * size))
    else:
        piece.feed("query", _normal(rng, batch, length, (heads + 2 * shared) * size))
        piece.skip()
        piece.skip()
    if kind == "prompt" and rng.random() < 0.5:
        piece.skip()
        piece.skip()
    else:
        piece.feed("past_key", _normal(rng, batch, shared, before, size))
        piece.feed("past_value", _normal(rng, batch, shared, before, size))
    lengths = np.full(batch, total - 1)
    if kind == "next":
        lengths[1:] -= 2
    piece.filled = lengths + 1
    piece.feed("seqlens", lengths.astype("i4"))
    piece.store("total", np.array(total, "i4"))
    if piece.attributes["do_rotary"]:
        angles = rng.uniform(-3, 3, (16, size // 2))
        piece.store("cos", np.cos(angles).astype("f4"))
        piece.store("sin", np.sin(angles).astype("f4"))
    piece.result("output", "f4")
    piece.result("present_key", "f4")
    piece.result("present_value", "f4")
    return piece


def _rotary(rng):
    piece, flat = Piece("RotaryEmbedding"), rng.random() < 0.5
    heads, size = 4, 8
    piece.attributes["interleaved"] = int(rng.integers(0, 2))
    angles = size // 2
    if rng.random() < 0.4:
        piece.attributes["rotary_embedding_dim"], angles = 4, 2
    if flat or angles == 2:
        piece.attributes["num_heads"] = heads
    piece.feed("input", _normal(rng, *((2, 5, heads * size) if flat else (2, heads, 5, size))))
    if rng.random() < 0.5:
        piece.feed("places", rng.integers(0, 16, (2, 5)))
    else:
        piece.feed("places", rng.integers(0, 10, 1))
    theta = rng.uniform(-3, 3, (16, angles))
    piece.store("cos", np.cos(theta).astype("f4"))
    piece.store("sin", np.sin(theta).astype("f4"))
    piece.result("output", "f4")
    return piece


PIECES: Mapping[str, Callable[[np.random.Generator], Piece]] = {
    "Attention": _attention,
    "BiasGelu": _gelu("BiasGelu", "always"),
    "DynamicQuantizeMatMul": _dynamic,
    "EmbedLayerNormalization": _embed,
    "FastGelu": _gelu("FastGelu", "sometimes"),
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu("Gelu", "never"),
    "GroupQueryAttention": _grouped,
    "MatMulIntegerToFloat": _integer_to_float,
    "MatMulNBits": _nbits,
    "MultiHeadAttention": _multi_head,
    "NhwcMaxPool": _nhwc_max_pool,
    "QGemm": _qgemm,
    "QLinearAdd": _binary("QLinearAdd"),
    "QLinearAveragePool": _unary("QLinearAveragePool", attributes=_pool_attributes),
    "QLinearConcat": _concat,
    "QLinearConv": _conv(""),
    "QLinearConv, channels last": _conv(_MS),
    "QLinearGlobalAveragePool": _unary(
        "QLinearGlobalAveragePool",
        attributes=lambda rng: {"channels_last": int(rng.integers(0, 2))},
    ),
    "QLinearLeakyRelu": _unary("QLinearLeakyRelu", attributes=lambda rng: {"alpha": 0.2}),
    "QLinearMul": _binary("QLinearMul"),
    "QLinearSigmoid": _unary("QLinearSigmoid", scale=0.2),
    "QLinearSoftmax": _softmax,
    "QLinearWhere": _where,
    "QuickGelu": _gelu(
        "QuickGelu", "never", lambda rng: {"alpha": float(rng.choice([1.0, 1.702]))}
    ),
    "RotaryEmbedding": _rotary,
    "SimplifiedLayerNormalization": _rms,
    "SkipLayerNormalization": _skip_norm("SkipLayerNormalization", False),
    "SkipSimplifiedLayerNormalization": _skip_norm("SkipSimplifiedLayerNormalization", True),
}
"""Operator → what makes a random node of it."""
