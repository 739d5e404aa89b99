"""One claim put to the test: an op, its operands, and what is right.

A case is a tiny graph of Relax, numbers for its inputs, and the right results by a function of
numpy. `op` and `label` name it in reports and in what a vendor's author greps for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byoc.segment import Array

if TYPE_CHECKING:
    from tvm import relax

__all__ = ["Claim", "Numbers"]

Numbers = tuple[Array, ...]


@dataclass(frozen=True)
class Claim:
    """A tiny graph with its right answers.

    Attributes:
        op: The Relax op that is tried ("nn.relu").
        label: Which form of it: dtype, shapes, attributes.
        build: Variables of the inputs → the graph's result, one tensor.
        feeds: Numbers for all inputs, one tuple for each call.
        want: Arrays of the inputs → the right result. None: `words` are what is right.
        loose: Relative difference that is allowed; 0 for equal bits.
        near: Absolute difference that is allowed, for results close to 0.
        words: What the error must say, where the numbers are illegal.
        open: Arrays of the inputs → where the op's definition leaves the result open.
        outside: Why the vendor must refuse it: a limit of its own. Empty: it need not.

    """

    op: str
    label: str
    build: Callable[[Sequence[relax.Var]], Any]
    feeds: tuple[Numbers, ...]
    want: Callable[..., Array] | None
    loose: float = 0.0
    near: float = 0.0
    words: str = ""
    open: Callable[..., Array] | None = None
    outside: str = ""

    @property
    def name(self) -> str:
        """Op and label."""
        return f"{self.op} {self.label}"
