"""Attributes and versions of ONNX operators against ONNX Runtime.

Each generator lists every combination of an operator's attributes at some opset; of these a test
takes a fixed sample and compiles it as one model of independent nodes.
"""

from __future__ import annotations

import random
import re
from itertools import product

import numpy as np
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper, shape_inference

import byoc
from byoc.errors import ModelError
from byoc.frontends import import_model
from byoc.frontends.context import sentence

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


def resizes():
    """Resize 10 and Upsample 7 and 9 of one to three axes."""
    scales = (0.1, 0.4, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0, 2.6, 3.0)
    for axes, mode, *factors in product((1, 2, 3), ("nearest", "linear"), scales, scales):
        if mode == "nearest" or axes == 2:
            yield mode, [1.0, 1.0, *factors, 1.0][: axes + 2]


@pytest.mark.parametrize("kind, opset", [("Resize", 10), ("Upsample", 9), ("Upsample", 7)])
def test_resizes_of_old_opsets(tools, kind, opset):
    nodes, inputs, weights = [], {}, {}
    for index, (mode, scales) in enumerate(sample(resizes(), 24)):
        if kind == "Upsample" and min(scales) < 1:
            continue  # neither onnx nor ONNX Runtime takes these
        dims = [1, 2, 10, 8, 6][: len(scales)]
        if 0 in [int(d * f) for d, f in zip(dims, scales, strict=True)]:
            continue
        inputs[f"x{index}"] = ("f4", dims)
        names, attrs = [f"x{index}"], {"mode": mode}
        if opset < 9:
            attrs["scales"] = scales
        else:
            weights[f"s{index}"] = np.array(scales, "f4")
            names.append(f"s{index}")
        nodes.append(helper.make_node(kind, names, [f"y{index}"], **attrs))
    check(tools, nodes, inputs, weights, opset)


@pytest.mark.parametrize("opset", [10, 16, 20])
def test_regions_of_interest(tools, opset):
    modes = ("half_pixel", "output_half_pixel") if opset >= 16 else (None,)
    weights = {
        "boxes": np.array([[0, 0, 3, 3], [1, 2, 4, 9], [5, 1, 9, 3], [2, 2, 2.5, 2.5]], "f4"),
        "images": np.array([0, 1, 1, 0]),
    }
    cases = product((*modes, None), (0.25, 0.5, 1.0, 2.0), (0, 1, 2), (1, 3), (2,))
    nodes = []
    for index, (mode, scale, ratio, height, width) in enumerate(sample(cases, 16)):
        attrs = {"spatial_scale": scale, "sampling_ratio": ratio, "output_height": height,
                 "output_width": width}  # fmt: skip
        if mode is not None:
            attrs["coordinate_transformation_mode"] = mode
        names = ["x", "boxes", "images"]
        nodes.append(helper.make_node("RoiAlign", names, [f"y{index}"], **attrs))
    check(tools, nodes, {"x": ("f4", [2, 3, 8, 9])}, weights, opset)


@pytest.mark.parametrize("opset", [6, 11, 13])
def test_bounds_that_cross(tools, opset):
    """The upper bound is the last word."""
    bounds = [None, -0.5, 0.0, 0.5]
    nodes, weights = [], {} if opset < 11 else {f"b{b}": np.float32(b) for b in bounds if b}
    expected = []
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("f4")
    weights |= {"b0.0": np.float32(0)} if opset >= 11 else {}
    for index, (low, high) in enumerate(product(bounds, bounds)):
        given = {k: v for k, v in (("min", low), ("max", high)) if v is not None}
        names = ["" if b is None else f"b{b}" for b in (low, high)]
        node = (
            helper.make_node("Clip", ["x"], [f"y{index}"], **given)
            if opset < 11
            else helper.make_node("Clip", ["x", *names], [f"y{index}"])
        )
        nodes.append(node)
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        expected.append(np.minimum(np.maximum(x, np.float32(low)), np.float32(high)))
    outputs = {n.output[0]: ("f4", [3, 4]) for n in nodes}
    mod = import_model(tools.model(nodes, {"x": ("f4", [3, 4])}, outputs, weights, opset)).mod
    tools.close(tools.run(mod, x), expected, 0)


@pytest.mark.parametrize("dtype", ["i4", "i8"])
@pytest.mark.parametrize("stored", [False, True])
def test_powers_of_whole_numbers(tools, dtype, stored):
    """Exact where float64 rounds; against numpy."""
    values = [-3, -2, -1, 0, 1, 2, 3, 7, 11, 300001]
    exponents = [0, 1, 2, 3, 5, 13, 31]
    base = np.array([values], dtype)
    each = [np.array([[e]], dtype) for e in exponents]
    nodes = [helper.make_node("Pow", ["b", f"e{i}"], [f"y{i}"]) for i in range(len(each))]
    expected = [base**e for e in each]
    outputs = {f"y{i}": (dtype, list(e.shape)) for i, e in enumerate(expected)}
    inputs = {"b": (dtype, list(base.shape))}
    given = {f"e{i}": e for i, e in enumerate(each)}
    if not stored:
        inputs |= {n: (dtype, list(e.shape)) for n, e in given.items()}
    model = tools.model(nodes, inputs, outputs, given if stored else {}, 15)
    imported = import_model(model)
    arrays = {"b": base} | given
    found = tools.run(imported.mod, *(arrays[n] for n in imported.inputs))
    tools.close(found, expected, 0)


