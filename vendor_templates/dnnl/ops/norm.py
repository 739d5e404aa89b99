"""Softmax and normalisations."""

from __future__ import annotations

from functools import partial

import numpy as np

from byoc.segment import Node
from byoc.vendor import Reject
from byoc.vendor_templates.dnnl.checks import (
    Tensors,
    axis_of,
    check_float,
    check_rank,
    first,
    normal_axes,
)
from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.ops.rule import OpRule

__all__ = ["RULES"]

# Layer, group and instance norm have attributes `center` and `scale`; TVM 0.27 applies scale and
# shift whatever they say, and so do we. Batch norm heeds them.


def _lower_softmax(log: bool, graph: DnnlGraph, node: Node) -> None:
    axis = axis_of(int(node.attrs["axis"]), graph.rank(node.inputs[0]))
    graph.emit("softmax", node.inputs, out=node.outputs[0], axis=axis, log=log)


def _check_softmax(node: Node, tensors: Tensors) -> Reject | None:
    return first(check_float(node, tensors), check_rank(node, tensors, node.inputs[0], 1))


def _check_trailing(node: Node, tensors: Tensors) -> Reject | None:
    rank = len(tensors.type(node.inputs[0]).shape)
    axes = normal_axes(node.attrs["axes"], rank)
    if axes != tuple(range(rank - len(axes), rank)):
        return Reject(f"{node.op}: axes {tuple(node.attrs['axes'])} are not the trailing ones")
    return check_float(node, tensors)


def _lower_layer(graph: DnnlGraph, node: Node) -> None:
    axes = normal_axes(node.attrs["axes"], graph.rank(node.inputs[0]))
    graph.emit(
        "layer_norm",
        node.inputs,
        out=node.outputs[0],
        axes=list(axes),
        eps=float(node.attrs["epsilon"]),
    )


def _lower_rms(graph: DnnlGraph, node: Node) -> None:
    axes = normal_axes(node.attrs["axes"], graph.rank(node.inputs[0]))
    graph.emit(
        "rms_norm",
        node.inputs,
        out=node.outputs[0],
        axes=list(axes),
        eps=float(node.attrs["epsilon"]),
    )


def _check_group(node: Node, tensors: Tensors) -> Reject | None:
    rank = len(tensors.type(node.inputs[0]).shape)
    channel = axis_of(int(node.attrs["channel_axis"]), rank)
    axes = normal_axes(node.attrs["axes"], rank)
    if channel != 1 or axes != tuple(range(2, rank)):
        return Reject(
            f"{node.op}: channel axis {channel} with axes {axes} is not supported "
            f"(channels on axis 1, all later axes normalised)"
        )
    return first(
        check_float(node, tensors),
        check_rank(node, tensors, node.inputs[0], 3),
    )


def _lower_group(graph: DnnlGraph, node: Node) -> None:
    groups = node.attrs.get("num_groups") or graph.shape(node.inputs[1])[0]
    graph.emit(
        "group_norm",
        node.inputs,
        out=node.outputs[0],
        groups=int(groups),
        eps=float(node.attrs["epsilon"]),
    )


def _check_channels(node: Node, tensors: Tensors) -> Reject | None:
    if not all(tensors.type(v).is_static for v in node.inputs[1:]):
        return Reject(f"{node.op}: the number of channels is symbolic")
    return None


def _check_batch(node: Node, tensors: Tensors) -> Reject | None:
    if node.attrs.get("training"):
        return Reject(f"{node.op}: training mode (statistics of the batch) is not supported")
    return first(
        check_float(node, tensors),
        check_rank(node, tensors, node.inputs[0], 2),
        _check_channels(node, tensors),
    )


def _lower_batch(graph: DnnlGraph, node: Node) -> None:
    """``(x - mean) / sqrt(var + eps) * gamma + beta``, channels moved to axis 1 if need be.

    The two other results are the moving statistics, which inference does not change.
    """
    x, gamma, beta, mean, var = node.inputs
    out, eps = node.outputs[0], float(node.attrs["epsilon"])
    if not node.attrs["scale"]:
        gamma = graph.constant(np.ones(tuple(map(int, graph.shape(gamma))), np.float32))
    if not node.attrs["center"]:
        beta = graph.constant(np.zeros(tuple(map(int, graph.shape(beta))), np.float32))
    rank = graph.rank(x)
    axis = axis_of(int(node.attrs["axis"]), rank)
    if axis == 1:
        graph.emit("batch_norm", [x, gamma, beta, mean, var], out=out, eps=eps)
    else:
        there = [a for a in range(rank) if a != axis]
        there.insert(1, axis)
        shape = [graph.shape(x)[a] for a in there]
        moved = graph.emit("transpose", [x], shape, axes=there)
        normal = graph.emit("batch_norm", [moved, gamma, beta, mean, var], shape, eps=eps)
        back = [there.index(a) for a in range(rank)]
        graph.emit("transpose", [normal], out=out, axes=back)
    for result, statistic in zip(node.outputs[1:], (mean, var), strict=False):
        graph.replace(result, statistic)


RULES = (
    OpRule("nn.softmax", _check_softmax, partial(_lower_softmax, False), "float32"),
    OpRule("nn.log_softmax", _check_softmax, partial(_lower_softmax, True), "float32"),
    OpRule("nn.layer_norm", _check_trailing, _lower_layer, "float32; trailing axes"),
    OpRule("nn.rms_norm", _check_trailing, _lower_rms, "float32; trailing axes"),
    OpRule("nn.group_norm", _check_group, _lower_group, "float32; channels on axis 1"),
    OpRule("nn.instance_norm", _check_group, _lower_group, "float32; channels on axis 1"),
    OpRule("nn.batch_norm", _check_batch, _lower_batch, "float32; inference"),
)
