"""Whole networks: LiteRT's numbers, and the coverage of the same networks in ONNX form."""

from pathlib import Path

import numpy as np
import pytest
from litert import XNNPACK, run
from tflite_to_onnx import Translation
from tvm.ir import GenericConst

import byoc
from byoc.frontends import import_model

MODELS = Path(__file__).with_name("models")
NAMES = ("mobilenet_v2_float", "mobilenet_v2_int8", "ds_cnn_int8")
"""Not int16x8, whose ONNX form computes in floats."""
VENDORS = ("dnnl", "npu")


def samples(name, count=4):
    """Inputs in the dtype of the model."""
    main = import_model(MODELS / f"{name}.tflite").mod["main"]
    kind = main.params[0].ty
    shape, dtype = [int(d) for d in kind.shape.values], str(kind.dtype)
    rng = np.random.default_rng(0)
    for _ in range(count):
        coarse = rng.normal(0, 0.5, (1, 7, 7, shape[-1]))
        x = np.clip(np.repeat(np.repeat(coarse, 7, 1), 7, 2)[:, : shape[1], : shape[2]], -1, 1)
        if dtype != "float32":
            x = np.round(x * np.iinfo(dtype).max)
        yield x.astype(dtype)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


RUNS = [
    ("mobilenet_v2_float", "dnnl"),
    ("mobilenet_v2_int8", "dnnl"),
    ("mobilenet_v2_int16x8", "dnnl"),
    ("ds_cnn_int8", ""),
    ("ds_cnn_int8", "dnnl"),
    ("ds_cnn_int8", "npu"),
    slow("mobilenet_v2_float", ""),
    slow("mobilenet_v2_int8", ""),
    slow("mobilenet_v2_int8", "npu"),
    slow("mobilenet_v2_int16x8", ""),
    ("ds_cnn_int16x8", ""),
    slow("ds_cnn_int16x8", "dnnl"),
]


@pytest.mark.parametrize(("name", "vendor"), RUNS)
def test_networks_equal_litert(name, vendor):
    path = MODELS / f"{name}.tflite"
    exe = byoc.compile(path, vendors=[vendor] if vendor else [])
    found, wanted = [], []
    for x in samples(name):
        found.append(exe(x))
        wanted += run(path.read_bytes(), x, kernels=XNNPACK)
    a, b = (np.concatenate([np.ravel(v) for v in vs]).astype(np.float64) for vs in (found, wanted))
    if name.endswith("float"):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)
    elif name.endswith("int16x8") or (vendor and name.endswith("int8")):
        assert np.array_equal(a, b), "engines that compute integers give those of LiteRT"
    else:
        assert np.abs(a - b).max() <= 1
    assert np.ptp(b) > 1e-3, "the network answers something"


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("name", NAMES)
def test_coverage_is_that_of_the_onnx_form(name, vendor):
    path = MODELS / f"{name}.tflite"
    mine = byoc.partition_model(path, vendors=[vendor]).report
    other = byoc.partition_model(Translation(path).run(), vendors=[vendor]).report
    assert mine.coverage.flops == pytest.approx(other.coverage.flops, abs=1e-3)
    assert len(mine.segments) <= len(other.segments) + 1  # the input's transpose


@pytest.mark.parametrize("name", NAMES)
def test_normal_form_is_that_of_the_onnx_form(name):
    def ops(model):
        main = import_model(model).mod["main"]
        return sorted(
            (b.value.op.name, str(b.value.ty))
            for block in main.body.blocks
            for b in block.bindings
            if b.value.op.name not in ("relax.permute_dims", "relax.reshape")
            and not isinstance(b.value.args[0], GenericConst)  # biases of either shape
        )

    path = MODELS / f"{name}.tflite"
    assert ops(path) == ops(Translation(path).run())


def test_one_transpose_is_left():
    main = import_model(MODELS / "mobilenet_v2_int8.tflite").mod["main"]
    calls = [b.value for block in main.body.blocks for b in block.bindings]
    moved = [c for c in calls if c.op.name == "relax.permute_dims"]
    assert len(moved) == 1
    assert moved[0].args[0].same_as(main.params[0])


def test_dynamic_range_is_computed_in_floats():
    """LiteRT rounds activations to int8 on the way; byoc does not: nearer to the float network."""
    path = MODELS / "ds_cnn_dynamic.tflite"
    exe = byoc.compile(path, vendors=["dnnl"])
    assert exe.report.coverage.flops == 1
    for x in samples("ds_cnn_dynamic", 2):
        np.testing.assert_allclose(exe(x), run(path.read_bytes(), x)[0], atol=0.02)


def test_names_are_those_of_the_tensors():
    path = MODELS / "ds_cnn_int8.tflite"
    model = import_model(path)
    assert (model.name, model.source) == ("ds_cnn_int8", "tflite")
    assert model.inputs[0].startswith("serving_default_keras_tensor")
    main = model.mod["main"]
    names = {b.var.name for block in main.body.blocks for b in block.bindings}
    assert model.operators["DEPTHWISE_CONV_2D"] == 4
    assert "StatefulPartitionedCall_1:0" in names
