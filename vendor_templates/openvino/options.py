"""What users may set: ``vendors={"openvino": {"threads": 2}}``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["OpenVinoOptions"]


class OpenVinoOptions(BaseModel):
    """Options of the `openvino` vendor.

    device: an OpenVINO device, such as "CPU", "GPU" or "NPU".
    threads: threads of one request; 0 takes as many as byoc does.
    precision: what the device computes in. OpenVINO by itself takes bfloat16 where the processor
        has it; byoc asks for float32 unless told otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field(default="CPU", min_length=1)
    threads: int = Field(default=0, ge=0)
    precision: str = Field(default="f32", pattern="^(f32|f16|bf16)$")
