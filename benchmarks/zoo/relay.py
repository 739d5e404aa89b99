"""One network twice: as ONNX, and as the Relay that TVM would have made of it.

    net = Twin("resnet18", seed=0)
    x = net.input("data", (1, 3, 64, 64))
    x = net.conv(x, 16, 3)                    writes a Conv node and an nn.conv2d call
    net.output(x)
    net.onnx(); net.text(); net.json("0.12"); net.params()

Weights are equal in both. In Relay they are entries of the metadata section ("meta"), or
parameters of @main with their values in a `.params` file ("params").
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

__all__ = ["Call", "Twin", "params_bytes", "tensor_bytes", "write_json", "write_text"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Call:
    """One call of Relay. args: names of values; ("tuple", names) for a tuple; field: of its
    result that is read.
    """

    name: str
    op: str
    args: tuple[Any, ...]
    attrs: dict[str, Any]
    field: int | None = None


@dataclass
class Graph:
    """A module of Relay with one function: inputs (shape, dtype), constants, calls in order."""

    inputs: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    output: str = ""


class Twin:
    """Writes a network in both forms, layer by layer."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.graph = Graph()
        self.nodes: list[onnx.NodeProto] = []
        self.shape: dict[str, tuple[int, ...]] = {}
        self.grid: dict[str, tuple[float, int]] = {}

    # -- both forms

    def input(self, name: str, shape: Sequence[int], dtype: str = "float32") -> str:
        """An input."""
        self.graph.inputs[name] = (tuple(shape), dtype)
        self.shape[name] = tuple(shape)
        return name

    def weight(self, shape: Sequence[int], scale: float, shift: float = 0.0) -> str:
        """A random float32 constant."""
        return self.constant(self.rng.normal(shift, scale, shape).astype(np.float32))

    def constant(self, array: Array) -> str:
        """A constant."""
        name = f"w{len(self.graph.constants)}"
        self.graph.constants[name] = np.asarray(array)
        return name

    def relay(self, op: str, *args: Any, field: int | None = None, **attrs: Any) -> str:
        """A call of Relay; its result is a value of ONNX of that name."""
        name = f"{len(self.graph.calls)}"
        self.graph.calls.append(Call(name, op, args, attrs, field))
        return name

    def node(self, op: str, args: Sequence[str], result: str, **attrs: Any) -> str:
        """A node of ONNX."""
        self.nodes.append(helper.make_node(op, list(args), [result], name=result, **attrs))
        return result

    def output(self, value: str) -> None:
        """The result."""
        self.graph.output = value

    def onnx(self) -> onnx.ModelProto:
        """The network as ONNX."""
        inputs = [
            helper.make_tensor_value_info(
                n, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape)
            )
            for n, (shape, dtype) in self.graph.inputs.items()
        ]
        used = {i for n in self.nodes for i in n.input}
        weights = [
            numpy_helper.from_array(a, n) for n, a in self.graph.constants.items() if n in used
        ]
        result = helper.make_tensor_value_info(
            self.graph.output, onnx.TensorProto.FLOAT, list(self.shape[self.graph.output])
        )
        graph = helper.make_graph(self.nodes, self.name, inputs, [result], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def text(self, weights: str = "meta") -> str:
        """The network as Relay text."""
        return write_text(self.graph, weights)

    def json(self, version: str = "0.12.0", weights: str = "meta") -> str:
        """The network as `tvm.ir.save_json` of that version writes it."""
        return write_json(self.graph, version, weights)

    def params(self) -> bytes:
        """The constants as a `.params` file."""
        return params_bytes(self.graph.constants)

    # -- float layers

    def conv(self, x: str, channels: int, kernel: int, stride: int = 1, groups: int = 1,
             bias: bool = False) -> str:  # fmt: skip
        """A convolution with padding kernel // 2."""
        n, depth, h, w = self.shape[x]
        fan = depth // groups * kernel * kernel
        weight = self.weight((channels, depth // groups, kernel, kernel), (2 / fan) ** 0.5)
        pad = kernel // 2
        y = self.relay("nn.conv2d", x, weight, strides=[stride, stride], padding=[pad] * 4,
                       groups=groups, channels=channels, kernel_size=[kernel, kernel])  # fmt: skip
        args = [x, weight]
        if bias:
            b = self.weight((channels,), 0.1)
            y = self.relay("nn.bias_add", y, b)
            args.append(b)
        self.node("Conv", args, y, strides=[stride] * 2, pads=[pad] * 4, group=groups,
                  kernel_shape=[kernel] * 2)  # fmt: skip
        size = [(s + 2 * pad - kernel) // stride + 1 for s in (h, w)]
        self.shape[y] = (n, channels, *size)
        return y

    def batch_norm(self, x: str) -> str:
        """A BatchNorm."""
        c = self.shape[x][1]
        args = [x, self.weight((c,), 0.1, 1.0), self.weight((c,), 0.1), self.weight((c,), 0.1)]
        args.append(self.constant((0.5 + self.rng.random(c)).astype(np.float32)))
        y = self.relay("nn.batch_norm", *args, field=0, epsilon=1e-5)
        self.shape[y] = self.shape[x]
        return self.node("BatchNormalization", args, y, epsilon=1e-5)

    def relu(self, x: str) -> str:
        """ReLU."""
        y = self.relay("nn.relu", x)
        self.shape[y] = self.shape[x]
        return self.node("Relu", [x], y)

    def relu6(self, x: str) -> str:
        """ReLU6."""
        y = self.relay("clip", x, a_min=0.0, a_max=6.0)
        low, high = (self.constant(np.array(v, np.float32)) for v in (0, 6))
        self.shape[y] = self.shape[x]
        return self.node("Clip", [x, low, high], y)

    def add(self, a: str, b: str) -> str:
        """A sum."""
        y = self.relay("add", a, b)
        self.shape[y] = self.shape[a]
        return self.node("Add", [a, b], y)

    def max_pool(self, x: str, kernel: int, stride: int) -> str:
        """Max pooling with padding kernel // 2."""
        pad = kernel // 2
        y = self.relay("nn.max_pool2d", x, pool_size=[kernel] * 2, strides=[stride] * 2,
                       padding=[pad] * 4)  # fmt: skip
        n, c, h, w = self.shape[x]
        self.shape[y] = (n, c, *((s + 2 * pad - kernel) // stride + 1 for s in (h, w)))
        if x in self.grid:
            self.grid[y] = self.grid[x]
        return self.node(
            "MaxPool", [x], y, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    def flat_mean(self, x: str) -> str:
        """Global average pooling, flattened."""
        pooled = self.relay("nn.global_avg_pool2d", x)
        self.node("GlobalAveragePool", [x], pooled)
        y = self.relay("nn.batch_flatten", pooled)
        self.shape[y] = self.shape[x][:2]
        return self.node("Flatten", [pooled], y)

    def dense(self, x: str, units: int) -> str:
        """A fully connected layer."""
        n, depth = self.shape[x]
        weight, bias = self.weight((units, depth), depth**-0.5), self.weight((units,), 0.1)
        y = self.relay("nn.dense", x, weight, units=units)
        y = self.relay("add", y, bias)
        self.shape[y] = (n, units)
        return self.node("Gemm", [x, weight, bias], y, transB=1)

    def softmax(self, x: str) -> str:
        """Softmax over the last axis."""
        y = self.relay("nn.softmax", x, axis=-1)
        self.shape[y] = self.shape[x]
        return self.node("Softmax", [x], y, axis=-1)

    # -- quantised layers: int8, one zero point per tensor, weights symmetric per channel

    def quantize(self, x: str, scale: float, zero: int) -> str:
        """Float to int8."""
        s, z = self._grid(scale, zero)
        y = self.relay("qnn.quantize", x, s, z[0], out_dtype="int8", axis=1)
        self.grid[y], self.shape[y] = (scale, zero), self.shape[x]
        return self.node("QuantizeLinear", [x, s, z[1]], y)

    def dequantize(self, x: str) -> str:
        """int8 to float."""
        s, z = self._grid(*self.grid[x])
        y = self.relay("qnn.dequantize", x, s, z[0], axis=1)
        self.shape[y] = self.shape[x]
        return self.node("DequantizeLinear", [x, s, z[1]], y)

    def _grid(self, scale: float, zero: int) -> tuple[str, tuple[str, str]]:
        """The scale, and the zero point as Relay (int32) and ONNX (int8) have it."""
        zeros = (self.constant(np.array(zero, np.int32)), self.constant(np.array(zero, np.int8)))
        return self.constant(np.array(scale, np.float32)), zeros

    def qconv(self, x: str, channels: int, kernel: int, scale: float, zero: int, *,
              stride: int = 1, groups: int = 1, relu: bool = False) -> str:  # fmt: skip
        """A quantised convolution with bias; ReLU as clip at the zero point."""
        n, depth, h, w = self.shape[x]
        pad, fan = kernel // 2, depth // groups * kernel * kernel
        in_scale, in_zero = self.grid[x]
        weight, scales = self._qweight((channels, depth // groups, kernel, kernel), fan)
        xs, xz = self._grid(in_scale, in_zero)
        bias, real = self._qbias(channels, in_scale, scales)
        ws, wz = self.constant(scales), self.constant(np.array(0, np.int32))
        attrs: dict[str, Any] = {
            "strides": [stride] * 2, "padding": [pad] * 4, "groups": groups
        }  # fmt: skip
        y = self.relay("qnn.conv2d", x, weight, xz[0], wz, xs, ws, **attrs, channels=channels,
                       kernel_size=[kernel] * 2, out_dtype="int32")  # fmt: skip
        y = self.relay("nn.bias_add", y, bias)
        y = self._requantize(y, in_scale * scales, scale, zero, relu, 1)
        dq = self.node("DequantizeLinear", [x, xs, xz[1]], f"{y}_x")
        zeros = self.constant(np.zeros(channels, np.int8))
        dw = self.node("DequantizeLinear", [weight, ws, zeros], f"{y}_w", axis=0)
        c = self.node("Conv", [dq, dw, real], f"{y}_conv", strides=[stride] * 2, pads=[pad] * 4,
                      group=groups, kernel_shape=[kernel] * 2)  # fmt: skip
        size = [(s + 2 * pad - kernel) // stride + 1 for s in (h, w)]
        self.shape[y] = (n, channels, *size)
        return self._quantized(c, y, scale, zero, relu)

    def qdense(self, x: str, units: int, scale: float, zero: int) -> str:
        """A quantised fully connected layer."""
        n, depth = self.shape[x]
        in_scale, in_zero = self.grid[x]
        weight, scales = self._qweight((units, depth), depth)
        xs, xz = self._grid(in_scale, in_zero)
        bias, real = self._qbias(units, in_scale, scales)
        ws, wz = self.constant(scales), self.constant(np.array(0, np.int32))
        y = self.relay("qnn.dense", x, weight, xz[0], wz, xs, ws, units=units, out_dtype="int32")
        y = self.relay("nn.bias_add", y, bias, axis=1)
        y = self._requantize(y, in_scale * scales, scale, zero, False, 1)
        dq = self.node("DequantizeLinear", [x, xs, xz[1]], f"{y}_x")
        flat = self.constant(np.ascontiguousarray(self.graph.constants[weight].T))
        zeros = self.constant(np.zeros(units, np.int8))
        dw = self.node("DequantizeLinear", [flat, ws, zeros], f"{y}_w", axis=1)
        product = self.node("MatMul", [dq, dw], f"{y}_mm")
        c = self.node("Add", [product, real], f"{y}_add")
        self.shape[y] = (n, units)
        return self._quantized(c, y, scale, zero, False)

    def qadd(self, a: str, b: str, scale: float, zero: int) -> str:
        """A quantised sum."""
        grids = [self._grid(*self.grid[v]) for v in (a, b)]
        s, z = self._grid(scale, zero)
        given = [part for g, zs in grids for part in (g, zs[0])]
        y = self.relay("qnn.add", a, b, *given, s, z[0])
        parts = [
            self.node("DequantizeLinear", [v, g, zs[1]], f"{y}_{i}")
            for i, (v, (g, zs)) in enumerate(zip((a, b), grids, strict=True))
        ]
        self.shape[y] = self.shape[a]
        return self._quantized(self.node("Add", parts, f"{y}_sum"), y, scale, zero, False)

    def _qweight(self, shape: tuple[int, ...], fan: int) -> tuple[str, Array]:
        real = self.rng.normal(0, (2 / fan) ** 0.5, shape)
        scales = np.abs(real).reshape(shape[0], -1).max(1) / 127
        units = np.rint(real / scales.reshape(-1, *[1] * (len(shape) - 1)))
        return self.constant(units.astype(np.int8)), scales.astype(np.float32)

    def _qbias(self, count: int, in_scale: float, scales: Array) -> tuple[str, str]:
        step = np.float32(in_scale) * scales
        units = np.rint(self.rng.normal(0, 0.1, count) / step).astype(np.int32)
        return self.constant(units), self.constant((units * step).astype(np.float32))

    def _requantize(self, y: str, in_scale: Array, scale: float, zero: int, relu: bool,
                    axis: int) -> str:  # fmt: skip
        s, z = self._grid(scale, zero)
        none = self.constant(np.array(0, np.int32))
        ins = self.constant(in_scale.astype(np.float32))
        wide = "int32" if relu else "int8"
        y = self.relay("qnn.requantize", y, ins, none, s, z[0], axis=axis, out_dtype=wide)
        if relu:
            y = self.relay("clip", y, a_min=float(zero), a_max=127.0)
            y = self.relay("cast", y, dtype="int8")
        return y

    def _quantized(self, real: str, y: str, scale: float, zero: int, relu: bool) -> str:
        s, z = self._grid(scale, zero)
        if relu:
            real = self.node("Relu", [real], f"{y}_relu")
        self.grid[y] = (scale, zero)
        return self.node("QuantizeLinear", [real, s, z[1]], y)


# -- text


def _type(shape: Sequence[int], dtype: str) -> str:
    return f"Tensor[({', '.join(map(str, shape))}), {dtype}]"


def _attr(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}f" if np.isfinite(value) else str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_attr, value))}]"
    return str(value)


def _scalar(array: Array) -> str | None:
    """A scalar as TVM prints it in place, None for what goes to the metadata."""
    if array.ndim:
        return None
    suffix = {"float32": "f", "int32": "", "int64": "i64", "float64": "f64"}.get(str(array.dtype))
    if suffix is None:
        return None
    text = repr(float(array)) if array.dtype.kind == "f" else str(int(array))
    return f"{text.removesuffix('.0')}{suffix} /* ty={array.dtype} */"


def write_text(graph: Graph, weights: str = "meta") -> str:
    """A module as text of version 0.0.5."""
    used = {a for c in graph.calls for a in c.args if isinstance(a, str)}
    large = [n for n, a in graph.constants.items() if n in used and _scalar(a) is None]
    spelled = {n: _scalar(a) or "" for n, a in graph.constants.items()}
    params = [f"%{n}: {_type(*spec)}" for n, spec in graph.inputs.items()]
    for index, name in enumerate(large):
        array = graph.constants[name]
        kind = _type(array.shape, str(array.dtype))
        if weights == "params":
            spelled[name] = f"%{name}"
            params.append(f"%{name}: {kind}")
        else:
            spelled[name] = f"meta[relay.Constant][{index}] /* ty={kind} */"
    fields = {c.name: f".{c.field}" for c in graph.calls if c.field is not None}

    def value(name: Any) -> str:
        if isinstance(name, tuple):
            return f"({', '.join(map(value, name))})"
        if name in spelled:
            return spelled[name]
        return f"%{name}{fields.get(name, '')}"

    lines = ['#[version = "0.0.5"]', f"def @main({', '.join(params)}) {{"]
    for call in graph.calls:
        parts = [value(a) for a in call.args]
        parts += [f"{k}={_attr(v)}" for k, v in call.attrs.items()]
        lines.append(f"  %{call.name} = {call.op}({', '.join(parts)});")
    lines += [f"  {value(graph.output)}", "}", ""]
    if weights == "params" or not large:
        return "\n".join(lines)
    nodes = _Nodes("0.12.0")
    entries = [nodes.constant(graph.constants[n]) for n in large]
    table = nodes.add("Map", keys=["relay.Constant"], data=[nodes.add("Array", data=entries)])
    return "\n".join([*lines, "#[metadata]", nodes.dump(table)])


# -- JSON

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


class _Nodes:
    """Nodes in the manner of one version of TVM."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.minor = int(version.split(".")[1])
        self.nodes: list[dict[str, Any]] = [{"type_key": ""}]
        self.blobs: list[str] = []
        self.shared: dict[Any, int] = {}

    def add(self, kind: str, **fields: Any) -> int:
        """A node; its number."""
        self.nodes.append({"type_key": kind, **fields})
        return len(self.nodes) - 1

    def expr(self, kind: str, **attrs: Any) -> int:
        """An expression, with the fields that every one has in this version."""
        common = {"_checked_type_": "0", "span": "0"}
        if self.minor >= 9:
            common["virtual_device_"] = "0"
        return self.add(kind, attrs=dict(sorted({**common, **attrs}.items())))

    def text(self, text: str) -> int:
        """A String."""
        if ("text", text) not in self.shared:
            found = {"repr_str": text} if text else {}
            self.shared["text", text] = self.add("runtime.String", **found)
        return self.shared["text", text]

    def op(self, name: str) -> int:
        """An operator."""
        if ("op", name) not in self.shared:
            self.shared["op", name] = self.add("Op", repr_str=name)
        return self.shared["op", name]

    def integer(self, value: int) -> int:
        """A number as a node."""
        return self.add("IntImm", attrs={"dtype": "int32", "span": "0", "value": str(value)})

    def array(self, values: Sequence[int]) -> int:
        """An array of nodes."""
        return self.add("Array", data=list(values)) if values else self.add("Array")

    def constant(self, array: Array) -> int:
        """A constant."""
        self.blobs.append(base64.b64encode(tensor_bytes(array)).decode())
        return self.expr("relay.Constant", data=str(len(self.blobs) - 1))

    def attrs(self, op: str, attrs: dict[str, Any]) -> int:
        """A call's attributes."""
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
        """The file."""
        content = {"root": root, "nodes": self.nodes, "b64ndarrays": self.blobs,
                   "attrs": {"tvm_version": self.version}}  # fmt: skip
        return json.dumps(content, indent=2)

    def tensor_type(self, shape: Sequence[int], dtype: str) -> int:
        """A tensor's type."""
        dims = self.array([self.integer(d) for d in shape])
        return self.add("relay.TensorType", attrs={"dtype": dtype, "shape": str(dims), "span": "0"})

    def var(self, name: str, shape: Sequence[int], dtype: str) -> int:
        """A variable."""
        hint = str(self.text(name)) if self.minor >= 8 else name
        vid = self.add("relay.Id", attrs={"name_hint": hint})
        kind = self.tensor_type(shape, dtype)
        return self.expr("relay.Var", type_annotation=str(kind), vid=str(vid))


def write_json(graph: Graph, version: str = "0.12.0", weights: str = "meta") -> str:
    """A module as `tvm.ir.save_json` of that version writes it."""
    nodes = _Nodes(version)
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


# -- bytes

_CODES = {"i": 0, "u": 1, "f": 2, "b": 1}


def tensor_bytes(array: Array) -> bytes:
    """A tensor as TVM stores it."""
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    bits = 1 if array.dtype.kind == "b" else array.dtype.itemsize * 8
    head = struct.pack("<QQiii", 0xDD5E40F096B4A13F, 0, 1, 0, array.ndim)
    kind = struct.pack("<BBH", _CODES[array.dtype.kind], bits, 1)
    shape = struct.pack(f"<{array.ndim}q", *array.shape)
    return head + kind + shape + struct.pack("<q", array.nbytes) + array.tobytes()


def params_bytes(arrays: dict[str, Array]) -> bytes:
    """Arrays as a `.params` file."""
    names = [n.encode() for n in arrays]
    parts = [struct.pack("<QQQ", 0xF7E58D4F05049CB7, 0, len(names))]
    parts += [struct.pack("<Q", len(n)) + n for n in names]
    parts.append(struct.pack("<Q", len(names)))
    return b"".join([*parts, *map(tensor_bytes, arrays.values())])
