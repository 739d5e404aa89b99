"""`torch.export.export`, which takes recurrent layers whose length is dynamic, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from byoc.frontends.torch.whole_layers import whole_layers

__all__ = ["export"]


def export(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> torch.export.ExportedProgram:
    """Export a module; torch alone makes the number of steps of an LSTM, GRU or RNN a constant.

    Args:
        module: The module, in eval mode.
        args: What it is called with, as examples.
        kwargs: The same, by name.
        options: Those of `torch.export.export`, for example ``dynamic_shapes``.

    Returns:
        The program, for `byoc.compile` or `torch.export.save`.
    """
    with whole_layers():
        return torch.export.export(module, tuple(args), dict(kwargs or {}), **options)
