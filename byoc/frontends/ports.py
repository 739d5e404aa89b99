"""Names and types of a model's inputs and outputs, as callers see them.

In: the Relax function `main` and the names of the model file. Out: `PortType` values, which the
builder writes into a program and `byoc inspect` shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from byoc.errors import ModelError
from byoc.ir.decode import Decoder
from byoc.runtime.program import PortType
from byoc.segment import TensorType

if TYPE_CHECKING:
    from tvm import relax

__all__ = ["port_types"]


def port_types(
    main: relax.Function,
    inputs: Sequence[str],
    outputs: Sequence[str],
    values: Mapping[str, str] | None = None,
) -> tuple[tuple[PortType, ...], tuple[PortType, ...]]:
    """Names and types of a function's parameters and of its results, tuples flattened.

    Args:
        main: the function.
        inputs: a name for each parameter, in order.
        outputs: a name for each result, in order.
        values: ports that are no tensors → what they are (see `byoc.frontends.Model`).

    Returns:
        The inputs and the outputs, in order.

    Raises:
        ModelError: a port is no tensor of known rank.
    """
    values = values or {}

    def flatten(ty: Any) -> list[Any]:
        fields = getattr(ty, "fields", None)
        return [ty] if fields is None else [leaf for field in fields for leaf in flatten(field)]

    decoder = Decoder()  # one for both: a dimension has one spelling

    def ports(names: Sequence[str], types: list[Any]) -> tuple[PortType, ...]:
        return tuple(
            PortType(n, known(n, t), values.get(n, "")) for n, t in zip(names, types, strict=True)
        )

    def known(name: str, ty: Any) -> TensorType:
        found = decoder.tensor_type(ty)
        if found is None:
            raise ModelError(f"input or output {name!r} is a {ty}, expected a tensor of known rank")
        return found

    return ports(inputs, [p.ty for p in main.params]), ports(outputs, flatten(main.ret_ty))
