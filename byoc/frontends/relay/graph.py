"""The node graph that `tvm.ir.save_json` of TVM 0.6 to 0.18 writes, and values in it.

    {"root": 1, "nodes": [{"type_key": "", …}, …], "b64ndarrays": ["…"], "attrs": {…}}

A node names its type; its fields are texts: of a number, of a dtype, or of the number of another
node. Which of these, only the C++ type tells: `_REFERENCES` repeats what it says. Node 0 is "none",
later versions also write "null". Texts were stored in place by old versions and as nodes by newer
ones (`data_layout`, `name_hint`), which is told apart by looking.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from byoc.errors import ModelError
from byoc.frontends.relay.arrays import BadBytesError, array_of_base64
from byoc.frontends.relay.syntax import MAX_DEPTH, At, PlaceError
from byoc.segment import Array

__all__ = ["JsonGraph", "JsonNode", "Opaque", "load_graph", "read_metadata"]

_TEXTS = {"runtime.String", "ffi.String", "SourceName"}
_ARRAYS = {"Array", "ffi.Array"}
_MAPS = {"Map", "StrMap", "ffi.Map"}
_BOXES = {"runtime.BoxInt": int, "runtime.BoxFloat": float, "runtime.BoxBool": int,
          "int": int, "float": float, "bool": int}  # fmt: skip

# Fields of attributes that hold the number of a node, whatever the type.
_REFERENCES = frozenset({
    "strides", "padding", "dilation", "dilations", "channels", "kernel_size", "output_padding",
    "units", "pool_size", "output_size", "newshape", "shape", "begin", "end", "pad_width",
    "reps", "repeats", "axes", "size", "roi", "indices_or_sections", "pooled_size", "sizes",
    "ratios", "steps", "offsets", "variances", "crop_size", "start", "stop", "step", "paddings",
    "crops", "block_shape", "batch_dims", "index_rank", "k", "seq_axis", "batch_axis",
    "exclusive", "target_shape", "max_output_size", "meta_schedule_original_shape",
    "sparse_shape",
})  # fmt: skip
# `axis` is a number in most types of attributes and a node in these.
_AXIS_REFERENCES = frozenset({
    "ReduceAttrs", "VarianceAttrs", "ArgReduceAttrs", "SqueezeAttrs", "TakeAttrs",
    "GatherAttrs", "ReverseAttrs", "RepeatAttrs", "ScatterAttrs", "ScatterAddAttrs",
    "ScatterElementsAttrs", "ScanopAttrs", "StackAttrs", "L2NormalizeAttrs",
})  # fmt: skip

# Texts, which a number in place would be mistaken for.
_TEXT_FIELDS = frozenset({
    "mode", "method", "rounding", "compute_dtype", "equation", "indexing", "reduction", "pad_mode",
    "slice_mode", "ret_type", "padding_mode", "coordinate_transformation_mode", "rounding_method",
    "output_format", "interpolation_method", "compiler",
})  # fmt: skip


@dataclass(frozen=True)
class Opaque:
    """An object of TVM that byoc does not look into."""

    type_key: str


@dataclass(slots=True)
class JsonNode:
    """One node of the file.

    Attributes:
        text: How an object with a name of its own is spelled (an operator).
    """

    type_key: str
    text: str
    attrs: dict[str, str]
    keys: list[str]
    data: list[int]


@dataclass
class JsonGraph:
    """The nodes of a file.

    Attributes:
        version: Of the TVM that wrote it.
    """

    root: int
    nodes: list[JsonNode]
    blobs: list[str]
    version: str
    arrays: dict[int, Array] = field(default_factory=dict)

    def node(self, index: int, at: int = 0) -> JsonNode:
        """Return the node of a number.

        Args:
            index: Number of the node.
            at: Number of the node that refers to it, for the message.

        Raises:
            PlaceError: There is no such node.
        """
        if not 0 <= index < len(self.nodes):
            raise PlaceError(At(at), f"refers to node {index} of {len(self.nodes)}")
        return self.nodes[index]

    def reference(self, index: int, key: str) -> int:
        """Return the number of the node that a field names, 0 for none.

        Args:
            index: Number of the node that has the field.
            key: Name of the field.

        Raises:
            PlaceError: The field is no number of a node.
        """
        text = self.node(index).attrs.get(key, "0")
        if text == "null":
            return 0
        if not text.isdecimal() or len(text) > 12:
            raise PlaceError(At(index), f"expected the number of a node as {key!r}, found {text!r}")
        self.node(int(text), index)
        return int(text)

    def text(self, index: int, key: str) -> str:
        """Return a field that is a text, whether it is stored in place or as a node.

        Args:
            index: Number of the node that has the field.
            key: Name of the field; "" is returned when it is absent.

        Raises:
            PlaceError: There is no such node.
        """
        text = self.node(index).attrs.get(key, "")
        if text.isdecimal() and len(text) < 12 and int(text) < len(self.nodes):
            node = self.nodes[int(text)]
            if node.type_key in _TEXTS or (text == "0" and not node.type_key):
                return node.text
        return text

    def array(self, index: int) -> Array:
        """The tensor of a relay.Constant."""
        if index not in self.arrays:
            text = self.node(index).attrs.get("data", "")
            if not text.isdecimal() or len(text) > 12 or int(text) >= len(self.blobs):
                raise PlaceError(
                    At(index), f"refers to tensor {text!r:.20} of {len(self.blobs)} in b64ndarrays"
                )
            try:
                self.arrays[index] = array_of_base64(self.blobs[int(text)])
            except BadBytesError as error:
                raise PlaceError(At(index), f"tensor {text} of b64ndarrays: {error}") from None
        return self.arrays[index]

    def value(self, index: int, depth: int = 0) -> Any:
        """Return a node as a plain value: a number, text, None, list, dict, array, or `Opaque`.

        Args:
            index: Number of the node.
            depth: How deep the node is nested in others; values nested too deep are refused.

        Raises:
            PlaceError: Values are nested too deep or in a circle, or a field does not fit its type.
        """
        if depth > MAX_DEPTH:
            raise PlaceError(At(index), "attributes are nested too deep, or in a circle")
        node = self.node(index)
        key = node.type_key
        if not key:
            return None
        if key in ("IntImm", "FloatImm", "Integer"):
            number = _number(index, node.attrs.get("value", ""))
            if key == "FloatImm":
                return float(number)
            return bool(number) if node.attrs.get("dtype") in ("bool", "uint1") else number
        if key in _TEXTS:
            return node.text
        if key in ("StringImm", "tir.StringImm"):
            return self.text(index, "value")
        if key in _BOXES:
            text = node.text or node.attrs.get("v_int64") or node.attrs.get("v_float64") or ""
            text = {"true": "1", "True": "1", "false": "0", "False": "0"}.get(text, text)
            return _BOXES[key](_number(index, text))
        if key in _ARRAYS:
            return [self.value(i, depth + 1) for i in node.data]
        if key in _MAPS:
            return self._map(node, depth)
        if key in ("Any", "tir.Any"):
            return "?"
        if key == "relay.Constant":
            return self.array(index)
        if key == "DictAttrs":
            if "__dict__" in node.attrs:
                return self.value(self.reference(index, "__dict__"), depth + 1)
            return self._map(node, depth)
        if key.startswith("relay.attrs."):
            return {name: self._field(index, name, depth) for name in node.attrs}
        return Opaque(key)

    def _map(self, node: JsonNode, depth: int) -> dict[str, Any]:
        if node.keys:
            pairs = zip(node.keys, node.data, strict=False)
            return {name: self.value(i, depth + 1) for name, i in pairs}
        pairs_of = zip(node.data[::2], node.data[1::2], strict=False)
        return {str(self.value(k, depth + 1)): self.value(v, depth + 1) for k, v in pairs_of}

    def _field(self, index: int, name: str, depth: int) -> Any:
        node = self.node(index)
        kind = node.type_key.removeprefix("relay.attrs.")
        text = node.attrs[name]
        if name in _REFERENCES or (name == "axis" and kind in _AXIS_REFERENCES):
            return self.value(self.reference(index, name), depth + 1)
        if text == "null":
            return None
        if name in _TEXT_FIELDS or name.endswith("layout"):
            return self.text(index, name)
        try:
            return _number(index, text)
        except PlaceError:
            return text


def _number(index: int, text: str) -> Any:
    try:
        return int(text) if len(text) < 40 else float(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise PlaceError(At(index), f"expected a number, found {text!r:.40}") from None


def load_graph(text: str, first_line: int = 0) -> JsonGraph:
    """Read a node graph.

    Args:
        text: The JSON.
        first_line: Lines of the file before the text.

    Raises:
        PlaceError: The text is no JSON, or no such graph.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlaceError(
            At(first_line + error.lineno, error.colno), f"no JSON: {error.msg}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise PlaceError(At(first_line + 1, 1), f"no JSON that byoc reads: {error}") from None
    top = At(first_line + 1, 1)
    if isinstance(content, dict) and "arg_nodes" in content:
        raise PlaceError(
            top,
            "the graph of a compiled module: its nodes call compiled functions. byoc reads the "
            "module before that: tvm.ir.save_json(mod), or mod.astext()",
        )
    if not isinstance(content, dict) or not isinstance(content.get("nodes"), list):
        raise PlaceError(top, 'JSON, but no node graph of TVM: it has no list "nodes"')
    nodes = [_node(number, raw) for number, raw in enumerate(content["nodes"])]
    root, blobs, attrs = content.get("root"), content.get("b64ndarrays", []), content.get("attrs")
    if not isinstance(root, int) or not 0 <= root < len(nodes):
        raise PlaceError(top, f'"root" must be the number of a node, found {root!r:.40}')
    if not isinstance(blobs, list) or not all(isinstance(b, str) for b in blobs):
        raise PlaceError(top, '"b64ndarrays" must be a list of texts')
    version = attrs.get("tvm_version", "") if isinstance(attrs, dict) else ""
    return JsonGraph(root, nodes, blobs, str(version))


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _node(number: int, raw: Any) -> JsonNode:
    at = At(number)
    if not isinstance(raw, dict):
        raise PlaceError(at, f"expected a JSON object, found {type(raw).__name__}")
    key, attrs = raw.get("type_key", ""), raw.get("attrs", {})
    text = raw.get("repr_str", raw.get("global_key", ""))
    keys, data = raw.get("keys", []), raw.get("data", [])
    if not isinstance(key, str) or not isinstance(text, str):
        raise PlaceError(at, '"type_key" and "repr_str" must be texts')
    if not isinstance(attrs, dict) or not all(isinstance(v, str) for v in attrs.values()):
        raise PlaceError(at, '"attrs" must map names to texts')
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise PlaceError(at, '"keys" must be a list of texts')
    if not isinstance(data, list) or not all(_is_index(i) for i in data):
        raise PlaceError(at, '"data" must be a list of node numbers')
    return JsonNode(key, text, attrs, keys, data)


def read_metadata(text: str, where: str, first_line: int) -> tuple[dict[str, list[Any]], str]:
    """The entries of a `#[metadata]` section by type key, and the version of TVM that wrote it.

    Args:
        text: The section, without its head.
        where: The file, as messages begin.
        first_line: Lines of the file before the section.

    Raises:
        PlaceError: The section is no JSON, or no node graph.
        ModelError: A node of it is wrong; the message names the node.
    """
    try:
        graph = load_graph(text, first_line)
        entries = graph.value(graph.root)
    except PlaceError as error:
        if error.at.column:
            raise
        raise ModelError(f"{where}:{first_line + 1}:1: metadata {error.at}: {error}") from None
    if not isinstance(entries, dict) or not all(isinstance(e, list) for e in entries.values()):
        raise PlaceError(
            At(first_line + 1, 1), "the metadata section does not map types to lists of entries"
        )
    return entries, graph.version
