"""What the vendor takes, as `tvm.relax.dpl` patterns.

One pattern per op of `ops.RULES`, and composites above them: an anchor (convolution, matrix
product) with what commonly follows it, and the functions of `ops.IDIOMS` that exporters spell out.
A composite is taken when every op in it passes the check of its own rule; it says what belongs
together, in the report and for TVM's stock passes. Fusion itself works on the flat segment (see
passes/) and reaches further than any pattern.

No op is named here: which one is an anchor or an activation, its rule says (`OpRule.role`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from byoc.vendor import Match, Pattern, Reject
from byoc.vendor_templates.dnnl.checks import check_tensors, first
from byoc.vendor_templates.dnnl.ops import IDIOMS, RULES
from byoc.vendor_templates.dnnl.ops.calls import any_call, call, constant, either, something

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

__all__ = ["ACTIVATIONS", "ANCHORS", "check", "patterns"]

ANCHORS = tuple(op for op, rule in RULES.items() if rule.role == "anchor")
"""Ops that head a composite."""

ACTIVATIONS = tuple(op for op, rule in RULES.items() if rule.role == "activation")
"""Ops that may end a composite."""

_SPELLED_PRIORITY = 20
_ANCHORED_PRIORITY = 10


def check(match: Match) -> Reject | None:
    """Take the match when every op in it passes its own rule.

    Returns:
        None, or the first rule's refusal.

    """
    for node in match.nodes:
        refusal = first(check_tensors(node, match), RULES[node.op].check(node, match))
        if refusal is not None:
            return refusal
    return None


def patterns() -> Sequence[Pattern]:
    """All patterns: spelled-out functions, anchors with what follows, then the single ops."""
    return [*_spelled(), *(p for a in ANCHORS for p in _anchored(a)), *_singles()]


def _singles() -> list[Pattern]:
    return [Pattern(_short(op), any_call(op), check=check) for op in RULES]


def _spelled() -> list[Pattern]:
    found = []
    for idiom in IDIOMS:
        if idiom.pattern is not None:
            root, parts = idiom.pattern()
            found.append(Pattern(idiom.name, root, parts, check, _SPELLED_PRIORITY))
    return found


def _short(op: str) -> str:
    return op.removeprefix("nn.").replace(".", "_")


# anchor [+ bias] [+ residual] [+ activation]


def _anchored(anchor: str) -> list[Pattern]:
    """The seven combinations for one anchor, longest first, a constant operand is a bias first."""
    found: list[Pattern] = []
    for biased, residual, active in product((True, False), repeat=3):
        steps = {"bias": biased, "residual": residual, "activation": active}
        if not any(steps.values()):
            continue
        parts = {"data": something(), "weight": something()}
        root = parts["anchor"] = call(anchor, parts["data"], parts["weight"])
        if biased:
            parts["bias"] = constant()
            root = call("add", root, parts["bias"])
        if residual:
            root = _joined(root, parts.setdefault("residual", something()))
        if active:
            root = either(*(any_call(op, root) for op in ACTIVATIONS))
        name = "_".join([_short(anchor), *(step for step, there in steps.items() if there)])
        priority = _ANCHORED_PRIORITY + sum(steps.values())
        found.append(Pattern(name, root, parts, check, priority))
    return found


def _joined(x: DFPattern, other: DFPattern) -> DFPattern:
    """Sum or product with another value, either way round."""
    return either(
        *(call(op, *pair) for op in ("add", "multiply") for pair in ((x, other), (other, x)))
    )
