"""From capabilities to patterns: one for each way in which the steps of a tail can be there.

    matmul, "bias? nn.relu|clip?"  ──▶  matmul_bias_relu, matmul_bias_clip, matmul_relu, …, matmul

Longer ones are tried first. Their checks are `check_match`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from byoc.errors import VendorError
from byoc.kit.capability.check import check_match
from byoc.kit.capability.claims import Capability, TailStep
from byoc.kit.patterns import any_call
from byoc.vendor import Match, Pattern, Reject, Vendor

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

__all__ = ["PatternsOf", "capabilities_of", "fused_patterns"]


@dataclass(frozen=True, eq=False)  # by identity: a vendor is a key of mappings
class PatternsOf:
    """The `Vendor.patterns` of a vendor that says as data what it takes.

    Attributes:
        capabilities: What it takes.
        beside: () → patterns written by hand, tried in the order of their priorities with the
            others.
    """

    capabilities: Sequence[Capability]
    beside: Callable[[], Sequence[Pattern]] | None = None

    def __call__(self) -> list[Pattern]:
        """Return all patterns.

        Raises:
            VendorError: A capability names an op that TVM does not have.
        """
        found: list[Pattern] = []
        for capability in self.capabilities:
            names = {pattern.name for pattern in found}
            label, number = capability.label, 1
            while any(name == label or name.startswith(f"{label}_") for name in names):
                number += 1
                label = f"{capability.label}{number}"
            for steps in _ways(capability.steps):
                check = partial(check_match, capability, steps)
                found.append(_pattern(label, capability.op, steps, check))
        return [*found, *(self.beside() if self.beside is not None else ())]


def capabilities_of(vendor: Vendor) -> tuple[Capability, ...]:
    """Return what a vendor says as data; none where its patterns are written by hand.

    Args:
        vendor: The vendor.
    """
    return tuple(vendor.patterns.capabilities) if isinstance(vendor.patterns, PatternsOf) else ()


def fused_patterns(
    op: str, tail: str, check: Callable[[Match], Reject | None] | None = None
) -> list[Pattern]:
    """Make the patterns of an op and what may follow it, for a check written by hand.

    Example:
        >>> [p.name for p in fused_patterns("matmul", "bias? nn.relu?")]
        ['matmul_bias_relu', 'matmul_bias', 'matmul_relu', 'matmul']

    Args:
        op: The Relax name without its prefix.
        tail: See `Capability.tail`.
        check: The check of each; None: that of a capability of float32 with this op and tail. The
            parts are "core" and, for each step, its name: the op ("nn.relu"), or what is added
            ("bias", "residual"; the additions are "bias_add", "residual_add").
    """
    capability = Capability(op=op, tail=tail)
    if check is None:
        return PatternsOf([capability])()
    return [_pattern(capability.label, op, steps, check) for steps in _ways(capability.steps)]


def _ways(steps: Sequence[TailStep]) -> Iterator[tuple[str, ...]]:
    """Every choice of steps, those with most first."""
    choices = [(*step.kinds, *((None,) if step.optional else ())) for step in steps]
    ways = [tuple(kind for kind in way if kind is not None) for way in product(*choices)]
    yield from sorted(dict.fromkeys(ways), key=len, reverse=True)


def _pattern(
    label: str, op: str, steps: Sequence[str], check: Callable[[Match], Reject | None]
) -> Pattern:
    from tvm.relax.dpl import is_op, wildcard

    if len(set(steps)) < len(steps):
        raise VendorError(
            f"vendor author: capability {label!r}: the tail {' '.join(steps)!r} has a step twice"
        )
    try:
        expr: DFPattern = any_call(op)
        parts, name = {"core": expr}, label
        for step in steps:
            if step in ("bias", "residual"):
                parts[step] = wildcard()
                expr = parts[f"{step}_add"] = is_op("relax.add")(expr, parts[step])
            else:
                expr = parts[step] = any_call(step, expr)
            name += f"_{step.removeprefix('nn.').replace('.', '_')}"
    except AttributeError as error:
        raise VendorError(
            f"vendor author: capability {label!r}: {error}; ops are named as in Relax, without "
            f"their prefix: 'nn.relu'"
        ) from error
    return Pattern(name, expr, parts, check, priority=len(steps))
