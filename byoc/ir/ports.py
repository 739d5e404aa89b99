"""The inputs and outputs of a Relax function as plain values: names, dimensions, dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import relax

from byoc.errors import ModelError
from byoc.ir.decode import Decoder
from byoc.segment import PortType, TensorType

__all__ = ["port_types"]


def port_types(
    main: relax.Function,
    inputs: Sequence[str],
    outputs: Sequence[str],
    values: Mapping[str, str] | None = None,
) -> tuple[tuple[PortType, ...], tuple[PortType, ...]]:
    """Names and types of a function's parameters and (flattened) results.

    Args:
        main: The function; its dimensions may be symbolic.
        inputs: Names of its parameters.
        outputs: Names of its results, tuples flattened.
        values: Ports that are no tensors → what they are (see `byoc.frontends.Model`).

    Raises:
        ModelError: A port is no tensor, or one of unknown rank.
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
