"""What PyTorch is offered: its own operators that Relax cannot express, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from byoc.kit.own_ops import TORCH
from byoc.kit.patterns import any_call
from byoc.vendor import Pattern

__all__ = ["patterns"]


def patterns() -> Sequence[Pattern]:
    """Return the one pattern."""
    return [Pattern(name="opaque", expr=any_call(TORCH))]
