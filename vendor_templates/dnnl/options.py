"""The options of the vendor."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import pydantic

__all__ = ["DnnlOptions"]

_FORMER = {"strict": "f32", "bf16": "bf16"}
"""Values of `fpmath`, the former name of `precision`."""


class DnnlOptions(pydantic.BaseModel):
    """What users may say about `dnnl`: ``vendors={"dnnl": {"fuse": False}}``.

    Attributes:
        fuse: Fuse and simplify ops; False gives one primitive per op, to find a culprit.
        precision: "f32" computes in float32. "bf16" stores values between ops in bfloat16 and lets
            convolutions, matrix products and attention compute with them (sums stay float32),
            where the CPU has instructions for it; elsewhere it computes in float32.
        instances: How many sets of values of symbolic dimensions are kept ready to run, 1 to 1024.

    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    fuse: bool = True
    precision: Literal["f32", "bf16"] = "f32"
    instances: int = pydantic.Field(default=8, ge=1, le=1024)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read_former_name(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "fpmath" not in given:
            return given
        rest = {name: value for name, value in given.items() if name != "fpmath"}
        former = given["fpmath"]
        if former not in _FORMER:
            raise ValueError(
                f"fpmath = {former!r}: it is the former name of precision, which takes 'f32' or "
                f"'bf16'"
            )
        warnings.warn(
            f"vendor 'dnnl': fpmath={former!r} is now precision={_FORMER[former]!r}",
            DeprecationWarning,
            stacklevel=2,
        )
        return {"precision": _FORMER[former], **rest}
