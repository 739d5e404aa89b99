"""Every operator that byoc reads, and how a call is taken apart for its converter."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from byoc.errors import choices
from byoc.frontends.context import Converter
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.blocks import BLOCKS
from byoc.frontends.relay.ops.elementwise import ELEMENTWISE
from byoc.frontends.relay.ops.image import IMAGE
from byoc.frontends.relay.ops.indexing import INDEXING
from byoc.frontends.relay.ops.neural import NEURAL
from byoc.frontends.relay.ops.qnn import AWARE, QNN, QnnAccumulator, Rounded, settle
from byoc.frontends.relay.ops.reductions import REDUCTIONS
from byoc.frontends.relay.ops.transforms import TRANSFORMS
from byoc.frontends.relay.ops.vision import VISION

__all__ = ["FAMILIES", "OPERATORS", "convert", "settle"]

FAMILIES: Mapping[str, Mapping[str, Converter]] = {
    "element by element": ELEMENTWISE,
    "convolutions, products, pooling, normalisation": NEURAL,
    "reductions and orders": REDUCTIONS,
    "shapes": TRANSFORMS,
    "parts of tensors": INDEXING,
    "blocks": BLOCKS,
    "images": IMAGE,
    "vision": VISION,
    "quantised": QNN,
}
"""Family → its operators, for documentation."""

OPERATORS: Mapping[str, Converter] = {
    name: converter for family in FAMILIES.values() for name, converter in family.items()
}
"""Operator → converter."""

# Attributes that tune how TVM computed, not what.
_TUNING = {"auto_scheduler_rewritten_layout", "meta_schedule_original_shape"}


def convert(c: RelayContext, name: str, args: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    """The value of a call of one of `OPERATORS`: a Relax expression, a tuple, or a lazy one.

    Args:
        c: The context of the call.
        name: The operator.
        args: Its arguments: Relax expressions, or quantised numbers that wait for their scale.
        attrs: Its attributes by name.

    Raises:
        ValueError: Arguments or attributes do not fit the operator.
    """
    converter = OPERATORS[name]
    given = {key: value for key, value in attrs.items() if key not in _TUNING}
    _check(name, converter, args, given)
    if any(isinstance(a, (QnnAccumulator, Rounded)) for a in args):
        aware = AWARE.get(name)
        result = None if aware is None else aware(c, *args, **given)
        if result is not None:
            return result
        args = [settle(c, a) for a in args]
    return converter(c, *args, **given)


@cache
def _signature(converter: Converter) -> tuple[int, int, tuple[str, ...], tuple[str, ...], bool]:
    """Fewest and most arguments, attributes, attributes without default, any attribute."""
    parameters = list(inspect.signature(converter).parameters.values())[1:]
    arguments = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    needed = tuple(p.name for p in named if p.default is p.empty)
    least = sum(p.default is p.empty for p in arguments)
    free = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return least, len(arguments), tuple(p.name for p in named), needed, free


def _check(name: str, converter: Converter, args: Sequence[Any], attrs: Mapping[str, Any]) -> None:
    least, most, legal, needed, free = _signature(converter)
    if not least <= len(args) <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise ValueError(f"it takes {count} arguments, found {len(args)}")
    unknown = [key for key in attrs if key not in legal and not free]
    if unknown:
        raise ValueError(f"it has no attribute {unknown[0]!r}; {choices(unknown[0], legal)}")
    missing = [key for key in needed if key not in attrs]
    if missing:
        raise ValueError(f"its attribute {missing[0]!r} is missing")
