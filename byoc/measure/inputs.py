"""Inputs to time a model on: random ones that make sense, of the sizes that were given.

In: an imported model and the sizes of its symbolic dimensions. Out: an array per input; ids that
look up rows of a table (token ids) stay within it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from byoc.errors import OptionError
from byoc.ir.ports import port_types
from byoc.segment import Array
from byoc.support.arguments import check_sizes
from byoc.timing.inputs import random_inputs

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.segment import PortType

__all__ = ["SampleInputs", "sample_inputs", "samples_of"]

_SAMPLES = 2  # random ones, where none are given


class SampleInputs(NamedTuple):
    """Inputs to time a model on.

    Attributes:
        arrays: input → array; empty where a size is missing.
        missing: symbolic dimensions without a size.
    """

    arrays: Mapping[str, Array]
    missing: tuple[str, ...] = ()


def sample_inputs(
    model: Model, ports: Sequence[PortType], dims: Mapping[str, int] | None, seed: int = 0
) -> SampleInputs:
    """Draw random inputs for a model.

    Args:
        model: the model as it was imported.
        ports: names and types of its inputs, in order.
        dims: symbolic dimension → its size.
        seed: of the random numbers.

    Returns:
        The inputs, or which sizes are missing.

    Raises:
        OptionError: `dims` names a dimension that there is not, or a size that is none.
    """
    types = {port.name: port.type for port in ports}
    sizes = dims or {}
    symbols = dict.fromkeys(d for t in types.values() for d in t.shape if isinstance(d, str))
    missing = tuple(d for d in symbols if d not in sizes)
    if missing:
        return SampleInputs({}, missing)
    check_sizes(sizes, (d for t in types.values() for d in t.shape if isinstance(d, str)))
    limits = _table_rows(model.mod["main"], model.inputs)
    return SampleInputs(random_inputs(types, seed, dims=sizes, limits=limits))


def samples_of(
    model: Model, given: Sequence[Mapping[str, Any]] | None
) -> Sequence[Mapping[str, Any]]:
    """Inputs to compare precisions on: those that were given, or random ones.

    Args:
        model: the model as it was imported.
        given: inputs by name, once per sample; None or empty: none.

    Returns:
        Inputs by name, once per sample.

    Raises:
        OptionError: a symbolic dimension has no size.
    """
    if given:
        return given
    ports, _ = port_types(model.mod["main"], model.inputs, model.outputs)
    samples = [sample_inputs(model, ports, None, seed) for seed in range(_SAMPLES)]
    missing = samples[0].missing
    if missing:
        raise OptionError(
            f"model {model.name!r} has the symbolic dimension {missing[0]!r}: its precisions "
            f"cannot be compared without its size; give dims={{{missing[0]!r}: N}}, or inputs as "
            f"calibration=[{{name: array, …}}]"
        )
    return [sample.arrays for sample in samples]


def _table_rows(main: Any, inputs: tuple[str, ...]) -> dict[str, int]:
    """Input that looks up rows of constant tables → rows of the smallest of them."""
    from tvm import relax
    from tvm.ir import Call, GenericConst

    names = dict(zip(main.params, inputs, strict=True))
    rows: dict[str, int] = {}

    def note(expr: Any) -> None:
        if not isinstance(expr, Call) or getattr(expr.op, "name", "") != "relax.take":
            return
        table, ids = expr.args[0], expr.args[1]
        if isinstance(table, GenericConst) and ids in names:
            shape = [int(d) for d in table.value.shape]
            axis = expr.attrs.axis
            size = shape[int(axis)] if axis is not None else max(1, len(shape))
            rows[names[ids]] = min(size, rows.get(names[ids], size))

    relax.analysis.post_order_visit(main, note)
    return rows
