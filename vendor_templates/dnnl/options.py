"""The options of the vendor."""

from __future__ import annotations

from typing import Literal

import pydantic

__all__ = ["DnnlOptions"]


class DnnlOptions(pydantic.BaseModel):
    """What users may say about `dnnl`: ``vendors={"dnnl": {"fuse": False}}``.

    Attributes:
        fuse: Fuse and simplify ops; False gives one primitive per op, to find a culprit.
        fpmath: "strict" computes in float32; "bf16" lets convolutions and matrix products round
            their operands to bfloat16 where the CPU has instructions for it (elsewhere nothing
            changes).
        instances: How many sets of values of symbolic dimensions are kept ready to run, 1 to 1024.

    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    fuse: bool = True
    precision: Literal["f32", "bf16"] = "f32"
    fpmath: Literal["strict", "bf16"] = "strict"
    instances: int = pydantic.Field(default=8, ge=1, le=1024)
