"""What users may set: nothing yet; operators run with torch's own settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["TorchOptions"]


class TorchOptions(BaseModel):
    """Options of the `torch` vendor: it has none. Threads are those of `torch.set_num_threads`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
