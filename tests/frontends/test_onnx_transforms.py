"""Fourier transforms, Resize by axis, pieces put in place, loops turn by turn."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from byoc.errors import ModelError
from byoc.frontends import import_model


def run(tools, model, feeds):
    imported = import_model(model)
    return tools.run(imported.mod, *(feeds[n] for n in imported.inputs))


def complex_of(array):
    return array[..., 0] + 1j * (array[..., 1] if array.shape[-1] == 2 else 0)


def parts_of(array):
    return np.stack([array.real, array.imag], -1)


# 9: one matrix; 320 complex: two short transforms.
@pytest.mark.parametrize(("size", "parts"), [(9, 1), (320, 2)])
def test_fourier_transforms(tools, rng, size, parts, monkeypatch):
    monkeypatch.setattr("byoc.frontends.onnx.ops.spectral._SHORT", 1 << 20)
    x = rng.standard_normal((2, size, 3, parts)).astype("f4")
    x -= x.mean(1, keepdims=True).astype("f4")
    c = complex_of(x.astype("f8"))
    weights = {"n": np.array(size + 4), "axis": np.array(1)}
    nodes = [
        helper.make_node("DFT", ["x", "", "axis"], ["a"]),
        helper.make_node("DFT", ["x", "", "axis"], ["b"], inverse=1),
        helper.make_node("DFT", ["x", "n", "axis"], ["c"], onesided=int(parts == 1)),
        helper.make_node("DFT", ["x", "", ""], ["d"]),
    ]
    expected = [
        parts_of(np.fft.fft(c, axis=1)),
        parts_of(np.fft.ifft(c, axis=1)),
        parts_of(np.fft.fft(c, size + 4, axis=1)),
        parts_of(np.fft.fft(c, axis=2)),
    ]
    if parts == 1:
        expected[2] = expected[2][:, : (size + 4) // 2 + 1]
    else:
        nodes.append(helper.make_node("DFT", ["x", "", "axis"], ["e"], inverse=1, onesided=1))
        expected.append(np.fft.irfft(c, axis=1)[..., None])
    outputs = {n.output[0]: ("f4", e.shape) for n, e in zip(nodes, expected, strict=True)}
    model = tools.model(nodes, {"x": ("f4", x.shape)}, outputs, weights, 20)
    for found, exact in zip(run(tools, model, {"x": x}), expected, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-7)


def test_short_time_fourier_transforms(tools, rng):
    x = rng.standard_normal((2, 40, 1)).astype("f4")
    window = np.hanning(16).astype("f4")
    weights = {"step": np.array(8), "n": np.array(16), "w": window}
    nodes = [
        helper.make_node("STFT", ["x", "step", "w"], ["a"]),
        helper.make_node("STFT", ["x", "step", "", "n"], ["b"], onesided=0),
    ]
    outputs = {"a": ("f4", (2, 4, 9, 2)), "b": ("f4", (2, 4, 16, 2))}
    model = tools.model(nodes, {"x": ("f4", x.shape)}, outputs, weights, 17)
    frames = np.stack([x[:, i : i + 16, 0] for i in range(0, 25, 8)], 1).astype("f8")
    found = run(tools, model, {"x": x})
    expected = np.fft.rfft(frames * window), np.fft.fft(frames)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, parts_of(b), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("inputs", "attrs", "said"),
    [
        (["x", "zero"], {}, "its length is 0"),
        (["x"], {"axis": 2}, "the last one"),
        (["z"], {"onesided": 1}, "two sides"),
    ],
)
def test_transforms_that_mean_nothing_are_refused(tools, inputs, attrs, said):
    node = helper.make_node("DFT", inputs, ["y"], **attrs)
    ports = {"x": ("f4", (1, 4, 1)), "z": ("f4", (1, 4, 2))}
    weights = {"zero": np.array(0)}
    model = tools.model([node], ports, {"y": ("f4", None)}, weights, 17)
    with pytest.raises(ModelError, match=said):
        import_model(model)


def test_windows_of_known_size_are_constants(tools):
    nodes = [helper.make_node(f"{n}Window", ["n"], [n]) for n in ("Hann", "Hamming", "Blackman")]
    nodes += [helper.make_node("Add", [n.output[0], "x"], [f"y{i}"]) for i, n in enumerate(nodes)]
    outputs = {f"y{i}": ("f4", (10,)) for i in range(3)}
    model = tools.model(nodes, {"x": ("f4", (10,))}, outputs, {"n": np.array(10)}, 17)
    assert tools.ops(tools.same_as_reference(model, seeds=[0]).mod) == {"add": 3}


RESIZES = [
    ({"mode": "linear", "antialias": 1}, [1, 1, 0.6, 0.6], None),
    ({"mode": "cubic", "antialias": 1, "exclude_outside": 1}, [1, 1, 0.8, 0.5], None),
    ({"mode": "linear"}, [1, 1, 0.7, 1.3], None),
    ({"mode": "cubic", "cubic_coeff_a": -0.5}, [1, 1, 0.8, 0.8], None),
    ({"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"},
     [1, 1, 0.7, 2.3], None),
    ({"mode": "nearest", "axes": [3, 2]}, [1.4, 2.0], None),
    ({"mode": "nearest", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}, None, [9, 7]),
    ({"mode": "linear", "axes": [1, 3]}, None, [3, 4]),
]  # fmt: skip


def test_resizes_that_tvm_has_no_kernel_for(tools):
    reference = pytest.importorskip("onnx.reference")
    nodes, weights = [], {}
    for i, (attrs, scales, sizes) in enumerate(RESIZES):
        given = [f"scales{i}"] if scales else ["", f"sizes{i}"]
        weights |= {given[-1]: np.array(scales, "f4") if scales else np.array(sizes)}
        nodes.append(helper.make_node("Resize", ["x", "", *given], [f"y{i}"], **attrs))
    outputs = {f"y{i}": ("f4", None) for i in range(len(RESIZES))}
    model = tools.model(nodes, {"x": ("f4", (1, 2, 5, 6))}, outputs, weights, 19)
    feeds = tools.feeds(model, 0, {})
    expected = reference.ReferenceEvaluator(model).run(None, feeds)
    tools.close(run(tools, model, feeds), [e.astype("f4") for e in expected])


def test_pieces(tools):
    image = np.array([[1, 2], [3, 4]])
    weights = {"zero": np.array([0, 4, 0, 2]), "shape": np.array([3, 9]),
               "image": np.array([5, 6]), "block": np.array([2, 3]), "table": image}  # fmt: skip
    nodes = [
        helper.make_node("Split", ["x", "zero"], ["a0", "a1", "a2", "a3"], axis=1),
        helper.make_node("CenterCropPad", ["x", "shape"], ["b"], axes=[0, 1]),
        helper.make_node("Col2Im", ["c", "image", "block"], ["d"], strides=[1, 2],
                         dilations=[2, 1], pads=[1, 0, 0, 1]),
        helper.make_node("Size", ["x"], ["n"]),
        helper.make_node("Cast", ["n"], ["nf"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "nf"], ["e"]),
        helper.make_node("Split", ["table"], ["t0", "t1"], axis=0, num_outputs=2),
    ]  # fmt: skip
    outputs = {"a0": ("f4", [5, 0]), "a1": ("f4", [5, 4]), "a3": ("f4", [5, 2]),
               "b": ("f4", [3, 9]), "d": ("f4", [1, 2, 5, 6]), "e": ("f4", [5, 6]),
               "t1": ("i8", [1, 2])}  # fmt: skip
    inputs = {"x": ("f4", [5, 6]), "c": ("f4", [1, 12, 12])}
    imported = tools.same_as_reference(tools.model(nodes, inputs, outputs, weights, 18), seeds=[0])
    assert "split" not in tools.ops(imported.mod)


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_tensor_scatter(tools, rng, mode):
    past = rng.standard_normal((2, 3, 6, 4)).astype("f4")
    update = rng.standard_normal((2, 3, 2, 4)).astype("f4")
    begins = np.array([1, 5 if mode == "circular" else 4])
    node = helper.make_node("TensorScatter", ["p", "u", "b"], ["y"], mode=mode)
    inputs = {"p": ("f4", past.shape), "u": ("f4", update.shape), "b": ("i8", [2])}
    model = tools.model([node], inputs, {"y": ("f4", past.shape)}, {}, 24)
    expected = past.copy()
    for batch, begin in enumerate(begins):
        for row in range(2):
            expected[batch, :, (begin + row) % 6] = update[batch, :, row]
    (found,) = run(tools, model, {"p": past, "u": update, "b": begins})
    assert np.array_equal(found, expected)


def body(nodes, inputs, outputs):
    ports = [[helper.make_tensor_value_info(n, k, s) for n, k, s in side]
             for side in (inputs, outputs)]  # fmt: skip
    return helper.make_graph(nodes, "body", *ports)


def test_scan_and_loop_of_known_length(tools):
    kind = TensorProto.FLOAT
    step = body(
        [
            helper.make_node("Add", ["s", "row"], ["s1"]),
            helper.make_node("Mul", ["s1", "k"], ["out"]),
        ],
        [("s", kind, [2]), ("row", kind, [2])],
        [("s1", kind, [2]), ("out", kind, [2])],
    )
    turn = body(
        [
            helper.make_node("Cast", ["i"], ["f"], to=kind),
            helper.make_node("Add", ["v", "f"], ["v1"]),
            helper.make_node("Identity", ["go"], ["go1"]),
        ],
        [("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("v", kind, [2])],
        [("go1", TensorProto.BOOL, []), ("v1", kind, [2]), ("v1", kind, [2])],
    )
    turn.output[2].name = "f2"
    turn.node.append(helper.make_node("Mul", ["v1", "k"], ["f2"]))
    nodes = [
        helper.make_node("Scan", ["x0", "x"], ["last", "all"], num_scan_inputs=1, body=step,
                         scan_input_axes=[1], scan_input_directions=[1], scan_output_axes=[-1]),
        helper.make_node("Loop", ["three", "", "last"], ["v", "rows"], body=turn),
    ]  # fmt: skip
    outputs = {"last": ("f4", [2]), "all": ("f4", [2, 4]), "v": ("f4", [2]), "rows": ("f4", [3, 2])}
    weights = {"k": np.array(2, "f4"), "three": np.array(3)}
    model = tools.model(nodes, {"x0": ("f4", [2]), "x": ("f4", [2, 4])}, outputs, weights, 18)
    imported = tools.same_as_reference(model, seeds=[0])
    assert tools.ops(imported.mod)["add"] >= 6


def test_a_loop_of_too_many_turns_stays_whole(tools):
    turn = body(
        [helper.make_node("Relu", ["v"], ["v1"]), helper.make_node("Identity", ["go"], ["go1"])],
        [("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("v", TensorProto.FLOAT, [2])],
        [("go1", TensorProto.BOOL, []), ("v1", TensorProto.FLOAT, [2])],
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], name="long", body=turn)
    ports = {"x": ("f4", [2])}
    model = tools.model([node], ports, {"y": ("f4", [2])}, {"n": np.array(2000)}, 18)
    mod = import_model(model).mod
    assert tools.ops(mod) == {"byoc.onnx": 1}
    assert "its 2000 turns would make 4,000 nodes" in str(mod)
