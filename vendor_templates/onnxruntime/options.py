"""What users may set: ``vendors={"onnxruntime": {"threads": 2}}``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["OnnxRuntimeOptions"]


class OnnxRuntimeOptions(BaseModel):
    """Options of the `onnxruntime` vendor.

    Args:
        only_opaque: Take only nodes that Relax cannot express; all else is left to other vendors
            and to the host.
        threads: Threads of one operator; 0 takes as many as byoc does.
        spin: Let idle threads spin. Faster alone; it steals cores from byoc's own threads.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    only_opaque: bool = False
    threads: int = Field(default=0, ge=0)
    spin: bool = False
