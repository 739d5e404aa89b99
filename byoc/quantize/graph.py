"""A small editable view of an ONNX graph, and the preparation every model gets.

In: a float model. Out: its nodes and constants, as a quantiser sees them: constants become
initialisers, dropout and identities go, BatchNorm is folded into the convolution before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

from byoc.errors import ModelError
from byoc.segment import Array

__all__ = ["OnnxGraph"]

_OPSET = 17  # per-axis DequantizeLinear came with 13
_OLDEST = 13


class OnnxGraph:
    """Nodes in topological order, constants by name, names of inputs and outputs.

    Raises:
        ModelError: The model is quantised already, has control flow, or its opset is too old.

    """

    def __init__(self, model: onnx.ModelProto) -> None:
        opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        if opset < _OLDEST:
            try:
                model = version_converter.convert_version(model, _OPSET)
            except Exception as error:
                raise ModelError(
                    f"quantisation needs opset {_OLDEST} or later, found {opset}, and the model "
                    f"cannot be converted: {error}"
                ) from error
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        self.constants: dict[str, Array] = {
            t.name: numpy_helper.to_array(t) for t in graph.initializer
        }
        self.inputs = [i.name for i in graph.input if i.name not in self.constants]
        self.outputs = [o.name for o in graph.output]
        self.nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                self.nodes.append(node)
        if any(a.type in (5, 10) for n in self.nodes for a in n.attribute):
            raise ModelError("quantisation does not take models with control flow (If, Loop, Scan)")
        if any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in self.nodes):
            raise ModelError(
                "the model is quantised already: it holds QuantizeLinear; use it as is"
            )
        self._prepare()

    def index(self) -> tuple[dict[str, onnx.NodeProto], dict[str, list[onnx.NodeProto]]]:
        """Return who writes and who reads each tensor.

        Returns:
            Tensor → the node that writes it; tensor → the nodes that read it.

        """
        producers: dict[str, onnx.NodeProto] = {}
        consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            producers.update(dict.fromkeys(node.output, node))
            for name in dict.fromkeys(node.input):
                consumers[name].append(node)
        return producers, consumers

    def write(self, extra_outputs: tuple[str, ...] = ()) -> onnx.ModelProto:
        """Return the graph as a model.

        Args:
            extra_outputs: Intermediate tensors that are to be outputs too.

        """
        used = {name for node in self.nodes for name in node.input} | set(self.outputs)
        graph = helper.make_graph(
            self.nodes,
            self.model.graph.name or "model",
            [i for i in self.model.graph.input if i.name in self.inputs],
            [
                *self.model.graph.output,
                *(helper.make_empty_tensor_value_info(n) for n in extra_outputs),
            ],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items() if n in used],
        )
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.graph.CopyFrom(graph)
        return model

    # -- preparation ----------------------------------------------------------------------------

    def _prepare(self) -> None:
        for node in self.nodes:
            if not node.name:
                node.name = f"{node.op_type}_{node.output[0]}"
        self._bypass({"Identity", "Dropout"})
        self._fold_batchnorm()

    def _bypass(self, kinds: set[str]) -> None:
        """Readers of a node that changes nothing read its input; an output keeps its node."""
        kept = []
        renamed: dict[str, str] = {}
        for node in self.nodes:
            for i, name in enumerate(node.input):
                node.input[i] = renamed.get(name, name)
            gone = node.op_type in kinds and node.output[0] not in self.outputs
            if gone and not any(o in self.outputs for o in node.output):
                source = node.input[0]
                renamed[node.output[0]] = source
            else:
                kept.append(node)
        self.nodes = kept

    def _fold_batchnorm(self) -> None:
        producers, consumers = self.index()
        for norm in [n for n in self.nodes if n.op_type == "BatchNormalization"]:
            conv = producers.get(norm.input[0])
            constants = [self.constants.get(name) for name in norm.input[1:5]]
            if (
                conv is None
                or conv.op_type != "Conv"
                or len(consumers[conv.output[0]]) != 1
                or conv.output[0] in self.outputs
                or any(c is None for c in constants)
                or conv.input[1] not in self.constants
            ):
                continue
            gamma, beta, mean, variance = (np.asarray(c, np.float64) for c in constants)
            epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
            factor = gamma / np.sqrt(variance + epsilon)
            weights = self.constants[conv.input[1]]
            bias = np.zeros(len(weights))
            if len(conv.input) > 2 and conv.input[2]:
                found = self.constants.get(conv.input[2])
                if found is None:
                    continue
                bias = np.asarray(found, np.float64)
            shaped = factor.reshape(-1, *(1,) * (weights.ndim - 1))
            name = f"{conv.name}_folded"
            self.constants[f"{name}_weight"] = (weights * shaped).astype(np.float32)
            self.constants[f"{name}_bias"] = ((bias - mean) * factor + beta).astype(np.float32)
            del conv.input[1:]
            conv.input.extend([f"{name}_weight", f"{name}_bias"])
            conv.output[0] = norm.output[0]
            self.nodes.remove(norm)


def attributes(node: onnx.NodeProto) -> Mapping[str, object]:
    """Return the attributes of a node as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
