"""The fields of `NpuConfig` that a designer may choose, by dotted names, and back.

Latencies, clock and link are not among them: they are properties of the chip and the board around
the accelerator, and stay as the user's ``config`` has them.
"""

from __future__ import annotations

from typing import Any

from byoc.design import Knob, Value, Values
from byoc.errors import OptionError
from byoc.vendor_templates.npu.machine.config import NpuConfig, load_config

__all__ = ["SIZES", "UNIT_KNOBS", "knobs_of", "machine", "nested"]

_MEANINGS = {
    "array.rows": "rows of the array, along k",
    "array.columns": "columns of the array, along n",
    "array.dataflow": "what stays in the array",
    "activation.size": "bytes of the activation scratchpad",
    "activation.banks": "its banks",
    "activation.word": "bytes per cycle of a bank",
    "weight.size": "bytes of the weight scratchpad",
    "accumulator.size": "bytes of the accumulators",
    "dma.width": "bytes per cycle of each DMA engine",
    "dma.burst": "bytes of one request",
    "dma.outstanding": "requests in flight",
    "vector.lanes": "elements per cycle of the vector unit",
}
_WORDS = {"array.dataflow": ("weight-stationary", "output-stationary")}

SIZES = ("activation.size", "weight.size", "accumulator.size")
"""Knobs that change what is emitted, and the time of emitted instructions not at all."""

UNIT_KNOBS = {
    "load": ("dma.width", "dma.outstanding", "dma.burst", *SIZES),
    "compute": ("array.rows", "array.columns", "activation.banks", "activation.word",
                "array.dataflow", "accumulator.size", "weight.size"),
    "vector": ("vector.lanes", "accumulator.size"),
    "store": ("dma.width", "dma.outstanding", "dma.burst", "activation.size"),
}  # fmt: skip
"""Which knobs move a unit, in the order of their classes: its own width, then what feeds it."""


def knobs_of(config: NpuConfig) -> dict[str, Knob]:
    """Return the knobs, with the values of a machine as defaults.

    Args:
        config: The machine.
    """
    found = {}
    for name, meaning in _MEANINGS.items():
        part, field = name.split(".")
        value = getattr(getattr(config, part), field)
        default: Value = value if isinstance(value, str) else int(value)
        found[name] = Knob(default, _WORDS.get(name, ()), meaning)
    return found


def nested(values: Values) -> dict[str, dict[str, Any]]:
    """Return values as the configuration nests them: ``{"array": {"rows": 16}}``.

    Args:
        values: By dotted names.
    """
    result: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        part, field = name.split(".")
        result.setdefault(part, {})[field] = value
    return result


def machine(base: NpuConfig, values: Values) -> NpuConfig:
    """Return a machine with some knobs set.

    Args:
        base: What the other fields are taken from.
        values: By dotted names.

    Raises:
        OptionError: A value is not legal.
    """
    content = base.model_dump()
    for part, fields in nested(values).items():
        content[part] |= fields
    try:
        return load_config(content)
    except OptionError as error:
        raise OptionError(f"this machine is not legal: {error}") from error
