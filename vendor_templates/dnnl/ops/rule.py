"""One supported op: how to check it and how to lower it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from byoc.segment import Node
from byoc.vendor_templates.dnnl.checks import Check
from byoc.vendor_templates.dnnl.graph import Graph

__all__ = ["Lower", "Rule"]

Lower = Callable[[Graph, Node], None]
"""Emits ops into the graph that compute the node's outputs from its inputs."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A Relax op the vendor takes.

    op: its name without prefix. check: metadata in, None or a Reject out. lower: emits program ops.
    limits: for the README's table: what is not supported.
    """

    op: str
    check: Check
    lower: Lower
    limits: str = ""
