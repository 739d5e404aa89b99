"""What users may choose."""

from __future__ import annotations

from typing import Literal

import pydantic

__all__ = ["TensorirOptions"]


class TensorirOptions(pydantic.BaseModel):
    """Options of the vendor tensorir.

    Attributes:
        instruction: "auto" is the best that this CPU has; "vnni" needs AVX512_VNNI, "portable" is
            made of what every CPU does.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    instruction: Literal["auto", "vnni", "portable"] = "auto"
