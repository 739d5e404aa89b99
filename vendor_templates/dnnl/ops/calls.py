"""Short words for writing patterns over `tvm.relax.dpl`.

TVM is imported when a pattern is made, never by importing this module: naming the vendor costs
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byoc.kit.own_ops import relax_op

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

__all__ = ["any_call", "call", "constant", "either", "something"]


def something() -> DFPattern:
    """A pattern that matches any value; the same object twice must match the same value twice."""
    from tvm.relax.dpl import wildcard

    return wildcard()


def constant() -> DFPattern:
    """A pattern that matches a constant."""
    from tvm.relax.dpl import is_const

    return is_const()


def call(op: str, *args: DFPattern) -> DFPattern:
    """A pattern that matches a call of an op, named without ``relax.``, with these arguments."""
    from tvm.relax.dpl import is_op

    return is_op(f"relax.{op}")(*args)


def any_call(op: str, first: DFPattern | None = None) -> DFPattern:
    """Return a pattern that matches an op with any arguments, or with a given first one.

    Arguments are written out as far as Relax declares them: TVM's own matcher looks at both sides
    of a product or quotient unchecked (0.27). `strided_slice` takes more than it declares.

    Args:
        op: Name of the op without ``relax.``.
        first: Pattern of the first argument; None for any.
    """
    from tvm.relax.dpl import is_op, wildcard

    count = len(relax_op(op).arguments)
    arguments = [wildcard() for _ in range(count)]
    if first is not None:
        return is_op(f"relax.{op}")(first, *arguments[1:])
    return is_op(f"relax.{op}")(*arguments, varg_default_wildcard=count == 1)


def either(one: DFPattern, *others: DFPattern) -> DFPattern:
    """A pattern that matches what one of these does."""
    for other in others:
        one = one | other
    return one
