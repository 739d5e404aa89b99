"""The simulator from Python: validate, run and time streams of instructions.

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
    """What the modelled machine did.

    cycles: from the first instruction to the last effect. macs: multiply-accumulates asked for.
    busy, stall: per unit, cycles at work and cycles waiting for a token. conflict_cycles: cycles
    the array lost to bank conflicts. peak_*: highest byte (accumulators: word) touched, plus one.
    trace: (start, free, done) of every instruction, when asked for.
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
        """Share of the array's multiply-accumulates that were asked for, 0..1."""
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
    """None when the simulator's library is there, else one sentence why not."""
    try:
        _load()
    except Exception as error:
        return str(error).splitlines()[0]
    return None


def _config(config: NpuConfig) -> str:
    return json.dumps(config.flat)


def validate_code(config: NpuConfig, code: bytes, constant_bytes: int, work_bytes: int) -> None:
    """Raises ModelError ("instruction 7: conv: …") when the stream is not legal."""
    reason = _function("validate")(_config(config), code, constant_bytes, work_bytes)
    if reason:
        raise ModelError(str(reason))


def run_code(config: NpuConfig, code: bytes, constants: Bytes, work: Bytes) -> Bytes:
    """Execute a stream; returns the work memory afterwards. Raises ValueError when illegal."""
    import tvm_ffi

    result = np.array(work, np.int8)
    image = np.array(constants, np.int8)  # DLPack takes no read-only memory
    _function("run")(_config(config), code, tvm_ffi.from_dlpack(image), tvm_ffi.from_dlpack(result))
    return result


def time_code(
    config: NpuConfig, code: bytes, constant_bytes: int, work_bytes: int, trace: bool = False
) -> Counters:
    """Cycles and counters of a stream, without looking at data. Raises ValueError when illegal."""
    text = _function("time")(_config(config), code, constant_bytes, work_bytes, trace)
    fields = json.loads(str(text))
    for name in ("busy", "stall"):
        values: Sequence[int] = fields[name]
        fields[name] = dict(zip(UNITS, values, strict=True))
    fields["trace"] = tuple((a, b, c) for a, b, c in fields.get("trace", ()))
    return Counters(**fields)
