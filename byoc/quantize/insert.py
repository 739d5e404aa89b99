"""Putting QuantizeLinear and DequantizeLinear around units.

In: a float graph, its units and the scales of their tensors. Out: a QDQ model::

    t ─▶ Conv ─▶ Relu ─▶ u     becomes     t ─Q─▶ ─D─▶ Conv ─▶ Relu ─Q─▶ ─D─▶ next
                                                         ▲ D(weights int8), D(bias int32)

Every tensor has one Q, at its producer; every reader has a D of its own: a unit can be cut out with
all of its quantisation. A float op between reads the dequantised value, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from byoc.quantize.graph import OnnxGraph
from byoc.quantize.ranges import QuantParams
from byoc.quantize.units import Unit
from byoc.segment import Array

__all__ = ["Means", "insert_qdq", "probe_name", "probes", "quantize_weight"]

Means = Mapping[str, npt.NDArray[np.float64]]
"""Tensor -> mean of each channel, for bias correction."""


def quantize_weight(weight: Array, axis: int) -> tuple[Array, Array]:
    """Round weights to int8, symmetric over -127..127, with a scale for each output channel.

    Args:
        weight: Float values.
        axis: Of the output channels.

    Returns:
        int8 values of the same shape; float32 scales [channels].

    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others)
    scale = np.where(largest > 0, largest / 127.0, 1.0).astype(np.float32)
    shape = [1] * weight.ndim
    shape[axis] = -1
    steps = np.rint(weight / scale.reshape(shape))
    return np.clip(steps, -127, 127).astype(np.int8), scale


