"""Convolution, matrix product, pooling, normalisation, attention, softmax."""

from __future__ import annotations

from collections.abc import Sequence

from byoc.kit.onnx_export.context import Export, ExportContext, Unsupported
from byoc.segment import Node

__all__ = ["EXPORTS"]

_SPATIAL = {1: "W", 2: "HW", 3: "DHW"}


def _permute(c: ExportContext, x: str, source: str, target: str) -> str:
    """Transpose a tensor from one layout string to another ("NHWC" → "NCHW")."""
    if source == target:
        return x
    if sorted(source) != sorted(target):
        raise Unsupported(f"layout {source}, expected a permutation of {target}")
    return c.one("Transpose", x, perm=[source.index(axis) for axis in target])


def _dilation(node: Node, dims: int) -> list[int]:
    value = node.attrs.get("dilation", 1)
    return [int(v) for v in (value if isinstance(value, tuple) else (value,) * dims)]


def _conv(dims: int) -> Export:
    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        a, space = node.attrs, _SPATIAL[dims]
        data = _permute(c, x[0], a["data_layout"], f"NC{space}")
        weight = _permute(c, x[1], a["kernel_layout"], f"OI{space}")
        y = c.one(
            "Conv",
            data,
            weight,
            strides=[int(s) for s in a["strides"]],
            pads=[int(p) for p in a["padding"]],
            dilations=_dilation(node, dims),
            group=int(a["groups"]),
        )
        return _permute(c, y, f"NC{space}", a.get("out_layout") or a["data_layout"])

    return export


def _conv_transpose(dims: int) -> Export:
    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        a, space = node.attrs, _SPATIAL[dims]
        data = _permute(c, x[0], a["data_layout"], f"NC{space}")
        weight = _permute(c, x[1], a["kernel_layout"], f"IO{space}")
        y = c.one(
            "ConvTranspose",
            data,
            weight,
            strides=[int(s) for s in a["strides"]],
            pads=[int(p) for p in a["padding"]],
            output_padding=[int(p) for p in a["output_padding"]],
            dilations=_dilation(node, dims),
            group=int(a["groups"]),
        )
        return _permute(c, y, f"NC{space}", a.get("out_layout") or a["data_layout"])

    return export


