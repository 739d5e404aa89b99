"""`import_onnx`: from an ONNX file or proto to one graph of Relax ops."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.inliner
import onnx.version_converter

from byoc.errors import ModelError
from byoc.frontends.normalise.graph import Graph
from byoc.frontends.onnx.check import (
    check_inputs,
    check_names,
    check_operators,
    check_opset,
    check_size,
    check_text,
    sort_nodes,
    unknown_nodes,
)
from byoc.frontends.onnx.file import open_model
from byoc.frontends.onnx.functions import check_functions
from byoc.frontends.onnx.graph import import_graph
from byoc.frontends.onnx.nodes import all_nodes, operator_of
from byoc.frontends.onnx.weights import Weights

__all__ = ["Imported", "import_onnx"]

_NESTED = 10
"""Functions within functions within functions: ONNX's own nest three deep."""


@dataclass(frozen=True)
class Imported:
    """An ONNX model as a graph of Relax ops.

    name: the file's stem, or the graph's name. inputs, outputs: names in the model file.
    values: those that are no tensors → what they are. versions: domain → opset. operators: how
    often each stands in the file, inner graphs included.
    """

    name: str
    graph: Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, str]
    versions: Mapping[str, str]
    operators: Mapping[str, int]


def import_onnx(model: Path | onnx.ModelProto) -> Imported:
    """Read an ONNX model.

    Raises ModelError when it cannot be read, is damaged, or holds an operator that byoc does not
    import.
    """
    if isinstance(model, Path):
        where, name = str(model), model.stem
        proto, weights = open_model(model)
    else:
        name = model.graph.name or "model"
        where = f"model {name!r}"
        proto, weights = _own(model), Weights(where)
    try:
        check_size(proto.graph, where)
        check_text(proto, where)
        check_names(proto.graph, where)
        check_inputs(proto.graph, where)
        check_functions(proto, where)
        return _imported(proto, name, weights, where)
    except RecursionError:
        raise ModelError(f"{where}: its graphs are nested too deeply within each other") from None


def _imported(proto: onnx.ModelProto, name: str, weights: Weights, where: str) -> Imported:
    versions = {o.domain or "ai.onnx": str(o.version) for o in proto.opset_import}
    operators = Counter(map(operator_of, all_nodes(proto.graph)))
    proto = check_opset(proto, where)
    proto = _inline(proto, where)
    _strings_as_nodes(proto.graph)
    check_operators(proto.graph, where)
    sort_nodes(proto.graph, where)
    return Imported(name, *import_graph(proto, weights, where), versions, operators)


def _own(model: onnx.ModelProto) -> onnx.ModelProto:
    if not (model.graph.node or model.graph.output):
        raise ModelError("the ModelProto holds no graph")
    return model


def _strings_as_nodes(graph: onnx.GraphProto) -> None:
    """Stored tensors of strings become Constant nodes: Relax has none, engines of ONNX do."""
    texts = [t for t in graph.initializer if t.data_type == onnx.TensorProto.STRING]
    for tensor in texts:
        node = onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        graph.node.insert(0, node)
        graph.initializer.remove(tensor)
    names = {t.name for t in texts}
    for info in [i for i in graph.input if i.name in names]:
        graph.input.remove(info)


def _inline(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Replace calls of the model's own functions, and of operators that ONNX defines by simpler
    ones, by their bodies.
    """
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:
        raise ModelError(f"{where}: its functions cannot be inlined: {error}") from None
    tried: set[tuple[str, str]] = set()
    for _ in range(_NESTED):
        unknown = {(str(n.domain), str(n.op_type)) for n in unknown_nodes(model.graph)} - tried
        for operator in sorted(unknown):  # one by one: the inliner fails on some
            with contextlib.suppress(Exception):
                model = onnx.inliner.inline_selected_functions(
                    model, [operator], inline_schema_functions=True
                )
        tried |= unknown
        if not unknown:
            break
    return model
