"""What the vendor takes, as `tvm.relax.dpl` patterns.

One pattern per op of `ops.RULES`, and composites above them: an anchor (convolution, matrix
product) with what commonly follows it, and functions that exporters spell out. A composite is
taken when every op in it passes the check of its own rule; it says what belongs together, in the
report and for TVM's stock passes. Fusion itself works on the flat segment (see passes/) and
reaches further than any pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

from byoc.vendor import Match, Pattern, Reject
from byoc.vendor_templates.dnnl.checks import check_tensors, first
from byoc.vendor_templates.dnnl.ops import RULES

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

    Spelled = tuple[DFPattern, Mapping[str, DFPattern]]

__all__ = ["ACTIVATIONS", "ANCHORS", "check", "patterns"]

ANCHORS = (
    *(f"nn.conv{d}d" for d in (1, 2, 3)),
    *(f"nn.conv{d}d_transpose" for d in (1, 2, 3)),
    "matmul",
)
ACTIVATIONS = {
    "nn.relu": 1,
    "nn.leakyrelu": 1,
    "nn.gelu": 1,
    "nn.gelu_tanh": 1,
    "nn.silu": 1,
    "sigmoid": 1,
    "tanh": 1,
    "clip": 3,
}
"""Op → number of its arguments."""

_SPELLED_PRIORITY = 20
_ANCHORED_PRIORITY = 10


def check(match: Match) -> Reject | None:
    """Take the match when every op in it passes its own rule."""
    for node in match.nodes:
        refusal = first(check_tensors(node, match), RULES[node.op].check(node, match))
        if refusal is not None:
            return refusal
    return None


def patterns() -> Sequence[Pattern]:
    """All patterns: spelled-out functions, anchors with what follows, then the single ops."""
    return [*_spelled(), *(p for a in ANCHORS for p in _anchored(a)), *_singles()]


def _singles() -> list[Pattern]:
    return [Pattern(_short(op), _any_call(op), check=check) for op in RULES]


def _any_call(op: str) -> DFPattern:
    """The op with any arguments.

    Arguments are written out as far as Relax declares them: TVM's own matcher looks at both sides
    of a product or quotient unchecked (0.27). `strided_slice` takes more than it declares.
    """
    from tvm.ir import Op
    from tvm.relax.dpl import is_op, wildcard

    count = len(Op.get(f"relax.{op}").arguments)
    arguments = [wildcard() for _ in range(count)]
    return is_op(f"relax.{op}")(*arguments, varg_default_wildcard=count == 1)


def _short(op: str) -> str:
    return op.removeprefix("nn.").replace(".", "_")


def _call(op: str, *args: DFPattern) -> DFPattern:
    from tvm.relax.dpl import is_op

    return is_op(f"relax.{op}")(*args)


def _either(one: DFPattern, *others: DFPattern) -> DFPattern:
    for other in others:
        one = one | other
    return one


# anchor [+ bias] [+ residual] [+ activation]


def _anchored(anchor: str) -> list[Pattern]:
    """The seven combinations for one anchor, longest first, a constant operand is a bias first."""
    from tvm.relax.dpl import is_const, wildcard

    found: list[Pattern] = []
    for biased, residual, active in product((True, False), repeat=3):
        steps = {"bias": biased, "residual": residual, "activation": active}
        if not any(steps.values()):
            continue
        parts = {"data": wildcard(), "weight": wildcard()}
        root = parts["anchor"] = _call(anchor, parts["data"], parts["weight"])
        if biased:
            parts["bias"] = is_const()
            root = _call("add", root, parts["bias"])
        if residual:
            root = _joined(root, parts.setdefault("residual", wildcard()))
        if active:
            root = _activated(root)
        name = "_".join([_short(anchor), *(step for step, there in steps.items() if there)])
        priority = _ANCHORED_PRIORITY + sum(steps.values())
        found.append(Pattern(name, root, parts, check, priority))
    return found


def _joined(x: DFPattern, other: DFPattern) -> DFPattern:
    """Sum or product with another value, either way round."""
    return _either(
        *(_call(op, *pair) for op in ("add", "multiply") for pair in ((x, other), (other, x)))
    )


def _activated(x: DFPattern) -> DFPattern:
    from tvm.relax.dpl import wildcard

    return _either(
        *(
            _call(op, x, *(wildcard() for _ in range(count - 1)))
            for op, count in ACTIVATIONS.items()
        )
    )


# Functions without an op of their own, as exporters spell them


def _spelled() -> list[Pattern]:
    builders: Mapping[str, Callable[[], Spelled]] = {
        "attention_spelled": _attention,
        "lrn": _lrn,
        "hard_swish": _hard_swish,
        "hard_sigmoid": _hard_sigmoid,
        "silu_spelled": _silu,
        "gelu_spelled": _gelu,
    }
    found = []
    for name, build in builders.items():
        root, parts = build()
        found.append(Pattern(name, root, parts, check, _SPELLED_PRIORITY))
    return found


def _attention() -> Spelled:
    """softmax(q @ k * scale + mask) @ v"""
    from tvm.relax.dpl import is_const, wildcard

    q, k, v, mask = wildcard(), wildcard(), wildcard(), wildcard()
    scores = _call("matmul", q, k)
    scaled = _either(
        _call("multiply", scores, is_const()), _call("divide", scores, is_const()), scores
    )
    masked = _either(_call("add", scaled, mask), scaled)
    root = _call("matmul", _call("nn.softmax", masked), v)
    return root, {"query": q, "key": k, "value": v}


def _lrn() -> Spelled:
    """x / (k + alpha * mean(x * x)) ** beta, where the mean is a pool with channels as depth"""
    from tvm.relax.dpl import is_const, wildcard

    x = wildcard()
    wide = _call("expand_dims", _call("multiply", x, x))
    mean = _call("squeeze", _either(_call("nn.avg_pool3d", wide), _call("nn.avg_pool2d", wide)))
    below = _call("add", _call("multiply", mean, is_const()), is_const())
    return _call("divide", x, _call("power", below, is_const())), {"data": x}


def _hard_sigmoid() -> Spelled:
    """clip(a * x + b, 0, 1)"""
    from tvm.relax.dpl import is_const, wildcard

    x = wildcard()
    inner = _call("add", _call("multiply", x, is_const()), is_const())
    return _call("clip", inner, wildcard(), wildcard()), {"data": x}


def _hard_swish() -> Spelled:
    """x * (clip(x + 3, 0, 6) / 6)"""
    from tvm.relax.dpl import is_const, wildcard

    x = wildcard()
    gate = _call("clip", _call("add", x, is_const()), wildcard(), wildcard())
    sixth = _either(_call("divide", gate, is_const()), _call("multiply", gate, is_const()))
    return _call("multiply", x, sixth), {"data": x}


def _silu() -> Spelled:
    """x * sigmoid(x)"""
    from tvm.relax.dpl import wildcard

    x = wildcard()
    return _call("multiply", x, _call("sigmoid", x)), {"data": x}


def _gelu() -> Spelled:
    """0.5 * x * (1 + erf(x / sqrt(2))), with the half in front, behind, or on x"""
    from tvm.relax.dpl import is_const, wildcard

    x = wildcard()
    inner = _either(_call("divide", x, is_const()), _call("multiply", x, is_const()))
    gate = _call("add", _call("erf", inner), is_const())
    half = _call("multiply", x, is_const())
    behind = _call("multiply", _call("multiply", x, gate), is_const())
    return _either(_call("multiply", half, gate), behind), {"data": x}
