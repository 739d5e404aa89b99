"""The same values under another shape, repeated, or put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext
from byoc.frontends.torch.ops.slicing import sliced

__all__ = ["SHAPES"]

R = relax.op


def view(
    c: TorchContext, /, self: Any, size: Any = None, shape: Any = None, start_dim: Any = None,
    end_dim: Any = None, dim: Any = None, sizes: Any = None, other: Any = None,
) -> Any:  # fmt: skip
    return R.reshape(self, c.shape)


def unsqueeze(c: TorchContext, /, self: Any, dim: int) -> Any:
    return R.expand_dims(self, dim % (self.ty.ndim + 1))


def squeeze(c: TorchContext, /, self: Any, dim: Any = None) -> Any:
    dims = c.dims(self)
    asked = range(len(dims)) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = [a % max(len(dims), 1) for a in asked if dims and dims[a] == 1]
    return R.squeeze(self, axes) if axes else self


def same(c: TorchContext, /, self: Any) -> Any:
    return self


def to_copy(
    c: TorchContext, /, self: Any, dtype: Any = None, copy: Any = None, other: Any = None
) -> Any:
    return c.cast(self, c.dtype)


def copy(c: TorchContext, /, self: Any, src: Any) -> Any:
    return R.broadcast_to(c.cast(src, c.dtype), c.shape)


def permute(c: TorchContext, /, self: Any, dims: Any) -> Any:
    return R.permute_dims(self, [d % self.ty.ndim for d in dims]) if self.ty.ndim else self


def transpose(c: TorchContext, /, self: Any, dim0: int, dim1: int) -> Any:
    if not self.ty.ndim:
        return self
    axes = list(range(self.ty.ndim))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return R.permute_dims(self, axes)


def t(c: TorchContext, /, self: Any) -> Any:
    return R.permute_dims(self) if self.ty.ndim > 1 else self


def expand(
    c: TorchContext, /, self: Any, size: Any = None, implicit: bool = False, other: Any = None
) -> Any:
    return R.broadcast_to(self, c.shape)


def repeat(c: TorchContext, /, self: Any, repeats: Any = None, dims: Any = None) -> Any:
    counts = [c.static(r, "a number of repeats") for r in (repeats if dims is None else dims)]
    return R.tile(self, counts) if counts else self


def repeat_interleave(
    c: TorchContext, /, self: Any, repeats: Any, dim: Any = None, output_size: Any = None
) -> Any:
    return R.repeat(self, c.static(repeats, "a number of repeats"), dim)


def pixel_shuffle(c: TorchContext, /, self: Any, upscale_factor: int) -> Any:
    r, shape = upscale_factor, c.shape
    lead, (high, wide) = shape[:-2], c.dims(self)[-2:]
    split = c.emit(R.reshape(self, [*lead, r, r, high, wide]))
    n = len(lead)
    axes = [*range(n), n + 2, n, n + 3, n + 1]
    return R.reshape(c.emit(R.permute_dims(split, axes)), shape)


def pixel_unshuffle(c: TorchContext, /, self: Any, downscale_factor: int) -> Any:
    r, shape = downscale_factor, c.shape
    lead = c.dims(self)[:-2]
    split = c.emit(R.reshape(self, [*lead, shape[-2], r, shape[-1], r]))
    n = len(lead)
    axes = [*range(n), n + 1, n + 3, n, n + 2]
    return R.reshape(c.emit(R.permute_dims(split, axes)), shape)


def cat(c: TorchContext, /, tensors: Any, dim: int) -> Any:
    kept = [t for t in tensors if not (t.ty.ndim == 1 and c.dims(t) == [0])] or tensors[:1]
    cast = [c.cast(t, c.dtype) for t in kept]
    return cast[0] if len(cast) == 1 else R.concat(cast, dim % cast[0].ty.ndim)


def stack(c: TorchContext, /, tensors: Any, dim: int) -> Any:
    axis = dim % (tensors[0].ty.ndim + 1)
    parts = [c.emit(R.expand_dims(c.cast(t, c.dtype), axis)) for t in tensors]
    return parts[0] if len(parts) == 1 else R.concat(parts, axis)


def constant_pad(c: TorchContext, /, self: Any, pad: Any, value: Any) -> Any:
    pads = [c.static(p, "padding") for p in pad]
    x, rank = self, self.ty.ndim
    widths = [0] * (2 * rank)
    for i in range(len(pads) // 2):
        axis = rank - 1 - i
        before, after = pads[2 * i : 2 * i + 2]
        if before < 0 or after < 0:
            size = c.dims(x)[axis]
            x = c.emit(sliced(c, x, axis, max(0, -before), size - max(0, -after)))
        widths[2 * axis : 2 * axis + 2] = [max(0, before), max(0, after)]
    if not any(widths):
        return x
    if c.dtype == "bool":
        padded = c.emit(R.nn.pad(c.emit(R.astype(x, "int8")), widths, pad_value=int(bool(value))))
        return R.not_equal(padded, c.const(0, "int8"))
    return R.nn.pad(x, widths, pad_value=float(value))


SHAPES: Mapping[str, Converter] = {
    "_to_copy.default": to_copy,
    "_unsafe_view.default": view,
    "alias.default": same,
    "alias_copy.default": same,
    "broadcast_to.default": expand,
    "cat.default": cat,
    "clone.default": same,
    "concat.default": cat,
    "constant_pad_nd.default": constant_pad,
    "contiguous.default": same,
    "copy.default": copy,
    "detach.default": same,
    "detach_copy.default": same,
    "expand.default": expand,
    "expand_as.default": expand,
    "expand_copy.default": expand,
    "flatten.using_ints": view,
    "lift.default": same,
    "lift_fresh.default": same,
    "lift_fresh_copy.default": same,
    "numpy_T.default": t,
    "permute.default": permute,
    "permute_copy.default": permute,
    "pixel_shuffle.default": pixel_shuffle,
    "pixel_unshuffle.default": pixel_unshuffle,
    "positive.default": same,
    "repeat.default": repeat,
    "repeat_interleave.self_int": repeat_interleave,
    "reshape.default": view,
    "reshape_as.default": view,
    "squeeze.default": squeeze,
    "squeeze.dim": squeeze,
    "squeeze.dims": squeeze,
    "squeeze_copy.default": squeeze,
    "squeeze_copy.dim": squeeze,
    "squeeze_copy.dims": squeeze,
    "stack.default": stack,
    "swapaxes.default": transpose,
    "t.default": t,
    "t_copy.default": t,
    "tile.default": repeat,
    "to.device": to_copy,
    "to.dtype": to_copy,
    "to.dtype_layout": to_copy,
    "to.other": to_copy,
    "transpose.int": transpose,
    "transpose_copy.int": transpose,
    "type_as.default": to_copy,
    "unflatten.int": view,
    "unsqueeze.default": unsqueeze,
    "unsqueeze_copy.default": unsqueeze,
    "view.default": view,
    "view_as.default": view,
    "view_copy.default": view,
}
"""ATen operator, as "name.overload" → converter."""
