"""What an accelerator takes of an FPGA: an analytic model, unit by unit.

In: a machine. Out: LUTs, DSP blocks and block RAMs of 36 Kbit. Counts follow from the structure
that docs/npu.md describes; the constants per cell, lane and port are estimates for a chip with
6-input LUTs and 25 x 18 multipliers. Nothing was placed or routed: no clock rate is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping

from byoc.vendor_templates.npu.machine.config import NpuConfig
from byoc.vendor_templates.npu.planning.cycle_model import ceil_div

__all__ = ["RESOURCES", "area_by_unit", "total_area"]

RESOURCES = ("lut", "dsp", "bram")

_BLOCK_BYTES = 4096  # of a block RAM, without parity
_BLOCK_WIDTH = 8  # bytes per cycle of a block RAM at its widest

# A cell of the array: its product and sum are one DSP block; LUTs hold weight and operand.
_CELL_LUT, _CELL_DSP = 12, 1
# A lane: bias, int32 to float32, a product, an fma for residuals, rounding, clamp, a table's port.
_LANE_LUT, _LANE_DSP = 1450, 5
# The sequencer: four queues, token counters, address generators of the four units.
_CONTROL_LUT = 3800


def _blocks(size: int, width: int, banks: int = 1) -> int:
    """Block RAMs of a memory: for its bytes or for its width, whichever takes more."""
    return banks * max(ceil_div(ceil_div(size, banks), _BLOCK_BYTES), ceil_div(width, _BLOCK_WIDTH))


def _mux(inputs: int) -> int:
    """LUTs of a multiplexer for one bit: four inputs each, in a tree."""
    return ceil_div(max(inputs - 1, 0), 3)


def area_by_unit(config: NpuConfig) -> dict[str, dict[str, int]]:
    """Return LUTs, DSP blocks and block RAMs of every unit.

    Args:
        config: The accelerator.
    """
    array, memory, dma, vector = config.array, config.activation, config.dma, config.vector
    cells = array.rows * array.columns
    # Output-stationary cells hold their sums and shift them out: 32 bits more each.
    cell = _CELL_LUT + (16 if array.dataflow == "output-stationary" else 0)
    return {
        "array": {"lut": cells * cell + 40 * (array.rows + array.columns),
                  "dsp": cells * _CELL_DSP, "bram": 0},
        # Every row takes any byte of any bank, padding included.
        "activation": {"lut": 8 * array.rows * _mux(memory.banks * memory.word + 1) // 2
                       + 30 * memory.banks,
                       "dsp": 0, "bram": _blocks(int(memory.size), memory.word, memory.banks)},
        "weight": {"lut": 4 * array.columns + 60, "dsp": 0,
                   "bram": _blocks(int(config.weight.size), 4 * array.columns)},
        "accumulator": {"lut": 32 * array.columns + 32 * vector.lanes, "dsp": 0,
                        "bram": _blocks(int(config.accumulator.size),
                                        4 * max(array.columns, vector.lanes))},
        "vector": {"lut": vector.lanes * _LANE_LUT, "dsp": vector.lanes * _LANE_DSP, "bram": 0},
        "dma": {"lut": 2 * (500 + 24 * dma.width + 36 * dma.outstanding), "dsp": 0,
                "bram": 2 * _blocks(dma.outstanding * dma.burst, dma.width)},
        "control": {"lut": _CONTROL_LUT, "dsp": 4, "bram": 2},
    }  # fmt: skip


def total_area(config: NpuConfig) -> Mapping[str, int]:
    """Return LUTs, DSP blocks and block RAMs of an accelerator.

    Args:
        config: The accelerator.
    """
    units = area_by_unit(config).values()
    return {name: sum(unit[name] for unit in units) for name in RESOURCES}
