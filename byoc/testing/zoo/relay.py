"""One network twice: as ONNX, and as the Relay that TVM would have made of it.

    net = RelayNet("resnet18", seed=0)
    x = net.input("data", (1, 3, 64, 64))
    x = net.conv(x, 16, 3)                    writes a Conv node and an nn.conv2d call
    net.output(x)
    net.onnx(); net.text(); net.json("0.12"); net.params()

Weights are equal in both. In Relay they are entries of the metadata section ("meta"), or
parameters of @main with their values in a `.params` file ("params").
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from byoc.segment import Array
from byoc.testing.zoo.relay_file import GraphOfFile, RelayCall, params_bytes
from byoc.testing.zoo.relay_json import write_json
from byoc.testing.zoo.relay_text import write_text

__all__ = ["RelayNet"]


class RelayNet:
    """Writes a network in both forms, layer by layer; values have the same names in both."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.graph = GraphOfFile()
        self.nodes: list[onnx.NodeProto] = []
        self.shape: dict[str, tuple[int, ...]] = {}
        self.grid: dict[str, tuple[float, int]] = {}

    # -- both forms

    def input(self, name: str, shape: Sequence[int], dtype: str = "float32") -> str:
        """Declare an input of the network.

        Args:
            name: Its name.
            shape: Its shape.
            dtype: Its dtype.

        Returns:
            Its name.
        """
        self.graph.inputs[name] = (tuple(shape), dtype)
        self.shape[name] = tuple(shape)
        return name

    def weight(self, shape: Sequence[int], scale: float, shift: float = 0.0) -> str:
        """Add a float32 constant, drawn from a normal distribution.

        Args:
            shape: Its shape.
            scale: The standard deviation.
            shift: The mean.

        Returns:
            Its name.
        """
        return self.constant(self.rng.normal(shift, scale, shape).astype(np.float32))

    def constant(self, array: Array) -> str:
        """Add a constant and return its name."""
        name = f"w{len(self.graph.constants)}"
        self.graph.constants[name] = np.asarray(array)
        return name

    def relay(self, op: str, *args: Any, field: int | None = None, **attrs: Any) -> str:
        """Append a call to the Relay network only.

        Args:
            op: The Relay operator.
            *args: Names of values; ("tuple", names) for a tuple.
            field: The field of the result that is read, None for all of it.
            **attrs: The call's attributes.

        Returns:
            The name of the result; the ONNX value that equals it should get the same name.
        """
        name = f"{len(self.graph.calls)}"
        self.graph.calls.append(RelayCall(name, op, args, attrs, field))
        return name

    def node(self, op: str, args: Sequence[str], result: str, **attrs: Any) -> str:
        """Append a node to the ONNX network only.

        Args:
            op: The ONNX operator.
            args: Names of its inputs.
            result: The name of its output, and of the node.
            **attrs: The node's attributes.

        Returns:
            The name of the output.
        """
        self.nodes.append(helper.make_node(op, list(args), [result], name=result, **attrs))
        return result

    def output(self, value: str) -> None:
        """Declare what the network returns."""
        self.graph.output = value

    def onnx(self) -> onnx.ModelProto:
        """Return the network as an ONNX model."""
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
        """Return the network as Relay text, see `write_text`."""
        return write_text(self.graph, weights)

    def json(self, version: str = "0.12.0", weights: str = "meta") -> str:
        """Return the Relay network as JSON, as `write_json` writes it.

        Args:
            version: A version of TVM, "0.8.0" to "0.18.0".
            weights: "meta" for constants in the file, "params" for parameters of the function.
        """
        return write_json(self.graph, version, weights)

    def params(self) -> bytes:
        """Return the constants as a `.params` file."""
        return params_bytes(self.graph.constants)

    # -- float layers

    def conv(self, x: str, channels: int, kernel: int, stride: int = 1, groups: int = 1,
             bias: bool = False) -> str:  # fmt: skip
        """Append a float32 convolution with random weights and padding kernel // 2.

        Args:
            x: The name of the input [N, C, H, W].
            channels: The number of output channels.
            kernel: Height and width of the kernel.
            stride: The stride along both axes.
            groups: The number of groups.
            bias: Add a bias per output channel.

        Returns:
            The name of the result [N, channels, …].
        """
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
        """Append a BatchNorm with random statistics."""
        c = self.shape[x][1]
        args = [x, self.weight((c,), 0.1, 1.0), self.weight((c,), 0.1), self.weight((c,), 0.1)]
        args.append(self.constant((0.5 + self.rng.random(c)).astype(np.float32)))
        y = self.relay("nn.batch_norm", *args, field=0, epsilon=1e-5)
        self.shape[y] = self.shape[x]
        return self.node("BatchNormalization", args, y, epsilon=1e-5)

    def relu(self, x: str) -> str:
        """Append a ReLU."""
        y = self.relay("nn.relu", x)
        self.shape[y] = self.shape[x]
        return self.node("Relu", [x], y)

    def relu6(self, x: str) -> str:
        """Append a ReLU6, a clip in both forms."""
        y = self.relay("clip", x, a_min=0.0, a_max=6.0)
        low, high = (self.constant(np.array(v, np.float32)) for v in (0, 6))
        self.shape[y] = self.shape[x]
        return self.node("Clip", [x, low, high], y)

    def add(self, a: str, b: str) -> str:
        """Append the sum of two values.

        Args:
            a: The name of the first value.
            b: The name of the second value, of the same shape.

        Returns:
            The name of the result.
        """
        y = self.relay("add", a, b)
        self.shape[y] = self.shape[a]
        return self.node("Add", [a, b], y)

    def max_pool(self, x: str, kernel: int, stride: int) -> str:
        """Append max pooling with padding kernel // 2.

        Args:
            x: The name of the input [N, C, H, W], float32 or int8.
            kernel: Height and width of the window.
            stride: The stride along both axes.

        Returns:
            The name of the result.
        """
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
        """Append global average pooling, flattened."""
        pooled = self.relay("nn.global_avg_pool2d", x)
        self.node("GlobalAveragePool", [x], pooled)
        y = self.relay("nn.batch_flatten", pooled)
        self.shape[y] = self.shape[x][:2]
        return self.node("Flatten", [pooled], y)

    def dense(self, x: str, units: int) -> str:
        """Append a float32 fully connected layer with random weights and bias.

        Args:
            x: The name of the input [N, depth].
            units: The number of output features.

        Returns:
            The name of the result [N, units].
        """
        n, depth = self.shape[x]
        weight, bias = self.weight((units, depth), depth**-0.5), self.weight((units,), 0.1)
        y = self.relay("nn.dense", x, weight, units=units)
        y = self.relay("add", y, bias)
        self.shape[y] = (n, units)
        return self.node("Gemm", [x, weight, bias], y, transB=1)

    def softmax(self, x: str) -> str:
        """Append softmax over the last axis."""
        y = self.relay("nn.softmax", x, axis=-1)
        self.shape[y] = self.shape[x]
        return self.node("Softmax", [x], y, axis=-1)

    # -- quantised layers: int8, one zero point per tensor, weights symmetric per channel

    def quantize(self, x: str, scale: float, zero: int) -> str:
        """Append a quantisation from float32 to int8.

        Args:
            x: The name of the input.
            scale: The real value of one step of the result.
            zero: The int8 value that stands for 0.

        Returns:
            The name of the result.
        """
        s, z = self._grid(scale, zero)
        y = self.relay("qnn.quantize", x, s, z[0], out_dtype="int8", axis=1)
        self.grid[y], self.shape[y] = (scale, zero), self.shape[x]
        return self.node("QuantizeLinear", [x, s, z[1]], y)

    def dequantize(self, x: str) -> str:
        """Append the step from int8 to float."""
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
        """Append an int8 convolution with random weights, bias and padding kernel // 2.

        Args:
            x: The name of the input [N, C, H, W], int8.
            channels: The number of output channels.
            kernel: Height and width of the kernel.
            scale: The real value of one step of the result.
            zero: The int8 value of the result that stands for 0.
            stride: The stride along both axes.
            groups: The number of groups.
            relu: Append a ReLU; in Relay, a clip at `zero`.

        Returns:
            The name of the result [N, channels, …], int8.
        """
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
        """Append an int8 fully connected layer with random weights and bias.

        Args:
            x: The name of the input [N, depth], int8.
            units: The number of output features.
            scale: The real value of one step of the result.
            zero: The int8 value of the result that stands for 0.

        Returns:
            The name of the result [N, units], int8.
        """
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
        """Append the sum of two int8 values.

        Args:
            a: The name of the first value.
            b: The name of the second value, of the same shape.
            scale: The real value of one step of the result.
            zero: The int8 value of the result that stands for 0.

        Returns:
            The name of the result, int8.
        """
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
