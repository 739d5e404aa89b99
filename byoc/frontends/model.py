"""`import_model`: a model in any form byoc reads, as one `Model` in normal form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tvm

from byoc.errors import ModelError
from byoc.frontends.normalise import normalise_graph, normalise_module

if TYPE_CHECKING:
    import onnx

__all__ = ["Model", "import_model"]


@dataclass(frozen=True)
class Model:
    """A model as the rest of byoc sees it.

    mod: one `IRModule`; `main` takes the model's inputs only, weights are constants.
    name: short name for reports (the file's stem, or the graph's own name).
    inputs, outputs: names as the model file spells them, in `main`'s order.
    source: what it was read from ("onnx", "tflite", "relax").
    values: ports that are no tensors → what they are ("seq(tensor(float))"); in `main` they are
    handles (`byoc.runtime.boxes`).
    """

    mod: tvm.IRModule
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str
    values: Mapping[str, str] = field(default_factory=dict)


def import_model(model: str | Path | onnx.ModelProto | tvm.IRModule) -> Model:
    """Read a model and bring it into normal form.

    model: path of an ONNX or TFLite file, an `onnx.ModelProto`, the bytes of a TFLite file, a
    `tflite.Model`, or a Relax `IRModule` (not changed).
    Raises ModelError when the model cannot be read or holds something unsupported.
    """
    if isinstance(model, tvm.IRModule):
        return _import_relax(model)
    from byoc.frontends.tflite import is_tflite

    if isinstance(model, (str, Path)):
        path = Path(model)
        return _import_tflite(path) if is_tflite(path) else _import_onnx(path)
    if is_tflite(model):
        return _import_tflite(model)
    if type(model).__name__ == "ModelProto":
        return _import_onnx(model)
    if type(model).__name__ == "ExportedProgram":
        return _import_torch(model)
    raise ModelError(
        f"expected a path, an onnx.ModelProto or a tvm.IRModule as the model, "
        f"found {type(model).__name__}"
    )


def _import_onnx(model: Path | onnx.ModelProto) -> Model:
    from byoc.frontends.onnx import import_onnx

    read = import_onnx(model)
    normalise_graph(read.graph)
    function = read.graph.write().with_attrs(
        {"num_input": len(read.inputs), "global_symbol": "main"}
    )
    mod = tvm.IRModule({"main": function})
    return Model(mod, read.name, read.inputs, read.outputs, "onnx", read.values)


def _import_tflite(model: Any) -> Model:
    from byoc.frontends.tflite import import_tflite

    read = import_tflite(model)
    normalise_graph(read.graph)
    function = read.graph.write().with_attrs(
        {"num_input": len(read.inputs), "global_symbol": "main"}
    )
    return Model(tvm.IRModule({"main": function}), read.name, read.inputs, read.outputs, "tflite")


def _import_torch(program: Any) -> Model:
    from byoc.frontends.torch import import_exported

    read = import_exported(program)
    normalise_graph(read.graph)
    function = read.graph.write().with_attrs(
        {"num_input": len(read.inputs), "global_symbol": "main"}
    )
    return Model(tvm.IRModule({"main": function}), read.name, read.inputs, read.outputs, "torch")


def _import_relax(mod: tvm.IRModule) -> Model:
    names = [v.name_hint for v in mod.get_global_vars()]
    if "main" not in names:
        raise ModelError(
            f"the IRModule has no function 'main'; it has {', '.join(names) or 'none'}"
        )
    main = mod["main"]
    inputs = tuple(p.name for p in main.params)
    count = len(main.ret_ty.fields) if isinstance(main.ret_ty, tvm.relax.TupleType) else 1
    outputs = ("output",) if count == 1 else tuple(f"output_{i}" for i in range(count))
    return Model(normalise_module(mod), "model", inputs, outputs, "relax")