def test_pads_with_large_whole_numbers(tools):
    large = 2**53 + 1
    weights = {"p": np.array([1, 2]), "v": np.array(large)}
    node = helper.make_node("Pad", ["x", "p", "v"], ["y"])
    model = tools.model([node], {"x": ("i8", [2])}, {"y": ("i8", [5])}, weights)
    (found,) = tools.run(import_model(model).mod, np.array([1, -large]))
    assert found.tolist() == [large, 1, -large, large, large]


PARTS = {"INT4": (-8, 8), "UINT4": (0, 16), "FLOAT4E2M1": (-2, 3)}


def parts(rng, kind, shape, name):
    numbers = rng.integers(*PARTS[kind], shape)
    return helper.make_tensor(name, getattr(TensorProto, kind), shape, numbers.reshape(-1)), numbers


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("raw", [False, True])
def test_weights_of_parts_of_bytes(tools, kind, raw):
    """Per tensor, per axis and by blocks, also such that do not come out even; against numpy."""
    rng = np.random.default_rng(0)
    opset, nodes, tensors, weights, expected = 23, [], [], {}, []
    for index, (axis, size, zero) in enumerate(
        product((None, 0, 1, -1), (0, 2, 3), (False, kind != "FLOAT4E2M1"))
    ):
        if axis is None and size:
            continue
        tensor, numbers = parts(rng, kind, (4, 5), f"w{index}")
        at = () if axis is None else (-(-(4, 5)[axis] // (size or 1)),)
        if axis is not None and size:
            at = (at[0], 5) if axis == 0 else (4, at[0])
        scale = (rng.random(at) + 0.5).astype("f4")
        weights[f"s{index}"], names = scale, [f"w{index}", f"s{index}"]
        shift = np.zeros(at)
        if zero:
            low, shift = parts(rng, kind, at, f"z{index}")
            tensors.append(low)
            names.append(f"z{index}")
        tensors.append(tensor)
        attrs = {} if axis is None else {"axis": axis}
        if size:
            attrs["block_size"] = size

        def wide(a, axis=axis, size=size):
            if size:
                return a.repeat(size, axis)[:4, :5]
            return a if axis is None else a.reshape((-1, 1) if axis == 0 else (1, -1))

        expected.append(((numbers - wide(shift)) * wide(scale)).astype("f4"))
        nodes.append(helper.make_node("DequantizeLinear", names, [f"d{index}"], **attrs))
        nodes.append(helper.make_node("Mul", [f"d{index}", "one"], [f"y{index}"]))
    outputs = {f"y{n.output[0][1:]}": ("f4", [4, 5]) for n in nodes[::2]}
    model = tools.model(nodes, {"one": ("f4", [1])}, outputs, weights, opset)
    for tensor in tensors:
        if raw:
            tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
        model.graph.initializer.append(tensor)
    found = tools.run(import_model(model).mod, np.ones(1, "f4"))
    tools.close(found, expected)


def test_other_readers_of_parts_of_bytes_are_named(tools):
    tensor, _ = parts(np.random.default_rng(0), "INT4", (2,), "z")
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], "narrow", axis=0)
    model = tools.model([node], {"x": ("f4", [2])}, {"y": ("i1", [2])}, {"s": np.ones(2, "f4")}, 21)
    model.graph.initializer.append(tensor)
    with pytest.raises(ModelError, match=r"'narrow' \(QuantizeLinear\) reads .*int4.* as int8"):
        import_model(model)