class _Writer:
    """Collects nodes and constants under fresh names."""

    def __init__(self, params: Mapping[str, QuantParams], means: Means | None) -> None:
        self.params, self.means = params, means
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def params_of(self, tensor: str) -> list[str]:
        found = self.params[tensor]
        scale, zero = f"{tensor}_scale", f"{tensor}_zero_point"
        self.constants[scale] = np.array(found.scale, np.float32)
        self.constants[zero] = np.array(found.zero, found.dtype)
        return [scale, zero]

    def quantize(self, source: str, tensor: str, name: str) -> str:
        """Quantise `source` with the parameters of `tensor`; returns the int8 tensor."""
        result = f"{name}_quantized"
        self.nodes.append(
            helper.make_node(
                "QuantizeLinear", [source, *self.params_of(tensor)], [result],
                name=f"{name}_QuantizeLinear",
            )
        )  # fmt: skip
        return result

    def dequantize(self, source: str, tensor: str, result: str) -> str:
        """Dequantise an int8 tensor with the parameters of `tensor`."""
        self.nodes.append(
            helper.make_node(
                "DequantizeLinear", [source, *self.params_of(tensor)], [result],
                name=f"{result}_DequantizeLinear",
            )
        )  # fmt: skip
        return result

    def constant(self, name: str, values: Array, scale: Array, axis: int | None) -> str:
        """A dequantised constant."""
        spread = {} if axis is None else {"axis": axis}
        for suffix, array in (
            ("_quantized", values), ("_scale", scale),
            ("_zero_point", np.zeros(scale.shape, values.dtype)),
        ):  # fmt: skip
            self.constants[name + suffix] = array
        inputs = [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"]
        self.nodes.append(
            helper.make_node(
                "DequantizeLinear", inputs, [name], name=f"{name}_DequantizeLinear", **spread
            )
        )
        return name

    def unit(self, graph: OnnxGraph, unit: Unit, inputs: Mapping[str, str], prefix: str) -> str:
        """The unit's nodes on other inputs, weights quantised; returns its float result.

        prefix: for the names of copies; "" writes the nodes themselves.
        """
        renamed = dict(inputs)
        if unit.weight is not None:
            renamed |= self._weights(graph, unit, prefix)
        for node in unit.nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = prefix + node.name
            for i, name in enumerate(copy.input):
                copy.input[i] = renamed.get(name, name)
            for i, name in enumerate(copy.output):
                copy.output[i] = renamed.setdefault(name, prefix + name) if prefix else name
            if node is unit.nodes[0] and (bias := renamed.get(_new_bias(unit))) is not None:
                copy.input.append(bias)
            self.nodes.append(copy)
        return prefix + unit.output

    def _weights(self, graph: OnnxGraph, unit: Unit, prefix: str) -> dict[str, str]:
        assert unit.weight is not None
        weight = np.asarray(graph.constants[unit.weight], np.float32)
        values, scale = quantize_weight(weight, unit.axis)
        stem = f"{prefix}{unit.name}"
        result = {unit.weight: self.constant(f"{stem}_weight", values, scale, unit.axis)}
        bias = None if unit.bias is None else np.asarray(graph.constants[unit.bias], np.float64)
        if bias is not None and bias.size == 1:
            bias = np.full(len(scale), float(bias.ravel()[0]))
        if self.means is not None:
            shift = _mean_error(unit, weight, values, scale, self.means)
            takes_bias = unit.nodes[0].op_type != "MatMul" or bias is not None
            if shift is not None and takes_bias:
                bias = (np.zeros(len(scale)) if bias is None else bias) - shift
        if bias is not None:
            steps = scale.astype(np.float64) * self.params[unit.data[0]].scale
            whole = np.clip(np.rint(bias / steps), -(2**31), 2**31 - 1).astype(np.int32)
            name = self.constant(f"{stem}_bias", whole, steps.astype(np.float32), 0)
            result[unit.bias if unit.bias is not None else _new_bias(unit)] = name
        return result


def _new_bias(unit: Unit) -> str:
    """Key of a bias that the unit's first node does not have yet."""
    return f"\0bias of {unit.name}"


def _mean_error(
    unit: Unit, weight: Array, values: Array, scale: Array, means: Means
) -> npt.NDArray[np.float64] | None:
    """How far rounding the weights moves the mean of each output channel."""
    mean = means.get(unit.data[0])
    if mean is None:
        return None
    shape = [1] * weight.ndim
    shape[unit.axis] = -1
    error = values.astype(np.float64) * scale.reshape(shape) - weight
    error = np.moveaxis(error, unit.axis, 0)
    if unit.nodes[0].op_type != "Conv":
        return np.asarray(error @ mean) if error.shape[1] == mean.size else None
    flat = error.reshape(*error.shape[:2], -1).sum(2)  # [out, in / groups]
    groups = mean.size // flat.shape[1]
    per_group = flat.reshape(groups, -1, flat.shape[1])
    shift: npt.NDArray[np.float64] = np.einsum("goi,gi->go", per_group, mean.reshape(groups, -1))
    return shift.ravel()


def insert_qdq(
    graph: OnnxGraph, units: Sequence[Unit], params: Mapping[str, QuantParams], means: Means | None
) -> onnx.ModelProto:
    """Write a graph as a model in which some units are quantised.

    Args:
        graph: The float graph.
        units: Those to quantise; all others stay float.
        params: Tensor → scale and zero point.
        means: Tensor → mean of each channel, to correct biases by; None corrects none.

    """
    writer = _Writer(params, means)
    quantised = {t for unit in units for t in (*unit.data, unit.output)}
    stored: dict[str, str] = {}  # tensor -> its int8 version
    by_first = {unit.name: unit for unit in units}
    inside = {node.name for unit in units for node in unit.nodes}

    def read(tensor: str, reader: str) -> str:
        if tensor not in stored:
            return tensor
        return writer.dequantize(stored[tensor], tensor, f"{tensor}_for_{reader}")

    def wrote(tensor: str) -> None:
        if tensor in quantised:
            source = f"{tensor}_float" if tensor in graph.outputs else tensor
            stored[tensor] = writer.quantize(source, tensor, tensor)

    for tensor in graph.inputs:
        if tensor in quantised:
            stored[tensor] = writer.quantize(tensor, tensor, tensor)
    for node in graph.nodes:
        if node.name in by_first:
            unit = by_first[node.name]
            inputs = {t: read(t, unit.name) for t in dict.fromkeys(unit.data)}
            writer.unit(graph, unit, inputs, "")
            _rename_output(writer.nodes[-1], graph, quantised)
            wrote(unit.output)
        elif node.name not in inside:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            names = {t: read(t, node.name) for t in dict.fromkeys(node.input) if t}
            for i, name in enumerate(copy.input):
                copy.input[i] = names.get(name, name)
            _rename_output(copy, graph, quantised)
            writer.nodes.append(copy)
            for tensor in node.output:
                wrote(tensor)
    for tensor in graph.outputs:
        if tensor in stored:
            writer.dequantize(stored[tensor], tensor, tensor)
    return _finish(graph, writer, ())


def _rename_output(node: onnx.NodeProto, graph: OnnxGraph, quantised: set[str]) -> None:
    """A quantised output of the model is what its dequantize gives."""
    for i, name in enumerate(node.output):
        if name in graph.outputs and name in quantised:
            node.output[i] = f"{name}_float"


def probe_name(unit: Unit) -> str:
    """Return the name of the tensor that `probes` gives for a unit."""
    return f"probe/{unit.output}"


def probes(
    graph: OnnxGraph, units: Sequence[Unit], params: Mapping[str, QuantParams], means: Means | None
) -> onnx.ModelProto:
    """Write the float model with a quantised copy of every unit beside it, on the float inputs.

    Args:
        graph: The float graph.
        units: Those to copy.
        params: Tensor → scale and zero point.
        means: As for `insert_qdq`.

    Returns:
        A model whose outputs are every unit's float result and, under `probe_name`, its copy's.

    """
    writer = _Writer(params, means)
    writer.nodes.extend(graph.nodes)
    seen: list[str] = []
    for unit in units:
        prefix = f"probe/{unit.name}/"
        inputs = {}
        for tensor in dict.fromkeys(unit.data):
            source = writer.quantize(tensor, tensor, prefix + tensor)
            inputs[tensor] = writer.dequantize(source, tensor, f"{prefix}{tensor}_real")
        result = writer.unit(graph, unit, inputs, prefix)
        source = writer.quantize(result, unit.output, result)
        writer.dequantize(source, unit.output, probe_name(unit))
        seen.extend(n for n in (unit.output, probe_name(unit)) if n not in graph.outputs)
    return _finish(graph, writer, tuple(dict.fromkeys(seen)))


def _finish(graph: OnnxGraph, writer: _Writer, extra: tuple[str, ...]) -> onnx.ModelProto:
    nodes, constants = graph.nodes, graph.constants
    try:
        graph.nodes, graph.constants = writer.nodes, {**constants, **writer.constants}
        return graph.write(extra)
    finally:
        graph.nodes, graph.constants = nodes, constants
