"""LSTM, GRU and RNN: `byoc.kit.recurrent` is the ONNX operators but for where directions stand."""

from __future__ import annotations

from byoc.kit.onnx_export.context import Export, ExportContext, Unsupported
from byoc.kit.own_ops import RECURRENT
from byoc.kit.recurrent import OPERANDS, Recurrent
from byoc.segment import Node

__all__ = ["EXPORTS"]

_SPELLED = {
    "affine": "Affine", "elu": "Elu", "hardsigmoid": "HardSigmoid", "leakyrelu": "LeakyRelu",
    "relu": "Relu", "scaledtanh": "ScaledTanh", "sigmoid": "Sigmoid", "softplus": "Softplus",
    "softsign": "Softsign", "tanh": "Tanh", "thresholdedrelu": "ThresholdedRelu",
}  # fmt: skip
_WITH_ALPHA = {"affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu"}
_WITH_BETA = {"affine", "hardsigmoid", "scaledtanh"}


def _recurrent(c: ExportContext, node: Node, x: list[str]) -> list[str]:
    layer = Recurrent.of_attrs(node.attrs)
    if "proj" in layer.operands:
        raise Unsupported("a projected state has no ONNX form")
    given = dict(zip(layer.operands, x, strict=True))
    inputs = [given.get(name, "") for name in OPERANDS if name != "proj"]
    while not inputs[-1]:
        inputs.pop()
    functions = layer.activations
    state = c.type_of(node.outputs[1]).shape
    attrs: dict[str, object] = {
        "hidden_size": state[2],
        "direction": layer.direction,
        "clip": layer.clip or None,
    }
    if not layer.usual:
        attrs["activations"] = [_SPELLED[f.name] for f in functions]
        attrs["activation_alpha"] = [f.alpha for f in functions if f.name in _WITH_ALPHA] or None
        attrs["activation_beta"] = [f.beta for f in functions if f.name in _WITH_BETA] or None
    if layer.kind == "gru":
        attrs["linear_before_reset"] = int(layer.linear_before_reset)
    if layer.kind == "lstm":
        attrs["input_forget"] = int(layer.input_forget)
    y, *states = c.emit(layer.kind.upper(), inputs, len(node.outputs), **attrs)
    y = c.one("Transpose", y, perm=[0, 2, 1, 3])
    width = layer.directions * int(state[2])
    return [c.one("Reshape", y, c.constant([0, 0, width])), *states]


EXPORTS: dict[str, Export] = {RECURRENT: _recurrent}
"""Relax op → exporter."""
