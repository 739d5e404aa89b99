"""What the vendor takes, as `tvm.relax.dpl` patterns.

One pattern per op of `ops.RULES`, and composites above them: an anchor (convolution, matrix
product) with what commonly follows it. A composite is taken when every op in it passes the check
of its own rule, so composites only say what belongs together: fusion itself is done on the flat
segment (see passes/) and reaches further than any pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from byoc.vendor import Match, Pattern, Reject

from .checks import check_tensors, first
from .ops import RULES

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

__all__ = ["check", "patterns"]

_FIXED = {"conv": 2, "matmul": 2}

ANCHORS = (
    *(f"nn.conv{d}d" for d in (1, 2, 3)),
    *(f"nn.conv{d}d_transpose" for d in (1, 2, 3)),
    "matmul",
)
ACTIVATIONS = (
    "nn.relu",
    "nn.leakyrelu",
    "nn.gelu",
    "nn.gelu_tanh",
    "nn.silu",
    "sigmoid",
    "tanh",
    "clip",
)


def check(match: Match) -> Reject | None:
    """Take the match when every op in it passes its own rule."""
    for node in match.nodes:
        refusal = first(check_tensors(node, match), RULES[node.op].check(node, match))
        if refusal is not None:
            return refusal
    return None


def patterns() -> Sequence[Pattern]:
    """All patterns, composites before the single ops they are made of."""
    return [*_composites(), *_singles()]


def _singles() -> list[Pattern]:
    from tvm.relax.dpl import is_op

    return [
        Pattern(
            name=op.removeprefix("nn.").replace(".", "_"),
            expr=is_op(f"relax.{op}")(varg_default_wildcard=True),
            check=check,
        )
        for op in RULES
    ]


def _composites() -> list[Pattern]:
    """anchor + bias [+ residual] [+ activation], longest first, for each anchor."""
    return [p for anchor in ANCHORS for p in _anchored(anchor)]


def _anchored(anchor: str) -> list[Pattern]:
    from tvm.relax.dpl import is_const, is_op, wildcard

    short = anchor.removeprefix("nn.")
    found: list[Pattern] = []
    for residual in (True, False):
        for biased in (True, False):
            for active in (True, False):
                if not (residual or biased or active):
                    continue
                data, weight, bias, other = wildcard(), wildcard(), is_const(), wildcard()
                parts = {"data": data, "weight": weight}
                root = parts["anchor"] = is_op(f"relax.{anchor}")(data, weight)
                if biased:
                    parts["bias"] = bias
                    root = is_op("relax.add")(root, bias)
                if residual:
                    parts["residual"] = other
                    add, mul = is_op("relax.add"), is_op("relax.multiply")
                    root = add(root, other) | add(other, root) | mul(root, other) | mul(other, root)
                if active:
                    root = _activated(root)
                words = [("bias", biased), ("residual", residual), ("activation", active)]
                name = "_".join([short, *(word for word, there in words if there)])
                length = sum(there for _, there in words)
                found.append(Pattern(name, root, parts, check, priority=10 + length))
    return found


def _activated(x: DFPattern) -> DFPattern:
    from tvm.relax.dpl import is_op

    root: DFPattern | None = None
    for op in ACTIVATIONS:
        one = is_op(f"relax.{op}")(x) if op != "clip" else is_op("relax.clip")(x, *_bounds())
        root = one if root is None else root | one
    assert root is not None
    return root


def _bounds() -> tuple[DFPattern, DFPattern]:
    from tvm.relax.dpl import wildcard

    return wildcard(), wildcard()
