"""Attributes and versions of ONNX operators against ONNX Runtime.

Each generator lists every combination of an operator's attributes at some opset; of these a test
takes a fixed sample and compiles it as one model of independent nodes.
"""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from onnx import helper, shape_inference

from byoc.errors import ModelError
from byoc.frontends import import_model

REDUCTIONS = (
    "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare",
)  # fmt: skip


def sample(cases, count):
    """`count` of the cases, the same ones in every run."""
    cases = list(cases)
    return random.Random(0).sample(cases, min(count, len(cases)))


def check(tools, nodes, inputs, weights, opset, tolerance=1e-5):
    """One model of independent nodes, here and by ONNX Runtime; types are onnx's inference's."""
    model = tools.model(nodes, inputs, {}, weights, opset)
    names = [n.output[0] for n in nodes]
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    types = {info.name: info for info in inferred.graph.value_info}
    model.graph.output.extend(types[name] for name in names)
    tools.same_as_reference(model, [0], tolerance=tolerance)


def reductions(opset, weights, integer):
    """Every reduction over every kind of axes; axes as inputs are added to `weights`."""
    everything = product(
        REDUCTIONS, (None, [], [0], [-1], [2, 0]), (None, 0, 1), (None, 0, 1), (False, True)
    )
    for kind, axes, keep, noop, empty in everything:
        moved = opset >= (13 if kind == "Sum" else 18)
        if (noop is not None and not moved) or (integer and kind.startswith(("Log", "Prod"))):
            continue
        attrs = {k: v for k, v in (("keepdims", keep), ("noop_with_empty_axes", noop))
                 if v is not None}  # fmt: skip
        inputs = ["i" if integer else "x"]
        if moved and axes is not None:
            key = "axes" + "_".join(map(str, axes))
            weights[key] = np.array(axes, np.int64)
            inputs.append(key)
        elif axes:
            attrs["axes"] = axes
        elif axes is not None or empty:
            continue
        yield "Reduce" + kind, inputs, attrs


@pytest.mark.parametrize("opset", [7, 11, 13, 18, 20])
@pytest.mark.parametrize("integer", [False, True])
def test_reductions(tools, opset, integer):
    weights = {}
    cases = sample(reductions(opset, weights, integer), 24)
    nodes = [
        helper.make_node(kind, inputs, [f"y{i}"], **attrs)
        for i, (kind, inputs, attrs) in enumerate(cases)
    ]
    inputs = {"x": ("f4", [2, 3, 4]), "i": ("i4", [2, 3, 4])}
    used = {name for node in nodes for name in node.input}
    check(tools, nodes, {n: s for n, s in inputs.items() if n in used},
          {n: w for n, w in weights.items() if n in used}, opset)  # fmt: skip


LEGACY = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power,
    "Less": np.less, "Greater": np.greater, "Equal": np.equal, "And": np.logical_and,
    "Or": np.logical_or, "Xor": np.logical_xor,
}  # fmt: skip


@pytest.mark.parametrize("opset", [1, 6])
@pytest.mark.parametrize("stored", [False, True])
def test_broadcasts_by_attributes(tools, opset, stored):
    """Before opset 7, against numpy: ONNX Runtime does not know these."""
    rng, shape = np.random.default_rng(0), (2, 3, 2, 4)
    nodes, types, outputs, arrays, expected = [], {}, {}, {}, []
    places = [(None, ()), (None, (4,)), (None, (2, 4)), *(
        (axis, shape[axis:end]) for axis in range(4) for end in range(axis + 1, 5)
    )]  # fmt: skip
    for index, (op, (axis, part)) in enumerate(sample(product(LEGACY, places), 24)):
        kind = "?" if op in ("And", "Or", "Xor") else "i4" if op == "Equal" else "f4"
        a, b = (
            (rng.integers(0, 2, s) if kind != "f4" else rng.random(s) + 0.5).astype(kind)
            for s in (shape, part)
        )
        names = [f"a{index}", f"b{index}"]
        arrays |= dict(zip(names, (a, b), strict=True))
        types |= {n: (kind, list(v.shape)) for n, v in zip(names, (a, b), strict=True)}
        attrs = {"broadcast": 1} | ({} if axis is None else {"axis": axis})
        nodes.append(helper.make_node(op, names, [f"y{index}"], **attrs))
        behind = 0 if axis is None else len(shape) - axis - b.ndim
        expected.append(LEGACY[op](a, b.reshape([*part, *[1] * behind])))
        outputs[f"y{index}"] = (expected[-1].dtype, list(shape))
    weights = {n: v for n, v in arrays.items() if stored and n[0] == "b"}
    inputs = {n: t for n, t in types.items() if n not in weights}
    imported = import_model(tools.model(nodes, inputs, outputs, weights, opset))
    found = tools.run(imported.mod, *(arrays[n] for n in imported.inputs))
    tools.close(found, expected)


def test_a_broadcast_over_unknown_dimensions_is_refused(tools):
    node = helper.make_node("Add", ["s", "b"], ["y"], "sum", broadcast=1, axis=1)
    squeeze = helper.make_node("Squeeze", ["x"], ["s"])
    inputs = {"x": ("f4", [None, 1, 3]), "b": ("f4", [3])}
    model = tools.model([squeeze, node], inputs, {"y": ("f4", None)}, opset=6)
    with pytest.raises(ModelError, match="'sum' .*dimensions its operands have is not known"):
        import_model(model)
