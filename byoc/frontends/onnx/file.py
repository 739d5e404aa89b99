"""From an ONNX file or proto to a graph that can be walked: opened, checked, inlined, sorted.

In goes a path or an `onnx.ModelProto`, which may be damaged or mean harm; out comes an
`OpenedModel` whose nodes follow what they read and have operators that somebody knows. Large
weights stay in the file.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from byoc.errors import ModelError
from byoc.frontends.onnx.check import (
    check_inputs,
    check_names,
    check_operators,
    check_size,
    check_text,
    sort_nodes,
    unknown_nodes,
)
from byoc.frontends.onnx.functions import check_functions, spell_defaults
from byoc.frontends.onnx.legacy import check_opset
from byoc.frontends.onnx.lengths import hold_lengths, mark_lengths
from byoc.frontends.onnx.nodes import all_nodes, operator_of
from byoc.frontends.onnx.parts import widen_parts
from byoc.frontends.onnx.schema_functions import expand_calls
from byoc.frontends.onnx.weights import Weights
from byoc.frontends.onnx.wire import MAX_NODES, BadWireError, TooManyNodesError, split
from byoc.runtime.io.mapped_memory import map_file

__all__ = ["OpenedModel", "Source", "describe", "open_model"]

Source: TypeAlias = "Path | bytes | bytearray | memoryview | onnx.ModelProto"
"""What is read: the path of a file, its bytes, or a proto."""

_NESTED = 10
"""Functions within functions within functions: ONNX's own nest three deep."""

# First bytes of files that people mistake for ONNX → what they are.
_LOOKS = (
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint or a .byoc artifact?)"),
    (b"\x80\x02", "a Python pickle (a PyTorch checkpoint?)"),
    (b"\x89HDF", "an HDF5 file (a Keras model?)"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x7fELF", "a shared library"),
    (b"\x89PNG", "a PNG image"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file with `git lfs pull`"),
    (b"<", "an HTML or XML page (a failed download?)"),
    (b"{", "JSON"),
    (b"#!", "a script"),
    (b"ir_version", "ONNX as text; convert it with onnx.load and onnx.save"),
    (b"\x93NUMPY", "a numpy array"),
)


@dataclass(frozen=True)
class OpenedModel:
    """An ONNX model that is ready to be walked.

    Attributes:
        name: The file's stem, or the graph's name.
        where: The model, as messages begin.
        proto: The model; its own functions are inlined, its nodes sorted.
        weights: Reads the tensors that stayed in the file.
        versions: Domain → opset, as the file says.
        operators: Operator → how often it stands in the file, inner graphs included.
    """

    name: str
    where: str
    proto: onnx.ModelProto
    weights: Weights
    versions: Mapping[str, str]
    operators: Mapping[str, int]


def open_model(source: Source) -> OpenedModel:
    """Open an ONNX model and bring its graph into the form that the walk expects.

    Args:
        source: The path of a file, its bytes, or a proto.

    Raises:
        ModelError: It is no readable ONNX model (the message says what the file looks like), is
            damaged, has a cycle, or holds operators that nobody knows.
    """
    where = describe(source)
    if isinstance(source, Path):
        name = source.stem
        proto, weights = _parse(where, _bytes(source), source.resolve().parent)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        proto, weights = _parse(where, memoryview(bytearray(source)), None)
        name = proto.graph.name or "model"
    else:
        name = source.graph.name or "model"
        proto, weights = _own(source), Weights(where)
    check_size(proto.graph, where)
    check_text(proto, where)
    check_names(proto.graph, where)
    check_inputs(proto.graph, where)
    check_functions(proto, where)
    versions = {o.domain or "ai.onnx": str(o.version) for o in proto.opset_import}
    operators = Counter(map(operator_of, all_nodes(proto.graph)))
    proto = check_opset(proto, where)
    proto = _inline(proto, where)
    widen_parts(proto, weights)
    _strings_as_nodes(proto.graph)
    check_operators(proto.graph, where)
    sort_nodes(proto.graph, where)
    return OpenedModel(name, where, proto, weights, versions, operators)


def describe(source: Source) -> str:
    """The model, as messages begin."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the model given as bytes"
    return str(source) if isinstance(source, Path) else f"model {source.graph.name or 'model'!r}"


def _own(model: onnx.ModelProto) -> onnx.ModelProto:
    if not (model.graph.node or model.graph.output):
        raise ModelError("the ModelProto holds no graph")
    return model


def _parse(where: str, data: memoryview, folder: Path | None) -> tuple[onnx.ModelProto, Weights]:
    """The model without its large weights, and the reader of these."""
    if not len(data):
        raise ModelError(f"{where} is empty")
    try:
        small, payloads = split(data)
        model = onnx.ModelProto.FromString(small)
    except TooManyNodesError:
        raise ModelError(
            f"{where} has more than {MAX_NODES:,} nodes; byoc reads up to so many"
        ) from None
    except (BadWireError, DecodeError) as error:
        raise _not_onnx(where, data, str(error)) from None
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise _not_onnx(where, data, "it holds no graph")
    return model, Weights(where, folder, payloads)


def _bytes(path: Path) -> memoryview:
    if path.is_dir():
        raise ModelError(f"{path} is a directory; expected the path of an ONNX file")
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    try:
        return map_file(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None


def _not_onnx(where: str, data: memoryview, why: str) -> ModelError:
    head = bytes(data[:64])
    if head[4:8] == b"TFL3":
        return ModelError(f"{where} is not an ONNX model: it looks like a TFLite model")
    for start, what in _LOOKS:
        if head.lstrip().startswith(start) or head.startswith(start):
            return ModelError(f"{where} is not an ONNX model: it looks like {what}")
    if head[:1] == b"\x08":  # field 1, ir_version: nearly every ONNX file starts so
        return ModelError(f"{where} is a damaged or truncated ONNX model ({why})")
    return ModelError(f"{where} is not an ONNX model ({why})")


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
            model = onnx.inliner.inline_local_functions(spell_defaults(model))
    except Exception as error:
        raise ModelError(f"{where}: its functions cannot be inlined: {error}") from None
    model, marks = mark_lengths(model)
    tried: set[tuple[str, str]] = set()
    for _ in range(_NESTED):
        unknown = {(str(n.domain), str(n.op_type)) for n in unknown_nodes(model.graph)} - tried
        for operator in sorted(unknown):  # one by one: the inliner fails on some
            model = _expanded(model, operator)
        tried |= unknown
        if not unknown:
            break
    hold_lengths(model, marks)
    return model


def _expanded(model: onnx.ModelProto, operator: tuple[str, str]) -> onnx.ModelProto:
    """The model with the bodies of an operator in place of its calls, where ONNX has some."""
    with contextlib.suppress(Exception):
        return onnx.inliner.inline_selected_functions(
            model, [operator], inline_schema_functions=True
        )
    with contextlib.suppress(Exception):
        return expand_calls(model, operator)
    return model
