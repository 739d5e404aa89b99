"""What users may set: which accelerator, which clock, what the compiler may do, faults.

``vendors={"npu": {"config": "npu.yaml", "clock": "paced"}}``
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from byoc.vendor_templates.npu.machine.config import load_config

__all__ = ["InjectedFault", "NpuOptions"]


class InjectedFault(pydantic.BaseModel):
    """A fault on purpose: for testing what is around the accelerator, never for use.

    Args:
        kind: What happens. "refuse" fails the build; the others strike calls: "wrong" changes a
            value of the output, "nan" needs a float output, "status" and "exception" raise, "crash"
            ends the process by a segmentation fault, "hang" does not answer, "oom" reports no
            memory, "slow" takes `factor` times as long.
        segment: A glob of segment names.
        call: Only the n-th call, from 1.
        probability: Of each call, where `call` is not given.
        seed: Of the generator that decides by `probability`.
        factor: Of "slow".
        seconds: Of "hang"; 0: for ever.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    kind: Literal["wrong", "nan", "status", "exception", "crash", "hang", "oom", "refuse", "slow"]
    segment: str = "*"
    call: int | None = Field(None, ge=1)
    probability: float = Field(1.0, ge=0, le=1)
    seed: int = Field(0, ge=0, lt=2**62)
    factor: float = Field(2.0, ge=1, le=1e6)
    seconds: float = Field(0.0, ge=0, le=1e6)


def _check_config(value: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    from byoc.errors import OptionError

    try:
        load_config(value)
    except OptionError as error:
        raise ValueError(str(error)) from None
    return value


class NpuOptions(pydantic.BaseModel):
    """Options of the vendor ``npu``.

    Args:
        config: Path of a YAML file, or its content as a mapping; None is the default machine.
        clock: "fast" answers as soon as the simulator is done, "paced" when the modelled device
            would.
        double_buffer: Load the next tile while one is computed.
        residency: Keep intermediates that fit in the scratchpad.
        faults: See `InjectedFault`.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    config: Annotated[str | dict[str, Any] | None, pydantic.AfterValidator(_check_config)] = None
    clock: Literal["fast", "paced"] = "fast"
    double_buffer: bool = True
    residency: bool = True
    faults: tuple[InjectedFault, ...] = ()
