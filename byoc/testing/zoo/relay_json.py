"""Relay as `tvm.ir.save_json` of TVM 0.8 to 0.18 wrote it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from byoc.segment import Array
from byoc.testing.zoo.relay_file import GraphOfFile, tensor_bytes

__all__ = ["JsonNodes", "write_json"]

_PLAIN = {"groups", "axis", "epsilon", "a_min", "a_max", "dtype", "out_dtype"}
_KINDS = {
    "nn.conv2d": "Conv2DAttrs", "qnn.conv2d": "Conv2DAttrs", "nn.max_pool2d": "MaxPool2DAttrs",
    "nn.batch_norm": "BatchNormAttrs", "nn.bias_add": "BiasAddAttrs", "clip": "ClipAttrs",
    "cast": "CastAttrs", "nn.dense": "DenseAttrs", "qnn.dense": "DenseAttrs",
    "nn.softmax": "SoftmaxAttrs", "nn.global_avg_pool2d": "GlobalPool2DAttrs",
    "qnn.quantize": "QuantizeAttrs", "qnn.dequantize": "DequantizeAttrs",
    "qnn.requantize": "RequantizeAttrs", "qnn.add": "BroadcastAttrs",
}  # fmt: skip
# Attributes that JSON spells out though they have their default.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "Conv2DAttrs": {"dilation": [1, 1], "data_layout": "NCHW", "kernel_layout": "OIHW",
                    "out_layout": "", "out_dtype": ""},
    "MaxPool2DAttrs": {"dilation": [1, 1], "layout": "NCHW", "out_layout": "", "ceil_mode": 0},
    "BatchNormAttrs": {"axis": 1, "center": 1, "scale": 1},
    "BiasAddAttrs": {"axis": 1},
    "GlobalPool2DAttrs": {"layout": "NCHW", "out_layout": ""},
    "DenseAttrs": {"out_dtype": "", "auto_scheduler_rewritten_layout": ""},
    "RequantizeAttrs": {"rounding": "UPWARD", "compute_dtype": "int64"},
    "BroadcastAttrs": {"lhs_axis": -1, "rhs_axis": -1},
}  # fmt: skip


class JsonNodes:
    """The nodes of a JSON graph, as one version of TVM writes them; each is known by its number."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.minor = int(version.split(".")[1])
        self.nodes: list[dict[str, Any]] = [{"type_key": ""}]
        self.blobs: list[str] = []
        self.shared: dict[Any, int] = {}

    def add(self, kind: str, **fields: Any) -> int:
        """Add a node and return its number."""
        self.nodes.append({"type_key": kind, **fields})
        return len(self.nodes) - 1

    def expr(self, kind: str, **attrs: Any) -> int:
        """Add an expression, with the fields that every one has in this version."""
        common = {"_checked_type_": "0", "span": "0"}
        if self.minor >= 9:
            common["virtual_device_"] = "0"
        return self.add(kind, attrs=dict(sorted({**common, **attrs}.items())))

    def text(self, text: str) -> int:
        """Return the node of a String, one for each text."""
        if ("text", text) not in self.shared:
            found = {"repr_str": text} if text else {}
            self.shared["text", text] = self.add("runtime.String", **found)
        return self.shared["text", text]

    def op(self, name: str) -> int:
        """Return the node of an operator, one for each name."""
        if ("op", name) not in self.shared:
            self.shared["op", name] = self.add("Op", repr_str=name)
        return self.shared["op", name]

    def integer(self, value: int) -> int:
        """Add a number and return its node."""
        return self.add("IntImm", attrs={"dtype": "int32", "span": "0", "value": str(value)})

    def array(self, values: Sequence[int]) -> int:
        """Add an array of nodes and return its node."""
        return self.add("Array", data=list(values)) if values else self.add("Array")

    def constant(self, array: Array) -> int:
        """Add a constant tensor and return its node."""
        self.blobs.append(base64.b64encode(tensor_bytes(array)).decode())
        return self.expr("relay.Constant", data=str(len(self.blobs) - 1))

    def attrs(self, op: str, attrs: dict[str, Any]) -> int:
        """Add a node for a call's attributes.

        Args:
            op: The Relay operator that is called.
            attrs: Its attributes; the defaults that TVM writes are added to them.

        Returns:
            The number of the node; 0 for an operator without attributes.
        """
        kind = _KINDS.get(op)
        if kind is None:
            assert not attrs, f"{op}: which type of attributes?"
            return 0
        fields = {k: self._field(k, v) for k, v in {**_DEFAULTS.get(kind, {}), **attrs}.items()}
        return self.add(f"relay.attrs.{kind}", attrs=dict(sorted(fields.items())))

    def _field(self, key: str, value: Any) -> str:
        if isinstance(value, list):
            return str(self.array([self.integer(v) for v in value]))
        if key in ("channels", "units"):
            return str(self.integer(value))
        if isinstance(value, str) and "layout" in key and self.minor >= 9:
            return str(self.text(value))
        return repr(value) if isinstance(value, float) else str(value)

    def dump(self, root: int) -> str:
        """Return the file whose root is a node."""
        content = {"root": root, "nodes": self.nodes, "b64ndarrays": self.blobs,
                   "attrs": {"tvm_version": self.version}}  # fmt: skip
        return json.dumps(content, indent=2)

    def tensor_type(self, shape: Sequence[int], dtype: str) -> int:
        """Add a node for the type of a tensor.

        Args:
            shape: The tensor's shape.
            dtype: The tensor's dtype.

        Returns:
            The number of the node.
        """
        dims = self.array([self.integer(d) for d in shape])
        return self.add("relay.TensorType", attrs={"dtype": dtype, "shape": str(dims), "span": "0"})

    def var(self, name: str, shape: Sequence[int], dtype: str) -> int:
        """Add a node for a variable, with its type.

        Args:
            name: The variable's name.
            shape: The variable's shape.
            dtype: The variable's dtype.

        Returns:
            The number of the node.
        """
        hint = str(self.text(name)) if self.minor >= 8 else name
        vid = self.add("relay.Id", attrs={"name_hint": hint})
        kind = self.tensor_type(shape, dtype)
        return self.expr("relay.Var", type_annotation=str(kind), vid=str(vid))


