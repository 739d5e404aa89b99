"""What the accelerator takes: float ops between dequantize and quantize.

::

    quantize(relu(conv2d(dequantize(x), dequantize(W)) + b))        one composite, int8 to int8

Each op is taken together with the quantisation around it, so a composite's result is int8 and
exact. What is left over at the borders (a model's first quantize, its last dequantize) is taken by
itself, at a lower priority: the driver converts while it copies.

A check sees one composite and no options: limits that depend on the size of the machine are those
of the default one; a smaller machine refuses when it compiles, with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.segment import Node
from byoc.vendor import Match, Pattern, Reject
from byoc.vendor_templates.npu.lowering.table_functions import FUNCTIONS

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

__all__ = ["check", "patterns"]

_MOST_CONCAT = 12
_BYTE = 255  # kernels, strides, dilations, padding
_SHORT = 65535  # channels, and rows and columns of a tile
_LAYOUTS = ("NCHW", "NHWC", "NCW", "NWC")
_MAX_BYTES = 1 << 31
_BORDER = 0
_OP = 10


def patterns() -> Sequence[Pattern]:
    """Return all patterns; among those of one root the longest come first."""
    from tvm.relax.dpl import is_const, is_op, is_tuple, wildcard

    def dequantized(what: DFPattern | None = None) -> DFPattern:
        value = wildcard() if what is None else what
        return is_op("relax.dequantize")(value, is_const(), is_const())

    def quantized(what: DFPattern) -> DFPattern:
        return is_op("relax.quantize")(what, is_const(), is_const())

    def weights() -> DFPattern:
        stored = dequantized(is_const())
        return stored | is_op("relax.permute_dims")(dequantized(is_const()))

    def bias() -> DFPattern:
        stored = dequantized(is_const())
        return is_const() | stored | is_op("relax.reshape")(dequantized(is_const()), wildcard())

    def clipped(what: DFPattern) -> DFPattern:
        return is_op("relax.clip")(what, wildcard(), wildcard())

    def products() -> Iterable[tuple[str, DFPattern]]:
        for op in ("nn.conv2d", "nn.conv1d", "matmul"):
            for with_bias in (True, False):
                for act in ("relu", "clip", ""):
                    core = is_op(f"relax.{op}")(dequantized(), weights())
                    name = op.removeprefix("nn.")
                    if with_bias:
                        core, name = is_op("relax.add")(core, bias()), f"{name}_bias"
                    if act:
                        core = clipped(core) if act == "clip" else is_op(f"relax.nn.{act}")(core)
                        name = f"{name}_{act}"
                    yield name, quantized(core)

    def others() -> Iterable[tuple[str, DFPattern]]:
        for op in ("add", "multiply"):
            pair = is_op(f"relax.{op}")(dequantized(), dequantized())
            yield f"{op}_relu", quantized(is_op("relax.nn.relu")(pair))
            yield (
                f"{op}_clip",
                quantized(clipped(is_op(f"relax.{op}")(dequantized(), dequantized()))),
            )
            yield op, quantized(is_op(f"relax.{op}")(dequantized(), dequantized()))
            yield f"{op}_scalar", quantized(is_op(f"relax.{op}")(dequantized(), is_const()))
        for op in ("nn.max_pool2d", "nn.avg_pool2d", "nn.adaptive_avg_pool2d", "mean"):
            yield op.removeprefix("nn."), quantized(is_op(f"relax.{op}")(dequantized()))
        for op in ("reshape", "flatten", "squeeze", "expand_dims"):
            many = op == "reshape"
            moved = is_op(f"relax.{op}")(
                *([dequantized(), wildcard()] if many else [dequantized()])
            )
            yield op, quantized(moved)
        for count in range(2, _MOST_CONCAT + 1):
            parts = is_tuple([dequantized() for _ in range(count)])
            yield f"concat_{count}", quantized(is_op("relax.concat")(parts))
        for op in FUNCTIONS:
            core = dequantized()
            expr = clipped(core) if op == "clip" else is_op(f"relax.{op}")(core)
            yield op.removeprefix("nn."), quantized(expr)
        yield "rescale", quantized(dequantized())

    whole = [
        Pattern(name, expr, {"y": expr}, check, _OP) for name, expr in (*products(), *others())
    ]
    entry, leave = quantized(wildcard()), dequantized()
    return [
        *whole,
        Pattern("quantize", entry, {"y": entry}, check_border, _BORDER),
        Pattern("dequantize", leave, {"y": leave}, check_border, _BORDER),
    ]


def check(match: Match) -> Reject | None:
    """Check whether a composite's quantisation and each of its ops can be done exactly.

    Returns:
        None, or the reason why not.
    """
    for node in match.nodes:
        rule = _RULES.get(node.op)
        reason = _common(match, node) or (rule(match, node) if rule else None)
        if reason is not None:
            return Reject(reason)
    return None


def check_border(match: Match) -> Reject | None:
    """Check a lone quantize or dequantize of an activation.

    Returns:
        None, or the reason why it cannot be taken.
    """
    (node,) = match.nodes
    if match.constant(node.inputs[0]) is not None:
        return Reject(f"{node.op}: its input is a constant; the npu stores no float weights")
    kind = match.type(node.inputs[0] if node.op == "quantize" else node.outputs[0])
    if kind.dtype != "float32":
        return Reject(f"{node.op}: the host side is {kind.dtype}, the npu's driver takes float32")
    return check(match)


# -- rules: (match, node) -> reason or None -----------------------------------------------------

Rule = Callable[[Match, Node], str | None]


def _common(match: Match, node: Node) -> str | None:
    for value in (*node.inputs, *node.outputs):
        kind = match.type(value)
        if not kind.is_static:
            return f"{node.op}: shape {kind} is not static; the npu computes fixed shapes"
        if (kind.size or 0) == 0:
            return f"{node.op}: {kind} is empty"
        if (kind.size or 0) >= _MAX_BYTES:
            return f"{node.op}: {kind} has 2^31 elements or more"
    return None


def _shape(match: Match, value: int) -> tuple[int, ...]:
    return tuple(int(d) for d in match.type(value).shape)


def _scales(match: Match, node: Node) -> tuple[Any, Any] | str:
    scale, zero = match.constant(node.inputs[1]), match.constant(node.inputs[2])
    if scale is None or zero is None:
        return f"{node.op}: scale and zero point must be constants"
    if not (np.isfinite(scale).all() and (np.asarray(scale) > 0).all()):
        return f"{node.op}: a scale is not positive and finite"
    return scale, zero


def _integer(node: Node, dtype: str) -> str | None:
    if dtype in ("int8", "uint8"):
        return None
    return f"{node.op}: {dtype} values; the npu computes int8 and uint8"


def _one_scale(node: Node, scale: Any, zero: Any) -> str | None:
    if np.ptp(scale) != 0 or np.ptp(np.asarray(zero, np.int64)) != 0:
        return f"{node.op}: {np.size(scale)} scales on an activation; the npu takes one"
    return None


def _quantize(match: Match, node: Node) -> str | None:
    found = _scales(match, node)
    if isinstance(found, str):
        return found
    return _integer(node, match.type(node.outputs[0]).dtype) or _one_scale(node, *found)


def _dequantize(match: Match, node: Node) -> str | None:
    found = _scales(match, node)
    if isinstance(found, str):
        return found
    kind = match.type(node.inputs[0])
    if match.constant(node.inputs[0]) is None:
        return _integer(node, kind.dtype) or _one_scale(node, *found)
    zero = np.asarray(found[1], np.int64)
    if kind.dtype == "int32":
        return "dequantize: a bias with a zero point" if zero.any() else None
    center = 128 if kind.dtype == "uint8" else 0
    if (reason := _integer(node, kind.dtype)) is not None:
        return reason
    if _is_weight(match, node) and (zero != center).any():
        odd = int(np.ravel(zero)[np.argmax(np.ravel(zero) != center)])
        return f"weights are asymmetric (zero point {odd}); the npu takes symmetric weights"
    return None


def _is_weight(match: Match, node: Node) -> bool:
    """True when a dequantize feeds the second operand of a product, directly or transposed."""
    value = node.outputs[0]
    for other in match.nodes:
        if other.op == "permute_dims" and value in other.inputs:
            value = other.outputs[0]
    return any(
        other.op in ("nn.conv2d", "nn.conv1d", "matmul") and other.inputs[1] == value
        for other in match.nodes
    )


def _over(node: Node, what: str, values: Iterable[int], limit: int) -> str | None:
    worst = max((int(v) for v in values), default=0)
    return f"{node.op}: {what} {worst} is over {limit}" if worst > limit else None


def _ints(value: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in (value if isinstance(value, (tuple, list)) else (value,)))


def _window(
    node: Node, kernel: Sequence[int], size: Sequence[int], out: Sequence[int]
) -> str | None:
    """Limits of a sliding window over `size` positions giving `out`."""
    strides, dilation = _ints(node.attrs["strides"]), _ints(node.attrs["dilation"])
    pads = _ints(node.attrs["padding"])
    rank = len(kernel)
    strides, dilation = strides * (rank // len(strides)), dilation * (rank // len(dilation))
    pads = pads * (2 * rank // len(pads))
    for what, values in (
        ("kernel", kernel), ("stride", strides), ("dilation", dilation), ("padding", pads),
    ):  # fmt: skip
        if (reason := _over(node, what, values, _BYTE)) is not None:
            return reason
    for axis in range(rank):
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        last = (out[axis] - 1) * strides[axis] - pads[axis]
        if pads[axis] >= extent or last >= size[axis]:
            return f"{node.op}: a window of {extent} lies wholly in the padding of {pads[axis]}"
    return None


def _spatial(layout: str, shape: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """(spatial sizes, channels) of a shape in a layout."""
    channels = shape[layout.index("C")]
    return tuple(d for d, axis in zip(shape, layout, strict=True) if axis in "HW"), channels


def _weight_scale_axis(match: Match, value: int, axis: int) -> str | None:
    """Scales of a weight must run along its output channels."""
    for node in match.nodes:
        if value in node.outputs and node.op == "permute_dims":
            rank = len(_shape(match, value))
            axes = node.attrs.get("axes") or tuple(reversed(range(rank)))
            return _weight_scale_axis(match, node.inputs[0], int(axes[axis]) % rank)
        if value in node.outputs and node.op == "dequantize":
            scale = match.constant(node.inputs[1])
            rank = len(_shape(match, value))
            found = int(node.attrs.get("axis", -1)) % rank
            if scale is not None and np.size(scale) > 1 and found != axis:
                return f"weights have scales along axis {found}; the npu takes axis {axis}"
            return None
    return "weights are not constant"


def _conv(match: Match, node: Node) -> str | None:
    layout, kernel_layout = str(node.attrs["data_layout"]), str(node.attrs["kernel_layout"])
    out_layout = str(node.attrs.get("out_layout") or layout)
    if layout not in _LAYOUTS or out_layout != layout:
        return f"{node.op}: layout {layout} to {out_layout}; legal: {', '.join(_LAYOUTS)}"
    if set(kernel_layout) != set(layout.replace("N", "O").replace("C", "I")):
        return f"{node.op}: kernel layout {kernel_layout}"
    weights = _shape(match, node.inputs[1])
    kernel = tuple(d for d, a in zip(weights, kernel_layout, strict=True) if a in "HW")
    size, channels = _spatial(layout, _shape(match, node.inputs[0]))
    out, _ = _spatial(layout, _shape(match, node.outputs[0]))
    extent = [
        (k - 1) * d + 1 for k, d in zip(kernel, _ints(node.attrs["dilation"]) * 2, strict=False)
    ]
    return (
        _over(node, "channels", (channels, weights[kernel_layout.index("O")]), _SHORT)
        or _window(node, kernel, size, out)
        or _fits(node, kernel, [min(e, s) for e, s in zip(extent, size, strict=True)], channels)
        or _weight_scale_axis(match, node.inputs[1], kernel_layout.index("O"))
    )


def _fits(node: Node, kernel: Sequence[int], window: Sequence[int], channels: int) -> str | None:
    """One window of input must fit beside room for its result (of the default machine)."""
    from byoc.vendor_templates.npu.machine.config import load_config

    room = int(load_config().activation.size) - 4096
    need = prod(window) * channels
    if need <= room:
        return None
    text = "x".join(map(str, (*kernel, channels)))
    return (
        f"kernel {text} does not fit the activation scratchpad: one window is {need / 1024:.0f} "
        f"KiB > {room / 1024:.0f} KiB"
    )


def _matmul(match: Match, node: Node) -> str | None:
    x, weights = _shape(match, node.inputs[0]), _shape(match, node.inputs[1])
    if len(x) < 2 or prod(weights[:-2]) != 1 or len(weights) < 2:
        return f"matmul: {x} by {weights}; the npu takes rows by one matrix"
    return _over(node, "channels", (x[-1], weights[-1]), _SHORT) or _weight_scale_axis(
        match, node.inputs[1], len(weights) - 1
    )


def _binary(match: Match, node: Node) -> str | None:
    product = [n for n in match.nodes if n.op in ("nn.conv2d", "nn.conv1d", "matmul")]
    shape = _shape(match, node.outputs[0])
    if product:
        size = match.type(node.inputs[1]).size
        channels = _channel_count(match, product[0])
        along = _shape(match, node.inputs[1])
        if size not in (1, channels) or max(along) != size:
            return f"add: a bias of shape {along} on {channels} channels"
        axis = len(shape) - 1
        if product[0].op != "matmul":
            axis = str(product[0].attrs["data_layout"]).index("C")
        own = axis - (len(shape) - len(along))  # the same axis of the bias
        if size != 1 and (own < 0 or along[own] != size):
            return f"add: a bias of shape {along} does not run along the channels"
        return None
    sizes = []
    for value in node.inputs:
        constant = match.constant(value)
        if constant is not None:
            if constant.size != 1:
                return f"{node.op}: a float constant of {constant.size} values is not quantised"
            continue
        sizes.append(_shape(match, value))
    if len(sizes) < 2:
        return None
    small, large = sorted(sizes, key=prod)
    if large != shape:
        return f"{node.op}: {small} with {large} broadcasts both ways"
    if any(_is_constant_side(match, v) for v in node.inputs):
        return None if prod(small) in (1, prod(large)) or len(small) <= len(large) else "shape"
    if small == large:
        return None
    first, last = (
        (*large[:2], *(1,) * (len(large) - 2)),
        (large[0], *(1,) * (len(large) - 2), large[-1]),
    )
    if len(large) >= 3 and len(small) == len(large) and small in (first, last):
        axis = 1 if small == first else len(large) - 1
        layout = 1 if len(large) == 4 else len(large) - 1
        return None if axis == layout else f"{node.op}: {small} over {large} in this layout"
    return f"{node.op}: {small} does not broadcast over the pixels of {large}"


def _is_constant_side(match: Match, value: int) -> bool:
    return any(
        value in n.outputs and n.op == "dequantize" and match.constant(n.inputs[0]) is not None
        for n in match.nodes
    )


def _channel_count(match: Match, node: Node) -> int:
    shape = _shape(match, node.outputs[0])
    if node.op == "matmul":
        return shape[-1]
    return shape[str(node.attrs["data_layout"]).index("C")]


def _pool(match: Match, node: Node) -> str | None:
    layout = str(node.attrs["layout"])
    if layout not in ("NCHW", "NHWC"):
        return f"{node.op}: layout {layout}; legal: NCHW, NHWC"
    size, channels = _spatial(layout, _shape(match, node.inputs[0]))
    out, _ = _spatial(layout, _shape(match, node.outputs[0]))
    if (reason := _over(node, "channels", (channels,), _SHORT)) is not None:
        return reason
    if node.op == "nn.adaptive_avg_pool2d":
        uneven = any(s % o for s, o in zip(size, out, strict=True))
        if uneven:
            return f"{node.op}: {size} does not divide into {out}"
        return _over(node, "kernel", (s // o for s, o in zip(size, out, strict=True)), _BYTE)
    kernel = _ints(node.attrs["pool_size"])
    if node.op == "nn.avg_pool2d" and node.attrs.get("ceil_mode"):
        pads = _ints(node.attrs["padding"])
        for axis in range(2):
            covered = (out[axis] - 1) * _ints(node.attrs["strides"])[axis] + kernel[axis]
            if covered > size[axis] + pads[axis] + pads[axis - 2]:
                return "nn.avg_pool2d: ceil_mode gives a window that passes the padding"
    return _window(node, kernel, size, out)


def _mean(match: Match, node: Node) -> str | None:
    shape = _shape(match, node.inputs[0])
    rank = len(shape)
    axes = sorted(int(a) % rank for a in (node.attrs.get("axis") or range(rank)))
    inner, outer = list(range(2, rank)), list(range(1, rank - 1))
    if rank not in (3, 4) or axes not in (inner, outer):
        return f"mean: over axes {tuple(axes)} of {shape}; the npu takes the pixels of an image"
    if match.type(node.inputs[0]).dtype != "float32":
        return "mean: not float32"
    return _over(node, "kernel", (shape[a] for a in axes), _BYTE)


def _permute(match: Match, node: Node) -> str | None:
    source = node.inputs[0]
    constant = any(
        source in n.outputs and n.op == "dequantize" and match.constant(n.inputs[0]) is not None
        for n in match.nodes
    )
    return None if constant else "permute_dims: only weights can be transposed"


_RULES: dict[str, Rule] = {
    "quantize": _quantize,
    "dequantize": _dequantize,
    "nn.conv2d": _conv,
    "nn.conv1d": _conv,
    "matmul": _matmul,
    "add": _binary,
    "multiply": _binary,
    "nn.max_pool2d": _pool,
    "nn.avg_pool2d": _pool,
    "nn.adaptive_avg_pool2d": _pool,
    "mean": _mean,
    "permute_dims": _permute,
}
