"""`import_model`: a model in any form byoc reads, as one `Model` in normal form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tvm

from byoc.errors import ModelError
from byoc.frontends.normalise import normalise_graph, normalise_module
from byoc.frontends.pt2 import is_pt2, load_pt2

if TYPE_CHECKING:
    import onnx

    from byoc.frontends.normalise.graph import Graph
    from byoc.frontends.relay import Params, RelayModel
    from byoc.partition.placing.policy import Rule

__all__ = ["Model", "finish", "import_model"]


@dataclass(frozen=True)
class Model:
    """A model as the rest of byoc sees it.

    mod: one `IRModule`; `main` takes the model's inputs only, weights are constants.
    name: short name for reports (the file's stem, or the graph's own name).
    inputs, outputs: names as the model file spells them, in `main`'s order.
    source: what it was read from ("onnx", "tflite", "torch", "relay", "relax").
    values: ports that are no tensors → what they are ("seq(tensor(float))"); in `main` they are
    handles (`byoc.runtime.value_handles`).
    versions: operator set → its version, where the source has any. operators: operator as the
    source spells it → how often it stands there, where a frontend tells.
    rules: wishes for the placement that the source holds; they come before the user's.
    """

    mod: tvm.IRModule
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str
    values: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    operators: Mapping[str, int] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


def import_model(
    model: str | Path | onnx.ModelProto | tvm.IRModule | RelayModel, params: Params | None = None
) -> Model:
    """Read a model and bring it into normal form.

    model: path of an ONNX, TFLite or Relay file or of one of `torch.export.save`, an
    `onnx.ModelProto`, the bytes of a TFLite file, a `tflite.Model`, a
    `torch.export.ExportedProgram`, what `read_relay` returns, or a Relax `IRModule` (not changed);
    a `Model` is returned as it is.
    params: parameters of a Relay file, as `read_relay` takes them.
    Raises ModelError when the model cannot be read or holds something unsupported.
    """
    from byoc.frontends.relay import is_relay, read_relay

    if is_relay(model):
        return _import_relay(read_relay(model, params))
    if params is not None:
        raise ModelError("params= are those of a Relay file; the model holds its own")
    if isinstance(model, Model):
        return model
    if isinstance(model, tvm.IRModule):
        return _import_relax(model)
    from byoc.frontends.tflite import is_tflite

    if isinstance(model, (str, Path)):
        path = Path(model)
        if is_pt2(path):
            return _import_torch(load_pt2(path))
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
    return Model(
        mod,
        read.name,
        read.inputs,
        read.outputs,
        "onnx",
        values=read.values,
        versions=read.versions,
        operators=read.operators,
    )


def _import_tflite(model: Any) -> Model:
    from byoc.frontends.tflite import import_tflite

    read = import_tflite(model)
    plain = finish(read.graph, read.name, read.inputs, read.outputs, "tflite")
    return replace(plain, versions=read.versions, operators=read.operators)


def _import_torch(program: Any) -> Model:
    from byoc.frontends.torch import import_exported

    read = import_exported(program)
    return finish(read.graph, read.name, read.inputs, read.outputs, "torch")


def _import_relay(model: RelayModel) -> Model:
    from byoc.frontends.relay import import_relay, placement_rules

    read = import_relay(model)
    plain = finish(read.graph, model.name, read.inputs, read.outputs, "relay")
    version = model.module.version
    return replace(
        plain,
        versions={"tvm": version} if version else {},
        operators=read.operators,
        rules=placement_rules(model, read),
    )


def finish(
    graph: Graph, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], source: str
) -> Model:
    """The model of a graph that a frontend has read, brought into normal form."""
    normalise_graph(graph)
    function = graph.write().with_attrs({"num_input": len(inputs), "global_symbol": "main"})
    return Model(tvm.IRModule({"main": function}), name, inputs, outputs, source)


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