def write_json(graph: GraphOfFile, version: str = "0.12.0", weights: str = "meta") -> str:
    """Write a module as `tvm.ir.save_json` of a version writes it.

    Args:
        graph: The module.
        version: Of TVM, "0.8.0" to "0.18.0".
        weights: "meta" for constants in the file, "params" for parameters of the function.

    """
    nodes = JsonNodes(version)
    used = {a for c in graph.calls for a in c.args if isinstance(a, str)}
    made = {n: nodes.var(n, *spec) for n, spec in graph.inputs.items()}
    params = list(made.values())
    for name, array in graph.constants.items():
        if name not in used:
            continue
        if weights == "params" and array.ndim:
            made[name] = nodes.var(name, array.shape, str(array.dtype))
            params.append(made[name])
        else:
            made[name] = nodes.constant(array)
    for call in graph.calls:
        args = nodes.array([
            nodes.expr("relay.Tuple", fields=str(nodes.array([made[n] for n in a])))
            if isinstance(a, tuple) else made[a]
            for a in call.args
        ])  # fmt: skip
        attrs = nodes.attrs(call.op, call.attrs)
        made[call.name] = nodes.expr(
            "relay.Call", op=str(nodes.op(call.op)), args=str(args), attrs=str(attrs),
            type_args=str(nodes.array([])),
        )  # fmt: skip
        if call.field is not None:
            made[call.name] = nodes.expr(
                "relay.TupleGetItem", tuple_value=str(made[call.name]), index=str(call.field)
            )
    main = nodes.expr(
        "relay.Function", params=str(nodes.array(params)), body=str(made[graph.output]),
        ret_type="0", type_params=str(nodes.array([])), attrs="0",
    )  # fmt: skip
    symbol = nodes.expr("GlobalVar", name_hint=str(nodes.text("main")))
    table = nodes.add("Map", data=[symbol, main])
    root = nodes.add(
        "IRModule",
        attrs={"functions": str(table), "global_type_var_map_": "0", "global_var_map_": "0",
               "source_map": "0", "type_definitions": "0"},
    )  # fmt: skip
    return nodes.dump(root)
