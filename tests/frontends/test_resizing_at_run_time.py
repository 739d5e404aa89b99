"""Resize of images whose height and width are known only at run time, against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import byoc

ort = pytest.importorskip("onnxruntime")
N = helper.make_node
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
IMAGE = {"x": (FLOAT, ["n", 2, "h", "w"])}
_COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")


def model_of(nodes, inputs, constants, opset=17, outputs=("y",)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, *ty) for n, ty in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def check(model, feeds, vendors=()):
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    reference = ort.InferenceSession(model.SerializeToString(), options)
    exe = byoc.compile(model, vendors=list(vendors))
    for feed in feeds:
        for want, got in zip(reference.run(None, feed), exe.run(feed).values(), strict=True):
            assert want.shape == got.shape
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    return exe


def _images(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal((n, 2, h, w)).astype("f")} for n, h, w in sizes]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
def test_random_scales(seed, vendors):
    rng = np.random.default_rng(seed)
    mode = ["nearest", "linear", "cubic"][seed % 3]
    attrs = {"mode": mode, "coordinate_transformation_mode": _COORDINATES[rng.integers(4)]}
    if mode == "nearest":
        attrs["nearest_mode"] = str(rng.choice(["floor", "ceil", "round_prefer_floor"]))
        attrs["coordinate_transformation_mode"] = _COORDINATES[rng.integers(3)]
    if mode == "cubic":
        attrs["exclude_outside"] = int(rng.integers(2))
    scales = np.array([1, 1, *rng.choice([2, 0.5, 1.5, 3, 0.7, 1], 2)], "f")
    model = model_of([N("Resize", ["x", "", "s"], ["y"], **attrs)], IMAGE, {"s": scales})
    sizes = [tuple(map(int, rng.integers(2, 9, 3))) for _ in range(3)]
    check(model, _images(*sizes, (1, 1, 1) if scales.min() >= 1 else (1, 2, 2)), vendors)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset, kind", [(10, "Resize"), (9, "Upsample")])
def test_scales_that_the_model_computes(mode, opset, kind):
    """As exporters of opset 9 and 10 write the size of another image."""
    nodes = [
        N("Shape", ["b"], ["sb"]), N("Shape", ["x"], ["sx"]),
        N("Gather", ["sb", "at"], ["tb"]), N("Gather", ["sx", "at"], ["tx"]),
        N("Cast", ["tb"], ["fb"], to=FLOAT), N("Cast", ["tx"], ["fx"], to=FLOAT),
        N("Div", ["fb", "fx"], ["r"]), N("Concat", ["one", "r"], ["s"], axis=0),
        N(kind, ["x", "s"], ["y"], mode=mode),
    ]  # fmt: skip
    both = {**IMAGE, "b": (FLOAT, ["n", 2, "H", "W"])}
    model = model_of(nodes, both, {"at": np.array([2, 3]), "one": np.ones(2, "f")}, opset)
    small = _images((2, 3, 4), (1, 1, 1), (1, 5, 2))
    large = _images((2, 6, 8), (1, 3, 2), (1, 10, 2) if kind == "Upsample" else (1, 2, 2))
    check(model, [{**a, "b": b["x"]} for a, b in zip(small, large, strict=True)])


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_sizes_of_another_image(mode):
    """As feature pyramids have them: the result is added to the other image."""
    nodes = [
        N("Shape", ["b"], ["sb"]), N("Slice", ["sb", "two", "four"], ["hw"]),
        N("Shape", ["x"], ["sx"]), N("Slice", ["sx", "zero", "two"], ["nc"]),
        N("Concat", ["nc", "hw"], ["z"], axis=0),
        N("Resize", ["x", "", "", "z"], ["u"], mode=mode), N("Add", ["u", "b"], ["y"]),
    ]  # fmt: skip
    both = {**IMAGE, "b": (FLOAT, ["n", 2, "H", "W"])}
    ends = {k: np.array([i]) for k, i in (("zero", 0), ("two", 2), ("four", 4))}
    small, large = (
        _images((1, 3, 4), (2, 5, 5), (1, 1, 1)),
        _images((1, 7, 4), (2, 3, 9), (1, 4, 2)),
    )
    feeds = [{**a, "b": b["x"]} for a, b in zip(small, large, strict=True)]
    check(model_of(nodes, both, ends), feeds, ["dnnl"])


def test_sizes_by_arithmetic_of_floats():
    """As older exporters of PyTorch write ``interpolate(x, scale_factor=…)``."""
    nodes = [N("Shape", ["x"], ["s"])]
    for name, at in (("h", "two"), ("w", "three")):
        nodes += [
            N("Gather", ["s", at], [name]), N("Cast", [name], [f"{name}f"], to=FLOAT),
            N("Mul", [f"{name}f", "k"], [f"{name}m"]), N("Floor", [f"{name}m"], [f"{name}r"]),
            N("Cast", [f"{name}r"], [f"{name}i"], to=INT64),
            N("Unsqueeze", [f"{name}i", "zero"], [f"{name}u"]),
        ]  # fmt: skip
    nodes += [
        N("Slice", ["s", "zero", "end"], ["nc"]),
        N("Concat", ["nc", "hu", "wu"], ["z"], axis=0),
        N("Resize", ["x", "", "", "z"], ["y"], mode="linear"),
    ]
    constants = {
        "two": np.array(2), "three": np.array(3), "zero": np.array([0]), "end": np.array([2]),
        "k": np.float32(1.5),
    }  # fmt: skip
    check(model_of(nodes, IMAGE, constants), _images((1, 3, 4), (2, 7, 2), (1, 1, 1)))


def test_scales_sizes_and_crops_given_at_run_time():
    x = _images((2, 4, 5))[0]
    scaled = model_of(
        [N("Resize", ["x", "", "s"], ["y"], mode="linear")], {**IMAGE, "s": (FLOAT, [4])}, {}
    )
    check(scaled, [{**x, "s": np.array(s, "f")} for s in ([1, 1, 1.5, 0.6], [1, 1, 1, 3])])
    sized = model_of([N("Resize", ["x", "", "", "z"], ["y"])], {**IMAGE, "z": (INT64, [4])}, {})
    check(sized, [{**x, "z": np.array(z)} for z in ([2, 2, 9, 2], [2, 2, 1, 1])])
    crop = N("Resize", ["x", "r", "s"], ["y"], mode="linear", extrapolation_value=7.0,
             coordinate_transformation_mode="tf_crop_and_resize")  # fmt: skip
    cropped = model_of([crop], {**IMAGE, "r": (FLOAT, [8])}, {"s": np.array([1, 1, 2, 1.5], "f")})
    check(cropped, [{**x, "r": np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 1.2], "f")}])


def test_antialias_where_the_scale_is_known():
    node = N("Resize", ["x", "", "s"], ["y"], mode="linear", antialias=1)
    model = model_of([node], IMAGE, {"s": np.array([1, 1, 0.5, 0.7], "f")}, 18)
    check(model, _images((1, 4, 5), (2, 9, 7)))


def test_signals_volumes_and_channels_last():
    scales = {"s": np.array([1, 1, 2], "f")}
    signal = model_of([N("Resize", ["x", "", "s"], ["y"], mode="linear")],
                      {"x": (FLOAT, ["n", 2, "l"])}, scales)  # fmt: skip
    check(signal, [{"x": x["x"][:, :, 0]} for x in _images((2, 1, 5), (1, 1, 1))])
    volume = model_of([N("Resize", ["x", "", "s"], ["y"])],
                      {"x": (FLOAT, ["n", 2, "d", "h", "w"])},
                      {"s": np.array([1, 1, 2, 1.5, 2], "f")})  # fmt: skip
    check(volume, [{"x": x["x"][:, :, None].repeat(2, 2)} for x in _images((2, 3, 5), (1, 1, 1))])
    last = model_of([N("Resize", ["x", "", "s"], ["y"], mode="linear")],
                    {"x": (FLOAT, ["n", "h", "w", 2])},
                    {"s": np.array([1, 2, 1.5, 1], "f")})  # fmt: skip
    check(last, [{"x": x["x"].transpose(0, 2, 3, 1).copy()} for x in _images((2, 3, 5))])


def test_axes_that_keep_their_length():
    for scales in ([1, 1, 1, 1], [1, 1, 2, 1]):
        node = N("Resize", ["x", "", "s"], ["y"], mode="linear",
                 coordinate_transformation_mode="asymmetric")  # fmt: skip
        model = model_of([node], IMAGE, {"s": np.array(scales, "f")})
        check(model, _images((2, 3, 4), (1, 1, 1)))


def test_an_empty_batch_stays_one():
    model = model_of(
        [N("Resize", ["x", "", "s"], ["y"])], IMAGE, {"s": np.array([1, 1, 2, 1.5], "f")}
    )
    assert check(model, _images((0, 2, 2), (1, 2, 0)))
