"""Random LSTM, GRU and RNN nodes with all that they read, for comparisons with ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

__all__ = ["FUNCTIONS", "Layer", "joined", "layers"]

FUNCTIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
"""Operator → how many functions a direction of it has."""

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_WITH_ALPHA = {"Affine", "Elu", "HardSigmoid", "LeakyRelu", "ScaledTanh", "ThresholdedRelu"}
_WITH_BETA = {"Affine", "HardSigmoid", "ScaledTanh"}
_NAMES = [*sorted(_WITH_ALPHA), "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"]
_ORDER = ("x", "w", "r", "b", "lengths", "h", "c", "p")


@dataclass
class Layer:
    """One node.

    Attributes:
        arrays: Operand → its values.
        fed: Operands that are inputs of the model; the others are constants.
        symbolic: The model does not say how many steps and rows there are.
    """

    op: str
    arrays: dict[str, np.ndarray]
    attributes: dict[str, object]
    fed: set[str] = field(default_factory=set)
    symbolic: bool = False

    def node(self, prefix=""):
        """The node; the names of all that it reads and writes begin with `prefix`."""
        inputs = [prefix + name if name in self.arrays else "" for name in _ORDER]
        while not inputs[-1]:
            inputs.pop()
        outputs = [prefix + name for name in ("Y", "Yh", "Yc")[: 3 if self.op == "LSTM" else 2]]
        return helper.make_node(self.op, inputs, outputs, **self.attributes)

    def shape(self, name, prefix=""):
        """The shape of an operand, as the model declares it."""
        shape = list(self.arrays[name].shape)
        if self.symbolic:
            places = {"x": {0: "t", 1: "n"}, "h": {1: "n"}, "c": {1: "n"}, "lengths": {0: "n"}}
            for axis, size in places.get(name, {}).items():
                shape[axis] = prefix + size
        return shape


def joined(layers, opset=14):
    """One model of all layers, side by side, and its feeds."""
    nodes, inputs, outputs, weights, feeds = [], [], [], [], {}
    for place, layer in enumerate(layers):
        prefix = f"l{place}"
        nodes.append(layer.node(prefix))
        for name, array in layer.arrays.items():
            if name in layer.fed:
                kind = TensorProto.INT32 if name == "lengths" else TensorProto.FLOAT
                shape = layer.shape(name, prefix)
                inputs.append(helper.make_tensor_value_info(prefix + name, kind, shape))
                feeds[prefix + name] = array
            else:
                weights.append(numpy_helper.from_array(array, prefix + name))
        outputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in nodes[-1].output
        ]
    graph = helper.make_graph(nodes, "recurrent", inputs, outputs, weights)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8), feeds


@st.composite
def layers(draw):
    """A layer that ONNX Runtime runs: it has no layout 1, and aborts where a GRU takes no step."""
    op = draw(st.sampled_from(sorted(_GATES)))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    steps, rows = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    width = draw(st.integers(1, 20))
    hidden = draw(st.sampled_from([1, 3, 8, 16, 17, 33, 70]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    ways, gates = 2 if direction == "bidirectional" else 1, _GATES[op]

    def random(*shape):
        return (rng.standard_normal(shape) * min(0.6, shape[-1] ** -0.5)).astype("f4")

    arrays = {
        "x": random(steps, rows, width) * np.float32(3),
        "w": random(ways, gates * hidden, width),
        "r": random(ways, gates * hidden, hidden),
        "b": random(ways, 2 * gates * hidden),
        "lengths": rng.integers(1, steps + 1, rows).astype("i4"),
        "h": random(ways, rows, hidden),
        "c": random(ways, rows, hidden),
        "p": random(ways, 3 * hidden),
    }
    optional = ["b", "lengths", "h", *(["c", "p"] if op == "LSTM" else [])]
    kept = draw(st.lists(st.sampled_from(optional), unique=True))
    arrays = {k: v for k, v in arrays.items() if k in (*kept, "x", "w", "r")}
    attributes = {"hidden_size": hidden, "direction": direction}
    if draw(st.booleans()):
        attributes |= draw(_functions(FUNCTIONS[op], ways))
    if draw(st.booleans()):
        attributes["clip"] = draw(st.sampled_from([0.2, 1.0]))
    if op == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    if op == "LSTM":
        attributes["input_forget"] = draw(st.integers(0, 1))
    weights = draw(st.lists(st.sampled_from(["w", "r", "b", "p"]), unique=True))
    fed = {"x", "lengths", "h", "c", *weights} & arrays.keys()
    return Layer(op, arrays, attributes, fed, symbolic=draw(st.booleans()))


@st.composite
def _functions(draw, count, ways):
    """Activations; alpha and beta, where given, are those of the first that have one."""
    names = [draw(st.sampled_from(_NAMES)) for _ in range(count)]
    chosen = names * ways
    found = {"activations": chosen}
    for key, having in (("activation_alpha", _WITH_ALPHA), ("activation_beta", _WITH_BETA)):
        most = sum(name in having for name in chosen)
        values = draw(st.lists(st.sampled_from([0.1, 0.3, 0.7]), max_size=most))
        if values:
            found[key] = values
    return found
