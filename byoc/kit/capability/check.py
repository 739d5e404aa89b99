"""Whether a match lies inside a capability, answered with a sentence where it does not.

In: a capability, the steps of its tail that a pattern has, a match. Out: None or `Reject`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from byoc.kit.capability.claims import ANY, Capability, Operand, Range
from byoc.segment import Node, TensorType
from byoc.support.dtypes import numpy_dtype
from byoc.vendor import Match, Reject

__all__ = ["bias_axis", "check_match", "default_of", "is_legal"]

_UNSAID = (None, "", "void")
_BY_TYPE = ("out_dtype",)  # told by the dtype of the output


def check_match(capability: Capability, steps: Sequence[str], match: Match) -> Reject | None:
    """Return why a match is outside a capability, or None.

    Args:
        capability: What is taken.
        steps: "bias", "residual" or an op, for each step of the pattern's tail.
        match: Its parts are those that `fused_patterns` describes.
    """
    return next((Reject(reason) for reason in _reasons(capability, steps, match)), None)


def _reasons(capability: Capability, steps: Sequence[str], match: Match) -> Iterator[str]:
    core = match.node("core")
    for number, value in enumerate(core.inputs):
        operand = capability.operand(number)
        yield from _input(capability, operand, core.op, number, match, value)
    yield from _types(capability, match)
    for attr, value in core.attrs.items():
        yield from _attribute(capability, core, attr, value)
    previous = core
    for step in steps:
        added = step in ("bias", "residual")
        follower = match.node(f"{step}_add" if added else step)
        if added:
            yield from _addition(core, previous, follower, step, match)
        else:
            for attr, value in follower.attrs.items():
                legal = capability.attrs.get(f"{step}.{attr}", ANY)
                if not is_legal(value, legal):
                    yield f"{step}: {attr} is {value!r}, taken is {_text(legal)}"
        previous = follower
    yield from _bytes(capability, match)


def _input(
    capability: Capability, operand: Operand, op: str, number: int, match: Match, value: int
) -> Iterator[str]:
    kind, what = match.type(value), f"{op}: input {number}"
    legal = operand.dtypes or capability.dtypes
    if kind.dtype not in legal:
        yield f"{what} is {kind.dtype}, taken is {_text(list(legal))}"
    if operand.rank and len(kind.shape) not in operand.rank:
        yield f"{what} has {len(kind.shape)} dimensions, taken are {_text(list(operand.rank))}"
    constant = match.constant(value) is not None
    if operand.constant is not None and constant != operand.constant:
        yield f"{what} is {'' if constant else 'not '}a constant"
    for axis, sizes in operand.dims.items():
        if not -len(kind.shape) <= axis < len(kind.shape):
            yield f"{what} has no axis {axis}"
        elif not is_legal(kind.shape[axis], sizes):
            yield f"{what} has size {kind.shape[axis]} along axis {axis}, taken is {_text(sizes)}"
    most = operand.max_elements
    if most is not None and (kind.size is None or kind.size > most):
        yield f"{what} has {kind.size or 'unknown many'} elements, taken are at most {most}"


def _types(capability: Capability, match: Match) -> Iterator[str]:
    """Of everything that the match touches."""
    own = {dtype for operand in capability.inputs for dtype in operand.dtypes}
    core = match.node("core")
    for node in match.nodes:
        for value in (*node.inputs, *node.outputs):
            kind = match.type(value)
            if not capability.symbolic and not kind.is_static:
                yield f"{node.op}: {kind} has symbolic dimensions"
            given = node is core or node.outputs == core.outputs
            legal = {*capability.dtypes, *(own if given and value in node.inputs else ())}
            if kind.dtype not in legal:
                yield f"{node.op} of {kind.dtype}, taken is {_text(list(capability.dtypes))}"


def _attribute(capability: Capability, node: Node, attr: str, value: Any) -> Iterator[str]:
    if attr in capability.attrs:
        legal: Any = capability.attrs[attr]
        fits = is_legal(value, legal)
    elif attr in _BY_TYPE:
        return
    else:
        legal = default_of(node.op, attr)
        fits = legal == ANY or is_legal(value, legal) or (value in _UNSAID and legal in _UNSAID)
        if attr == "out_layout":
            legal = node.attrs.get("data_layout", node.attrs.get("layout"))
            fits = fits or value == legal
    if not fits:
        yield f"{node.op}: {attr} is {value!r}, taken is {_text(legal)}"


def _addition(core: Node, before: Node, add: Node, step: str, match: Match) -> Iterator[str]:
    result, other = match.type(before.outputs[0]), match.type(step)
    if match.type(add.outputs[0]).shape != result.shape:
        yield f"the {step} {other} makes {result} larger"
    constant = match.constant(step) is not None
    if step == "residual":
        if constant:
            yield "what is added is a constant, taken is a value of run time"
        if other.shape != result.shape:
            yield f"what is added is {other}, taken is {result}"
        return
    if not constant:
        yield "the bias is not a constant"
    axis = bias_axis(core, result)
    shape = (1,) * (len(result.shape) - len(other.shape)) + other.shape
    wanted = [d if k == axis else 1 for k, d in enumerate(result.shape)]
    if list(shape) != wanted:
        yield f"the bias is {other}, taken is one number for each channel, {wanted}"


def bias_axis(core: Node, result: TensorType) -> int:
    """Return the axis of an op's result that a bias has its numbers for.

    Args:
        core: A convolution, a matrix product, …
        result: The type of its result.

    Returns:
        That of the layout's C; the last one where the op has no layout.
    """
    for attr in ("out_layout", "data_layout", "layout"):
        layout = core.attrs.get(attr)
        if isinstance(layout, str) and "C" in layout:
            return layout.index("C")
    return max(len(result.shape) - 1, 0)


def _bytes(capability: Capability, match: Match) -> Iterator[str]:
    if capability.max_bytes is None:
        return
    made = {value for node in match.nodes for value in node.outputs}
    read = {value for node in match.nodes for value in node.inputs} - made
    total = 0
    for value in (*read, *match.nodes[-1].outputs):
        kind = match.type(value)
        if not kind.is_static:
            yield f"{kind} has an unknown size, at most {capability.max_bytes} bytes are taken"
            return
        total += prod(int(d) for d in kind.shape) * numpy_dtype(kind.dtype).itemsize
    if total > capability.max_bytes:
        yield f"inputs and outputs are {total} bytes, taken are at most {capability.max_bytes}"


def is_legal(value: Any, legal: Any) -> bool:
    """Return whether an attribute's value, or each element of it, is legal.

    Args:
        value: A number, a text, None, or a tuple of these.
        legal: See `Legal`.
    """
    if legal == ANY and isinstance(legal, str):
        return True
    if isinstance(legal, Range):
        values = value if isinstance(value, (tuple, list)) else (value,)
        return all(_in_range(v, legal) for v in values)
    choices = legal if isinstance(legal, (list, tuple)) else [legal]
    plain = [tuple(c) if isinstance(c, (list, tuple)) else c for c in choices]
    if isinstance(value, (tuple, list)):
        return tuple(value) in plain or all(v in plain for v in value)
    return value in plain


def _in_range(value: Any, legal: Range) -> bool:
    if not isinstance(value, (int, float, np.number)):
        return False
    low = -np.inf if legal.min is None else legal.min
    high = np.inf if legal.max is None else legal.max
    return bool(low <= value <= high) and float(value) % legal.multiple == 0


@cache
def default_of(op: str, attr: str) -> Any:
    """Return the value that Relax gives an attribute by default, or "any" where it gives none.

    Args:
        op: The op's name without its prefix.
        attr: The attribute's name.
    """
    from tvm.relax import op as ops

    made: Any = ops
    try:
        for part in op.split("."):
            made = getattr(made, part)
        value = inspect.signature(made).parameters[attr].default
    except (AttributeError, KeyError, TypeError, ValueError):
        return ANY
    return ANY if value is inspect.Parameter.empty else value


def _text(legal: Any) -> str:
    if isinstance(legal, (list, tuple)):
        return " or ".join(str(c) for c in legal)
    return str(legal) if isinstance(legal, Range) else repr(legal)