def test_defaults_of_functions_attributes(tools):
    """A call may leave them out, also one in another function or in a branch."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def refer(node):
        attribute = AttributeProto(name="alpha", ref_attr_name="alpha", type=AttributeProto.FLOAT)
        node.attribute.append(attribute)
        return node

    leaky = helper.make_function(
        "own", "Slope", ["a"], ["b"],
        [refer(helper.make_node("LeakyRelu", ["a"], ["b"]))],
        opsets, attribute_protos=[helper.make_attribute("alpha", 0.5)],
    )  # fmt: skip
    outer = helper.make_function(
        "own", "Twice", ["a"], ["c"],
        [helper.make_node("Slope", ["a"], ["b"], domain="own"),
         refer(helper.make_node("Slope", ["b"], ["c"], domain="own"))],
        opsets, attribute_protos=[helper.make_attribute("alpha", 0.25)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Slope", ["x"], ["p"], domain="own"),
        helper.make_node("Slope", ["x"], ["q"], domain="own", alpha=0.125),
        helper.make_node("Twice", ["x"], ["r"], domain="own"),
        helper.make_node("Twice", ["x"], ["s"], domain="own", alpha=2.0),
    ]
    model = tools.model(
        nodes, {"x": ("f4", [2])}, {n: ("f4", [2]) for n in "pqrs"}, domains={"own": 1},
        functions=[leaky, outer],
    )  # fmt: skip
    before = model.SerializeToString()
    found = tools.run(import_model(model).mod, np.array([-8, 1], "f4"))
    assert [f.tolist() for f in found] == [[-4, 1], [-1, 1], [-1, 1], [-8, 1]]
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    "kind, opset, inputs, names, operand",
    [
        ("OneHot", 20, {"x": ("i8", [2]), "d": ("i8", []), "v": ("f4", [2])}, ["x", "d", "v"],
         "depth"),
        ("ReduceL2", 20, {"x": ("f4", [2]), "a": ("i8", [1])}, ["x", "a"], "axes"),
        ("AffineGrid", 20, {"t": ("f4", [1, 2, 3]), "s": ("i8", [4])}, ["t", "s"], "size"),
    ],
)  # fmt: skip
def test_an_operand_that_must_be_known_is_named(tools, kind, opset, inputs, names, operand):
    node = helper.make_node(kind, names, ["y"], "here")
    model = tools.model([node], inputs, {"y": ("f4", None)}, opset=opset)
    with pytest.raises(ModelError, match=f"'here' .*{operand} is computed by the model; .*vendor"):
        byoc.compile(model, vendors=[])


@pytest.mark.parametrize("kind", ["Add", "Mul", "Max", "Less", "Where", "Pow"])
@pytest.mark.parametrize("dims", [("n", "m"), (None, None), (None, 3)])
@pytest.mark.parametrize("vendors", [[], ["dnnl"], ["onnxruntime"]], ids="+".join)
def test_a_broadcast_known_only_at_run_time(tools, kind, dims, vendors):
    names = ["c", "a", "b"] if kind == "Where" else ["a", "b"]
    kinds = {"a": "f4", "b": "f4", "c": "?"}
    named = "m" if dims[1] is None and kind == "Where" else dims[1]  # three of them are too many
    shapes = {"a": [dims[0]], "b": [named], "c": [named]}
    inputs = {n: (kinds[n], shapes[n]) for n in names}
    out = "?" if kind == "Less" else "f4"
    node = helper.make_node(kind, names, ["y"], "here")
    model = tools.model([node], inputs, {"y": (out, [None])})
    run = byoc.compile(model, vendors=vendors)
    rng = np.random.default_rng(0)
    for a, b in ((3, 3), (1, 3), *(() if dims[1] == 3 else ((3, 1),))):
        sizes = {"a": a, "b": b, "c": b}
        feeds = {n: (rng.random(sizes[n]) + 0.5).astype(kinds[n]) for n in names}
        found = run.run(feeds)["y"]
        tools.close([found], tools.reference(model, feeds))


def test_a_broadcast_of_three_lengths_known_only_at_run_time(tools):
    """Refused by name where it would take a choice of choices; an engine does it right."""
    inputs = {"c": ("?", ["k"]), "a": ("f4", ["n"]), "b": ("f4", ["m"])}
    node = helper.make_node("Where", ["c", "a", "b"], ["y"], "here")
    model = tools.model([node], inputs, {"y": ("f4", [None])})
    with pytest.raises(ModelError, match=r"'here' .* known only at run time.*'onnxruntime'"):
        byoc.compile(model, vendors=[])
    run = byoc.compile(model, vendors=["onnxruntime"])
    feeds = {"c": np.array([True, False, True]), "a": np.ones(1, "f4"), "b": np.zeros(3, "f4")}
    tools.close([run.run(feeds)["y"]], tools.reference(model, feeds))


@pytest.mark.parametrize(
    "error, text",
    [
        (AttributeError("'Var' object has no attribute 'value'"), "computed by the model"),
        (AttributeError("'Type' object has no attribute 'dtype'"), "not what the operator takes"),
        (AssertionError(), "not what the operator takes"),
        (ValueError('ir.Op(span=None, ty=ir.Type(span=None), name="relax.sqrt", arguments=(), '
                    "support_level=10) requires floats"), "^sqrt requires floats"),
    ],
)  # fmt: skip
def test_errors_speak_of_operands(error, text):
    assert re.search(text, sentence(error))


@pytest.mark.parametrize("opset", [11, 18])
def test_norms_of_windows(tools, opset):
    cases = product(
        (1, 2, 3), ([2, 3], [3, 3]), ([1, 1], [2, 2], [3, 1]), ([0, 0, 0, 0], [1, 0, 0, 1]),
        (0, 1), ([1, 1], [2, 1]),
    )  # fmt: skip
    nodes = []
    for index, (p, kernel, strides, pads, ceil, dilations) in enumerate(sample(cases, 16)):
        attrs = {"p": p, "kernel_shape": kernel, "strides": strides, "pads": pads}
        if opset >= 18:
            attrs |= {"ceil_mode": ceil, "dilations": dilations}
        nodes.append(helper.make_node("LpPool", ["x"], [f"y{index}"], **attrs))
    check(tools, nodes, {"x": ("f4", [1, 2, 7, 8])}, {}, opset)
