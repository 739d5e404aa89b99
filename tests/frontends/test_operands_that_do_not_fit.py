"""Operands whose every dimension is a name of its own, of sizes that fit and of sizes that do not.

What ONNX Runtime refuses byoc refuses, too, by the name of the op and in plain words; what it
answers byoc answers, or refuses when compiling.
"""

import re

import numpy as np
import onnx
import pytest
from onnx import helper

import byoc

ort = pytest.importorskip("onnxruntime")
_F, _I = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64

_OPERATORS = {
    "GatherND": ({"batch_dims": 1}, [(3, 4), (3, 1)]),
    "GridSample": ({}, [(2, 1, 4, 4), (2, 2, 3, 2)]),
    "InstanceNormalization": ({}, [(2, 3, 4), (3,), (3,)]),
    "LSTM": ({"hidden_size": 2}, [(5, 3, 4), (1, 8, 4), (1, 8, 2), (1, 16)]),
    "LayerNormalization": ({}, [(5, 3), (3,), (3,)]),
    "NonMaxSuppression": ({}, [(1, 3, 4), (1, 2, 3)]),
    "PRelu": ({}, [(2, 3), (3,)]),
    "RNN": ({"hidden_size": 2}, [(5, 3, 4), (1, 2, 4), (1, 2, 2), (1, 4)]),
    "RoiAlign": (
        {"output_height": 2, "output_width": 2, "sampling_ratio": 2},
        [(1, 2, 5, 6), (3, 4), (3,)],
    ),
    "Where": ({}, [(3,), (3,), (3,)]),
}
_KNOWN = {"GridSample": {1: 3}, "LSTM": {2: (0, 1, 2)}, "RNN": {2: (0, 1, 2)}}
"""Operand → the axes of it that must be known when compiling (an attribute says the same)."""
_TYPES = {
    "GatherND": [_F, _I],
    "RoiAlign": [_F, _F, _I],
    "Where": [onnx.TensorProto.BOOL, _F, _F],
}
_RAW = re.compile(r"Check failed|T\.\w+\(|Mismatched|int\(\)|R\.Tensor|View with|0x[0-9a-f]{6}")


def _model(op, attributes, shapes):
    types = _TYPES.get(op, [_F] * len(shapes))
    names = [f"x{i}" for i in range(len(shapes))]
    inputs = []
    for i, (name, kind, shape) in enumerate(zip(names, types, shapes, strict=True)):
        fixed = _KNOWN.get(op, {}).get(i, ())
        dims = [
            size if axis in np.atleast_1d(fixed) else f"{name}_{axis}"
            for axis, size in enumerate(shape)
        ]
        inputs.append(helper.make_tensor_value_info(name, kind, dims))
    out = helper.make_tensor_value_info("y", _I if op == "NonMaxSuppression" else _F, None)
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], name="it", **attributes)], "g", inputs, [out]
    )
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), types


def _feeds(types, shapes, rng):
    return {
        # sorted: corners of boxes in their order
        f"x{i}": (np.sort(rng.normal(size=shape), -1) * (kind == _F)).astype(
            helper.tensor_dtype_to_np_dtype(kind)
        )
        for i, (kind, shape) in enumerate(zip(types, shapes, strict=True))
    }


@pytest.mark.parametrize("op", _OPERATORS)
def test_what_does_not_fit_is_refused_in_plain_words(op):
    attributes, shapes = _OPERATORS[op]
    model, types = _model(op, attributes, shapes)
    rng = np.random.default_rng(0)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    reference = ort.InferenceSession(model.SerializeToString(), options)
    try:
        exe = byoc.compile(model, vendors=[])
    except byoc.ByocError as error:
        assert "'it'" in str(error)
        assert not _RAW.search(str(error)), error
        return
    for at, shape in [(None, None), *((i, s) for i, s in enumerate(shapes) for _ in s)]:
        trial = list(shapes)
        if at is not None:
            axis = int(rng.integers(len(shape)))
            trial[at] = (*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])
        feeds = _feeds(types, trial, rng)
        try:
            expected = reference.run(None, feeds)[0]
        except Exception:
            with pytest.raises(byoc.ByocError) as refused:
                exe.run(feeds)
            assert not _RAW.search(str(refused.value)), refused.value
            continue
        np.testing.assert_allclose(exe.run(feeds)["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [1, 5, 6])
@pytest.mark.parametrize("keys", [1, 6])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("rank", [3, 4])
def test_attention_takes_as_many_values_as_keys(rank, known, keys, values):
    shapes = [(1, 2, n, 8) if rank == 4 else (1, n, 16) for n in (4, keys, values)]
    heads = {} if rank == 4 else {"q_num_heads": 2, "kv_num_heads": 2}
    node = helper.make_node("Attention", ["q", "k", "v"], ["y"], name="it", **heads)
    ports = []
    for name, shape in zip("qkv", shapes, strict=True):
        dims = list(shape)
        if not known and name != "q":
            dims[-2] = f"{name}_length"
        ports.append(helper.make_tensor_value_info(name, _F, dims))
    out = helper.make_tensor_value_info("y", _F, shapes[0])
    model = helper.make_model(
        helper.make_graph([node], "g", ports, [out]),
        opset_imports=[helper.make_opsetid("", 23)],
        ir_version=10,
    )
    feeds = _feeds([_F] * 3, shapes, np.random.default_rng(0))
    feeds = dict(zip("qkv", feeds.values(), strict=True))
    if keys != values:
        with pytest.raises(byoc.ByocError, match="'it'" if known else "fit") as error:
            byoc.compile(model).run(feeds)
        assert not _RAW.search(str(error.value)), error
        return
    options = ort.SessionOptions()
    options.log_severity_level = 4
    (expected,) = ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    np.testing.assert_allclose(byoc.compile(model).run(feeds)["y"], expected, 1e-4, 1e-5)
