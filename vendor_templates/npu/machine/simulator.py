"""The simulator from Python: validate, run and time streams of instructions.

In: a machine and encoded instructions. Out: memory after the run, or cycles and counters.

Thin wrappers over ``libbyoc_npu.so``; the machine itself is in ``src/machine.h``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from byoc.errors import ModelError
from byoc.vendor_templates.npu.isa.instructions import UNITS
from byoc.vendor_templates.npu.machine.config import NpuConfig

__all__ = ["Counters", "library_status", "run_code", "time_code", "validate_code"]

Bytes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Counters:
    """What the modelled machine did while it ran a program.

    Args:
        cycles: From the first instruction to the last effect.
        macs: Multiply-accumulates asked for.
        instructions: Number of instructions.
        bytes_loaded: Bytes from device memory to the scratchpads.
        bytes_stored: Bytes from the scratchpads to device memory.
        conflict_cycles: Cycles the array lost to bank conflicts.
        peak_act: Highest byte of the activation scratchpad touched, plus one.
        peak_weight: Highest byte of the weight scratchpad touched, plus one.
        peak_acc: Highest accumulator (int32) touched, plus one.
        busy: Per unit, cycles at work.
        stall: Per unit, cycles waiting for a token.
        trace: Cycles (start, free, done) of every instruction, when asked for.
    """

    cycles: int
    macs: int
    instructions: int
    bytes_loaded: int
    bytes_stored: int
    conflict_cycles: int
    peak_act: int
    peak_weight: int
    peak_acc: int
    busy: dict[str, int]
    stall: dict[str, int]
    trace: tuple[tuple[int, int, int], ...] = field(default=(), repr=False)

    def utilisation(self, config: NpuConfig) -> float:
        """Return the share of the array's multiply-accumulates that were asked for, 0 to 1."""
        return self.macs / (config.peak_macs * self.cycles) if self.cycles else 0.0


@cache
def _load() -> None:
    import tvm_ffi

    from byoc.runtime.native import find_library

    tvm_ffi.load_module(str(find_library("byoc_npu")))


def _function(name: str) -> Callable[..., Any]:
    import tvm_ffi

    _load()
    found: Callable[..., Any] = tvm_ffi.get_global_func(f"byoc.vendor.npu.{name}")
    return found


def library_status() -> str | None:
    """Return None when the simulator's library is there, else one sentence why not."""
    try:
        _load()
    except Exception as error:
        return str(error).splitlines()[0]
    return None


def _config(config: NpuConfig) -> str:
    return json.dumps(config.flat)


def validate_code(config: NpuConfig, code: bytes, constant_bytes: int, work_bytes: int) -> None:
    """Check that a stream of instructions is legal on a machine.

    Args:
        config: The accelerator.
        code: Encoded instructions.
        constant_bytes: Size of the constant image.
        work_bytes: Size of work memory.

    Raises:
        ModelError: It is not; the message names the instruction ("instruction 7: conv: …").
    """
    reason = _function("validate")(_config(config), code, constant_bytes, work_bytes)
    if reason:
        raise ModelError(str(reason))


def run_code(config: NpuConfig, code: bytes, constants: Bytes, work: Bytes) -> Bytes:
    """Execute a stream of instructions, bit-exactly.

    Args:
        config: The accelerator.
        code: Encoded instructions.
        constants: int8 image of the constants.
        work: int8 work memory; not changed.

    Returns:
        The work memory afterwards.

    Raises:
        ValueError: The stream is not legal.
    """
    import tvm_ffi

    result = np.array(work, np.int8)
    image = np.array(constants, np.int8)  # DLPack takes no read-only memory
    _function("run")(_config(config), code, tvm_ffi.from_dlpack(image), tvm_ffi.from_dlpack(result))
    return result


def time_code(
    config: NpuConfig, code: bytes, constant_bytes: int, work_bytes: int, trace: bool = False
) -> Counters:
    """Return cycles and counters of a stream of instructions; no data is looked at.

    Args:
        config: The accelerator.
        code: Encoded instructions.
        constant_bytes: Size of the constant image.
        work_bytes: Size of work memory.
        trace: Also return when every instruction began and ended.

    Raises:
        ValueError: The stream is not legal.
    """
    text = _function("time")(_config(config), code, constant_bytes, work_bytes, trace)
    fields = json.loads(str(text))
    for name in ("busy", "stall"):
        values: Sequence[int] = fields[name]
        fields[name] = dict(zip(UNITS, values, strict=True))
    fields["trace"] = tuple((a, b, c) for a, b, c in fields.get("trace", ()))
    return Counters(**fields)
