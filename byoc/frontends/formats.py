"""`import_model`: a model in any form byoc reads, as one `Model` in normal form.

A new format is a folder with a `Frontend` value and one line in `FRONTENDS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tvm

from byoc.errors import ModelError
from byoc.frontends.frontend import Frontend
from byoc.frontends.model import Model
from byoc.frontends.onnx import FRONTEND as ONNX
from byoc.frontends.relax_module import FRONTEND as RELAX
from byoc.frontends.relay import FRONTEND as RELAY
from byoc.frontends.tflite import FRONTEND as TFLITE
from byoc.frontends.torch import FRONTEND as TORCH
from byoc.support.internal_errors import expect_no_foreign

if TYPE_CHECKING:
    import onnx

    from byoc.frontends.relay.file import Params, RelayModel

__all__ = ["FRONTENDS", "format_of", "import_model"]

FRONTENDS: tuple[Frontend, ...] = (RELAY, RELAX, TORCH, TFLITE, ONNX)
"""In the order they are asked: the first that accepts a source reads it. ONNX is last, as it takes
every path that no other knows and says what is wrong with it."""


def import_model(
    model: str | Path | bytes | onnx.ModelProto | tvm.IRModule | RelayModel,
    params: Params | None = None,
) -> Model:
    """Read a model and bring it into normal form.

    Args:
        model: Path of an ONNX, TFLite or Relay file or of one of `torch.export.save`, an
            `onnx.ModelProto`, the bytes of an ONNX or TFLite file, a `tflite.Model`, a
            `torch.export.ExportedProgram`, what `read_relay` returns, or a Relax `IRModule` (not
            changed); a `Model` is returned as it is.
        params: Parameters of a Relay file, as `read_relay` takes them.

    Returns:
        The model in normal form (docs/architecture.md): an `IRModule` and the names of its ports.

    Raises:
        ModelError: The model cannot be read, or holds something unsupported.
        InternalError: Byoc itself fails.

    Examples:
        >>> source = import_model(model)
        >>> len(source.inputs), len(source.outputs)
        (1, 1)
    """
    chosen = next((f for f in FRONTENDS if f.accepts(model)), None)
    if params is not None and not (chosen and chosen.takes_params):
        raise ModelError("params= are those of a Relay file; the model holds its own")
    if isinstance(model, Model):
        return model
    if chosen is None:
        raise ModelError(
            f"expected a path, an onnx.ModelProto or a tvm.IRModule as the model, "
            f"found {type(model).__name__}"
        )
    with expect_no_foreign(_short_name(model), "importing"):
        return chosen.read(model, params)


def format_of(path: Path) -> str:
    """Return the name of the format that a model file is taken for ("onnx", "torch", …)."""
    return next((f.name for f in FRONTENDS if f.accepts(path)), "")


def _short_name(model: Any) -> str:
    """What a model is called before it is read: its file, or the class of the object."""
    return str(model) if isinstance(model, (str, Path)) else type(model).__name__
