"""Give a convolutional net weights with which every layer does something.

One forward pass over a few images, node by node in ONNX Runtime, fixing each layer before its
result is used (layer-sequential unit variance, Mishkin & Matas 2016)::

    Conv, Gemm    weights scaled until the result's standard deviation is 1;
                  a Conv's bias set so that its channels are centred, as a folded BatchNorm does
                  (else the mean grows with depth and drowns what the input says)
    BatchNorm     running mean and variance set near what its input really has, per channel
    the last one  scaled until the model's logits have a standard deviation of `LOGIT_STD`

Measured factors are rounded coarsely, so that a model does not depend on the last bits of the
machine that made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from byoc.segment import Array

__all__ = ["LOGIT_STD", "calibrate"]

LOGIT_STD = 2.0
"""Spread of 1000 logits: the largest probability is then some percent to some tens of percent."""

_HOMOGENEOUS = {
    "AveragePool", "Dropout", "Flatten", "GlobalAveragePool", "MaxPool", "Relu", "Reshape",
}  # fmt: skip


def _coarse(value: Any) -> Array:
    """Round to four bits of mantissa."""
    mantissa, exponent = np.frexp(value)
    rounded: Array = np.ldexp(np.round(mantissa * 16) / 16, exponent).astype(np.float32)
    return rounded


Images = list[Array]
"""One array per calibration image (models with a fixed batch of one cannot take them at once)."""


class _Step:
    """One node as an ONNX Runtime session, its weights fed as inputs."""

    def __init__(self, node: onnx.NodeProto, opset: int, values: Mapping[str, Images]) -> None:
        import onnxruntime as ort

        self._inputs = list(dict.fromkeys(i for i in node.input if i))
        graph = helper.make_graph(
            [node],
            "node",
            [
                helper.make_tensor_value_info(
                    name,
                    helper.np_dtype_to_tensor_dtype(values[name][0].dtype),
                    values[name][0].shape,
                )
                for name in self._inputs
            ],
            [onnx.ValueInfoProto(name=o) for o in node.output if o],
        )
        opsets = [helper.make_opsetid("", opset)]
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )

    def run(self, values: Mapping[str, Images]) -> list[Images]:
        """Per result, its value for every image (one value when all inputs are weights)."""
        count = max((len(values[name]) for name in self._inputs), default=1)
        rows = []
        for i in range(count):
            feeds = {n: values[n][i if len(values[n]) > 1 else 0] for n in self._inputs}
            rows.append(self._session.run(None, feeds))
        return [list(column) for column in zip(*rows, strict=True)]


def _channel_stats(images: Images) -> tuple[Array, Array]:
    x = np.stack(images)  # image, batch, channel, …
    axes = (0, 1, *range(3, x.ndim))
    return x.mean(axes), x.var(axes)


def calibrate(
    model: onnx.ModelProto, feeds: Sequence[Mapping[str, Array]], rng: np.random.Generator
) -> onnx.ModelProto:
    """Rescale a model's initialisers in place, by one forward pass over some images.

    Args:
        model: The model.
        feeds: Inputs by name, for each image (two or more).
        rng: Draws what has to be random.

    Returns:
        The model.

    """
    graph = model.graph
    opset = model.opset_import[0].version
    slot = {init.name: init for init in graph.initializer}
    values = {name: [numpy_helper.to_array(init)] for name, init in slot.items()}
    values.update({name: [feed[name] for feed in feeds] for name in feeds[0]})
    uses = Counter(name for node in graph.node for name in node.input)
    # a weight may go through a Reshape first
    origin = {n.output[0]: n.input[0] for n in graph.node if n.input and n.input[0] in slot}

    def scale(name: str, factor: Array) -> None:
        for each in {name, origin.get(name, name)}:
            values[each] = [values[each][0] * factor]
            if each in slot:
                slot[each].CopyFrom(numpy_helper.from_array(values[each][0], each))

    def store(name: str, array: Array) -> None:
        values[name] = [array]
        slot[name].CopyFrom(numpy_helper.from_array(array, name))

    for node in graph.node:
        if node.op_type == "BatchNormalization":
            mean, var = _channel_stats(values[node.input[0]])
            var = var + 1e-2 * var.mean() + 1e-6
            jitter = rng.standard_normal(mean.shape, np.float32) * 0.3
            store(node.input[3], _coarse(mean + jitter * np.sqrt(var)))
            store(node.input[4], _coarse(var))
        step = _Step(node, opset, values)
        results = step.run(values)
        if node.op_type in ("Conv", "Gemm"):
            scale(node.input[1], _coarse(1.0 / np.std(results[0])))
            results = step.run(values)
            if node.op_type == "Conv" and len(node.input) == 3:
                mean, var = _channel_stats(results[0])
                jitter = rng.standard_normal(mean.shape, np.float32) * 0.5
                bias = values[node.input[2]][0]
                store(node.input[2], bias + _coarse(jitter * np.sqrt(var) - mean))
                results = step.run(values)
        values.update(zip(node.output, results, strict=False))
        for name in set(node.input):  # free what is done with
            if uses[name] == 1 and name not in slot and name not in origin:
                del values[name]
            uses[name] -= list(node.input).count(name)

    head, logits = _head(graph, values)
    factor = _coarse(LOGIT_STD / np.std(logits))
    for parameter in head.input[1:]:
        scale(parameter, factor)
    return model


def _head(graph: onnx.GraphProto, values: Mapping[str, Images]) -> tuple[onnx.NodeProto, Array]:
    """The Conv or Gemm that makes the logits, and the logits (up to a constant)."""
    producer = {o: node for node in graph.node for o in node.output}
    name = graph.output[0].name
    logits = np.stack(values[name]).astype(np.float64)
    if producer[name].op_type == "Softmax":
        logits = np.log(logits)
        logits -= logits.mean(axis=tuple(range(1, logits.ndim)), keepdims=True)
        name = producer[name].input[0]
    while producer[name].op_type in _HOMOGENEOUS:
        name = producer[name].input[0]
    if producer[name].op_type not in ("Conv", "Gemm"):
        raise ValueError(f"{graph.name}: head is {producer[name].op_type}, not Conv or Gemm")
    return producer[name], logits
