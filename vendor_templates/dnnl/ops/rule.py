"""What one op is made of here: an `OpRule` for a Relax op, an `Idiom` for a spelled-out one.

patterns.py offers, compile.py checks and lowers, and passes/idioms.py rewrites what the rules and
idioms of the modules here say; none of them names an op of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from byoc.segment import Node
from byoc.vendor_templates.dnnl.checks import Check
from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

__all__ = ["Idiom", "Lower", "OpRule", "Rewrite", "Role", "Spelling"]

Lower = Callable[[DnnlGraph, Node], None]
"""Emits ops into the graph that compute the node's outputs from its inputs."""

Rewrite = Callable[[DnnlGraph, DnnlOp], bool]
"""Turns an op, with what feeds it, into a simpler one; False, and nothing done, where it cannot."""

Role = Literal["plain", "anchor", "activation"]


@dataclass(frozen=True, slots=True)
class OpRule:
    """A Relax op that the vendor takes; its pattern (the op, with any arguments) follows from it.

    Attributes:
        op: Its name without the prefix ``relax.``, for example ``nn.conv2d``.
        check: Reads a node's metadata; gives None, or a Reject with the reason for the report.
        lower: Emits the ops of program.md that compute the node.
        limits: What is supported, for the README's table; ops with equal limits share a row.
        role: What composites may do with it. An anchor heads one (anchor, bias, residual,
            activation), an activation ends one, a plain op stands alone.

    """

    op: str
    check: Check
    lower: Lower
    limits: str = ""
    role: Role = "plain"


class Spelling(NamedTuple):
    """A function in the ops that spell it: the last call as a pattern, and names of its parts."""

    root: DFPattern
    parts: Mapping[str, DFPattern]


@dataclass(frozen=True, slots=True)
class Idiom:
    """A function without a Relax op of its own, which exporters spell out in several ops.

    Attributes:
        name: Of its composite in the report, for example ``gelu_spelled``.
        pattern: Makes the pattern; None: only what `rewrite` finds inside a segment is joined, and
            no composite is shown.
        last: The last op of the spelling, as programs have it: the alg of a binary op ("mul"), or
            "eltwise"; "" where a pass of its own does the rewriting.
        rewrite: Makes that last op compute the whole function.

    """

    name: str
    pattern: Callable[[], Spelling] | None = None
    last: str = ""
    rewrite: Rewrite | None = None