def _matmul(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("MatMul", *x)


def _pool(dims: int, kind: str) -> Export:
    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        a, plain = node.attrs, "NC" + _SPATIAL[dims]
        data = _permute(c, x[0], a["layout"], plain)
        y = c.one(
            kind,
            data,
            kernel_shape=[int(k) for k in a["pool_size"]],
            strides=[int(s) for s in a["strides"]],
            pads=[int(p) for p in a["padding"]],
            dilations=_dilation(node, dims),
            ceil_mode=int(bool(a["ceil_mode"])),
            count_include_pad=int(bool(a["count_include_pad"])) if kind == "AveragePool" else None,
        )
        return _permute(c, y, plain, a.get("out_layout") or a["layout"])

    return export


def _global_average(dims: int) -> Export:
    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        a, plain = node.attrs, "NC" + _SPATIAL[dims]
        size = a.get("output_size")
        if size is None or any(s != 1 for s in size):
            raise Unsupported(f"{node.op} to {size}; ONNX has it for an output of 1 only")
        y = c.one("GlobalAveragePool", _permute(c, x[0], a["layout"], plain))
        return _permute(c, y, plain, a.get("out_layout") or a["layout"])

    return export


def _softmax(onnx_op: str) -> Export:
    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        return c.one(onnx_op, x[0], axis=int(node.attrs["axis"]))

    return export


def _trailing(c: ExportContext, node: Node, axes: Sequence[int]) -> int:
    """The first of `axes`, which must be the last dimensions."""
    rank = c.rank(node.inputs[0])
    wanted = sorted(int(a) % rank for a in axes)
    if wanted != list(range(rank - len(wanted), rank)):
        raise Unsupported(f"{node.op} over axes {tuple(axes)}, ONNX has trailing axes only")
    return wanted[0]


def _layer_norm(c: ExportContext, node: Node, x: list[str]) -> str:
    first = _trailing(c, node, node.attrs["axes"])
    return c.one("LayerNormalization", *x, axis=first, epsilon=float(node.attrs["epsilon"]))


def _rms_norm(c: ExportContext, node: Node, x: list[str]) -> str:
    _trailing(c, node, node.attrs["axes"])
    rank = c.rank(node.inputs[0])
    axes = c.constant(sorted(int(a) % rank for a in node.attrs["axes"]))
    mean = c.one("ReduceMean", c.one("Mul", x[0], x[0]), axes, keepdims=1)
    epsilon = c.constant(float(node.attrs["epsilon"]), c.dtype(node.inputs[0]))
    y = c.one("Div", x[0], c.one("Sqrt", c.one("Add", mean, epsilon)))
    return c.one("Mul", y, x[1]) if len(x) > 1 else y


def _instance_norm(c: ExportContext, node: Node, x: list[str]) -> str:
    rank = c.rank(node.inputs[0])
    axes = sorted(int(a) % rank for a in node.attrs["axes"])
    if int(node.attrs["channel_axis"]) % rank != 1 or axes != list(range(2, rank)):
        raise Unsupported("instance_norm with a channel axis other than 1")
    return c.one("InstanceNormalization", *x, epsilon=float(node.attrs["epsilon"]))


def _batch_norm(c: ExportContext, node: Node, x: list[str]) -> list[str]:
    if node.attrs.get("training"):
        raise Unsupported("batch_norm in training mode")
    rank = c.rank(node.inputs[0])
    if int(node.attrs["axis"]) % rank != 1:
        raise Unsupported(f"batch_norm over axis {node.attrs['axis']}, ONNX has axis 1")
    y = c.one("BatchNormalization", *x, epsilon=float(node.attrs["epsilon"]))
    return [y, x[3], x[4]]


def _attention(c: ExportContext, node: Node, x: list[str]) -> str:
    """softmax(q·kᵀ·scale + bias)·v on [B, S, H, D] operands."""
    if node.attrs.get("causal_mask"):
        raise Unsupported("attention with a causal mask attribute")
    if node.attrs.get("window_size"):
        raise Unsupported("attention over a sliding window")
    scale = node.attrs.get("scale")
    if scale is None:
        scale = c.shape(node.inputs[0], "attention's query")[-1] ** -0.5
    q = c.one("Transpose", x[0], perm=[0, 2, 1, 3])
    k = c.one("Transpose", x[1], perm=[0, 2, 3, 1])
    v = c.one("Transpose", x[2], perm=[0, 2, 1, 3])
    factor = c.constant(float(scale), c.dtype(node.inputs[0]))
    scores = c.one("MatMul", c.one("Mul", q, factor), k)
    if len(x) > 3:
        scores = c.one("Add", scores, x[3])
    y = c.one("MatMul", c.one("Softmax", scores, axis=-1), v)
    return c.one("Transpose", y, perm=[0, 2, 1, 3])


EXPORTS: dict[str, Export] = {
    "matmul": _matmul,
    "nn.attention": _attention,
    "nn.attention_bias": _attention,
    "nn.batch_norm": _batch_norm,
    "nn.instance_norm": _instance_norm,
    "nn.layer_norm": _layer_norm,
    "nn.log_softmax": _softmax("LogSoftmax"),
    "nn.rms_norm": _rms_norm,
    "nn.softmax": _softmax("Softmax"),
    **{f"nn.adaptive_avg_pool{d}d": _global_average(d) for d in (1, 2, 3)},
    **{f"nn.avg_pool{d}d": _pool(d, "AveragePool") for d in (1, 2, 3)},
    **{f"nn.conv{d}d": _conv(d) for d in (1, 2, 3)},
    **{f"nn.conv{d}d_transpose": _conv_transpose(d) for d in (1, 2, 3)},
    **{f"nn.max_pool{d}d": _pool(d, "MaxPool") for d in (1, 2, 3)},
}
