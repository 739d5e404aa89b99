"""`import_model`: a model in any form byoc reads, as one `Model` in normal form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from byoc.errors import ModelError

if TYPE_CHECKING:
    import onnx
    import tvm

__all__ = ["Model", "import_model"]


@dataclass(frozen=True)
class Model:
    """A model as the rest of byoc sees it.

    mod: one `IRModule`; `main` takes the model's inputs only, weights are constants.
    name: short name for reports (the file's stem, or the graph's own name).
    inputs, outputs: names as the model file spells them, in `main`'s order.
    source: what it was read from ("onnx", "relax").
    """

    mod: tvm.IRModule
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str


def import_model(model: str | Path | onnx.ModelProto | tvm.IRModule) -> Model:
    """Read a model and bring it into normal form.

    model: path of an ONNX file, an `onnx.ModelProto`, or a Relax `IRModule`.
    Raises ModelError when the model cannot be read or holds something unsupported.
    """
    import onnx
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    if isinstance(model, tvm.IRModule):
        main = model["main"]
        return Model(model, "model", tuple(p.name for p in main.params), ("output",), "relax")
    name = "model"
    if isinstance(model, (str, Path)):
        name = Path(model).stem
        if not Path(model).is_file():
            raise ModelError(f"{model}: no such file")
        model = onnx.load(model)
    mod = from_onnx(model, sanitize_input_names=False)
    known = {t.name for t in model.graph.initializer}
    inputs = tuple(i.name for i in model.graph.input if i.name not in known)
    return Model(mod, name, inputs, tuple(o.name for o in model.graph.output), "onnx")
