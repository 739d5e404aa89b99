"""Help for writing `relax.dpl` patterns that byoc's and TVM's matchers both take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

__all__ = ["any_call"]


def any_call(op: str) -> DFPattern:
    """A call of ``relax.<op>`` with any arguments: one wildcard per declared argument.

    Unlike ``is_op(...)(varg_default_wildcard=True)``, which the stock matcher reads past the end
    of for multiply and divide (TVM 0.27). Raises tvm's error for an unknown op.
    """
    from tvm.ir import Op
    from tvm.relax.dpl import is_op, wildcard

    name = f"relax.{op}"
    count = int(Op.get(name).num_inputs)
    if count < 0:
        return is_op(name)(varg_default_wildcard=True)
    return is_op(name)(*(wildcard() for _ in range(count)))
