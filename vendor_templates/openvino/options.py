"""What users may set: ``vendors={"openvino": {"threads": 2}}``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["OpenVinoOptions"]


class OpenVinoOptions(BaseModel):
    """Options of the `openvino` vendor.

    Args:
        device: An OpenVINO device, such as "CPU", "GPU" or "NPU".
        threads: Threads of one request; 0 takes as many as byoc does.
        precision: What the device computes in: "f32", "f16" or "bf16". OpenVINO by itself takes
            bfloat16 where the processor has it; byoc asks for float32 unless told otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field(default="CPU", min_length=1)
    threads: int = Field(default=0, ge=0)
    precision: str = Field(default="f32", pattern="^(f32|f16|bf16)$")
