"""Layouts of tensors: permutations of letters (NHWC) and blocks (NCHW8c, OIHW8i8o).

A capital is a dimension, a number with a small letter a block of it, outer to inner::

    NCHW8c   [N, C/8, H, W, 8]   ── blocks next to their dimension ──▶ [N, C/8, 8, H, W]
                                 ── joined ─────────────────────────▶ [N, C, H, W]   NCHW
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from tvm import relax

from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.helpers import dims, letters, transpose

__all__ = ["plain_layout", "relayout"]

_PART = re.compile(r"([A-Z])|(\d{1,6})([a-z])")

Parts = list[tuple[str, int | None]]
"""Per dimension of a tensor: the letter, as a capital, and the size of the block or None."""


def _parts(layout: str, what: str) -> Parts:
    found: Parts = []
    end = 0
    for match in _PART.finditer(layout):
        if match.start() != end:
            break
        end = match.end()
        found.append((match[1], None) if match[1] else (match[3].upper(), int(match[2])))
    whole = [letter for letter, block in found if block is None]
    blocks = [(letter, block) for letter, block in found if block is not None]
    legal = end == len(layout) and len(set(whole)) == len(whole)
    if not legal or any(letter not in whole or not block for letter, block in blocks):
        raise ValueError(f"{what} {layout!r} is no layout: capitals, and blocks of them like 8c")
    return found


def plain_layout(layout: Any, what: str) -> str:
    """Return a layout without its blocks: ``NCHW`` for ``NCHW8c``.

    Args:
        layout: The layout.
        what: The attribute, for the message.

    Raises:
        ValueError: It is no layout.
    """
    return "".join(letter for letter, block in _parts(str(layout), what) if block is None)


def relayout(c: RelayContext, data: Any, src: Any, dst: Any, what: str) -> Any:
    """Return a tensor in another layout.

    Args:
        c: The call.
        data: The tensor.
        src: Its layout.
        dst: The wanted one, of the same letters.
        what: The attribute that holds the layout, for messages.

    Raises:
        ValueError: The layouts do not have the same letters, or the tensor does not have the
            layout.
    """
    src, dst = str(src), str(dst)
    if src.isalpha() and dst.isalpha():
        return transpose(data, letters(src, dst, what))
    plain = plain_layout(src, what)
    joined = _joined(c, data, _parts(src, what), what)
    wanted = plain_layout(dst, what)
    turned = c.typed(transpose(joined, letters(plain, wanted, what)))
    return _split(c, turned, _parts(dst, what), what)


def _joined(c: RelayContext, data: Any, parts: Parts, what: str) -> Any:
    """Without blocks."""
    shape = dims(data)
    if len(shape) != len(parts):
        raise ValueError(f"{what} has {len(parts)} dimensions, the tensor {len(shape)}")
    for size, (letter, block) in zip(shape, parts, strict=True):
        if block is not None and size != block:
            raise ValueError(f"{what} says blocks of {block} for {letter}, the tensor has {size}")
    whole = [letter for letter, block in parts if block is None]
    if len(whole) == len(parts):
        return data
    members = [[i for i, (other, _) in enumerate(parts) if other == letter] for letter in whole]
    side_by_side = c.typed(transpose(data, [i for axes in members for i in axes]))
    sizes = [math.prod(shape[i] for i in axes) for axes in members]
    return c.typed(relax.op.reshape(side_by_side, sizes))


def _split(c: RelayContext, data: Any, parts: Parts, what: str) -> Any:
    """With the blocks of a layout, whose capitals stand as the tensor's dimensions do."""
    whole = [letter for letter, block in parts if block is None]
    if len(whole) == len(parts):
        return data
    sizes: list[Any] = []
    order: list[tuple[str, int | None]] = []
    for letter, size in zip(whole, dims(data), strict=True):
        blocks = [block for other, block in parts if other == letter and block is not None]
        block = math.prod(blocks)
        if blocks and (not isinstance(size, int) or size % block):
            raise ValueError(f"{what}: {letter} of {size} is not made of blocks of {block}")
        sizes += [size // block if blocks else size, *blocks]
        order += [(letter, None), *((letter, b) for b in blocks)]
    split = c.typed(relax.op.reshape(data, sizes))
    return c.typed(transpose(split, _positions(parts, order)))


def _positions(wanted: Sequence[tuple[str, int | None]], order: Parts) -> list[int]:
    """Where each part of `wanted` stands in `order`; equal blocks of a letter keep their turn."""
    left: list[tuple[str, int | None] | None] = list(order)
    found = []
    for part in wanted:
        at = left.index(part)
        left[at] = None
        found.append(at)
    return found
