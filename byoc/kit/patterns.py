"""Help for writing `relax.dpl` patterns that byoc's and TVM's matchers both take.

In: names of ops. Out: patterns for `byoc.vendor.Pattern`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byoc.kit.own_ops import relax_op

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

__all__ = ["any_call"]


def any_call(op: str, first: DFPattern | None = None) -> DFPattern:
    """Make a pattern of one op with any arguments, or with a given first one.

    ``varg_default_wildcard=True`` alone will not do: for multiply and divide the stock matcher of
    TVM 0.27 reads past its empty argument list. Nor will one wildcard per declared argument:
    strided_slice declares one and takes five.

    Args:
        op: The Relax name without its prefix ("nn.conv2d").
        first: Pattern of the first argument; None for any.

    Returns:
        A pattern that matches every such call of ``relax.<op>``.

    Raises:
        AttributeError: TVM has no such op.

    """
    from tvm.relax.dpl import is_op, wildcard

    count = int(relax_op(op).num_inputs)
    name = f"relax.{op}"
    if first is not None:
        return is_op(name)(first, *(wildcard() for _ in range(count - 1)))
    if count < 2:
        return is_op(name)(varg_default_wildcard=True)
    return is_op(name)(*(wildcard() for _ in range(count)))
